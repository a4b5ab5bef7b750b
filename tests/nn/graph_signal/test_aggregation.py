"""Aggregation: sequences of S^q x at chosen nodes, and filters over them."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import matrix, normalised

from edgenet import from_pretrained, save_pretrained
from edgenet.errors import ConfigError, EdgeIndexError, ShapeError
from edgenet.nn.graph_signal import Aggregation, AggregationConv
from edgenet.testing import GRAPHS

NODES = [7, 12, 0]


def sequences(graph, weight, x, length, normalize):
    """(..., P, Q, F) by powers of the dense operator."""
    shift = torch.from_numpy(normalised(matrix(graph, weight), normalize))
    powers = torch.stack([torch.linalg.matrix_power(shift, q) for q in range(length)])
    return torch.einsum("qpn,...nf->...pqf", powers[:, NODES], x)


@pytest.mark.parametrize("normalize", [None, "sym", "rw"])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_sequences_are_powers_of_the_operator_and_so_are_gradients(normalize, lead):
    graph = GRAPHS["directed"]
    weight, x = torch.rand(graph.num_edges) + 0.5, torch.randn(*lead, 13, 4, requires_grad=True)
    y = Aggregation(NODES, 4, normalize)(x, graph, weight)
    wanted = sequences(graph, weight, x, 4, normalize)
    assert y.shape == (*lead, 3, 4, 4)
    torch.testing.assert_close(y, wanted, rtol=1e-10, atol=1e-10)
    r = torch.randn_like(y)
    got, want = torch.autograd.grad(y, x, r)[0], torch.autograd.grad(wanted, x, r)[0]
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_the_gradient_reaches_edge_weights():
    graph = GRAPHS["self_loops"]
    weight, x = torch.rand(5, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: Aggregation([1, 3], 3)(x, graph, w), (x, weight))


def test_edges_come_in_any_form_and_may_be_walked_backwards():
    graph, x = GRAPHS["directed"], torch.randn(13, 2)
    y = Aggregation(NODES, 3, None)(x, graph)
    torch.testing.assert_close(Aggregation(NODES, 3, None)(x, graph.edge_index), y)
    adjacency = torch.from_numpy(matrix(graph, torch.ones(graph.num_edges))).to_sparse_csr()
    torch.testing.assert_close(Aggregation(NODES, 3, None)(x, adjacency), y)
    back = Aggregation(NODES, 3, None, flow="target_to_source")(x, graph)
    torch.testing.assert_close(back, Aggregation(NODES, 3, None)(x, graph.transpose()))
    assert Aggregation(NODES, 1)(x, graph).equal(x[NODES].unsqueeze(1))


def test_signals_without_rows_or_features_are_fine():
    graph = GRAPHS["directed"]
    assert Aggregation(NODES, 3)(torch.randn(0, 13, 2), graph).shape == (0, 3, 3, 2)
    assert Aggregation(NODES, 3)(torch.randn(13, 0), graph).shape == (3, 3, 0)
    assert Aggregation([1], 3)(torch.randn(3, 2), GRAPHS["no_edges"]).count_nonzero() == 2  # nothing arrives


def test_nan_spreads_as_far_as_the_walk_went():
    x = torch.zeros(5, 1)
    x[0] = torch.nan
    y = Aggregation([2], 4, None)(x, GRAPHS["path"]).flatten()
    assert y[:2].isfinite().all() and y[2].isnan()


@pytest.mark.parametrize("pool_size", [1, 2])
def test_filters_run_over_the_sequence_of_every_node(pool_size):
    graph, x = GRAPHS["directed"], torch.randn(2, 3, 13, 4)
    conv = AggregationConv(4, [5, 6], NODES, 12, kernel_size=2, pool_size=pool_size, normalize="rw")
    y = conv(x, graph)
    for node in range(3):
        z = Aggregation(NODES, 12, "rw")(x[1, 2], graph)[node].T.unsqueeze(0)
        for layer in conv.convs:
            z = F.max_pool1d(F.relu(F.conv1d(z, layer.weight, layer.bias)), pool_size)
        torch.testing.assert_close(y[1, 2, node], z.flatten(), rtol=1e-10, atol=1e-10)
    assert conv.out_width == y.shape[-1]


def test_parts_last(tmp_path):
    graph, x = GRAPHS["directed"], torch.randn(2, 13, 4)
    for name, part in {
        "sequence": Aggregation(NODES, 3, "rw", "target_to_source"),
        "conv": AggregationConv(4, [5], torch.tensor(NODES), 6, 2, 1, None, "target_to_source", bias=False),
    }.items():
        y = part(x, graph)
        save_pretrained(part, tmp_path / name)
        for again in (copy.deepcopy(part), from_pretrained(tmp_path / name)):
            torch.testing.assert_close(again(x, graph), y, rtol=0, atol=0)
        if name == "conv":  # of which the sequence is a part
            compiled = torch.compile(part, backend="eager", fullgraph=True)
            torch.testing.assert_close(compiled(x, graph), y, rtol=1e-12, atol=1e-12)
        assert part.float()(x.float(), graph).dtype == torch.float32


def test_filters_are_drawn_anew():
    conv = AggregationConv(4, [5], NODES, 6)
    before = conv.convs[0].weight.clone()
    conv.reset_parameters()
    assert not conv.convs[0].weight.equal(before)


def test_wrong_options_and_calls_are_refused():
    graph, x = GRAPHS["directed"], torch.randn(13, 4)
    with pytest.raises(ConfigError, match="length of 1 or more, got 0"):
        Aggregation(NODES, 0)
    with pytest.raises(ShapeError, match="normalize"):
        Aggregation(NODES, 2, "both")
    with pytest.raises(ShapeError, match="node 12 was asked for, and the graph has 5"):
        Aggregation(NODES, 2)(torch.randn(5, 1), GRAPHS["path"])
    with pytest.raises(ShapeError, match="the graph has 13 nodes"):
        Aggregation([0], 2)(torch.randn(5, 1), graph)
    with pytest.raises(EdgeIndexError):
        Aggregation([0], 2)(torch.randn(5, 1), graph.edge_index)
    with pytest.raises(ShapeError, match="one weight for each of 47 edges"):
        Aggregation(NODES, 2)(x, graph, torch.ones(3))
    with pytest.raises(
        ConfigError, match=r"length 6 is too short: 2 numbers are left for convolution 1, which wants 4"
    ):
        AggregationConv(4, [5, 5], NODES, 6)
    for options in ({"kernel_size": 0}, {"pool_size": 0}, {"channels": []}, {"channels": [0]}, {"in_channels": -1}):
        with pytest.raises(ConfigError, match="1 or more"):
            AggregationConv(**{"in_channels": 4, "channels": [5], "nodes": NODES, "length": 8, **options})
    with pytest.raises(ShapeError, match="made for 4 input channels and got 3"):
        AggregationConv(4, [5], NODES, 8)(x[:, :3], graph)


def test_the_whole_sequence_says_the_whole_signal():
    """With as many shifts as nodes, of an operator whose eigenvalues differ, one node knows all the others."""
    x = torch.randn(4, 1)
    edges = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 0], [1, 0, 2, 1, 3, 2, 0, 3]])
    weight = torch.tensor([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 5.0, 5.0])
    seen = Aggregation([0], 4, None)
    powers = torch.cat([seen(unit.unsqueeze(1), edges, weight).view(1, 4) for unit in torch.eye(4)]).T
    assert np.linalg.matrix_rank(powers.numpy()) == 4
    torch.testing.assert_close(torch.linalg.solve(powers, seen(x, edges, weight)[0]), x)
