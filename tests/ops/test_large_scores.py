"""Scores of any size: what they share does not count, and gradients keep their digits."""

import pytest
import torch
import torch.nn.functional as F

from edgenet import ops
from edgenet.testing import random_graph

GRAPH = random_graph(40, 300)
HEADS = pytest.mark.parametrize("heads", [1, 3, 8, 13])  # few and many heads have loops of their own
KEPT_TWO = 3e-5  # relative, in float32; the log-sum-exp of scores of 1e6 alone is known to 0.03


def error(got, wanted):
    """The largest relative error of a gradient, in the Euclidean norm."""
    return max(((g.double() - w).norm() / w.norm().clamp_min(1e-30)).item() for g, w in zip(got, wanted, strict=True))


def gradients(function, tensors):
    leaves = [t.detach().requires_grad_() for t in tensors]
    y = function(*leaves)
    return torch.autograd.grad(y, leaves, torch.linspace(-1, 2, y.numel()).reshape(y.shape).to(y.dtype))


def alpha_of(score, graph=GRAPH):
    top = torch.full((graph.num_nodes, score.shape[1]), -torch.inf, dtype=score.dtype)
    top = top.scatter_reduce(0, graph.target[:, None].expand_as(score), score.detach(), "amax")
    grown = (score - top[graph.target]).exp()
    return grown / torch.zeros_like(top).index_add(0, graph.target, grown)[graph.target]


def walked(alpha, x):
    return torch.zeros_like(x).index_add(0, GRAPH.target, alpha.unsqueeze(-1) * x[GRAPH.source])


@HEADS
@pytest.mark.parametrize("shift", [1e4, 1e5, 1e6, -1e5, -1e6])
@pytest.mark.parametrize("backend", ops.available("attention"))
def test_attention_with_scores_that_share_a_large_number_has_the_gradients_of_float64(backend, shift, heads):
    # numbers of which float32 holds the sum exactly, also after the slope of 1/4
    score = torch.randint(-8, 9, (40, heads)).float() / 2 + torch.tensor(shift).float()
    receiver, x = torch.randint(-8, 9, (40, heads)).float(), torch.randn(40, heads, 5).float()
    with ops.use(backend):
        got = gradients(lambda *t: ops.attention(GRAPH, *t, negative_slope=0.25), (score, receiver, x))
    wanted = gradients(
        lambda s, t, x: walked(alpha_of(F.leaky_relu(s[GRAPH.source] + t[GRAPH.target], 0.25)), x),
        [t.double() for t in (score, receiver, x)],
    )
    assert error(got[::2], wanted[::2]) < KEPT_TWO


@HEADS
@pytest.mark.parametrize("shift", [1e4, 1e5, 1e6])
@pytest.mark.parametrize("backend", ops.available("attention"))
def test_attention_v2_likewise(backend, shift, heads):
    x, receiver = torch.randint(-2, 3, (40, heads, 4)).float(), torch.full((40, heads, 4), shift).float()
    att = torch.tensor([1.0, -0.5, 2.0, 1.0]).float().expand(heads, -1)
    with ops.use(backend):
        got = gradients(lambda *t: ops.attention_v2(GRAPH, *t), (x, receiver, att))
    wanted = gradients(
        lambda x, u, a: walked(alpha_of((F.leaky_relu(x[GRAPH.source] + u[GRAPH.target], 0.2) * a).sum(-1)), x),
        [t.double() for t in (x, receiver, att)],
    )
    assert error(got[:1], wanted[:1]) < KEPT_TWO


@pytest.mark.parametrize("shift", [1e4, 1e6, -1e6])
@pytest.mark.parametrize("backend", ops.available("segment_softmax"))
def test_segment_softmax_likewise(backend, shift):
    score = torch.randint(-8, 9, (300, 5)).float() / 2 + torch.tensor(shift).float()
    with ops.use(backend):
        got = gradients(lambda s: ops.segment_softmax(s, GRAPH), (score,))
    assert error(got, gradients(alpha_of, (score.double(),))) < KEPT_TWO


@pytest.mark.parametrize("scale", [1e4, 1e5, 1e6])
@pytest.mark.parametrize("name", ["gat", "gatv2"])
def test_a_layer_on_large_features_has_the_gradients_of_pygs_layer(name, scale):
    pyg = pytest.importorskip("torch_geometric.nn")
    from edgenet.convert import to_edgenet

    kind = {"gat": pyg.GATConv, "gatv2": pyg.GATv2Conv}[name]
    apart, round_off = [], []
    for _ in range(9):  # in some draws two scores of a node all but tie, and either layer loses digits there
        theirs = kind(6, 4, heads=8).float()
        ours = to_edgenet(theirs).float()
        x = (torch.randn(40, 6) * scale).float()
        results = []
        for layer in (ours, theirs):
            leaf = x.clone().requires_grad_()
            layer(leaf, GRAPH.edge_index).square().sum().backward()
            results.append(leaf.grad.double())
        double, leaf = theirs.double(), x.double().requires_grad_()
        double(leaf, GRAPH.edge_index).square().sum().backward()
        apart.append(error(results[:1], results[1:]))
        round_off.append(error(results[1:], [leaf.grad]))
    # the scores themselves are rounded in float32, and both layers round alike
    assert max(apart) < max(KEPT_TWO, 3 * max(round_off))
