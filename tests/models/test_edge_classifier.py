"""EdgeClassifier: scores of pairs of nodes."""

import pytest
import torch
from torch_geometric.data import Data

import edgenet
from edgenet import from_pretrained, save_pretrained
from edgenet.data import load_object
from edgenet.errors import ConfigError, ShapeError
from edgenet.models import MODELS, EdgeClassifier

EDGES = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
PAIRS = torch.tensor([[0, 2, 5], [3, 2, 1]])


def test_a_pair_is_scored_by_a_map_of_both_ends_and_its_features():
    model, x, attr = (
        EdgeClassifier(3, 2, layer="gcn", hidden_channels=4, edge_features=2).eval(),
        torch.randn(6, 3),
        torch.randn(3, 2),
    )
    z = torch.relu(model.convs[1](torch.relu(model.convs[0](x, EDGES)), EDGES))
    want = model.head(torch.relu(model.pair(torch.cat([z[PAIRS[0]], z[PAIRS[1]], attr], 1))))
    torch.testing.assert_close(model(x, EDGES, PAIRS, attr), want)
    assert MODELS["EdgeClassifier"] is EdgeClassifier


def test_without_an_order_both_directions_have_one_score():
    x = torch.randn(6, 3)
    model = EdgeClassifier(3, 2, layer="gcn", ordered=False).eval()
    torch.testing.assert_close(model(x, EDGES, PAIRS), model(x, EDGES, PAIRS.flip(0)))
    assert not torch.allclose(
        *(EdgeClassifier(3, 2, layer="gcn").eval()(x, EDGES, p)[0] for p in (PAIRS, PAIRS.flip(0)))
    )


def test_sizes_are_read_off_the_first_input_and_files_give_the_model_back(tmp_path):
    model = EdgeClassifier(-1, 2, layer="gat", heads=2)
    scores = model.eval()(torch.randn(6, 3), EDGES, PAIRS)
    assert scores.shape == (3, 2)
    save_pretrained(model, tmp_path)
    x = torch.randn(6, 3)
    torch.testing.assert_close(from_pretrained(tmp_path)(x, EDGES, PAIRS), model(x, EDGES, PAIRS))


def test_what_does_not_fit_is_refused():
    model, x = EdgeClassifier(3, 2, layer="gcn").eval(), torch.randn(6, 3)
    with pytest.raises(ShapeError, match="edge_features=0"):
        model(x, EDGES, PAIRS, torch.zeros(3, 1))
    with pytest.raises(ShapeError, match="names a node that is not there: there are 6"):
        model(x, EDGES, PAIRS + 4)
    with pytest.raises(ShapeError, match="pairs are"):
        model(x, EDGES, PAIRS.double())
    with pytest.raises(ConfigError, match="looks at neighbours"):
        EdgeClassifier(3, 2, layer="gcn", activation="max_local")


def test_it_learns_what_ends_have_in_common():
    side = torch.arange(40) % 2
    pairs = torch.randint(0, 40, (2, 300))
    x, alike = torch.stack([side, 1 - side], 1) + 0.1 * torch.randn(40, 2), side[pairs[0]] == side[pairs[1]]
    edges = torch.randint(0, 40, (2, 20))
    data = Data(x=x, edge_index=edges, edge_label_index=pairs, edge_label=alike.long())
    model = EdgeClassifier(2, 2, layer="gcn", hidden_channels=16, num_layers=1, skip=True)
    result = edgenet.fit(model, load_object(data, "pairs", {}), epochs=60, lr=0.02, seed=0, progress=False)
    assert result.test > 0.9  # half of the pairs are alike
