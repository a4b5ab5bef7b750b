"""AggregationNetwork: one round or several, every readout, trained and saved."""

import pytest
import torch
from torch_geometric.data import Data

from edgenet import from_pretrained
from edgenet.data import Dataset
from edgenet.errors import ConfigError
from edgenet.models import AggregationNetwork
from edgenet.nn.graph_signal import AggregationConv
from edgenet.testing import GRAPHS
from edgenet.train import run

from train.small_data import config  # isort: skip

GRAPH = GRAPHS["directed"]
ROUNDS = {"nodes": [[7, 12, 0], [3, 7]], "length": [8, 7], "channels": [5], "hidden_channels": [6]}


def test_several_rounds_spread_what_nodes_know_and_gather_it_again():
    model, x = AggregationNetwork(2, 4, readout="nodes", **ROUNDS), torch.randn(3, 13, 2)
    first, second = model.convs
    known = torch.zeros(3, 13, first.out_width)
    known[:, [7, 12, 0]] = first(x, GRAPH)
    torch.testing.assert_close(model(x, GRAPH), model.head(second(known, GRAPH)), rtol=0, atol=0)
    assert isinstance(first, AggregationConv) and [type(part).__name__ for part in model.head] == [
        "Linear", "ReLU", "Linear",
    ]  # fmt: skip


@pytest.mark.parametrize("readout, rows", [("nodes", (2,)), ("mean", ()), ("flatten", ())])
def test_every_readout_scores_signals_and_times_as_each_alone(readout, rows):
    model, x = AggregationNetwork(2, 4, readout=readout, **ROUNDS), torch.randn(3, 5, 13, 2)
    y = model(x, GRAPH)
    assert y.shape == (3, 5, *rows, 4)
    alone = torch.stack([torch.stack([model(one, GRAPH).view(*rows, 4) for one in signals]) for signals in x])
    torch.testing.assert_close(y, alone, rtol=1e-10, atol=1e-10)
    assert model(x[0, 0], GRAPH).shape == ((2, 4) if rows else (1, 4))
    y.pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_readouts_differ_as_they_say():
    nodes = AggregationNetwork(2, 4, nodes=[7, 12], length=8, channels=[5], readout="nodes")
    mean = AggregationNetwork(2, 4, nodes=[7, 12], length=8, channels=[5], readout="mean")
    mean.load_state_dict(nodes.state_dict())
    x = torch.randn(3, 13, 2)
    torch.testing.assert_close(mean(x, GRAPH), nodes(x, GRAPH).mean(1))
    flat = AggregationNetwork(2, 4, nodes=[7, 12], length=8, channels=[5], readout="flatten", bias=False)
    assert flat.head[0].in_features == 2 * flat.convs[0].out_width
    assert all(name.endswith("weight") for name, _ in flat.named_parameters())


def test_edge_weights_reach_the_operator():
    model, x = AggregationNetwork(2, 4, normalize=None, **ROUNDS), torch.randn(13, 2)
    weight = torch.rand(GRAPH.num_edges)
    assert not model(x, GRAPH, weight).allclose(model(x, GRAPH))
    torch.testing.assert_close(model(x, GRAPH, edge_weight=torch.ones(47)), model(x, GRAPH))


@pytest.mark.parametrize("readout", ["mean", "flatten", "nodes"])
def test_it_comes_back_from_a_folder(readout, tmp_path):
    model, x = AggregationNetwork(2, 4, readout=readout, **ROUNDS), torch.randn(3, 13, 2)
    model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path)
    torch.testing.assert_close(again(x, GRAPH), model(x, GRAPH), rtol=0, atol=0)
    assert again.config() == model.config() and AggregationNetwork(**model.config()).config() == model.config()
    before = model.head[0].weight.clone()
    model.reset_parameters()
    assert not model.head[0].weight.equal(before)


def test_it_is_trained_by_its_name_in_a_configuration():
    def split(seed):
        torch.manual_seed(seed)
        y = torch.arange(40) % 2
        x = 0.1 * torch.randn(40, 13, 1)
        x[:, 0, 0] += 4.0 * y - 2  # which node 7 hears of
        return [Data(x=x, y=y, edge_index=GRAPH.edge_index, num_nodes=13)]

    data = Dataset("places", "signal", "class", "accuracy", 1, 2, split(0), split(1), split(2))
    options = {"nodes": [0, 7], "length": 6, "channels": [4], "readout": "flatten"}
    kind = {"layer": None, "hidden_channels": None, "kind": "AggregationNetwork", "options": options}
    settings = config(**{f"model__{name}": value for name, value in kind.items()}, training__epochs=30)
    result = run(settings, dataset=data, progress=False)
    assert type(result.models[0]) is AggregationNetwork and result.seeds[0].test > 0.9


def test_wrong_options_are_refused():
    for options, says in {
        "readout": ({"readout": "max"}, "mean, flatten, nodes, got 'max'"),
        "channels": ({"hidden_channels": [0]}, "1 or more"),
        "lengths": ({"length": [8]}, "2 lists of nodes, and 1 lengths"),
        "short": ({"length": 3}, "too short"),
        "nodes": ({"nodes": [[7, 7]], "length": 8}, "node 7 is named twice"),
        "none": ({"nodes": [], "length": 8}, "at least one node"),
        "text": ({"nodes": "all", "length": 8}, "nodes are numbers"),
    }.values():
        with pytest.raises(ConfigError, match=says):
            AggregationNetwork(2, 4, **{**ROUNDS, **options})
