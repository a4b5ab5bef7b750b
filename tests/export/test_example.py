"""What a model is traced with, and which sizes stay free."""

import pytest
import torch

from edgenet.errors import ConfigError, ConversionError, EdgeIndexError, ShapeError
from edgenet.export import export
from edgenet.export.example import free_sizes, named_example
from edgenet.models import EdgeClassifier, GraphClassifier, GraphRecurrent
from edgenet.nn.specializations import gcn

pytestmark = pytest.mark.float32
X, EDGES, PAIRS = torch.randn(5, 4), torch.randint(5, (2, 9)), torch.randint(5, (2, 3))


def names(sizes: dict) -> dict:
    return {key: {axis: dim.__name__ for axis, dim in free.items()} for key, free in sizes.items()}


def test_pairs_that_are_scored_are_as_many_as_one_likes():
    model = EdgeClassifier(4, 2, layer="gcn", hidden_channels=5, edge_features=2)
    given = named_example(model, (X, EDGES, PAIRS, torch.randn(3, 2)))
    assert names(free_sizes(given)) == {
        "x": {0: "nodes"}, "edge_index": {1: "edges"}, "edge_label_index": {1: "pairs"}, "edge_label_attr": {0: "pairs"}
    }  # fmt: skip
    made = named_example(model, None)
    assert model(**made).shape == (3, 2)
    with pytest.raises(ShapeError, match="pairs"):
        named_example(model, (X, EDGES, PAIRS[:, :1]))


def test_a_third_argument_of_whole_numbers_is_the_batch():
    model = GraphClassifier(4, 2, layer="gcn", hidden_channels=5)
    batch = torch.tensor([0, 0, 1, 1, 1])
    given = named_example(model, (X, EDGES, batch))
    assert given["batch"] is not None and names(free_sizes(given))["batch"] == {0: "nodes"}
    weights = named_example(model, (X, EDGES, torch.rand(9)))
    assert names(free_sizes(weights))["edge_values"] == {0: "edges"}


def test_the_steps_of_one_sequence_on_a_graph_are_of_the_file():
    model = GraphRecurrent(4, 2, layer="gcnn", hidden_channels=5)
    one = named_example(model, (torch.randn(6, 5, 4), EDGES))
    assert names(free_sizes(one, one_sequence=True))["x"] == {1: "nodes"}
    several = named_example(model, (torch.randn(3, 6, 5, 4), EDGES))
    assert names(free_sizes(several, one_sequence=True))["x"] == {0: "batch", 2: "nodes"}
    made = named_example(model, None, steps=3)
    assert model(**made).shape == (2, 3, 5, 2)
    with pytest.raises(ConfigError, match="--steps"):
        named_example(model, None)


def test_what_is_wrong_with_an_example_is_told_as_the_layers_tell_it(tmp_path):
    layer = gcn(4, 2)
    with pytest.raises(EdgeIndexError, match="nodes"):
        export(layer, tmp_path / "m.pt2", (X, EDGES + 5))
    with pytest.raises(ShapeError, match="made for 4 input channels and got 3"):
        export(layer, tmp_path / "m.pt2", (X[:, :3], EDGES))
    with pytest.raises(ConversionError, match=r"does not run on the example: .*edge_index"):
        export(layer, tmp_path / "m.pt2", (X,))
    with pytest.raises(ConfigError, match="is a folder"):
        export(layer, tmp_path, (X, EDGES), to="pt2")


@pytest.mark.slow
def test_a_file_scores_other_pairs_on_other_graphs(tmp_path):
    model = EdgeClassifier(4, 2, layer="gcn", hidden_channels=5).eval()
    told = export(model, tmp_path / "pairs.pt2", (X, EDGES, PAIRS))
    assert told.inputs["edge_label_index"] == (2, "pairs")
    given = torch.randn(7, 4), torch.randint(7, (2, 4)), torch.randint(7, (2, 6))
    torch.testing.assert_close(torch.export.load(told.path).module()(*given), model(*given), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_file_is_called_with_the_batch_as_it_was_traced(tmp_path):
    model = GraphClassifier(4, 2, layer="gcn", hidden_channels=5).eval()
    told = export(model, tmp_path / "graphs.pt2", (X, EDGES, torch.tensor([0, 0, 1, 1, 1])))
    x, edges, batch = torch.randn(7, 4), torch.randint(7, (2, 4)), torch.tensor([0, 1, 1, 2, 2, 2, 2])
    found = torch.export.load(told.path).module()(x, edges, batch=batch)
    torch.testing.assert_close(found, model(x, edges, batch), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_one_sequence_on_a_graph_becomes_a_file(tmp_path):
    model = GraphRecurrent(4, 2, layer="gcnn", hidden_channels=5).eval()
    told = export(model, tmp_path / "steps.pt2", (torch.randn(2, 5, 4), EDGES))
    assert told.inputs["x"] == (2, "nodes", 4)
    given = torch.randn(2, 7, 4), torch.randint(7, (2, 4))
    torch.testing.assert_close(torch.export.load(told.path).module()(*given), model(*given), rtol=1e-5, atol=1e-5)
