"""Attention and AttentionV2, against the formulas edge by edge."""

import copy

import pytest
import torch
import torch.nn.functional as F

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.phi import Attention, AttentionV2, DotProduct
from edgenet.structured import Kronecker
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
KINDS = pytest.mark.parametrize("kind", [Attention, AttentionV2])


def signals(heads=2, channels=4, in_channels=5):
    return torch.randn(13, in_channels), torch.randn(13, heads, channels)


def softmax_over_senders(graph, score):
    alpha = torch.zeros_like(score)
    for node in range(graph.num_nodes):
        mine = graph.target == node
        alpha[mine] = torch.softmax(score[mine], 0)
    return alpha


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@KINDS
def test_the_weights_into_every_receiver_sum_to_one(kind):
    x, z = signals()
    weight = kind(2, 2, 4)(x, z, GRAPH)
    total = torch.zeros(2, 13, 2).index_add(1, GRAPH.target, weight)
    receives = (GRAPH.in_degree > 0).double()
    near(total, receives[None, :, None].expand(2, -1, 2))
    sent = torch.zeros(2, 13, 2).index_add(1, GRAPH.source, weight)
    assert not torch.allclose(sent, total)  # senders are not normalised


def test_attention_is_its_formula_edge_by_edge():
    phi, (x, z), attr = Attention(1, 2, 4, edge_dim=3), signals(), torch.randn(47, 3)
    edge = phi.lift_edge(attr).view(47, 2, 4)
    score = torch.stack(
        [
            (phi.att_source.weight * z[j] + phi.att_target.weight * z[i] + phi.att_edge.weight * edge[e]).sum(-1)
            for e, (j, i) in enumerate(GRAPH.edge_index.t().tolist())
        ]
    )
    wanted = softmax_over_senders(GRAPH, F.leaky_relu(score.detach(), 0.2))
    near(phi(x, z, GRAPH, None, attr)[0].detach(), wanted)


@pytest.mark.parametrize("share_weights", [True, False])
def test_dynamic_attention_is_its_formula_edge_by_edge(share_weights):
    phi = AttentionV2(1, 2, 4, in_channels=5, edge_dim=3, share_weights=share_weights, negative_slope=0.1)
    (x, z), attr = signals(), torch.randn(47, 3)
    edge = phi.lift_edge(attr).view(47, 2, 4)
    u = z if share_weights else phi.target(x).view(13, 2, 4)
    score = torch.stack(
        [
            (phi.att.weight * F.leaky_relu(z[j] + u[i] + edge[e], 0.1)).sum(-1)
            for e, (j, i) in enumerate(GRAPH.edge_index.t().tolist())
        ]
    )
    near(phi(x, z, GRAPH, None, attr)[0].detach(), softmax_over_senders(GRAPH, score.detach()))


def test_later_hops_score_by_a_lift_of_the_input_of_their_own():
    phi, (x, z) = Attention(3, 2, 4, share_hops=False, in_channels=5), signals()
    weight = phi(x, z, GRAPH)
    for k in (1, 2):
        alone = Attention(1, 2, 4)
        with torch.no_grad():
            alone.att_source.weight.copy_(phi.att_source.weight[2 * k : 2 * k + 2])
            alone.att_target.weight.copy_(phi.att_target.weight[2 * k : 2 * k + 2])
        near(weight[k], alone(x, phi.lifts[k - 1](x).view(13, 2, 4), GRAPH)[0])
    assert torch.equal(weight[0], phi(x[:, :0].new_zeros(13, 5), z, GRAPH)[0])  # the first reads the layer's lift


@KINDS
def test_given_edge_weights_multiply_after_the_softmax(kind):
    (x, z), phi = signals(), kind(2, 2, 4)
    bare, flat, columns = phi(x, z, GRAPH), torch.rand(47), torch.rand(47, 2)
    near(phi(x, z, GRAPH, flat), bare * flat[:, None])
    near(phi(x, z, GRAPH, columns), bare * columns)


