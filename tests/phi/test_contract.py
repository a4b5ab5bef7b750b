"""What every phi promises. A phi joins with an entry in PHI_CASES."""

import copy
import io

import pytest
import torch
from cases import GRAPHS, PHI_CASES

from edgenet import ops
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.phi import PHIS, EdgeFactored, EdgeMatrix

cases = pytest.mark.parametrize("case", PHI_CASES, ids=str)
graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
DIRECTED = GRAPHS["directed"]


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def everything(phi, inputs):
    """The weights, and the diagonals where there are any."""
    graph = inputs[2]
    parts = phi(*inputs), phi.diagonal(graph), phi.initial(graph)
    return [part for part in parts if part is not None]


def numbers_an_edge(phi):
    """H, and of matrices on edges the entries, or the coefficients that they are made of."""
    if isinstance(phi, EdgeFactored):
        return 1 if phi.is_bilinear else phi.rank
    return phi.channels**2 if isinstance(phi, EdgeMatrix) else phi.heads


def hops(phi, inputs):
    """The signal after every hop."""
    _, z, graph, *_ = inputs
    weight, diagonal, signals = phi(*inputs), phi.diagonal(graph), []
    for k in range(phi.order):
        z = phi.hop(graph, weight[k], None if diagonal is None else diagonal[k], z, k=k)
        signals.append(z)
    return signals


def ready(case, graph=DIRECTED):
    """A phi that has met its graph, its parameters at random, and the inputs it met."""
    phi = case.build()
    inputs = case.inputs(phi, graph)
    phi(*inputs)
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.normal_()
    return phi, inputs


@pytest.mark.parametrize("name", PHIS)
def test_every_phi_has_a_case_of_its_type(name):
    mine = [case for case in PHI_CASES if case.name.split()[0] == name]
    assert mine, f"{name} has no entry in PHI_CASES"
    assert all(type(case.build()) is PHIS[name] for case in mine)


@cases
@graphs
def test_it_gives_a_weight_for_every_hop_edge_and_head_of_any_graph(case, graph):
    phi = case.build()
    weight = phi(*case.inputs(phi, graph))
    heads = numbers_an_edge(phi)
    assert weight.shape == (phi.order, graph.num_edges, heads)
    assert weight.isfinite().all()
    diagonal, initial = phi.diagonal(graph), phi.initial(graph)
    assert diagonal is None or diagonal.shape == (phi.order, graph.num_nodes, heads)
    assert initial is None or initial.shape == (graph.num_nodes, heads)


@cases
@graphs
def test_a_hop_keeps_the_shape_of_the_signal(case, graph):
    phi = case.build()
    inputs = case.inputs(phi, graph)
    weight, diagonal = phi(*inputs), phi.diagonal(graph)
    z = phi.hop(graph, weight[0], None if diagonal is None else diagonal[0], inputs[1])
    assert z.shape == inputs[1].shape and z.isfinite().all()


@cases
def test_hops_that_share_their_weights_have_a_hop_axis_of_stride_zero(case):
    phi, inputs = ready(case)
    weight = phi(*inputs)
    assert phi.shares_hops == (phi.order > 1 and weight.stride(0) == 0) or phi.order == 1
    if not phi.shares_hops and phi.order > 1:
        assert not torch.equal(weight[0], weight[1])


@cases
def test_only_a_phi_that_follows_the_signal_reads_it(case):
    phi, (x, z, *rest) = ready(case)
    weight = phi(x, z, *rest)
    other = phi(x + torch.randn_like(x), z + torch.randn_like(z), *rest)
    assert torch.equal(weight, other) != phi.follows_signal


@cases
def test_weights_travel_with_their_edges_when_the_list_is_shuffled(case):
    phi, (x, z, graph, edge_weight, edge_attr) = ready(case)
    order = torch.randperm(graph.num_edges)
    shuffled = Graph(graph.edge_index[:, order], graph.num_nodes)
    given = [None if value is None else value[order] for value in (edge_weight, edge_attr)]
    near(phi(x, z, shuffled, *given), phi(x, z, graph, edge_weight, edge_attr)[:, order])


@cases
def test_gradients_reach_every_parameter(case):
    phi, inputs = ready(case)
    parts = everything(phi, inputs) + hops(phi, inputs)
    if not list(phi.parameters()):
        assert not any(part.requires_grad for part in parts)
        return
    sum((part * torch.randn_like(part)).sum() for part in parts).backward()
    for name, parameter in phi.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@cases
def test_a_deep_copy_gives_the_same_weights_and_is_apart(case):
    phi, inputs = ready(case)
    wanted = everything(phi, inputs)
    twin = copy.deepcopy(phi)
    for got, want in zip(everything(twin, inputs), wanted, strict=True):
        assert torch.equal(got, want)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    for got, want in zip(everything(phi, inputs), wanted, strict=True):
        assert torch.equal(got, want)
    copy.deepcopy(case.build())  # before it has met a graph, too


@cases
def test_a_checkpoint_fills_a_new_one_that_has_met_no_graph(case):
    phi, inputs = ready(case)
    file = io.BytesIO()
    torch.save(phi.state_dict(), file)
    file.seek(0)
    twin = case.build()
    twin.load_state_dict(torch.load(file, weights_only=True))
    for got, want in zip(everything(twin, inputs), everything(phi, inputs), strict=True):
        assert torch.equal(got, want)


@cases
def test_reset_draws_the_same_from_the_same_seed_into_the_same_parameters(case):
    phi, inputs = ready(case)
    parameters = list(phi.parameters())
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        phi.reset_parameters()
        drawn.append(everything(phi, inputs))
    for first, second in zip(*drawn, strict=True):
        assert torch.equal(first, second) and first.isfinite().all()
    assert all(a is b for a, b in zip(parameters, phi.parameters(), strict=True))


@cases
def test_it_follows_a_change_of_dtype(case):
    phi, inputs = ready(case)
    wanted = everything(phi, inputs)
    single = [t.float() if isinstance(t, torch.Tensor) and t.is_floating_point() else t for t in inputs]
    for got, want in zip(everything(phi.float(), single), wanted, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)  # float32, through a softmax


@pytest.mark.parametrize("name", PHIS)
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_layer_with_it_compiles_whole_on_a_graph_built_before(name, warm):
    layer = EdgeNetConv(5, 4, order=2, heads=1, phi=name)
    graph = Graph(DIRECTED.edge_index.clone(), 13)
    x = torch.randn(13, 5)
    wanted = layer(x, graph)
    if not warm:
        graph = Graph(DIRECTED.edge_index.clone(), 13)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=False)
    y = compiled(x, graph)
    near(y, wanted)
    parameters = list(layer.parameters())
    got = torch.autograd.grad(y.square().sum(), parameters)
    for a, b in zip(got, torch.autograd.grad(layer(x, graph).square().sum(), parameters), strict=True):
        near(a, b)


def test_the_usual_hop_is_spmm_and_the_diagonal():
    phi, (_, z, graph, *_) = ready(PHI_CASES[[c.name for c in PHI_CASES].index("edge_varying")])
    weight, diagonal = phi(None, z, graph)[0], phi.diagonal(graph)[0]
    near(phi.hop(graph, weight, diagonal, z), ops.spmm(graph, weight, z) + diagonal[..., None] * z)
