"""The layers that PyG has too give PyG's numbers, outputs and gradients, once the weights are copied over."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import ARMAConv, GATConv, GATv2Conv, GCNConv, SGConv, TAGConv

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, specializations
from edgenet.testing import GRAPHS

TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}
graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)

# Their named tensors -> our parameter. Nearly always a relabelling, which carries gradients over as well as weights.
Mapping = dict[str, Callable[[dict[str, Tensor]], Tensor]]


def copy_weights(ours: nn.Module, theirs: nn.Module, mapping: Mapping) -> None:
    values = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            parameter.copy_(mapping[name](values))


def check(
    ours: nn.Module,
    theirs: nn.Module,
    mapping: Mapping,
    inputs: dict[str, Tensor | None],
    run: Callable,
    gradients: Mapping | None = None,
) -> None:
    """Outputs, and gradients in the inputs and in every parameter, agree."""
    assert set(mapping) == {name for name, _ in ours.named_parameters()}
    given = {name: value for name, value in inputs.items() if value is not None}
    copies = [{name: value.clone().requires_grad_() for name, value in given.items()} for _ in range(2)]
    for value in theirs.parameters():  # PyG starts biases at 0, which would hide a wrong one
        nn.init.uniform_(value, -1, 1)
    copy_weights(ours, theirs, mapping)
    y, wanted = run(ours, **copies[0]), run(theirs, **copies[1])
    torch.testing.assert_close(y, wanted, **TOLERANCE)
    direction = torch.randn_like(y)
    (y * direction).sum().backward()
    (wanted * direction).sum().backward()
    for name in given:
        got, want = (zeros_for_none(copy[name].grad, copy[name]) for copy in copies)
        torch.testing.assert_close(got, want, **TOLERANCE, msg=lambda m, n=name: f"gradient in {n}: {m}")
    grads = {name: zeros_for_none(p.grad, p) for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        got, want = zeros_for_none(parameter.grad, parameter), (gradients or mapping)[name](grads)
        torch.testing.assert_close(got, want, **TOLERANCE, msg=lambda m, n=name: f"gradient in {n}: {m}")


def zeros_for_none(grad: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if grad is None else grad


def positive_weights(graph: Graph) -> Tensor:
    """A weight for each edge. All loops of one node weigh the same: of several, PyG's GCNConv keeps any."""
    weight = torch.rand(graph.num_edges) + 0.5
    of_node = torch.rand(graph.num_nodes) + 0.5
    return torch.where(graph.source == graph.target, of_node[graph.target], weight)


def one_loop_a_node(graph: Graph) -> bool:
    loops = graph.target[graph.source == graph.target]
    return len(loops.unique()) == len(loops)


# ---------------------------------------------------------------- polynomials of one shift operator
WIDTHS = pytest.mark.parametrize("width", [(3, 5), (5, 3)], ids=["wider", "narrower"])  # both sides of Horner's rule
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])


@graphs
@WIDTHS
@WEIGHTED
def test_gcn_is_gcnconv(graph, width, weighted):
    if weighted and not one_loop_a_node(graph):
        pytest.skip("PyG keeps the weight of any one of a node's repeated self-loops")
    mapping = {"lift.linear.weight.weight": lambda p: p["lin.weight"], "bias": lambda p: p["bias"]}
    inputs = {
        "x": torch.randn(graph.num_nodes, width[0]),
        "edge_weight": positive_weights(graph) if weighted else None,
    }
    check(
        specializations.gcn(*width), GCNConv(*width), mapping, inputs,
        lambda conv, x, edge_weight=None: conv(x, graph.edge_index, edge_weight),
    )  # fmt: skip


