"""What EdgeNetConv computes: its definition in dense matrices, the networks that are special cases of others, and what
holds for every layer."""

import copy
import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch_geometric import EdgeIndex
from torch_geometric.nn import MessagePassing

from edgenet import gso, ops
from edgenet.errors import EdgeIndexError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn import SPECIALIZATIONS, EdgeNetConv, Parallel, SpectralConv, lift, specializations, taps
from edgenet.nn.shortcuts import Route
from edgenet.phi import Attention, EdgeMatrix, EdgeVarying, Phi, ShiftOperator
from edgenet.testing import GRAPHS

graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)


def dense(graph: Graph, weight: Tensor) -> Tensor:
    """(..., E) weights -> (..., N, N_source) matrices, [i, j] the sum over the edges j -> i."""
    matrix = weight.new_zeros(*weight.shape[:-1], graph.num_nodes, graph.num_sources)
    for e in range(graph.num_edges):
        matrix[..., graph.target[e], graph.source[e]] += weight[..., e]
    return matrix


def undirected(n: int = 7, seed: int = 3) -> Graph:
    """A random undirected graph without loops, connected by a ring."""
    pairs = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)).triu(1) > 0.6
    pairs |= torch.eye(n, dtype=torch.bool).roll(1, 1)
    return Graph((pairs | pairs.T).fill_diagonal_(False).nonzero().T.contiguous(), n)


def edge_weights(conv: EdgeNetConv, x: Tensor, graph: Graph) -> Tensor:
    """(K, E, H) weights of every hop, as the layer reports them."""
    weight = conv(x, graph, return_attention_weights=True)[1][1]
    return weight if weight.dim() == 3 else weight.expand(conv.order, -1, -1)


