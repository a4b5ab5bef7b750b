"""Networks that are special cases of others."""

import pytest
import torch
from convs import LAYERS, built, close, dense, edge_weights, graphs, redraw_, undirected
from torch import nn

from edgenet import gso
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, specializations
from edgenet.phi import EdgeVarying
from edgenet.testing import GRAPHS


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