@graphs
@WIDTHS
@WEIGHTED
@pytest.mark.parametrize("order", [1, 2, 3])
def test_tag_is_tagconv(graph, width, weighted, order):
    mapping = {
        "taps.linear.weight.weight": lambda p: torch.cat([p[f"lins.{k}.weight"] for k in range(order + 1)], dim=1),
        "bias": lambda p: p["bias"],
    }
    inputs = {
        "x": torch.randn(graph.num_nodes, width[0]),
        "edge_weight": positive_weights(graph) if weighted else None,
    }
    check(
        specializations.tag(*width, order), TAGConv(*width, K=order), mapping, inputs,
        lambda conv, x, edge_weight=None: conv(x, graph.edge_index, edge_weight),
    )  # fmt: skip


@graphs
@pytest.mark.parametrize("width", [(3, 5), (5, 3)], ids=["wider", "narrower"])
def test_unnormalised_gcnn_is_tagconv_without_normalisation(graph, width):
    mapping = {
        "taps.linear.weight.weight": lambda p: torch.cat([p[f"lins.{k}.weight"] for k in range(3)], dim=1),
        "bias": lambda p: p["bias"],
    }
    inputs = {"x": torch.randn(graph.num_nodes, width[0]), "edge_weight": torch.randn(graph.num_edges)}
    check(
        specializations.gcnn(*width, 2, normalize=None), TAGConv(*width, K=2, normalize=False), mapping, inputs,
        lambda conv, x, edge_weight: conv(x, graph.edge_index, edge_weight),
    )  # fmt: skip


@graphs
@WIDTHS
@pytest.mark.parametrize("order", [1, 3])
def test_sgc_is_sgconv(graph, width, order):
    mapping = {"lift.linear.weight.weight": lambda p: p["lin.weight"], "bias": lambda p: p["lin.bias"]}
    weight = positive_weights(graph) if one_loop_a_node(graph) else None
    check(
        specializations.sgc(*width, order), SGConv(*width, K=order), mapping,
        {"x": torch.randn(graph.num_nodes, width[0]), "edge_weight": weight},
        lambda conv, x, edge_weight=None: conv(x, graph.edge_index, edge_weight),
    )  # fmt: skip


# ARMAConv is no ARMA filter by Jacobi iterations: each layer adds x V_t to S u W_t, and the stacks are averaged. With
# one layer and no activation that is a GCNN of order 1 whose taps are the stacks' means. With more layers and no
# activation it is a GCNN whose taps are products of its weights (below; the layers' biases walk as well, so without
# them). With an activation between its layers, its default, or with dropout, it is no linear filter, and no layer here
# has its numbers.
@graphs
@WEIGHTED
@pytest.mark.parametrize("stacks", [1, 3])
@WIDTHS
def test_armaconv_of_one_linear_layer_is_gcnn_of_order_1(graph, weighted, stacks, width):
    def mean(name: str) -> Callable:
        return lambda p: p[name].reshape(-1, stacks, *p[name].shape[-2:]).mean((0, 1)).mT

    ours = specializations.gcnn(*width, 1)
    theirs = ARMAConv(*width, num_stacks=stacks, num_layers=1, act=None)
    mapping = {
        "taps.linear.weight.weight": lambda p: torch.cat([mean("root_weight")(p), mean("init_weight")(p)], dim=1),
        "bias": lambda p: mean("bias")(p).squeeze(-1),
    }
    sums = {
        name: (lambda p, f=f: stacks * f(p)) for name, f in mapping.items()
    }  # each stack has a share of the gradient
    inputs = {
        "x": torch.randn(graph.num_nodes, width[0]),
        "edge_weight": positive_weights(graph) if weighted else None,
    }
    check(ours, theirs, mapping, inputs, lambda conv, x, edge_weight=None: conv(x, graph.edge_index, edge_weight), sums)


@graphs
def test_armaconv_of_two_linear_layers_is_gcnn_of_order_2_with_products_for_taps(graph):
    theirs = ARMAConv(3, 4, num_stacks=2, num_layers=2, act=None, bias=False)
    ours = specializations.gcnn(3, 4, 2, bias=False)
    first, mix, root = theirs.init_weight, theirs.weight[0], theirs.root_weight
    with torch.no_grad():
        taps = [root[1].mean(0), (root[0] @ mix).mean(0), (first @ mix).mean(0)]
        ours.taps.linear.weight.weight.copy_(torch.cat(taps).mT)
    x = torch.randn(graph.num_nodes, 3)
    torch.testing.assert_close(ours(x, graph.edge_index), theirs(x, graph.edge_index), **TOLERANCE)


