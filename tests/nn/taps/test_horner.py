"""A polynomial of one operator with a matrix for every tap, against dense powers and the authors' attention layer."""

import pytest
import torch
from nn.test_alegnn import ApartAttention, by_rows, fill, fill_scores, merged, of_scores, scrambled, unscrambled
from stored import oracle, tensors

from edgenet import EdgeNetConv, Graph
from edgenet.errors import ShapeError
from edgenet.nn import specializations as nets
from edgenet.nn import taps
from edgenet.nn.lift import LinearLift
from edgenet.phi import EdgeVarying, ShiftOperator
from edgenet.structured import StructuredLinear
from edgenet.testing import random_graph

EXACT = {"rtol": 1e-10, "atol": 1e-10}
GRAPH = random_graph(13, 47)


def dense(graph, weight):
    return torch.zeros(13, 13).index_put((graph.target, graph.source), weight, accumulate=True)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("concat", [True, False])
def test_gcat_has_a_matrix_for_every_tap_and_head(order, concat):
    conv = nets.gcat(5, 2, order, heads=3, concat=concat, taps="matrix")
    torch.nn.init.normal_(conv.bias)
    x = torch.randn(13, 5, requires_grad=True)
    y, (edges, alpha) = conv(x, GRAPH, return_attention_weights=True)
    matrices = conv.lift.linear.weight.to_dense().view(3, order + 1, 2, 5)
    heads = []
    for h in range(3):
        operator = dense(Graph(edges, 13), alpha[:, h])
        heads.append(sum(torch.linalg.matrix_power(operator, k) @ x @ matrices[h, k].T for k in range(order + 1)))
    wanted = (torch.cat(heads, 1) if concat else sum(heads) / 3) + conv.bias
    leaves, direction = [x, *conv.parameters()], torch.randn_like(y)
    for got in (y, conv(x, GRAPH)):
        torch.testing.assert_close(got, wanted, **EXACT)
        pair = (torch.autograd.grad(z, leaves, direction, retain_graph=True) for z in (got, wanted))
        for ours, right in zip(*pair, strict=True):
            torch.testing.assert_close(ours, right, **EXACT)


def test_matrices_that_are_multiples_of_one_are_the_taps_that_are_numbers():
    numbers, matrices = nets.gcat(5, 2, 2, heads=2), nets.gcat(5, 2, 2, heads=2, taps="matrix")
    with torch.no_grad():
        numbers.taps.weight.copy_(torch.tensor([1.0, -0.5, 2.0]))
        one = numbers.lift.linear.weight.weight.view(2, 1, 2, 5)
        matrices.lift.linear.weight.weight.copy_((one * numbers.taps.weight.view(3, 1, 1)).flatten(0, 2))
        for name in ("att_source", "att_target"):  # attention reads x W_0 = x W alone
            wide = getattr(matrices.phi, name).weight
            wide.zero_()[:, :2] = getattr(numbers.phi, name).weight
    x = torch.randn(13, 5)
    torch.testing.assert_close(matrices(x, GRAPH), numbers(x, GRAPH), **EXACT)


@oracle("alegnn/gcat_*.npz")
def test_it_gives_the_numbers_of_alegnn(stored):
    """Their taps are numbers, h_k W; gradients in those come of that in the matrices."""
    a = tensors(stored)
    p, e, f, g = a["weight"].shape
    h, lifted = a["filterWeight"], scrambled(a["weight"])  # (E, K), (P, F, E, G)
    order, (graph, _) = h.shape[1] - 1, by_rows(a["S"], loops=True)
    x, convs = a["x"].transpose(1, 2).clone().requires_grad_(), []
    for i in range(e):
        lift = LinearLift(StructuredLinear.dense(g, p * (order + 1) * f), p)
        phi = ApartAttention(order, p, f, g)
        conv = EdgeNetConv(
            g, f, phi=phi, lift=lift, taps=taps.Horner(), self_tap=True, add_self_loops=False, bias=False
        )
        fill(lift.linear.weight.weight, torch.einsum("k,pfg->pkfg", h[i], lifted[:, :, i]).flatten(0, 2))
        fill(phi.own.weight.weight, a["weight"][:, i].flatten(0, 1))
        fill_scores(phi, a["mixer"][:, i].unsqueeze(0))
        convs.append(conv)
    y = sum(conv(x, graph) for conv in convs) + a["bias"].squeeze(1).repeat(p)
    y = merged(y, p, bool(a["concatenate"])).transpose(1, 2)
    torch.testing.assert_close(y, a["y"], **EXACT)
    (y * a["r"]).sum().backward()
    torch.testing.assert_close(x.grad.transpose(1, 2), a["grad_x"], **EXACT)
    of_matrices = torch.stack([conv.lift.linear.weight.weight.grad.view(p, -1, f, g) for conv in convs])
    torch.testing.assert_close(torch.einsum("epkfg,pfeg->ek", of_matrices, lifted), a["grad_filterWeight"], **EXACT)
    walked = unscrambled(torch.einsum("epkfg,ek->pfeg", of_matrices, h), p, e, f, g)
    scored = torch.stack([conv.phi.own.weight.weight.grad.view(p, f, g) for conv in convs], 1)
    torch.testing.assert_close(walked + scored, a["grad_weight"], **EXACT)
    mixers = torch.stack([of_scores(conv.phi)[0] for conv in convs], 1)
    torch.testing.assert_close(mixers, a["grad_mixer"], **EXACT)


def test_it_is_a_graph_filter_by_horners_rule():
    lift = LinearLift(StructuredLinear.dense(5, 12))
    conv = EdgeNetConv(5, 4, phi=ShiftOperator(2, normalize="rw"), lift=lift, taps="horner")
    filter_ = nets.gcnn(5, 4, 2, normalize="rw")
    with torch.no_grad():
        blocks = lift.linear.weight.weight.view(3, 4, 5)
        filter_.taps.linear.weight.weight.copy_(blocks.transpose(0, 1).flatten(1))
    x = torch.randn(2, 13, 5)
    torch.testing.assert_close(conv(x, GRAPH), filter_(x, GRAPH), **EXACT)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"phi": EdgeVarying(2, 1)}, "of one operator"),
        ({"phi": ShiftOperator(2), "self_tap": False}, "self_tap=True"),
        ({"phi": ShiftOperator(2)}, "3 hops .* the lift gives 5"),
    ],
)
def test_what_horners_rule_is_not_for_is_refused(options, says):
    with pytest.raises(ShapeError, match=says):
        EdgeNetConv(5, 5, lift="identity", taps="horner", **options)(torch.randn(13, 5), GRAPH)


def test_other_taps_of_gcat_are_refused():
    with pytest.raises(ShapeError, match="'teleport' or 'matrix', got 'vector'"):
        nets.gcat(5, 2, taps="vector")
