"""What EdgeNetConv computes: its definition in dense matrices, the networks that are special cases of others, and what
holds for every layer."""

import pytest
import torch
from convs import close, dense, edge_weights, graphs, redraw_, undirected
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from edgenet import gso
from edgenet.nn import EdgeNetConv, Parallel, lift, specializations, taps
from edgenet.phi import EdgeMatrix, EdgeVarying, Phi, ShiftOperator


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


def test_a_convolution_is_one_of_pygs():
    assert isinstance(specializations.edge_varying(3, 4), MessagePassing)
    assert isinstance(specializations.gcnn(3, 4).phi, ShiftOperator)


def test_additive_edge_weights_start_as_the_shift_operator():
    graph = undirected()
    conv = specializations.additive(3, 4, bias=False)
    with_loops = graph.with_self_loops()[0]
    x = torch.randn(graph.num_nodes, 3)
    close(conv(x, graph), dense(with_loops, gso.symmetric(with_loops)) @ conv.lift(x).flatten(1))