# ---------------------------------------------------------------- attention
def gat_mapping(theirs: nn.Module, bipartite: bool = False) -> Mapping:
    mapping: Mapping = {
        "phi.att_source.weight": lambda p: p["att_src"][0],
        "phi.att_target.weight": lambda p: p["att_dst"][0],
        "lift.linear.weight.weight": lambda p: p["lin_src.weight" if bipartite else "lin.weight"],
    }
    if theirs.bias is not None:
        mapping["bias"] = lambda p: p["bias"]
    if bipartite:
        mapping["lift_target.linear.weight.weight"] = lambda p: p["lin_dst.weight"]
    if theirs.edge_dim is not None:
        mapping["phi.lift_edge.weight.weight"] = lambda p: p["lin_edge.weight"]
        mapping["phi.att_edge.weight"] = lambda p: p["att_edge"][0]
    return mapping


def gatv2_mapping(theirs: nn.Module) -> Mapping:
    mapping: Mapping = {
        "phi.att.weight": lambda p: p["att"][0],
        "lift.linear.weight.weight": lambda p: p["lin_l.weight"],
    }
    if theirs.bias is not None:
        mapping["bias"] = lambda p: p["bias"]
        mapping["lift.linear.bias"] = lambda p: p["lin_l.bias"]
    if not theirs.share_weights:
        mapping["phi.target.weight.weight"] = lambda p: p["lin_r.weight"]
        if theirs.bias is not None:
            mapping["phi.target.bias"] = lambda p: p["lin_r.bias"]
    if theirs.edge_dim is not None:
        mapping["phi.lift_edge.weight.weight"] = lambda p: p["lin_edge.weight"]
    return mapping


ATTENTION = pytest.mark.parametrize(
    "options",
    [
        {"heads": 1},
        {"heads": 3},
        {"heads": 3, "concat": False},
        {"heads": 2, "add_self_loops": False},
        {"heads": 2, "concat": False, "add_self_loops": False},
        {"heads": 2, "negative_slope": 0.5, "bias": False},
    ],
    ids=lambda o: "-".join(f"{k}={v}" for k, v in o.items()),
)
FILLS = pytest.mark.parametrize("fill_value", ["mean", "add", "min", "max", 0.5])


@graphs
@ATTENTION
def test_gat_is_gatconv(graph, options):
    theirs = GATConv(4, 3, **options)
    check(
        specializations.gat(4, 3, **options), theirs, gat_mapping(theirs), {"x": torch.randn(graph.num_nodes, 4)},
        lambda conv, x: conv(x, graph.edge_index),
    )  # fmt: skip


@graphs
@FILLS
@pytest.mark.parametrize("heads", [1, 2])
def test_gat_with_edge_features_is_gatconv(graph, fill_value, heads):
    options = {"heads": heads, "edge_dim": 2, "fill_value": fill_value}
    theirs = GATConv(4, 3, **options)
    inputs = {"x": torch.randn(graph.num_nodes, 4), "edge_attr": torch.randn(graph.num_edges, 2)}
    check(
        specializations.gat(4, 3, **options), theirs, gat_mapping(theirs), inputs,
        lambda conv, x, edge_attr: conv(x, graph.edge_index, edge_attr=edge_attr),
    )  # fmt: skip