@KINDS
def test_a_batch_of_signals_has_weights_for_each(kind):
    phi = kind(2, 2, 4, in_channels=5, edge_dim=3)
    x, z, weight, attr = torch.randn(13, 3, 5), torch.randn(13, 3, 2, 4), torch.rand(47), torch.randn(47, 3)
    both = phi(x, z, GRAPH, weight, attr)
    assert both.shape == (2, 47, 3 * 2)
    for b in range(3):
        near(both[..., 2 * b : 2 * b + 2], phi(x[:, b], z[:, b], GRAPH, weight, attr))


@KINDS
def test_sources_and_targets_of_a_bipartite_graph_have_signals_of_their_own(kind):
    graph = Graph(torch.tensor([[0, 3, 3, 1], [1, 0, 1, 1]]), 2, 4)
    x, z = (torch.randn(4, 5), torch.randn(2, 5)), (torch.randn(4, 2, 4), torch.randn(2, 2, 4))
    phi = kind(1, 2, 4, in_channels=5)
    # the same edges within one set of nodes: targets are nodes 4 and 5
    joined = Graph(graph.edge_index + torch.tensor([[0], [4]]), 6)
    near(phi(x, z, graph), phi(torch.cat(x), torch.cat(z), joined))


@KINDS
def test_dropout_drops_in_training_alone(kind):
    (x, z), phi = signals(), kind(1, 2, 4, dropout=0.5)
    dropped = phi(x, z, GRAPH) == 0
    assert dropped.any() and not dropped.all()
    assert not (phi.eval()(x, z, GRAPH) == 0).any()


@KINDS
@pytest.mark.parametrize(
    "edge_dim, shape, says",
    [
        (None, (47, 3), "edge_dim=3"),
        (None, (47,), "edge_dim=1"),
        (3, (46, 3), r"47 edges.*\(46, 3\)"),
        (3, (47, 4), r"edge_dim=3.*\(47, 4\)"),
        (-1, (46, 3), r"47 edges.*\(46, 3\)"),
    ],
)
def test_edge_features_that_were_not_announced_are_refused(kind, edge_dim, shape, says):
    x, z = signals()
    with pytest.raises(ShapeError, match=says):
        kind(1, 2, 4, edge_dim=edge_dim)(x, z, GRAPH, None, torch.randn(shape))


@pytest.mark.parametrize("share_hops", [True, False])
def test_a_bias_of_the_scores_is_a_constant_edge_feature(share_hops):
    (x, z), ones = signals(), torch.ones(47, 1)
    phi = Attention(2, 2, 4, share_hops=share_hops, in_channels=5, score_bias=True)
    twin = Attention(2, 2, 4, share_hops=share_hops, in_channels=5, edge_dim=1)
    assert (phi.score_bias == 0).all()  # a new one changes nothing
    with torch.no_grad():
        phi.score_bias.copy_(torch.tensor([0.5, -2.0]))
        for name, parameter in twin.named_parameters():
            if name in dict(phi.named_parameters()):
                parameter.copy_(dict(phi.named_parameters())[name])
        twin.lift_edge.weight.weight.copy_(torch.eye(4)[:1].repeat(2, 1).reshape(8, 1))
        twin.att_edge.weight.copy_(phi.score_bias[0][:, None] * torch.eye(4)[:1])
    near(phi(x, z, GRAPH), twin(x, z, GRAPH, None, ones))


@pytest.mark.parametrize("fused", [False, True])
def test_every_hop_has_a_bias_of_its_own(fused):
    x = torch.randn(13, 5)
    layer = EdgeNetConv(5, 4, 2, 2, phi="attention", share_hops=False, score_bias=True, add_self_loops=False)
    phi = layer.phi
    with torch.no_grad():
        phi.score_bias.copy_(torch.tensor([[0.5, -2.0], [-1.0, 1.5]]))
    first, second = phi(x, layer.lift(x), GRAPH)
    vectors = (part.to_dense().view(2, 2, 4) for part in (phi.att_source, phi.att_target))
    for k, (lift, weight, of_source, of_target) in enumerate(
        zip((layer.lift.linear, phi.lifts[0]), (first, second), *vectors, strict=True)
    ):
        z = lift(x).view(13, 2, 4)
        score = (z[GRAPH.source] * of_source).sum(-1) + (z[GRAPH.target] * of_target).sum(-1) + phi.score_bias[k]
        near(weight, softmax_over_senders(GRAPH, F.leaky_relu(score, 0.2)))
    found = layer(x, GRAPH) if fused else layer(x, GRAPH, return_attention_weights=True)[0]
    z = layer.lift(x)
    hops = []
    for weight in (first, second):
        z = torch.zeros_like(z).index_add(0, GRAPH.target, weight.unsqueeze(-1) * z[GRAPH.source])
        hops.append(z)
    near(found, sum(hops).flatten(1))


