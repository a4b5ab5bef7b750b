"""Layers without some of their hops, heads and input channels compute what the rest did."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from edgenet.errors import ConfigError, PlanError, ShapeError
from edgenet.nn import SPECIALIZATIONS, EdgeNetConv, specializations
from edgenet.nn.keep import combined, keep_inputs_, keep_taps_
from edgenet.nn.lift import Identity
from edgenet.nn.taps import Chebyshev, Linear, NodeVarying, Scaled, Sum, Taps
from edgenet.phi import EdgeVarying
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import Kronecker, StructuredLinear
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
LAYERS = {
    "gcnn": partial(specializations.gcnn, 5, 3, order=3),
    "gcnn wider": partial(specializations.gcnn, 5, 7, order=3),
    "two shift operators": partial(specializations.gcnn, 5, 3, order=2, shifts=2, normalize=None),
    "two shift operators, wider": partial(specializations.gcnn, 5, 7, order=2, shifts=2, normalize=None),
    "dagnn": partial(specializations.dagnn, 5, 4, order=3),
    "gpr": partial(specializations.gpr, 5, 4, order=3),
    "gat": partial(specializations.gat, 5, 4, heads=3),
    "gat with edge features": partial(specializations.gat, 5, 4, heads=3, edge_dim=2, score_bias=True),
    "gatv2": partial(specializations.gatv2, 5, 4, heads=3),
    "gcat": partial(specializations.gcat, 5, 4, order=2, heads=3),
    "edge_varying_gat": partial(specializations.edge_varying_gat, 5, 4, order=3, heads=3),
    "edge_varying heads": partial(specializations.edge_varying, 5, 4, order=2, bank="heads", heads=3),
    "edge_varying siso": partial(specializations.edge_varying, 5, 4, order=2),
    "edge_varying mimo": partial(specializations.edge_varying, 5, 4, order=2, bank="mimo"),
    "node_varying": partial(specializations.node_varying, 5, 3, order=2, groups=4),
    "node_varying, few groups": partial(specializations.node_varying, 5, 1, order=2, groups=2),
    "dot_product": partial(EdgeNetConv, 5, 4, 2, 3, "dot_product", self_tap=True),
    "shift_product": partial(specializations.spectral_product, 5, 4, order=2, heads=3),
    "additive": partial(EdgeNetConv, 5, 4, 2, 3, "additive", endpoints="both", share_hops=False),
}
WHOLE_HEADS = {"edge_varying siso", "edge_varying mimo"}  # whose heads are pairs of channels
BY_PAIR = {"gcnn", "gcnn wider", "two shift operators", "two shift operators, wider"}


class Recorder(Taps):
    """Keeps the signals of the walk."""

    def forward(self, signals, graph):
        self.signals = signals
        return signals[0].flatten(-2).flatten(1)[:, :1]


def ready(name):
    layer = LAYERS[name]().bind(GRAPH)
    x, edge_weight, edge_attr = torch.randn(GRAPH.num_nodes, 5), None, None
    if name.startswith("two"):
        edge_weight = torch.rand(GRAPH.num_edges, 2)
    if name == "gat with edge features":
        edge_attr = torch.randn(GRAPH.num_edges, 2)
    layer(x, GRAPH, edge_weight, edge_attr)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer.eval(), x, edge_weight, edge_attr


def of_the_kept(layer, pairs, x, edge_weight, edge_attr):
    """The output of the whole layer with every other signal set to zero."""
    recorder, whole = Recorder(), copy.deepcopy(layer)
    whole.taps, whole.bias = recorder, None
    whole(x, GRAPH, edge_weight, edge_attr)
    signals = []
    for k, z in zip(layer.hops, recorder.signals, strict=True):
        # the input itself is one signal, of which shift operators carry copies
        one = isinstance(layer.lift, Identity) and k == 0 and any(pair[0] == 0 for pair in pairs)
        here = torch.tensor([one or (k, h) in pairs for h in range(z.shape[-2])])
        signals.append(torch.where(here[:, None], z, 0))
    y = layer.taps(signals, GRAPH)
    return y if layer.bias is None else y + layer.bias


def check(name, pairs, kept_heads):
    layer, *inputs = ready(name)
    want = of_the_kept(layer, pairs, *inputs)
    smaller = copy.deepcopy(layer)
    channels = keep_taps_(smaller, pairs)
    x, edge_weight, edge_attr = inputs
    if edge_weight is not None:
        edge_weight = edge_weight[:, kept_heads] if len(kept_heads) > 1 else edge_weight[:, kept_heads[0]]
    got = smaller(x, GRAPH, edge_weight, edge_attr)
    torch.testing.assert_close(got, want if channels is None else want[:, channels], rtol=1e-10, atol=1e-10)
    assert sum(p.numel() for p in smaller.parameters()) <= sum(p.numel() for p in layer.parameters())
    batch = torch.stack([x, -x])
    if edge_attr is None and name not in WHOLE_HEADS:
        torch.testing.assert_close(smaller(batch, GRAPH, edge_weight)[0], got, rtol=1e-10, atol=1e-10)
    return layer, smaller


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_without_its_last_hop_or_an_inner_one(name):
    layer, *_ = ready(name)
    for gone in layer.hops:
        hops = [k for k in layer.hops if k != gone]
        if not hops or (max(hops) == 0 and layer.phi.follows_signal):
            continue
        _, smaller = check(name, [(k, h) for k in hops for h in range(layer.heads)], list(range(layer.heads)))
        assert smaller.order == max(hops) and smaller.hops == tuple(hops)


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in WHOLE_HEADS])
def test_a_layer_without_some_heads(name):
    layer, *_ = ready(name)
    for heads in ([0], [layer.heads - 1], [0, layer.heads - 1]):
        if len(set(heads)) == layer.heads or layer.heads == 1:
            continue
        _, smaller = check(name, [(k, h) for k in layer.hops for h in heads], heads)
        assert smaller.heads == len(heads)


@pytest.mark.parametrize("name", sorted(name for name in BY_PAIR if name.startswith("two")))
@pytest.mark.parametrize(
    ("pairs", "heads"),
    [([(1, 0), (2, 1)], [0, 1]), ([(0, 0), (2, 1), (2, 0)], [0, 1]), ([(1, 1)], [1]), ([(2, 0)], [0])],
)
def test_shift_operators_are_read_at_hops_of_their_own(name, pairs, heads):
    layer, smaller = check(name, pairs, heads)
    assert smaller.taps.linear.weight.shape[1] == 5 * len(pairs) < layer.taps.linear.weight.shape[1]


def test_taking_away_twice_is_taking_away_at_once():
    layer, x, edge_weight, _ = ready("two shift operators, wider")
    at_once, in_steps = copy.deepcopy(layer), copy.deepcopy(layer)
    keep_taps_(at_once, [(0, 0), (2, 1)])
    keep_taps_(in_steps, [(0, 0), (1, 0), (2, 1)])
    keep_taps_(in_steps, [(0, 0), (2, 1)])
    assert at_once.heads == in_steps.heads == 1
    torch.testing.assert_close(in_steps(x, GRAPH, edge_weight[:, 1]), at_once(x, GRAPH, edge_weight[:, 1]))


def test_z0_of_shift_operators_stands_for_all_heads():
    layer, x, edge_weight, _ = ready("two shift operators")
    keep_taps_(layer, [(0, 0), (1, 1)])
    assert (layer.heads, layer.hops) == (1, (0, 1))
    assert layer(x, GRAPH, edge_weight[:, 1]).shape == (GRAPH.num_nodes, 3)


def test_only_the_input_is_left():
    layer, x, *_ = ready("gcnn")
    want = x @ layer.taps.linear.weight.weight[:, :5].t() + layer.bias
    keep_taps_(layer, [(0, 0)])
    assert layer.order == 0
    torch.testing.assert_close(layer(x, GRAPH), want)


@pytest.mark.parametrize(
    ("name", "pairs", "text"),
    [
        ("gcnn", [], "nothing to keep"),
        ("gcnn", [(4, 0)], r"no \(hop, head\) \(4, 0\)"),
        ("gat", [(0, 0)], r"signals \(hop, head\) \[\(1, 0\)"),
        ("gcat", [(0, 0), (2, 1)], r"\[\(0, 0\), \(2, 1\)\] cannot be all.*all of them or for none"),
        ("gcat", [(0, 0), (0, 1), (0, 2)], "one hop at least"),
        ("edge_varying siso", [(1, 0)], "FilterBank lift"),
        ("edge_varying mimo", [(1, 0)], "channels"),
        ("node_varying", [(1, 0), (3, 0)], "no .hop, head"),
    ],
)
def test_what_cannot_be_done_without_is_refused_and_nothing_changes(name, pairs, text):
    layer, x, *_ = ready(name)
    before, names = layer(x, GRAPH), {n: p for n, p in layer.named_parameters()}
    with pytest.raises(PlanError, match=text if name != "edge_varying siso" else "FilterBank lift|pair of channels"):
        keep_taps_(layer, pairs)
    assert all(p is names[n] for n, p in layer.named_parameters())
    assert torch.equal(layer(x, GRAPH), before)


def test_polynomials_and_compressed_layers_are_refused():
    layer = EdgeNetConv(5, 3, 2, phi="shift", taps=Chebyshev(StructuredLinear.dense(15, 3)), normalize="sym")
    with pytest.raises(PlanError, match="Chebyshev taps need all"):
        keep_taps_(layer, [(0, 0), (2, 0)])
    layer, *_ = ready("gat")
    layer.lift.linear.weight = Kronecker.from_dense(layer.lift.linear.weight.to_dense().detach())
    with pytest.raises(PlanError, match="Kronecker"):
        keep_taps_(layer, [(1, 0)])


@pytest.mark.parametrize("name", ["gat", "two shift operators", "edge_varying heads", "node_varying", "gcat"])
def test_a_smaller_layer_is_trained_saved_and_loaded(name, tmp_path):
    layer, x, edge_weight, _ = ready(name)
    if name == "two shift operators":
        keep_taps_(layer, [(0, 0), (1, 1), (2, 0)])
    else:
        keep_taps_(layer, [(k, h) for k in layer.hops[-1:] for h in range(max(1, layer.heads - 1))])
    y = layer(x, GRAPH, edge_weight)
    y.square().sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    save_pretrained(layer, tmp_path)
    torch.testing.assert_close(from_pretrained(tmp_path)(x, GRAPH, edge_weight), y)
    other = copy.deepcopy(layer)
    other.reset_parameters()
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x, GRAPH, edge_weight), y)


# --- hops in the constructor ------------------------------------------------------------------------------------------
def test_hops_are_chosen_when_a_layer_is_made():
    layer = EdgeNetConv(5, 3, 4, phi="shift", hops=[0, 2, 4], normalize="rw")
    assert layer.self_tap and layer.taps.linear.weight.shape == (3, 15)
    x = torch.randn(GRAPH.num_nodes, 5)
    z, signals = x.unsqueeze(1), [x]
    weight = layer.phi(x, z, GRAPH)
    for k in range(4):
        z = layer.phi.hop(GRAPH, weight[k], None, z)
        signals.append(z.squeeze(1))
    want = torch.cat([signals[k] for k in (0, 2, 4)], 1) @ layer.taps.linear.weight.weight.t() + layer.bias
    torch.testing.assert_close(layer(x, GRAPH), want)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"hops": [0, 1]}, ShapeError, "end at the order 2"),
        ({"hops": [1, 0, 2]}, ShapeError, "rise"),
        ({"hops": []}, ShapeError, "no signal"),
        ({"hops": [0, 2], "self_tap": False}, ShapeError, "contradicts"),
        ({"hops": [0.7, 2]}, ConfigError, "whole numbers"),
        ({"hops": "02"}, ConfigError, "whole numbers"),
    ],
)
def test_hops_that_make_no_layer_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        EdgeNetConv(5, 3, 2, phi="shift", **options)


# --- parts that are easily forgotten ----------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [partial(NodeVarying, 5, 3), partial(Scaled, 3), Sum], ids=["nodes", "scaled", "sum"])
def test_copies_of_the_input_may_be_named_once_where_each_has_a_tap(make):
    layer = EdgeNetConv(5, 5, 2, 2, phi="shift", taps=make(), bias=False)
    x, weight = torch.randn(GRAPH.num_nodes, 5), torch.rand(GRAPH.num_edges, 2)
    layer(x, GRAPH, weight)
    want = copy.deepcopy(layer)
    keep_taps_(want, [(0, 0), (0, 1), (2, 0), (2, 1)])
    keep_taps_(layer, [(0, 0), (2, 0), (2, 1)])
    torch.testing.assert_close(layer(x, GRAPH, weight), want(x, GRAPH, weight))


def test_inputs_that_are_scaled_head_by_head_are_no_copies():
    phi, taps = EdgeVarying(1, 2, initial=True), Linear(StructuredLinear.dense(20, 3))
    layer, x = EdgeNetConv(5, 3, phi=phi, lift=Identity(2), taps=taps), torch.randn(GRAPH.num_nodes, 5)
    before, weight = layer(x, GRAPH), taps.linear.weight.weight.clone()
    keep_taps_(layer, [(0, 0), (0, 1), (1, 0), (1, 1)])
    assert torch.equal(layer(x, GRAPH), before)
    keep_taps_(layer, [(0, 1), (1, 0), (1, 1)])
    with torch.no_grad():
        weight[:, :5] = 0
        taps.linear.weight.weight.copy_(weight)
    layer.taps, kept = taps, layer.taps
    want = layer(x, GRAPH)
    layer.taps = kept
    torch.testing.assert_close(layer(x, GRAPH), want)


def test_edge_features_may_be_read_by_a_layer_that_walks_no_more():
    options = {"endpoints": "none", "edge_dim": 2, "share_hops": False}
    layer = EdgeNetConv(5, 4, 2, 2, "additive", **options)
    x, edge_attr = torch.randn(GRAPH.num_nodes, 5), torch.randn(GRAPH.num_edges, 2)
    layer(x, GRAPH, None, edge_attr)
    keep_taps_(layer, [(0, 0), (0, 1)])
    torch.testing.assert_close(layer(x, GRAPH, None, edge_attr), layer.lift(x).flatten(-2) + layer.bias)


def test_channels_that_were_not_known_at_first_are_counted():
    x = torch.randn(GRAPH.num_nodes, 5)
    fan = specializations.edge_varying(-1, 2, order=2)
    with pytest.raises(PlanError, match="run it once"):
        keep_taps_(fan, [(1, 0)])
    fan(x, GRAPH)
    with pytest.raises(PlanError, match="pair of channels"):
        keep_taps_(fan, [(k, h) for k in range(3) for h in range(9)])
    keep_taps_(fan, [(k, h) for k in range(2) for h in range(10)])
    assert (fan.order, fan.heads) == (1, 10) and fan(x, GRAPH).shape == (GRAPH.num_nodes, 2)
    gcnn = specializations.gcnn(-1, 2, order=2)
    with pytest.raises(PlanError, match="not known yet"):
        keep_inputs_(gcnn, [0, 2])
    gcnn(x, GRAPH)
    kept = torch.tensor([3, 0])
    want = gcnn(torch.zeros_like(x).index_copy(1, kept, x[:, kept]), GRAPH)
    keep_inputs_(gcnn, kept)
    torch.testing.assert_close(gcnn(x[:, kept], GRAPH), want)


def test_the_last_hop_alone_is_combined_where_it_alone_counts():
    layer, x = specializations.sgc(5, 3, order=3), torch.randn(GRAPH.num_nodes, 5)
    assert combined(layer) == [(3, 0)]
    before = layer(x, GRAPH)
    keep_taps_(layer, [(3, 0)])
    torch.testing.assert_close(layer(x, GRAPH), before)


def test_hooks_go_on_looking_at_what_is_left():
    class Watch:
        def __init__(self):
            self.shapes = []

        def look(self, module, inputs, output):
            self.shapes.append(tuple(output.shape[1:]))

    (layer, x, *_), watch = ready("gat"), Watch()
    handle = layer.lift.register_forward_hook(watch.look)
    keep_taps_(layer, [(1, 0), (1, 2)])
    layer(x, GRAPH)
    assert watch.shapes == [(2, 4)]
    handle.remove()
    layer(x, GRAPH)
    assert len(watch.shapes) == 1


def test_pruned_weights_are_made_permanent_first():
    layer, x, *_ = ready("gcnn")
    prune.l1_unstructured(layer.taps.linear.weight, "weight", 0.5)
    with pytest.raises(PlanError, match=r"prune\.remove"):
        keep_taps_(layer, [(0, 0), (2, 0)])
    prune.remove(layer.taps.linear.weight, "weight")
    keep_taps_(layer, [(0, 0), (2, 0)])
    assert layer(x, GRAPH).shape == (GRAPH.num_nodes, 3)


def test_two_sets_of_nodes_lose_the_self_tap_with_its_lift_and_nothing_else():
    edges = torch.tensor([[0, 1, 2, 3], [0, 1, 1, 2]])
    x = torch.randn(4, 5), torch.randn(3, 5)
    layer = EdgeNetConv((5, 5), 2, phi=EdgeVarying(1, 2, share="hash", buckets=7, self_loops=False))
    layer(x, edges)
    with pytest.raises(PlanError, match="keep a pair of hop 1"):
        keep_taps_(layer, [(0, 0), (0, 1)])
    keep_taps_(layer, [(1, 0), (1, 1)])
    layer(x, edges).sum().backward()
    assert layer.lift_target is None and all(p.grad is not None for p in layer.parameters())
    with pytest.raises(PlanError, match="sources with 5 channels and of targets with 3"):
        keep_taps_(EdgeNetConv((5, 3), 2, phi="shift"), [(1, 0)])


# --- inputs -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    ["gcnn", "two shift operators", "gat", "gatv2", "gcat", "edge_varying_gat", "edge_varying heads", "dot_product"],
)
def test_a_layer_without_inputs_is_the_layer_with_zeros_there(name):
    layer, x, edge_weight, edge_attr = ready(name)
    kept = torch.tensor([4, 0, 2])
    zeros = torch.zeros_like(x).index_copy(1, kept, x[:, kept])
    want = layer(zeros, GRAPH, edge_weight, edge_attr)
    keep_inputs_(layer, kept)
    torch.testing.assert_close(layer(x[:, kept], GRAPH, edge_weight, edge_attr), want, rtol=1e-10, atol=1e-10)
    with pytest.raises(ShapeError, match="3 input channels"):
        layer(x, GRAPH, edge_weight, edge_attr)


@pytest.mark.parametrize("linear", [nn.Linear, partial(StructuredLinear.dense, bias=True)])
def test_a_linear_layer_loses_inputs(linear):
    linear = linear(5, 3)
    x, kept = torch.randn(4, 5), [3, 1]
    zeros = torch.zeros_like(x)
    zeros[:, kept] = x[:, kept]
    want = linear(zeros)
    keep_inputs_(linear, kept)
    torch.testing.assert_close(linear(x[:, kept]), want)


@pytest.mark.parametrize("channels", [[], [5], [-1], [1, 1], [True, False, True, False, True], [0.0], [[0]]])
@pytest.mark.parametrize(
    "module", [nn.Linear(5, 3), StructuredLinear.dense(5, 3), specializations.gat(5, 2), specializations.gcnn(5, 2)]
)
def test_channels_that_are_not_there_are_refused(module, channels):
    before = dict(module.named_parameters())
    with pytest.raises(PlanError, match="numbers from 0 to 4, each once"):
        keep_inputs_(module, channels)
    assert all(parameter is before[name] for name, parameter in module.named_parameters())
    with pytest.raises(PlanError, match="run the model once"):
        keep_inputs_(nn.LazyLinear(3), [0])


@pytest.mark.parametrize("name", ["additive", "edge_varying siso", "node_varying"])
def test_layers_that_need_their_inputs_say_so(name):
    layer, *_ = ready(name)
    with pytest.raises(PlanError, match="no input channels"):
        keep_inputs_(layer, [0, 1])
    with pytest.raises(PlanError, match="ReLU"):
        keep_inputs_(nn.ReLU(), [0])


def test_every_layer_was_tried_or_has_no_parts_to_remove():
    # as gcnn, or sums of others, or no walk, or one that needs all hops
    without = {"gcn", "sgc", "tag", "hybrid", "arma", "spectral", "appnp", "gcnii", "grand"}
    tried = {name.split()[0].rstrip(",") for name in LAYERS} | {"gcnn", "spectral_product", "edge_varying"}
    assert set(SPECIALIZATIONS) <= tried | without
