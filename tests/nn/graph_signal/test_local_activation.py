"""Local activations: equal to a loop over nodes with torch's own maximum and median, gradients too."""

import copy

import pytest
import torch
from torch_geometric.data import Batch, Data

from edgenet import from_pretrained, save_pretrained
from edgenet.errors import ConfigError, EdgeIndexError, ShapeError
from edgenet.graph import Graph
from edgenet.nn.graph_signal import MaxLocalActivation, MedianLocalActivation, neighbourhoods, ranking
from edgenet.testing import GRAPHS

graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
kinds = pytest.mark.parametrize("kind", [MaxLocalActivation, MedianLocalActivation])
RHO = {MaxLocalActivation: lambda x: x.max(0).values, MedianLocalActivation: lambda x: x.median(0).values}


def by_loop(activation, graph, x):
    """The definition, node by node."""
    rows = []
    for i in range(graph.num_nodes):
        row = activation.weight[0] * x[i]
        for k in range(1, activation.hops + 1):
            near = neighbourhoods(graph, k)
            row = row + activation.weight[k] * RHO[type(activation)](x[near.node[near.centre == i]])
        rows.append(row)
    return torch.stack(rows) if rows else x * activation.weight.sum()


@kinds
@graphs
@pytest.mark.parametrize("hops", [1, 3])
def test_it_is_the_definition_and_so_are_its_gradients(kind, graph, hops):
    activation, x = kind(hops), torch.randn(graph.num_nodes, 3, requires_grad=True)
    y, wanted = activation(x, graph), by_loop(activation, graph, x)
    torch.testing.assert_close(y, wanted, rtol=1e-10, atol=1e-10)
    r, inputs = torch.randn_like(y), [x, activation.weight]
    for got, want in zip(torch.autograd.grad(y, inputs, r), torch.autograd.grad(wanted, inputs, r), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@kinds
def test_derivatives_of_both_orders_are_right(kind):
    graph, activation = GRAPHS["directed"], kind(2)
    x = torch.randperm(26).double().view(13, 2).requires_grad_()  # no two numbers are near each other
    weight = activation.weight.detach().requires_grad_()

    def run(x, weight):
        return torch.func.functional_call(activation, {"weight": weight}, (x, graph))

    assert torch.autograd.gradcheck(run, (x, weight)) and torch.autograd.gradgradcheck(run, (x, weight))


@kinds
def test_signals_in_a_batch_and_times_get_what_each_gets_alone(kind):
    graph, activation = GRAPHS["directed"], kind(2)
    x = torch.randn(2, 3, 13, 4)
    wanted = torch.stack([torch.stack([activation(one, graph) for one in signals]) for signals in x])
    torch.testing.assert_close(activation(x, graph), wanted, rtol=0, atol=0)
    torch.testing.assert_close(activation(x[0], graph), wanted[0], rtol=0, atol=0)
    assert activation(x[:0], graph).shape == (0, 3, 13, 4) and activation(x[..., :0], graph).shape == (2, 3, 13, 0)


@kinds
def test_graphs_in_a_batch_get_what_each_gets_alone(kind):
    activation = kind(2)
    some = [
        Data(x=torch.randn(g.num_nodes, 2), edge_index=g.edge_index, num_nodes=g.num_nodes) for g in GRAPHS.values()
    ]
    batch = Batch.from_data_list(some)
    alone = torch.cat([activation(one.x, one.edge_index) for one in some])
    torch.testing.assert_close(activation(batch.x, batch.edge_index), alone, rtol=0, atol=0)


@kinds
def test_a_few_rows_at_a_time_give_the_same(kind, monkeypatch):
    graph, activation, x = GRAPHS["directed"], kind(2), torch.randn(2, 13, 5)
    x[0, 3, 1] = torch.nan
    whole = activation(x, graph)
    monkeypatch.setattr(ranking, "_AT_ONCE", 1)
    torch.testing.assert_close(activation(x, graph), whole, rtol=0, atol=0, equal_nan=True)


@kinds
def test_nan_is_seen_in_every_neighbourhood_that_has_one_as_torch_has_it(kind):
    graph, activation = GRAPHS["path"], kind(1)
    x = torch.arange(10.0).view(5, 2)
    x[0, 0], x[4, 1] = torch.nan, -torch.inf
    y, wanted = activation(x, graph), by_loop(activation, graph, x)
    assert y[:2, 0].isnan().all() and y[2:, 0].isfinite().all()
    torch.testing.assert_close(y, wanted, equal_nan=True)


@kinds
def test_the_gradient_goes_to_one_of_equal_numbers(kind):
    activation, x = kind(1), torch.ones(5, 1, requires_grad=True)
    activation(x, GRAPHS["path"]).sum().backward()
    torch.testing.assert_close(x.grad.sum(), 5 * activation.weight.sum())


def test_of_an_even_number_of_nodes_the_median_is_the_lower_one_in_the_middle():
    activation = MedianLocalActivation(1)
    with torch.no_grad():
        activation.weight.copy_(torch.tensor([0.0, 1.0]))
    y = activation(torch.tensor([[3.0], [8.0], [1.0], [0.0], [9.0]]), GRAPHS["path"])  # ends have one neighbour
    assert y.flatten().tolist() == [3.0, 3.0, 1.0, 1.0, 0.0]


def test_the_flow_turns_the_neighbourhoods_round():
    edges = torch.tensor([[0], [1]])  # from 0 to 1
    x = torch.tensor([[5.0], [7.0]])
    to_target, to_source = MaxLocalActivation(1), MaxLocalActivation(1, flow="target_to_source")
    with torch.no_grad():
        to_target.weight.copy_(torch.tensor([0.0, 1.0])), to_source.weight.copy_(torch.tensor([0.0, 1.0]))
    assert to_target(x, edges).flatten().tolist() == [5.0, 7.0]
    assert to_source(x, edges).flatten().tolist() == [7.0, 7.0]


@kinds
def test_weights_are_drawn_within_one_over_the_root_of_the_hops(kind):
    bounds = [kind(4).weight.abs().max() for _ in range(200)]
    assert 0.45 < max(bounds) <= 0.5


@kinds
def test_it_lasts(kind, tmp_path):
    graph, activation, x = GRAPHS["directed"], kind(2, "target_to_source"), torch.randn(13, 3)
    y = activation(x, graph)
    torch.testing.assert_close(copy.deepcopy(activation)(x, graph), y, rtol=0, atol=0)
    save_pretrained(activation, tmp_path)
    torch.testing.assert_close(from_pretrained(tmp_path)(x, graph), y, rtol=0, atol=0)
    single = copy.deepcopy(activation).float()(x.float(), graph)
    torch.testing.assert_close(single, y.float(), rtol=1e-5, atol=1e-5)  # seven digits
    compiled = torch.compile(activation, fullgraph=True, backend="eager")  # the lists of the graph are there already
    torch.testing.assert_close(compiled(x, graph), y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("hops", [0, -1, 1.5, "2", True])
def test_hops_are_whole_and_one_or_more(hops):
    with pytest.raises(ConfigError, match="hops"):
        MaxLocalActivation(hops)


def test_wrong_calls_are_refused():
    activation, edges = MaxLocalActivation(1), GRAPHS["path"].edge_index
    with pytest.raises(ConfigError, match="source_to_target, target_to_source, got 'both'"):
        MaxLocalActivation(1, flow="both")
    with pytest.raises(ShapeError, match=r"the graph has 5 nodes .*the signal 4"):
        activation(torch.randn(4, 2), GRAPHS["path"])
    with pytest.raises(EdgeIndexError, match="valid indices are 0 to 3"):
        activation(torch.randn(4, 2), edges)
    with pytest.raises(ShapeError, match="of floats"):
        activation(torch.arange(10).view(5, 2), edges)
    for x in (torch.randn(5), torch.randn(5, 2).to_sparse()):
        with pytest.raises(ShapeError, match="a signal is"):
            activation(x, edges)
    with pytest.raises(ShapeError, match="says its own direction"):
        MaxLocalActivation(1, "target_to_source")(torch.randn(5, 2), torch.eye(5).to_sparse())
    assert activation(torch.randn(5, 2), torch.eye(5).to_sparse_csr()).shape == (5, 2)
    assert activation(torch.randn(3, 2), Graph(torch.zeros(2, 0, dtype=torch.long), 3)).isfinite().all()
