"""What holds for every layer: relabelled nodes, shuffled edges, every graph, batches, copies and files."""

import copy
import pickle

import pytest
import torch
from convs import DEEP, LAYERS, built, close, dense, graphs, layers, redraw_, undirected
from torch import Tensor

from edgenet import gso
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn import SPECIALIZATIONS, EdgeNetConv, specializations
from edgenet.testing import GRAPHS


def test_every_specialization_has_a_case():
    assert {name.split("-")[0] for name in LAYERS} == set(SPECIALIZATIONS)


def walks(layer: str, graph: Graph) -> bool:
    """Spectral filters are for symmetric operators."""
    if layer != "spectral":
        return True
    matrix = dense(graph, gso.symmetric(graph))
    return torch.allclose(matrix, matrix.T)


# ---------------------------------------------------------------- relabelled nodes, shuffled edges
def relabelled(graph: Graph, order: Tensor) -> Graph:
    """Node i of the result is node ``order[i]`` of ``graph``."""
    return Graph(order.argsort()[graph.edge_index], graph.num_nodes)
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
