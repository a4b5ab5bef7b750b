"""What edges may be given as, between two kinds of nodes, too."""

from collections.abc import Callable

import pytest
import torch
from convs import built, close, dense, graphs, layers, redraw_, undirected
from torch import Tensor
from torch_geometric import EdgeIndex

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, specializations
from edgenet.phi import EdgeVarying
from edgenet.testing import GRAPHS

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
