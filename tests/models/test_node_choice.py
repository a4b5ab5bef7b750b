"""NodeChoice: one score a node, by a map that all nodes share."""

import pytest
import torch

from edgenet import from_pretrained
from edgenet.errors import ConfigError, ShapeError
from edgenet.models import MODELS, NodeChoice
from edgenet.testing import random_graph
from edgenet.train import fit

GRAPH = random_graph(12, 40)


def model(**options):
    return NodeChoice(1, 12, layer="edge_varying", order=2, **options).bind(GRAPH.edge_index, 12)


def test_the_scores_are_a_map_of_every_nodes_own_signal():
    net, x = model(), torch.randn(3, 12, 1)
    hidden = torch.relu(net.convs[0](x, GRAPH.edge_index))
    wanted = (hidden * net.head.weight[0]).sum(-1) + net.head.bias
    torch.testing.assert_close(net(x, GRAPH.edge_index), wanted)
    assert net(x[0], GRAPH.edge_index).shape == (12,)
    torch.testing.assert_close(net(x[0], GRAPH.edge_index), wanted[0])
    torch.testing.assert_close(net(x[None], GRAPH.edge_index)[0], wanted)


def test_signals_on_another_graph_and_single_nodes_are_refused():
    with pytest.raises(ShapeError, match=r"among 12 nodes, and the signals \(3, 5, 1\)"):
        model()(torch.randn(3, 5, 1), GRAPH.edge_index)
    with pytest.raises(ConfigError, match="2 or more, got 1"):
        NodeChoice(1, 1)


def test_it_is_found_by_name_rebuilt_and_saved(tmp_path):
    assert MODELS["NodeChoice"] is NodeChoice
    net, x = model(num_layers=2, skip=True), torch.randn(2, 12, 1)
    again = NodeChoice(**net.config()).bind(GRAPH.edge_index, 12)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(x, GRAPH.edge_index), net(x, GRAPH.edge_index))
    net.save_pretrained(tmp_path / "net")
    back = from_pretrained(tmp_path / "net")
    assert torch.equal(back(x, GRAPH.edge_index), net.eval()(x, GRAPH.edge_index))
    before = net.head.weight.clone()
    net.reset_parameters()
    assert not torch.equal(net.head.weight, before)


def test_it_learns_which_node_was_touched():
    """The signal is an impulse that has moved on by one hop; filters of edges find the way back."""
    from edgenet.data import load

    data = load("hidden_conductance", num_nodes=12, neighbours=3, noise=0.1, times=2, sizes=[400, 100, 100])
    torch.manual_seed(0)
    net = NodeChoice(1, 12, layer="edge_varying", order=2).bind(data.train[0].edge_index, 12)
    result = fit(net, data, epochs=25, lr=0.02, seed=0, progress=False)
    assert result.test > 0.5  # chance is 0.08