@graphs
def test_gat_with_edge_features_and_no_self_loops_is_gatconv(graph):
    options = {"heads": 2, "edge_dim": 1, "add_self_loops": False}
    theirs = GATConv(4, 3, **options)
    inputs = {"x": torch.randn(graph.num_nodes, 4), "edge_attr": torch.randn(graph.num_edges)}
    check(
        specializations.gat(4, 3, **options), theirs, gat_mapping(theirs), inputs,
        lambda conv, x, edge_attr: conv(x, graph.edge_index, edge_attr=edge_attr),
    )  # fmt: skip


@graphs
@ATTENTION
@pytest.mark.parametrize("share_weights", [False, True])
def test_gatv2_is_gatv2conv(graph, options, share_weights):
    options = {**options, "share_weights": share_weights}
    theirs = GATv2Conv(4, 3, **options)
    check(
        specializations.gatv2(4, 3, **options), theirs, gatv2_mapping(theirs), {"x": torch.randn(graph.num_nodes, 4)},
        lambda conv, x: conv(x, graph.edge_index),
    )  # fmt: skip


@graphs
@FILLS
def test_gatv2_with_edge_features_is_gatv2conv(graph, fill_value):
    options = {"heads": 2, "edge_dim": 2, "fill_value": fill_value}
    theirs = GATv2Conv(4, 3, **options)
    inputs = {"x": torch.randn(graph.num_nodes, 4), "edge_attr": torch.randn(graph.num_edges, 2)}
    check(
        specializations.gatv2(4, 3, **options), theirs, gatv2_mapping(theirs), inputs,
        lambda conv, x, edge_attr: conv(x, graph.edge_index, edge_attr=edge_attr),
    )  # fmt: skip


@graphs
@pytest.mark.parametrize("add_self_loops", [True, False])
@pytest.mark.parametrize("kind", ["gat", "gatv2"])
def test_returned_attention_weights_are_those_of_pyg_on_the_edges_of_pyg(graph, add_self_loops, kind):
    theirs = {"gat": GATConv, "gatv2": GATv2Conv}[kind](4, 3, heads=2, add_self_loops=add_self_loops)
    ours = getattr(specializations, kind)(4, 3, heads=2, add_self_loops=add_self_loops)
    copy_weights(ours, theirs, {"gat": gat_mapping, "gatv2": gatv2_mapping}[kind](theirs))
    x = torch.randn(graph.num_nodes, 4)
    y, (edges, alpha) = ours(x, graph.edge_index, return_attention_weights=True)
    wanted, (their_edges, their_alpha) = theirs(x, graph.edge_index, return_attention_weights=True)
    assert edges.equal(their_edges)
    torch.testing.assert_close(alpha, their_alpha, **TOLERANCE)
    torch.testing.assert_close(y, wanted, **TOLERANCE)


# ---------------------------------------------------------------- bipartite graphs
SIZES = {"more sources": (5, 3), "more targets": (3, 6), "square": (4, 4)}
sizes = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


def bipartite_edges(size: tuple[int, int]) -> Tensor:
    source = torch.randint(size[0], (9,))
    return torch.stack([source, torch.randint(size[1] - 1, (9,))])  # the last target has no edges


@sizes
@pytest.mark.parametrize("kind", ["gat", "gatv2"])
def test_attention_between_two_kinds_of_nodes_is_pygs(size, kind):
    options = {"heads": 2, "add_self_loops": False}
    theirs = {"gat": GATConv, "gatv2": GATv2Conv}[kind]((4, 5), 3, **options)
    mapping = gat_mapping(theirs, bipartite=True) if kind == "gat" else gatv2_mapping(theirs)
    edge_index = bipartite_edges(size)
    inputs = {"source": torch.randn(size[0], 4), "target": torch.randn(size[1], 5)}
    check(
        getattr(specializations, kind)((4, 5), 3, **options), theirs, mapping, inputs,
        lambda conv, source, target: conv((source, target), edge_index),
    )  # fmt: skip