def redraw_(module: nn.Module) -> nn.Module:
    """Every parameter at random: many start equal, or at 0."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return module


# ---------------------------------------------------------------- every layer, by a name of the case
LAYERS: dict[str, Callable[[int, int], nn.Module]] = {
    "gcnn": specializations.gcnn,
    "gcnn-unnormalised": partial(specializations.gcnn, order=3, normalize=None),
    "gcnn-order-0": partial(specializations.gcnn, order=0),
    "gcn": specializations.gcn,
    "tag": specializations.tag,
    "sgc": specializations.sgc,
    "dagnn": specializations.dagnn,
    "appnp": specializations.appnp,
    "gpr": specializations.gpr,
    "gcnii": specializations.gcnii,
    "grand": specializations.grand,
    "gat": partial(specializations.gat, heads=2),
    "gat-mean": partial(specializations.gat, heads=2, concat=False, add_self_loops=False),
    "gatv2": partial(specializations.gatv2, heads=2),
    "gcat": partial(specializations.gcat, heads=2),
    "edge_varying_gat": partial(specializations.edge_varying_gat, heads=2),
    "edge_varying": specializations.edge_varying,
    "edge_varying-mimo": partial(specializations.edge_varying, bank="mimo"),
    "edge_varying-heads": partial(specializations.edge_varying, bank="heads", heads=2),
    "edge_varying-by-node": partial(specializations.edge_varying, bank="heads", heads=2, share="node"),
    "edge_varying-by-hash": partial(specializations.edge_varying, share="hash", buckets=5),
    "node_varying": specializations.node_varying,
    "node_varying-by-group": partial(specializations.node_varying, groups=1),
    "hybrid": partial(specializations.hybrid, nodes=1),
    "hybrid-heads": partial(specializations.hybrid, nodes=0.5, bank="heads", heads=2),
    "arma": partial(specializations.arma, poles=2),
    "spectral": specializations.spectral,
    "spectral_product": partial(specializations.spectral_product, heads=2),
    "additive": partial(specializations.additive, heads=2),
}
layers = pytest.mark.parametrize("layer", LAYERS)


def test_every_specialization_has_a_case():
    assert {name.split("-")[0] for name in LAYERS} == set(SPECIALIZATIONS)


def walks(layer: str, graph: Graph) -> bool:
    """Spectral filters are for symmetric operators."""
    if layer != "spectral":
        return True
    matrix = dense(graph, gso.symmetric(graph))
    return torch.allclose(matrix, matrix.T)


def built(layer: str, graph: Graph, in_channels: int = 3, out_channels: int = 4) -> nn.Module:
    """The layer, bound to the graph where it has tables, every parameter at random."""
    conv = LAYERS[layer](in_channels, out_channels)
    conv.bind(graph)
    if isinstance(conv, SpectralConv):
        conv(torch.zeros(graph.num_nodes, in_channels), graph)  # its weight has a width from now on
    return redraw_(conv)


# ---------------------------------------------------------------- the definition
@graphs
@pytest.mark.parametrize("order", [0, 1, 3])
def test_the_edge_varying_layer_is_a_bank_of_products_of_matrices(graph, order):
    """y_f = b_f + sum over g, k of Phi_fg^(k) ... Phi_fg^(0) x_g"""
    conv = redraw_(specializations.edge_varying(2, 3, order).bind(graph))
    x = torch.randn(graph.num_nodes, 2)
    diagonal, first = conv.phi.diagonal(graph), conv.phi.initial(graph)
    weight = edge_weights(conv, x, graph)
    y = conv.bias.expand(graph.num_nodes, -1).clone()
    for f in range(3):
        for g in range(2):
            lane = 2 * f + g
            product = torch.diag(first[:, lane])
            y[:, f] += product @ x[:, g]
            for k in range(order):
                product = (dense(graph, weight[k, :, lane]) + torch.diag(diagonal[k, :, lane])) @ product
                y[:, f] += product @ x[:, g]
    close(conv(x, graph), y)


@graphs
@pytest.mark.parametrize("order", [1, 3])
def test_one_matrix_for_every_edge_mixes_channels_at_every_hop(graph, order):
    """z^(k)[i] = D^(k)[i] z^(k-1)[i] + sum over e = (j -> i) of Theta^(k)[e] z^(k-1)[j],   y = b + sum of all z^(k)"""
    conv = redraw_(specializations.edge_varying(2, 3, order, bank="mimo").bind(graph))
    x = torch.randn(graph.num_nodes, 2)
    theta = edge_weights(conv, x, graph).unflatten(-1, (3, 3))
    diagonal = conv.phi.diagonal(graph).unflatten(-1, (3, 3))
    z = x @ conv.lift.linear.weight.to_dense().T
    y = conv.bias + z
    for k in range(order):
        moved = torch.einsum("nfg,ng->nf", diagonal[k], z)
        for e in range(graph.num_edges):
            hop = torch.zeros_like(moved)
            hop[graph.target[e]] = theta[k, e] @ z[graph.source[e]]
            moved = moved + hop
        z = moved
        y = y + z
    close(conv(x, graph), y)


@graphs
def test_the_two_banks_are_one_for_a_single_hop(graph):
    scalars = EdgeNetConv(
        3, 3, phi=EdgeVarying(1, 9), lift=lift.FilterBank(3), taps=taps.SumInputs(3), self_tap=False, bias=False
    ).bind(graph)
    matrices = EdgeNetConv(3, 3, phi=EdgeMatrix(1, 3), self_tap=False, bias=False).bind(graph)
    redraw_(scalars)
    matrices.phi.entries.load_state_dict(scalars.phi.state_dict())
    nn.init.eye_(matrices.lift.linear.weight.weight)
    x = torch.randn(graph.num_nodes, 3)
    close(scalars(x, graph), matrices(x, graph))


def test_the_two_banks_differ_for_two_hops():
    graph = undirected()
    parts = {"phi": EdgeVarying(2, 9), "lift": lift.FilterBank(3), "taps": taps.SumInputs(3)}
    scalars = EdgeNetConv(3, 3, **parts, bias=False).bind(graph)
    matrices = EdgeNetConv(3, 3, phi=EdgeMatrix(2, 3), bias=False).bind(graph)
    redraw_(scalars)
    matrices.phi.entries.load_state_dict(scalars.phi.state_dict())
    nn.init.eye_(matrices.lift.linear.weight.weight)
    x = torch.randn(graph.num_nodes, 3)
    assert (scalars(x, graph) - matrices(x, graph)).abs().max() > 0.1


@graphs
@pytest.mark.parametrize("shifts", [1, 2])
def test_the_graph_filter_is_a_polynomial_of_every_shift_operator(graph, shifts):
    """y = b + sum over k, r of S_r^k x W_kr"""
    conv = redraw_(specializations.gcnn(3, 2, 2, shifts, normalize=None))
    weight, x = torch.randn(graph.num_edges, shifts), torch.randn(graph.num_nodes, 3)
    mix = conv.taps.linear.weight.to_dense().view(2, 3, shifts, 3)
    y = conv.bias.expand(graph.num_nodes, -1)
    for r in range(shifts):
        z = x
        for k in range(3):
            y = y + z @ mix[:, k, r].T
            z = dense(graph, weight[:, r]) @ z
    close(conv(x, graph, weight), y)


@graphs
def test_attention_of_every_hop_is_scored_from_the_layers_input(graph):
    conv = redraw_(specializations.edge_varying_gat(3, 2, order=2, heads=2, add_self_loops=False))
    x = torch.randn(graph.num_nodes, 3)
    lifts = [part.weight.to_dense() for part in (conv.lift.linear, *conv.phi.lifts)]
    y = []
    for head in range(2):
        z, total = x @ lifts[0].view(2, 2, 3)[head].T, 0
        for k in range(2):
            u = x @ lifts[k].view(2, 2, 3)[head].T
            at_source, at_target = (a.to_dense()[2 * k + head] for a in (conv.phi.att_source, conv.phi.att_target))
            at_source, at_target = u @ at_source, u @ at_target
            score = nn.functional.leaky_relu(at_source[graph.source] + at_target[graph.target], 0.2).exp()
            share = score / dense(graph, score).sum(1)[graph.target]
            z = dense(graph, share) @ z
            total = total + z
        y.append(total)
    close(conv(x, graph), torch.cat(y, 1) + conv.bias)


@graphs
def test_learned_attention_is_multiplied_by_given_edge_weights(graph):
    conv = specializations.gat(3, 2, heads=2, add_self_loops=False)
    x, weight = torch.randn(graph.num_nodes, 3), torch.randn(graph.num_edges)
    _, (_, alpha) = conv(x, graph, return_attention_weights=True)
    y, (_, product) = conv(x, graph, weight, return_attention_weights=True)
    close(product, alpha * weight[:, None])
    z = conv.lift(x)
    close(y, torch.cat([dense(graph, product[:, h]) @ z[:, h] for h in range(2)], 1) + conv.bias)


@graphs
def test_the_product_form_multiplies_first_order_polynomials(graph):
    """y = sum over heads and k of prod (mu_0 I + mu_1 S) z"""
    conv = redraw_(specializations.spectral_product(3, 2, order=2, heads=2, normalize=None))
    x, weight = torch.randn(graph.num_nodes, 3), torch.randn(graph.num_edges)
    shift, z = dense(graph, weight), conv.lift(x)
    y = []
    for h in range(2):
        u = total = z[:, h]
        for k in range(2):
            own, other = conv.phi.weight[k, :, h]
            u = own * u + other * shift @ u
            total = total + u
        y.append(total)
    close(conv(x, graph, weight), torch.cat(y, 1) + conv.bias)


# ---------------------------------------------------------------- networks that are special cases of others
@graphs
def test_edge_weights_set_to_the_shift_operators_make_a_gcnn(graph):
    """Phi^(0) = a_0 I and Phi^(k) = a_k / a_(k-1) S multiply to a_k S^k."""
    gcnn = redraw_(specializations.gcnn(2, 3, 2))
    free = specializations.edge_varying(2, 3, 2).bind(graph)
    tap = gcnn.taps.linear.weight.to_dense().detach().view(3, 3, 2).movedim(1, 0).flatten(1)  # (K + 1, F_out F_in)
    ratio = torch.cat([tap[:1], tap[1:] / tap[:-1]])
    shift = gso.symmetric(graph)
    with torch.no_grad():
        row = free.phi.where.of_edges(graph, None)
        free.phi.edge_table.weight[row[row >= 0]] = shift[row >= 0, None] * ratio[1:].flatten()
        own = dense(graph, shift).diagonal()
        free.phi.node_table.weight.copy_(
            torch.cat([ratio[:1].expand(len(own), -1), own[:, None] * ratio[1:].flatten()], 1)
        )
        free.bias.copy_(gcnn.bias)
    x = torch.randn(graph.num_nodes, 2)
    close(free(x, graph), gcnn(x, graph))


@graphs
def test_frozen_attention_as_edge_weights_makes_a_gat(graph):
    gat = redraw_(specializations.gat(3, 2, heads=2))
    x = torch.randn(graph.num_nodes, 3)
    y, (_, alpha) = gat(x, graph, return_attention_weights=True)
    free = EdgeNetConv(3, 2, phi=EdgeVarying(1, 2), self_tap=False).bind(graph)
    free.lift.load_state_dict(gat.lift.state_dict())
    _, kept = graph.with_self_loops()
    with torch.no_grad():
        row = free.phi.where.of_edges(graph, None)[kept]
        free.phi.edge_table.weight[row] = alpha[: len(kept)]
        free.phi.node_table.weight.copy_(alpha[len(kept) :])
        free.bias.copy_(gat.bias)
    close(free(x, graph), y)


@graphs
@pytest.mark.parametrize("bank", ["siso", "mimo", "heads"])
def test_a_hybrid_of_which_all_nodes_are_important_is_edge_varying_plus_gcnn(graph, bank):
    nodes = torch.arange(graph.num_nodes)
    hybrid = redraw_(specializations.hybrid(3, 4, 2, nodes, bank=bank).bind(graph))
    gcnn, free = specializations.gcnn(3, 4, 2), specializations.edge_varying(3, 4, 2, bank=bank, bias=False)
    gcnn.load_state_dict(hybrid.convs[0].state_dict())
    free.load_state_dict(hybrid.convs[1].state_dict())
    x = torch.randn(graph.num_nodes, 3)
    if bank != "siso":  # the polynomial part has the self tap
        free.hops = free.hops[1:]
    close(hybrid(x, graph), gcnn(x, graph) + free(x, graph))


@pytest.mark.parametrize("bank", ["siso", "mimo", "heads"])
def test_a_filter_around_important_nodes_is_zero_elsewhere(bank):
    graph = Graph(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), 4)
    free = redraw_(specializations.edge_varying(3, 4, 2, bank=bank, nodes=[0], bias=False).bind(graph))
    y = free(torch.randn(4, 3), graph)
    assert (y[2:] == 0).all() and (y[:2] != 0).any()


def test_a_hybrid_learns_weights_around_important_nodes_alone():
    graph = undirected()
    free = redraw_(specializations.edge_varying(1, 1, 2, nodes=torch.tensor([1, 4])).bind(graph))
    x = torch.randn(graph.num_nodes, 1)
    weight = edge_weights(free, x, graph)
    touched = torch.isin(graph.source, torch.tensor([1, 4])) | torch.isin(graph.target, torch.tensor([1, 4]))
    assert (weight[:, touched] != 0).all() and (weight[:, ~touched] == 0).all()
    assert free.phi.initial(graph).squeeze().nonzero().flatten().tolist() == [1, 4]


@pytest.mark.parametrize("layer", [name for name in LAYERS if name.startswith("edge_varying") and "gat" not in name])
def test_a_self_loop_in_the_edge_list_is_not_weighed_beside_the_diagonal(layer):
    graph = GRAPHS["self_loops"]
    conv = built(layer, graph)
    x, (bare, _) = torch.randn(graph.num_nodes, 3), graph.without_self_loops()
    assert bare.num_edges < graph.num_edges
    close(conv(x, graph), conv(x, bare))


@graphs
@pytest.mark.parametrize("groups", [None, 1])
def test_node_taps_that_are_all_equal_make_a_gcnn(graph, groups):
    gcnn = redraw_(specializations.gcnn(3, 2, 2))
    varying = specializations.node_varying(3, 2, 2, groups).bind(graph)
    with torch.no_grad():
        varying.taps.table.weight.copy_(gcnn.taps.linear.weight.weight.flatten().expand_as(varying.taps.table.weight))
        varying.bias.copy_(gcnn.bias)
    x = torch.randn(graph.num_nodes, 3)
    close(varying(x, graph), gcnn(x, graph))


def test_groups_of_nodes_share_their_taps():
    graph = undirected()
    groups = torch.tensor([0, 0, 1, 2, 1, 0, 2])
    shared = redraw_(specializations.node_varying(3, 2, 2, groups).bind(graph))
    free = specializations.node_varying(3, 2, 2).bind(graph)
    with torch.no_grad():
        free.taps.table.weight.copy_(shared.taps.table.weight[groups])
        free.bias.copy_(shared.bias)
    x = torch.randn(graph.num_nodes, 3)
    close(shared(x, graph), free(x, graph))


@graphs
@pytest.mark.parametrize("concat", [True, False])
def test_attention_of_order_1_with_taps_0_and_1_is_gat(graph, concat):
    gcat = redraw_(specializations.gcat(3, 2, 1, heads=2, concat=concat))
    gat = specializations.gat(3, 2, heads=2, concat=concat)
    gat.load_state_dict({name: value for name, value in gcat.state_dict().items() if name != "taps.weight"})
    with torch.no_grad():
        gcat.taps.weight.copy_(torch.tensor([0.0, 1.0]))
    x = torch.randn(graph.num_nodes, 3)
    close(gcat(x, graph), gat(x, graph))


@graphs
def test_gcat_is_a_polynomial_of_one_learned_operator(graph):
    conv = redraw_(specializations.gcat(3, 2, 3, heads=2))
    x = torch.randn(graph.num_nodes, 3)
    y, (edges, alpha) = conv(x, graph, return_attention_weights=True)
    looped, z = Graph(edges, graph.num_nodes), conv.lift(x)
    wanted = []
    for h in range(2):
        operator = dense(looped, alpha[:, h])
        powers = [torch.linalg.matrix_power(operator, k) @ z[:, h] for k in range(4)]
        wanted.append(sum(w * p for w, p in zip(conv.taps.weight, powers, strict=True)))
    close(y, torch.cat(wanted, 1) + conv.bias)


@graphs
@pytest.mark.parametrize("normalize", ["sym", None])
def test_an_arma_filter_of_many_iterations_solves_the_linear_system(graph, normalize):
    """sum over g, p of varphi (S - psi I)^(-1) x_g"""
    conv = specializations.arma(2, 3, order=1, poles=2, iterations=300, normalize=normalize)
    pole, residue = (table.to_dense().view(3, 2, 2) for table in (conv.convs[1].taps.pole, conv.convs[1].taps.residue))
    weight = None if normalize else torch.rand(graph.num_edges) / 4 - 0.1  # eigenvalues well below the poles
    shift = dense(graph, gso.symmetric(graph) if normalize else weight)
    x = torch.randn(graph.num_nodes, 2)
    wanted = conv.convs[0](x, graph, weight)
    for f in range(3):
        for p in range(2):
            for g in range(2):
                system = shift - pole[f, p, g] * torch.eye(graph.num_nodes)
                solved = torch.linalg.solve(system, residue[f, p, g] * x[:, g])
                wanted = wanted + nn.functional.one_hot(torch.tensor(f), 3) * solved[:, None]
    close(conv(x, graph, weight), wanted)


@pytest.mark.parametrize("normalize", ["sym", None])
def test_a_spectral_filter_with_a_polynomial_response_is_a_gcnn(normalize):
    graph = undirected()
    gcnn = redraw_(specializations.gcnn(3, 2, 2, normalize=normalize))
    spectral = specializations.spectral(3, 2, normalize=normalize).bind(graph)
    x = torch.randn(graph.num_nodes, 3)
    spectral(x, graph)  # its weight has a width from now on
    eigenvalues = torch.linalg.eigvalsh(dense(graph, gso.NORMALISATIONS[normalize](graph, None, torch.float64)))
    tap = gcnn.taps.linear.weight.to_dense().view(2, 3, 3)  # (F_out, K + 1, F_in)
    with torch.no_grad():
        spectral.weight.weight.copy_(sum(tap[:, k, :, None] * eigenvalues**k for k in range(3)).flatten(1))
        spectral.bias.copy_(gcnn.bias)
    close(spectral(x, graph), gcnn(x, graph))


def test_a_spectral_filter_of_few_splines_has_a_smooth_response():
    graph = undirected(12)
    conv = redraw_(specializations.spectral(1, 1, coefficients=4, bias=False).bind(graph))
    eigenvalues, vectors = torch.linalg.eigh(dense(graph, gso.symmetric(graph)))
    response = torch.stack([vectors[:, i] @ conv(vectors[:, i : i + 1], graph)[:, 0] for i in range(12)])
    # four cubic splines on one interval are the cubics
    cubic = torch.linalg.lstsq(torch.stack([eigenvalues**k for k in range(4)], 1), response[:, None])
    assert cubic.residuals.abs().max() < 1e-16 if len(cubic.residuals) else True
    fitted = torch.stack([eigenvalues**k for k in range(4)], 1) @ cubic.solution
    close(fitted[:, 0], response, atol=1e-8)  # the fit's own conditioning


# ---------------------------------------------------------------- the narrower of two widths
@pytest.fixture
def walked(monkeypatch) -> list[int]:
    """The numbers a node that pass through each hop."""
    widths, spmm = [], ops.spmm

    def counted(graph, weight, x):
        widths.append(x.shape[1] * x.shape[2])
        return spmm(graph, weight, x)

    monkeypatch.setattr(ops, "spmm", counted)
    return widths


@graphs
@pytest.mark.parametrize("batched", [False, True])
def test_taps_walk_in_the_output_where_it_is_narrower(graph, batched, walked, monkeypatch):
    conv = redraw_(specializations.gcnn(5, 2, 3))
    x = torch.randn(*((4,) if batched else ()), graph.num_nodes, 5, requires_grad=True)
    narrow = conv(x, graph)
    grads = torch.autograd.grad(narrow.pow(2).sum(), [x, *conv.parameters()])
    wide = 4 if batched else 1
    assert walked == [2 * wide] * 3
    walked.clear()
    monkeypatch.setattr(taps.Linear, "walk", taps.Taps.walk)
    y = conv(x, graph)
    assert walked == [5 * wide] * 3
    close(narrow, y)
    for a, b in zip(grads, torch.autograd.grad(y.pow(2).sum(), [x, *conv.parameters()]), strict=True):
        close(a, b)


@graphs
@pytest.mark.parametrize("batched", [False, True])
def test_taps_of_few_groups_of_nodes_walk_in_all_their_outputs_where_those_are_narrower(
    graph, batched, walked, monkeypatch
):
    """One output for each of two groups, against five inputs."""
    groups = torch.arange(graph.num_nodes) % 2
    conv = redraw_(specializations.node_varying(5, 1, 3, groups).bind(graph))
    x = torch.randn(*((4,) if batched else ()), graph.num_nodes, 5, requires_grad=True)
    narrow = conv(x, graph)
    grads = torch.autograd.grad(narrow.pow(2).sum(), [x, *conv.parameters()])
    wide, kinds = 4 if batched else 1, len(groups.unique())
    assert walked == [kinds * wide] * 3
    walked.clear()
    monkeypatch.setattr(taps.NodeVarying, "walk", taps.Taps.walk)
    y = conv(x, graph)
    assert walked == [5 * wide] * 3
    close(narrow, y)
    for a, b in zip(grads, torch.autograd.grad(y.pow(2).sum(), [x, *conv.parameters()]), strict=True):
        close(a, b)


def test_taps_of_every_node_walk_in_the_input(walked):
    specializations.node_varying(5, 1, 3)(torch.randn(7, 5), undirected())
    assert walked == [5] * 3


def test_taps_walk_in_the_input_where_that_is_narrower(walked):
    specializations.gcnn(2, 5, 3)(torch.randn(7, 2), undirected())
    assert walked == [2] * 3


@graphs
@pytest.mark.parametrize("layer", [specializations.gcn, specializations.sgc])
def test_a_lift_comes_after_the_walk_where_it_widens(graph, layer, walked, monkeypatch):
    conv = redraw_(layer(2, 5))
    x = torch.randn(graph.num_nodes, 2, requires_grad=True)
    narrow = conv(x, graph)
    grads = torch.autograd.grad(narrow.pow(2).sum(), [x, *conv.parameters()])
    assert set(walked) == {2}
    walked.clear()
    monkeypatch.setattr("edgenet.nn.conv.route", lambda *parts, **options: Route())
    y = conv(x, graph)
    assert set(walked) == {5}
    close(narrow, y)
    for a, b in zip(grads, torch.autograd.grad(y.pow(2).sum(), [x, *conv.parameters()]), strict=True):
        close(a, b)


@pytest.mark.parametrize("layer", [specializations.gcn, specializations.sgc])
def test_a_lift_comes_before_the_walk_where_it_narrows(layer, walked):
    layer(5, 2)(torch.randn(7, 5), undirected())
    assert set(walked) == {2}


# ---------------------------------------------------------------- relabelled nodes, shuffled edges
def relabelled(graph: Graph, order: Tensor) -> Graph:
    """Node i of the result is node ``order[i]`` of ``graph``."""
    return Graph(order.argsort()[graph.edge_index], graph.num_nodes)


DEEP = ["dagnn", "appnp", "gpr", "gcnii", "grand"]
EQUIVARIANT = [*DEEP, "gcnn", "gcn", "sgc", "gat", "gatv2", "gcat", "edge_varying_gat", "arma", "spectral_product"]


@graphs
@pytest.mark.parametrize("layer", EQUIVARIANT)
def test_relabelling_the_nodes_relabels_the_output(graph, layer):
    conv = built(layer, graph)
    x, order = torch.randn(graph.num_nodes, 3), torch.randperm(graph.num_nodes)
    close(conv(x[order], relabelled(graph, order)), conv(x, graph)[order])


@pytest.mark.parametrize("layer", ["edge_varying", "edge_varying-mimo", "edge_varying-heads", "node_varying", "hybrid"])
def test_relabelling_does_not_carry_over_where_weights_belong_to_edges_or_nodes(layer):
    """On a complete graph, whose relabelling has the same edges."""
    graph = Graph((~torch.eye(5, dtype=torch.bool)).nonzero().T.contiguous(), 5)
    conv = built(layer, graph)
    x, order = torch.randn(5, 3), torch.tensor([3, 0, 4, 1, 2])
    assert (conv(x[order], relabelled(graph, order)) - conv(x, graph)[order]).abs().max() > 1e-3


@graphs
def test_edge_varying_weights_that_move_with_their_edges_relabel_the_output(graph):
    conv = redraw_(specializations.edge_varying(3, 2, 2).bind(graph))
    order = torch.randperm(graph.num_nodes)
    other = relabelled(graph, order)
    moved = specializations.edge_varying(3, 2, 2).bind(other)
    row, new = conv.phi.where.of_edges(graph, None), moved.phi.where.of_edges(other, None)
    with torch.no_grad():
        moved.phi.edge_table.weight[new[new >= 0]] = conv.phi.edge_table.weight[row[row >= 0]]
        moved.phi.node_table.weight.copy_(conv.phi.node_table.weight[order])
        moved.bias.copy_(conv.bias)
    x = torch.randn(graph.num_nodes, 3)
    close(moved(x[order], other), conv(x, graph)[order])


ON_GRAPHS = [(layer, name) for layer in LAYERS for name, graph in GRAPHS.items() if walks(layer, graph)]


@pytest.mark.parametrize(("layer", "name"), ON_GRAPHS)
def test_the_order_of_the_edges_does_not_matter(layer, name):
    graph = GRAPHS[name]
    conv = built(layer, graph)
    x, weight = torch.randn(graph.num_nodes, 3), torch.ones(graph.num_edges)
    order = torch.randperm(graph.num_edges)
    shuffled = graph.edge_index[:, order].contiguous()
    close(conv(x, shuffled, weight[order]), conv(x, graph, weight))


# ---------------------------------------------------------------- every layer on every graph
@graphs
@layers
def test_outputs_and_gradients_are_finite(graph, layer):
    conv = LAYERS[layer](3, 4)
    x = torch.randn(graph.num_nodes, 3, requires_grad=True)
    if not walks(layer, graph):
        with pytest.raises(ShapeError, match="symmetric"):
            conv(x, graph)
        return
    y = conv(x, graph)
    assert y.shape[0] == graph.num_nodes and y.isfinite().all()
    y.pow(2).sum().backward()
    assert x.grad.isfinite().all()
    for parameter in conv.parameters():
        assert parameter.numel() == 0 or parameter.grad.isfinite().all()


@layers
def test_a_batch_of_signals_is_signals_one_by_one(layer):
    graph = undirected()
    conv = built(layer, graph)
    x = torch.randn(4, graph.num_nodes, 3)
    close(conv(x, graph), torch.stack([conv(signal, graph) for signal in x]))


@layers
def test_an_empty_batch_of_signals_has_an_empty_output(layer):
    graph = undirected()
    conv = built(layer, graph)
    y = conv(torch.randn(0, graph.num_nodes, 3), graph)
    assert y.shape == (0, *conv(torch.randn(graph.num_nodes, 3), graph).shape)


@layers
def test_the_width_of_the_input_can_be_left_to_the_first_one(layer):
    graph = undirected()
    torch.manual_seed(5)
    known = LAYERS[layer](3, 4)
    lazy = LAYERS[layer](-1, 4)
    x = torch.randn(graph.num_nodes, 3)
    known(x, graph), lazy(x, graph)
    shapes = {name: value.shape for name, value in known.state_dict().items()}
    assert {name: value.shape for name, value in lazy.state_dict().items()} == shapes
    lazy.load_state_dict(known.state_dict())
    close(lazy(x, graph), known(x, graph))


@pytest.mark.parametrize("layer", ["gat", "gatv2"])
def test_both_widths_of_a_bipartite_layer_can_be_left_to_the_first_input(layer):
    conv = SPECIALIZATIONS[layer]((-1, -1), 3, add_self_loops=False)
    known = SPECIALIZATIONS[layer]((4, 5), 3, add_self_loops=False)
    x = (torch.randn(3, 4), torch.randn(2, 5))
    edge_index = torch.tensor([[0, 1, 2], [0, 0, 1]])
    conv(x, edge_index)
    conv.load_state_dict(known.state_dict())
    close(conv(x, edge_index), known(x, edge_index))


@layers
def test_parameters_can_be_drawn_anew(layer):
    graph = undirected()
    conv = built(layer, graph)
    x = torch.randn(graph.num_nodes, 3)
    before = {name: value.detach().clone() for name, value in conv.named_parameters()}
    y = conv(x, graph)
    conv.reset_parameters()
    for name, value in conv.named_parameters():
        assert value.shape == before[name].shape
        assert value.numel() == 0 or not value.equal(before[name]), name
    assert conv(x, graph).isfinite().all() and not torch.allclose(conv(x, graph), y)


@layers
def test_the_state_of_a_layer_makes_a_fresh_one_equal(layer):
    """Also one whose tables have no graph yet, and whose input width is not known yet."""
    graph = undirected()
    conv = built(layer, graph)
    x = torch.randn(graph.num_nodes, 3)
    for fresh in (LAYERS[layer](3, 4), LAYERS[layer](-1, 4), built(layer, graph)):
        fresh.load_state_dict(copy.deepcopy(conv.state_dict()))
        close(fresh(x, graph), conv(x, graph))


@layers
def test_a_fresh_layer_can_be_saved_before_it_saw_a_graph(layer):
    state = LAYERS[layer](-1, 4).state_dict()
    LAYERS[layer](-1, 4).load_state_dict(state)


@layers
def test_a_copy_is_equal_and_apart(layer):
    graph = undirected()
    conv = built(layer, graph)
    x = torch.randn(graph.num_nodes, 3)
    y = conv(x, graph)
    twin = copy.deepcopy(conv)
    close(twin(x, graph), y)
    redraw_(twin)
    assert not torch.allclose(twin(x, graph), y)
    close(conv(x, graph), y)


@layers
def test_a_layer_can_be_pickled_before_and_after_it_saw_a_graph(layer):
    graph = undirected()
    fresh = pickle.loads(pickle.dumps(LAYERS[layer](-1, 4)))
    assert fresh(torch.randn(graph.num_nodes, 3), graph).isfinite().all()
    conv = built(layer, graph)
    x = torch.randn(graph.num_nodes, 3)
    close(pickle.loads(pickle.dumps(conv))(x, graph), conv(x, graph))


REPRS = {
    "gcnn": "EdgeNetConv(3, 4, order=2, heads=1, phi=ShiftOperator)",
    "gcn": "EdgeNetConv(3, 4, order=1, heads=1, phi=ShiftOperator)",
    "gat": "EdgeNetConv(3, 4, order=1, heads=2, phi=Attention)",
    "gatv2": "EdgeNetConv(3, 4, order=1, heads=2, phi=AttentionV2)",
    "edge_varying_gat": "EdgeNetConv(3, 4, order=2, heads=2, phi=Attention)",
    "edge_varying": "EdgeNetConv(3, 4, order=2, heads=12, phi=EdgeVarying)",
    "edge_varying-mimo": "EdgeNetConv(3, 4, order=2, heads=4, phi=EdgeMatrix)",
    "spectral": "SpectralConv(3, 4, coefficients=None)",
    "spectral_product": "EdgeNetConv(3, 4, order=2, heads=2, phi=ShiftProduct)",
}


@pytest.mark.parametrize("layer", REPRS)
def test_a_layer_says_what_it_is(layer):
    assert repr(LAYERS[layer](3, 4)) == REPRS[layer]


def test_a_layer_of_unknown_width_says_minus_1():
    assert repr(EdgeNetConv(-1, 4, phi="attention")) == "EdgeNetConv(-1, 4, order=1, heads=1, phi=Attention)"
    assert repr(EdgeNetConv((3, 5), 4, phi="attention")) == "EdgeNetConv((3, 5), 4, order=1, heads=1, phi=Attention)"


# ---------------------------------------------------------------- what edges may be given as
FORMS: dict[str, Callable[[Graph], object]] = {
    "graph": lambda graph: graph,
    "EdgeIndex": lambda graph: EdgeIndex(graph.edge_index, sparse_size=(graph.num_nodes,) * 2),
    "sorted EdgeIndex": lambda graph: EdgeIndex(graph.edge_index, sparse_size=(graph.num_nodes,) * 2).sort_by("col")[0],
    "int32": lambda graph: graph.edge_index.int(),
    "strided": lambda graph: graph.edge_index.T.contiguous().T,
    "coo": lambda graph: dense(graph, torch.ones(graph.num_edges)).to_sparse_coo(),
    "csr": lambda graph: dense(graph, torch.ones(graph.num_edges)).to_sparse_csr(),
    "csc": lambda graph: dense(graph, torch.ones(graph.num_edges)).to_sparse_csc(),
}


@pytest.mark.parametrize("form", FORMS)
@layers
def test_edges_may_come_in_any_form(layer, form):
    graph = undirected()
    conv = built(layer, graph)
    x = torch.randn(graph.num_nodes, 3)
    close(conv(x, FORMS[form](graph)), conv(x, graph.edge_index))


@pytest.mark.parametrize("form", ["coo", "csr"])
def test_the_values_of_a_sparse_adjacency_are_edge_weights(form):
    graph = GRAPHS["directed"] if "directed" in GRAPHS else undirected()
    weight = torch.rand(graph.num_edges) + 0.5
    matrix = dense(graph, weight)
    conv = redraw_(specializations.gcnn(3, 2, 2))
    x = torch.randn(graph.num_nodes, 3)
    close(conv(x, matrix.to_sparse_coo() if form == "coo" else matrix.to_sparse_csr()), conv(x, graph, weight))


FLOWS: dict[str, Callable[..., EdgeNetConv]] = {
    "shift": lambda **flow: EdgeNetConv(3, 2, 2, phi="shift", **flow),
    "edge_varying": lambda **flow: EdgeNetConv(3, 2, 2, heads=2, phi="edge_varying", **flow),
    "attention": lambda **flow: EdgeNetConv(3, 2, 1, heads=2, phi="attention", **flow),
}


@graphs
@pytest.mark.parametrize("phi", FLOWS)
def test_messages_may_flow_against_the_edges(graph, phi):
    backwards, forwards = FLOWS[phi](flow="target_to_source"), FLOWS[phi]()
    turned = Graph(graph.edge_index.flip(0), graph.num_nodes)
    forwards.bind(turned), backwards.bind(graph)
    redraw_(forwards)
    backwards.load_state_dict(forwards.state_dict())
    x, weight = torch.randn(graph.num_nodes, 3), torch.rand(graph.num_edges)
    close(backwards(x, graph, weight), forwards(x, turned, weight))
    close(backwards(x, graph.edge_index, weight), forwards(x, turned, weight))


# ---------------------------------------------------------------- two kinds of nodes
def bipartite() -> Graph:
    return Graph(torch.tensor([[0, 3, 1, 0, 2, 3], [0, 0, 1, 2, 2, 2]]), num_nodes=4, num_sources=5)


@pytest.mark.parametrize("channels", [3, (3, 3), (3, 6)], ids=str)
def test_a_shift_operator_carries_sources_to_targets(channels):
    graph = bipartite()
    own = channels[1] if isinstance(channels, tuple) else channels
    conv = redraw_(specializations.gcnn(channels, 2, 1, normalize=None))
    x, target, weight = torch.randn(5, 3), torch.randn(4, own), torch.randn(graph.num_edges)
    mix = conv.taps.linear.weight.to_dense()
    wanted = target @ mix[:, :own].T + dense(graph, weight) @ x @ mix[:, own:].T + conv.bias
    close(conv((x, target), graph.edge_index, weight), wanted)
    close(conv((x, target), graph, weight), wanted)


def test_weights_shared_by_type_carry_sources_to_targets():
    graph, kind = bipartite(), torch.tensor([0, 1, 1, 0, 1, 0])
    phi = EdgeVarying(1, 2, share="type", num_types=2, self_loops=False)
    conv = redraw_(EdgeNetConv((3, 4), 2, phi=phi))
    x, target = torch.randn(5, 3), torch.randn(4, 4)
    z, own = conv.lift(x), conv.lift_target(target)
    table = phi.edge_table.to_dense()
    walked = torch.stack([dense(graph, table[kind, h]) @ z[:, h] for h in range(2)], 1)
    close(conv((x, target), graph, edge_attr=kind), (own + walked).flatten(1) + conv.bias)


def test_targets_without_a_signal_need_a_size():
    graph = bipartite()
    conv = EdgeNetConv((3, 3), 2, phi="shift", self_tap=False)
    x = torch.randn(5, 3)
    close(conv((x, None), graph.edge_index, size=(5, 4)), conv((x, torch.randn(4, 3)), graph.edge_index))
    with pytest.raises(ShapeError, match=r"size=\(sources, targets\)"):
        conv((x, None), graph.edge_index)


def test_no_parameter_of_a_bipartite_layer_is_left_without_a_gradient():
    graph, x = bipartite(), (torch.randn(5, 3), torch.randn(4, 4))
    convs = [
        specializations.gat((3, 4), 2, heads=2, add_self_loops=False),
        specializations.gatv2((3, 4), 2, heads=2, add_self_loops=False),
        specializations.gcnn((3, 4), 2, 1, normalize=None),
        EdgeNetConv((3, 4), 2, phi="attention_v2", self_tap=True, add_self_loops=False),
    ]
    for conv in convs:
        conv(x, graph).pow(2).sum().backward()
        assert [name for name, p in conv.named_parameters() if p.grad is None] == [], conv


def test_attention_weights_come_only_where_they_are_asked_for():
    graph, x = undirected(), torch.randn(7, 3)
    conv = specializations.gat(3, 2)
    assert isinstance(conv(x, graph, return_attention_weights=False), Tensor)
    assert isinstance(conv(x, graph), Tensor)


def test_weights_of_every_hop_come_where_hops_differ():
    graph, x = undirected(), torch.randn(7, 3)
    edges = graph.num_edges
    shapes = {
        "gcnn": (edges, 1),
        "gcat": (edges + 7, 2),
        "edge_varying_gat": (2, edges + 7, 2),
        "edge_varying": (2, edges, 12),
    }
    for layer, shape in shapes.items():
        _, (edge_index, weight) = built(layer, graph)(x, graph, return_attention_weights=True)
        assert tuple(weight.shape) == shape
        assert edge_index.shape[1] == shape[-2]


# ---------------------------------------------------------------- number types, compilation, export
@pytest.mark.float32
@layers
def test_bfloat16_autocast_is_near_float32(layer):
    graph = undirected()
    torch.manual_seed(1)
    conv = LAYERS[layer](3, 4).bind(graph)
    x = torch.randn(graph.num_nodes, 3, requires_grad=True)
    y = conv(x, graph)
    with torch.autocast("cpu", torch.bfloat16):
        half = conv(x, graph)
    assert half.isfinite().all()
    error = (half.float() - y).norm() / y.norm()
    assert error < 0.03, error  # bfloat16 keeps 8 bits, so 0.4 % a rounding
    half.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in conv.parameters())


@layers
def test_float32_is_near_float64(layer):
    graph = undirected()
    conv = LAYERS[layer](3, 4).bind(graph)
    x = torch.randn(graph.num_nodes, 3)
    y = conv(x, graph)
    single = copy.deepcopy(conv).float()
    single = single(x.float(), graph)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), y, rtol=1e-4, atol=1e-5)  # float32


COMPILED = [
    *DEEP, "gcnn", "gcn", "gat-mean", "gatv2", "gcat", "edge_varying", "edge_varying-mimo", "node_varying", "arma",
]  # fmt: skip


def compiled(module: nn.Module) -> Callable:
    torch.compiler.reset()
    return torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")


@pytest.mark.parametrize("layer", COMPILED)
def test_a_layer_compiles_as_one_graph_on_a_prepared_graph(layer):
    graph = undirected()
    conv = built(layer, graph)
    x = torch.randn(graph.num_nodes, 3, requires_grad=True)
    y = conv(x, graph)
    wanted = torch.autograd.grad(y.pow(2).sum(), [x, *conv.parameters()])
    out = compiled(conv)(x, graph)
    close(out, y)
    for a, b in zip(torch.autograd.grad(out.pow(2).sum(), [x, *conv.parameters()]), wanted, strict=True):
        close(a, b)


PLAIN = ["gcnn", "gat-mean", "edge_varying", "spectral_product", "arma"]


@pytest.mark.parametrize("layer", PLAIN)
def test_a_layer_compiles_as_one_graph_for_any_edge_list(layer):
    graph = undirected()
    conv = built(layer, graph)
    fast = compiled(conv)
    keep = torch.arange(graph.num_edges) % 3 != 0  # fewer edges, same nodes: tables know them
    for edge_index in (graph.edge_index, graph.edge_index[:, keep].contiguous()):
        x = torch.randn(graph.num_nodes, 3)
        close(fast(x, edge_index), conv(x, edge_index))
    if layer != "edge_varying":
        other = undirected(11)
        x = torch.randn(11, 3)
        close(fast(x, other.edge_index), conv(x, other.edge_index))


EXPORTED = [*DEEP, "gcnn", "gat", "gat-mean", "gcn", "edge_varying"]


@pytest.mark.parametrize("layer", EXPORTED)
def test_a_layer_can_be_exported_for_graphs_of_any_size(layer):
    graph = undirected()
    conv = built(layer, graph)
    nodes, edges = torch.export.Dim("nodes", min=3), torch.export.Dim("edges", min=3)
    shapes = {"x": {0: None if layer == "edge_varying" else nodes}, "edge_index": {1: edges}}
    x = torch.randn(graph.num_nodes, 3)
    program = torch.export.export(conv, (x, graph.edge_index), dynamic_shapes=shapes)
    other = Graph(graph.edge_index[:, ::2].contiguous(), 7) if layer == "edge_varying" else undirected(11)
    x = torch.randn(other.num_nodes, 3)
    close(program.module()(x, other.edge_index), conv(x, other.edge_index))


# ---------------------------------------------------------------- parts of one's own
class Halves(Phi):
    """Every edge weighs a half."""

    order, heads = 2, 1

    def forward(self, x, z, graph, edge_weight=None, edge_attr=None) -> Tensor:
        return z.new_full((self.order, graph.num_edges, 1), 0.5)


@graphs
def test_a_phi_of_ones_own_is_walked_like_the_librarys(graph):
    conv = EdgeNetConv(3, 2, phi=Halves())
    x = torch.randn(graph.num_nodes, 3)
    step, z = dense(graph, torch.full((graph.num_edges,), 0.5)), conv.lift(x)[:, 0]
    close(conv(x, graph), z + step @ z + step @ step @ z + conv.bias)


@graphs
def test_layers_in_parallel_are_summed(graph):
    both = Parallel(specializations.gcn(3, 4), specializations.gcnn(3, 4))
    x = torch.randn(graph.num_nodes, 3)
    close(both(x, graph), both.convs[0](x, graph) + both.convs[1](x, graph))


# ---------------------------------------------------------------- bad input
def refuses(error: type[Exception], *texts: str):
    """Raises the error, with all the texts in it."""

    class Check:
        def __enter__(self):
            self.context = pytest.raises(error)
            self.info = self.context.__enter__()

        def __exit__(self, *exception):
            caught = self.context.__exit__(*exception)
            for text in texts:
                assert text in str(self.info.value)
            return caught

    return Check()


X, EDGES = torch.zeros(3, 4, dtype=torch.float64), torch.tensor([[0, 1], [1, 2]])


@layers
def test_an_edge_to_a_node_that_is_not_there_is_refused(layer):
    conv = LAYERS[layer](4, 2)
    with refuses(EdgeIndexError, "target 3", "0 to 2", "drop or renumber"):
        conv(X, torch.tensor([[0, 1], [1, 3]]))
    with refuses(EdgeIndexError, "source -1", "0 to 2"):
        conv(X, torch.tensor([[0, -1], [1, 2]]))


def test_a_malformed_edge_list_is_refused():
    conv = specializations.gat(4, 2)
    with refuses(EdgeIndexError, "torch.float64", "edge_index.long()"):
        conv(X, EDGES.double())
    with refuses(EdgeIndexError, "(2, E)", "(3, 2)"):
        conv(X, torch.zeros(3, 2, dtype=torch.long))
    with refuses(EdgeIndexError, "list"):
        conv(X, [[0, 1], [1, 2]])
    with refuses(EdgeIndexError, "4 x 4", "3 targets"):
        conv(X, torch.eye(4).to_sparse_csr())


@layers
def test_features_of_another_width_are_refused(layer):
    conv = LAYERS[layer](5, 2)
    with refuses(ShapeError, "5", "4"):
        conv(X, EDGES if layer != "spectral" else EDGES[:, :0])


def test_features_that_are_no_signal_are_refused():
    conv = specializations.gcnn(4, 2)
    with refuses(ShapeError, "floats", "torch.int64"):
        conv(X.long(), EDGES)
    with refuses(ShapeError, "(nodes, features)", "(3,)"):
        conv(X[:, 0], EDGES)


def test_edge_weights_and_features_of_another_length_are_refused():
    conv = specializations.gat(4, 2, edge_dim=3)
    with refuses(ShapeError, "edge_weight", "2 edges", "(5,)"):
        conv(X, EDGES, edge_weight=torch.ones(5), edge_attr=torch.ones(2, 3))
    with refuses(ShapeError, "edge_attr", "2 edges", "(4, 3)"):
        conv(X, EDGES, edge_attr=torch.ones(4, 3))
    with refuses(ShapeError, "edge_dim=3"):
        specializations.gat(4, 2)(X, EDGES, edge_attr=torch.ones(2, 3))
    with refuses(ShapeError, "2 shift operators", "(2,)"):
        specializations.gcnn(4, 2, shifts=2, normalize=None)(X, EDGES, torch.ones(2))


@pytest.mark.parametrize("layer", ["edge_varying", "edge_varying-mimo", "edge_varying-heads", "hybrid"])
def test_an_edge_outside_the_support_is_refused(layer):
    conv = LAYERS[layer](4, 2).bind(EDGES, 3)
    with refuses(SupportError, "edge 1 (2 -> 0)", "share by hash"):
        conv(X, torch.tensor([[0, 2], [1, 0]]))


@pytest.mark.parametrize("layer", ["edge_varying", "edge_varying-by-node", "node_varying", "hybrid", "spectral"])
def test_a_table_is_refused_on_another_graph(layer):
    edges = EDGES if layer != "spectral" else torch.cat([EDGES, EDGES.flip(0)], 1)
    conv = LAYERS[layer](4, 2).bind(edges, 3)
    with refuses(SupportError, "3 nodes", "5"):
        conv(torch.zeros(5, 4), edges)


@pytest.mark.parametrize("layer", ["edge_varying", "edge_varying-by-node", "node_varying", "hybrid"])
def test_a_bound_layer_refuses_to_be_bound_to_another_graph(layer):
    conv = LAYERS[layer](4, 2).bind(EDGES, 3)
    conv.bind(EDGES, 3)  # the same one is harmless
    with refuses(SupportError, "3 nodes", "5"):
        conv.bind(EDGES, 5)


def test_a_sampled_piece_cannot_be_the_first_graph_of_a_table():
    for conv in (specializations.edge_varying(4, 2), specializations.node_varying(4, 2)):
        with refuses(SupportError, "bind"):
            conv(X, EDGES, n_id=torch.arange(3))


def test_an_edge_list_without_a_number_of_nodes_cannot_be_bound():
    with refuses(ShapeError, "num_nodes"):
        specializations.edge_varying(4, 2).bind(EDGES)


def test_layers_that_cannot_be_are_refused():
    with refuses(ShapeError, "order 0", "self tap"):
        EdgeNetConv(4, 2, order=0, phi="shift", self_tap=False)
    with refuses(ShapeError, "-1", "order >= 0"):
        EdgeNetConv(4, 2, order=-1)
    with refuses(ShapeError, "atention", "attention_v2", "edge_varying"):
        EdgeNetConv(4, 2, phi="atention")
    with refuses(ShapeError, "dropout", "Attention"):
        EdgeNetConv(4, 2, phi=Attention(1, 1, 2), dropout=0.5)
    with refuses(ShapeError, "sum", "last"):
        taps.Sum("last")
    with refuses(ShapeError, "siso", "simo"):
        specializations.edge_varying(4, 2, bank="simo")
    with refuses(ShapeError, "share", "'edges'"):
        specializations.edge_varying(4, 2, share="edges")
    with refuses(ShapeError, "'symmetric'", "sym"):
        specializations.gcnn(4, 2, normalize="symmetric")
    with refuses(ShapeError, "heads=2"):
        EdgeNetConv(4, 2, heads=2, phi="edge_matrix")
    with refuses(ShapeError, "3 heads", "4 output channels"):
        specializations.hybrid(4, 4, bank="heads", heads=3)
    with refuses(ShapeError, "fill_value", "'median'"):
        specializations.gat(4, 2, edge_dim=1, fill_value="median")(X, EDGES, edge_attr=torch.ones(2, 1))
    with refuses(ShapeError, "(4, 5)"):
        specializations.gatv2((4, 5), 2, share_weights=True)


def test_what_a_bipartite_graph_lacks_is_refused():
    x, edges = (torch.zeros(3, 4), torch.zeros(2, 4)), torch.tensor([[0, 2], [1, 0]])
    with refuses(ShapeError, "walked once", "order 2"):
        specializations.gcnn(4, 2, 2, normalize=None)(x, edges)
    with refuses(ShapeError, "walked once", "order 2"):
        specializations.edge_varying_gat(4, 2, 2, add_self_loops=False)((x[0], None), edges, size=(3, 2))
    with refuses(ShapeError, "random_walk"):
        specializations.gcnn(4, 2, 1)(x, edges)
    with refuses(SupportError, "in_channels=(sources, targets)", "self_loops=False"):
        EdgeNetConv(4, 2, phi="edge_varying")(x, edges)
    with refuses(ShapeError, "self_loops=False"):
        EdgeNetConv(4, 2, phi=EdgeVarying(1, 1, share="hash", buckets=3))(x, edges)
    with refuses(ShapeError, "self_tap=False"):
        EdgeNetConv(4, 2, phi="shift")((x[0], None), edges, size=(3, 2))


def test_a_sparse_adjacency_says_its_own_direction():
    conv = EdgeNetConv(4, 2, phi="shift", flow="target_to_source")
    with refuses(ShapeError, "source_to_target"):
        conv(X, torch.eye(3).to_sparse_csr())


def test_a_convolution_is_one_of_pygs():
    assert isinstance(specializations.edge_varying(3, 4), MessagePassing)
    assert isinstance(specializations.gcnn(3, 4).phi, ShiftOperator)


def test_additive_edge_weights_start_as_the_shift_operator():
    graph = undirected()
    conv = specializations.additive(3, 4, bias=False)
    with_loops = graph.with_self_loops()[0]
    x = torch.randn(graph.num_nodes, 3)
    close(conv(x, graph), dense(with_loops, gso.symmetric(with_loops)) @ conv.lift(x).flatten(1))