@pytest.mark.parametrize("width", [2, 9])  # scores straight from a narrow input, and from the lifted signal
@pytest.mark.parametrize("batch", [None, 3])
def test_a_bias_of_the_scores_is_seen_without_weights_in_memory(width, batch):
    layer = EdgeNetConv(width, 3, heads=2, phi="attention", score_bias=True)
    with torch.no_grad():
        layer.phi.score_bias.copy_(torch.tensor([[0.7, -1.5]]))
    x = torch.randn(*[batch] * (batch is not None), 13, width)
    near(layer(x, GRAPH), layer(x, GRAPH, return_attention_weights=True)[0])
    with torch.no_grad():
        before = layer(x, GRAPH)
        layer.phi.score_bias.zero_()
    assert not torch.allclose(layer(x, GRAPH), before)


def test_dot_product_attention_is_its_formula_edge_by_edge():
    phi, (x, z) = DotProduct(1, 2, 4, in_channels=5), signals()
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.normal_()
    query, key = phi.query(x).view(13, 2, 4), phi.key(x).view(13, 2, 4)
    score = torch.stack([(query[i] * key[j]).sum(-1) / 2 for j, i in GRAPH.edge_index.t().tolist()])
    near(phi(x, z, GRAPH)[0].detach(), softmax_over_senders(GRAPH, score.detach()))


def test_dot_product_attention_of_a_batch_and_of_both_sides():
    phi = DotProduct(2, 2, 4, in_channels=5)
    x, z = torch.randn(13, 3, 5), torch.randn(13, 3, 2, 4)
    both = phi(x, z, GRAPH)
    for b in range(3):
        near(both[..., 2 * b : 2 * b + 2], phi(x[:, b], z[:, b], GRAPH))
    layer = EdgeNetConv((5, 3), 4, heads=2, phi="dot_product", add_self_loops=False)
    graph = Graph(torch.tensor([[0, 3, 3, 1], [1, 0, 1, 1]]), 2, 4)
    assert layer((torch.randn(4, 5), torch.randn(2, 3)), graph).shape == (2, 8) and layer.lift_target is None
    with pytest.raises(ShapeError, match="both ends"):
        layer((torch.randn(4, 5), None), graph, size=(4, 2))


@pytest.mark.parametrize("name", ["attention", "attention_v2"])
def test_attention_vectors_are_slots_that_any_structure_may_fill(name):
    layer = EdgeNetConv(9, 4, heads=3, phi=name)
    slots = [slot for slot, part in layer.phi.named_children() if slot.startswith("att")]
    assert slots == {"attention": ["att_source", "att_target"], "attention_v2": ["att"]}[name]
    dense = copy.deepcopy(layer)
    for slot in slots:
        matrix = Kronecker.from_dense(getattr(layer.phi, slot).to_dense(), factor=(1, 2))
        setattr(layer.phi, slot, matrix)
        getattr(dense.phi, slot).reset_parameters(matrix.to_dense())
    x = torch.randn(13, 9)
    near(layer(x, GRAPH), dense(x, GRAPH))
    near(layer(x, GRAPH), layer(x, GRAPH, return_attention_weights=True)[0])
    layer(x, GRAPH).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("kind", [Attention, AttentionV2, DotProduct])
@pytest.mark.parametrize("option", [{"order": 0}, {"heads": 0}, {"channels": 0}, {"heads": -1}])
def test_sizes_below_1_are_refused(kind, option):
    with pytest.raises(ShapeError, match="1 at least"):
        kind(**option)