@sizes
@pytest.mark.parametrize("share_weights", [False, True])
def test_attention_with_one_lift_between_two_kinds_of_nodes_is_pygs(size, share_weights):
    edge_index = bipartite_edges(size)
    inputs = {"source": torch.randn(size[0], 4), "target": torch.randn(size[1], 4)}
    gat = GATConv(4, 3, heads=2, add_self_loops=False)
    gatv2 = GATv2Conv(4, 3, heads=2, add_self_loops=False, share_weights=share_weights)
    ours = specializations.gat(4, 3, heads=2, add_self_loops=False)
    check(ours, gat, gat_mapping(gat), inputs, lambda conv, source, target: conv((source, target), edge_index))
    ours = specializations.gatv2(4, 3, heads=2, add_self_loops=False, share_weights=share_weights)
    check(ours, gatv2, gatv2_mapping(gatv2), inputs, lambda conv, source, target: conv((source, target), edge_index))


@pytest.mark.parametrize("kind", ["gat", "gatv2"])
def test_self_loops_on_a_square_bipartite_graph_are_pygs(kind):
    theirs = {"gat": GATConv, "gatv2": GATv2Conv}[kind]((4, 5), 3, heads=2)
    mapping = gat_mapping(theirs, bipartite=True) if kind == "gat" else gatv2_mapping(theirs)
    edge_index = bipartite_edges((4, 4))
    check(
        getattr(specializations, kind)((4, 5), 3, heads=2), theirs, mapping,
        {"source": torch.randn(4, 4), "target": torch.randn(4, 5)},
        lambda conv, source, target: conv((source, target), edge_index),
    )  # fmt: skip


@sizes
def test_gat_scores_by_the_sources_alone_where_targets_have_no_signal(size):
    theirs = GATConv((4, 5), 3, heads=2, add_self_loops=False)
    edge_index = bipartite_edges(size)
    check(
        specializations.gat((4, 5), 3, heads=2, add_self_loops=False), theirs, gat_mapping(theirs, bipartite=True),
        {"source": torch.randn(size[0], 4)},
        lambda conv, source: conv((source, None), edge_index, size=size),
    )  # fmt: skip


def test_gatv2_scores_need_the_targets_signal():
    conv = specializations.gatv2((4, 5), 3, add_self_loops=False)
    with pytest.raises(ShapeError, match="target"):
        conv((torch.randn(3, 4), None), torch.tensor([[0], [1]]), size=(3, 2))


def test_self_loops_on_a_bipartite_graph_are_refused_with_the_remedy():
    conv = specializations.gat((4, 5), 3)
    with pytest.raises(ShapeError, match="add_self_loops=False"):
        conv((torch.randn(3, 4), torch.randn(2, 5)), torch.tensor([[0], [1]]))


# ---------------------------------------------------------------- batches of signals, as PyG's static graphs
@graphs
def test_static_batches_of_signals_are_those_of_pyg(graph):
    theirs = TAGConv(3, 4, K=2)
    ours = specializations.tag(3, 4, 2)
    mapping = {
        "taps.linear.weight.weight": lambda p: torch.cat([p[f"lins.{k}.weight"] for k in range(3)], dim=1),
        "bias": lambda p: p["bias"],
    }
    inputs = {"x": torch.randn(2, graph.num_nodes, 3)}
    check(ours, theirs, mapping, inputs, lambda conv, x: conv(x, graph.edge_index))


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_the_flow_of_messages_is_that_of_pyg(flow):
    graph = GRAPHS["directed"]
    theirs = GATConv(4, 3, heads=2, flow=flow)
    ours = EdgeNetConv(4, 3, heads=2, phi="attention", flow=flow)
    copy_weights(ours, theirs, gat_mapping(theirs))
    x = torch.randn(graph.num_nodes, 4)
    y, (edges, alpha) = ours(x, graph.edge_index, return_attention_weights=True)
    wanted, (their_edges, their_alpha) = theirs(x, graph.edge_index, return_attention_weights=True)
    torch.testing.assert_close(y, wanted, **TOLERANCE)
    torch.testing.assert_close(alpha, their_alpha, **TOLERANCE)
    assert edges.equal(their_edges)
