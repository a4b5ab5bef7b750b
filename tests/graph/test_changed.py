"""Edges and ids that change unseen: what a graph keeps is never that of others."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import edgenet
from edgenet import ops
from edgenet.graph import Graph
from edgenet.nn import specializations as nets
from edgenet.ops.native import orders
from edgenet.phi import EdgeVarying

N = 20
LAYERS = {
    "gat": lambda: nets.gat(4, 3, heads=2),
    "gcn": lambda: nets.gcn(4, 3),
    "gcnn": lambda: nets.gcnn(4, 3, order=2),
    "gat, edges turned round": lambda: edgenet.EdgeNetConv(4, 3, heads=2, phi="attention", flow="target_to_source"),
}
layers = pytest.mark.parametrize("layer", LAYERS)


def edges(seed, count=80):
    return np.random.default_rng(seed).integers(0, N, (2, count))


def by_numpy(tensor, values):
    tensor.numpy()[...] = values


def by_data(tensor, values):
    tensor.data.copy_(torch.from_numpy(values))


def in_place(tensor, values):
    tensor.copy_(torch.from_numpy(values))


WRITES = pytest.mark.parametrize("write", [by_numpy, by_data, in_place], ids=lambda f: f.__name__)
MAKES = {
    "torch": lambda values: torch.from_numpy(values).clone(),
    "numpy": lambda values: torch.from_numpy(values.copy()),
    "int32": lambda values: torch.from_numpy(values.astype(np.int32)),
}


def anew(layer, x, edge_index):
    """What the layer gives with nothing kept."""
    with edgenet.kept(False), torch.no_grad():
        return layer(x, torch.as_tensor(edge_index).long().clone())


@pytest.fixture
def sorts(monkeypatch):
    """How often edges are sorted."""
    calls = []

    def count(function):
        def counted(*args, **named):
            calls.append(function)
            return function(*args, **named)

        return counted

    monkeypatch.setattr(orders, "_order", count(orders._order))
    monkeypatch.setattr(torch, "sort", count(torch.sort))
    return calls


# --- a layer that is called with them ---------------------------------------------------------------------------------
@layers
@WRITES
@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("as_graph", [False, True], ids=["edge list", "graph"])
def test_a_layer_walks_the_edges_that_are_there_now(layer, write, make, as_graph):
    layer, x = LAYERS[layer]().eval(), torch.randn(N, 4)
    edge_index = MAKES[make](edges(0))
    if as_graph and edge_index.dtype != torch.long:
        pytest.skip("a graph has a copy of its own of other integers")
    given = Graph(edge_index, N) if as_graph else edge_index
    for seed in range(3):
        write(edge_index, edges(seed).astype(edge_index.numpy().dtype))
        with torch.no_grad():
            torch.testing.assert_close(layer(x, given), anew(layer, x, edges(seed)), rtol=1e-12, atol=1e-12)


@layers
def test_a_sparse_adjacency_over_numpys_memory_is_read_as_it_is_now(layer):
    if "turned" in layer:
        pytest.skip("an adjacency says its own direction")
    layer, x = LAYERS[layer]().eval(), torch.randn(N, 4)
    column = np.arange(N).copy()
    matrix = torch.sparse_csr_tensor(torch.arange(N + 1), torch.from_numpy(column), torch.ones(N), (N, N))
    for shift in range(3):
        matrix.col_indices().numpy()[...] = np.roll(np.arange(N), shift)
        ends = np.stack([np.roll(np.arange(N), shift), np.arange(N)])
        with torch.no_grad():
            torch.testing.assert_close(layer(x, matrix), anew(layer, x, ends), rtol=1e-12, atol=1e-12)


def test_edges_written_between_forward_and_backward_do_not_reach_the_gradient():
    layer, buffer = nets.gat(4, 3, heads=2), edges(0)
    x = torch.randn(N, 4, requires_grad=True)
    wanted = torch.autograd.grad(layer(x, torch.from_numpy(buffer.copy())).square().sum(), x)[0]
    y = layer(x, torch.from_numpy(buffer)).square().sum()
    buffer[...] = edges(1)
    torch.testing.assert_close(torch.autograd.grad(y, x)[0], wanted, rtol=1e-12, atol=1e-12)


def test_edges_that_become_malformed_are_refused():
    edge_index = torch.from_numpy(edges(0))
    layer, x = nets.gcn(4, 3), torch.randn(N, 4)
    layer(x, edge_index)
    edge_index.data[0, 3] = N
    with pytest.raises(edgenet.errors.EdgeIndexError, match=f"source {N}"):
        layer(x, edge_index)


def test_edges_that_a_layer_hands_out_may_be_written_to():
    layer, x, edge_index = nets.gat(4, 3, add_self_loops=False), torch.randn(N, 4), torch.from_numpy(edges(0)).int()
    y, (walked, _) = layer(x, edge_index, return_attention_weights=True)
    walked.numpy()[...] = 0
    torch.testing.assert_close(layer(x, edge_index), y)


# --- a graph that is used alone ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("write", [by_numpy, in_place], ids=lambda f: f.__name__)
@pytest.mark.parametrize("derive", [
    lambda g: g, lambda g: g.transpose(), lambda g: g.with_self_loops()[0], lambda g: g.without_self_loops()[0],
    lambda g: g.with_ids(torch.arange(N)), lambda g: g.with_ids(torch.arange(N)).with_self_loops()[0],
])  # fmt: skip
def test_a_graph_and_what_is_derived_of_it_follow_its_edges(write, derive):
    graph = Graph(torch.from_numpy(edges(0)), N)
    x = torch.randn(N, 1, 2)

    def walked(graph):
        return ops.spmm(graph, torch.ones(graph.num_edges, 1), x), graph.by_source

    for seed in (0, 1, 2):
        write(graph.edge_index, edges(seed))
        got, wanted = walked(derive(graph)), walked(derive(Graph(torch.from_numpy(edges(seed).copy()), N)))
        assert torch.equal(got[0], wanted[0]) and torch.equal(got[1], wanted[1])


def test_a_piece_of_a_graph_follows_the_edges_it_shares():
    graph = Graph(torch.from_numpy(edges(0)), N)
    piece = graph.with_ids(torch.arange(N))
    assert torch.equal(piece.by_target, graph.by_target)
    by_numpy(graph.edge_index, edges(1))
    for one in (piece, graph):
        assert torch.equal(one.by_target, Graph(torch.from_numpy(edges(1)), N).by_target)


@pytest.mark.parametrize("write", [by_numpy, by_data, in_place], ids=lambda f: f.__name__)
@pytest.mark.parametrize("which", ["node_id", "edge_id"])
def test_rows_of_tables_follow_the_ids_of_a_piece(write, which):
    whole = Graph(torch.from_numpy(np.unique(edges(0), axis=1)), N)
    phi = EdgeVarying(1, 2, self_loops=False)
    phi.bind(whole)
    with torch.no_grad():
        phi.edge_table.weight.normal_()
    table = phi(None, torch.zeros(N, 2, 1), whole)[0]
    if which == "edge_id":
        piece = Graph(whole.edge_index[:, :7].clone(), N, edge_id=torch.arange(7))
        changed, wanted = np.arange(7) + 5, table[5:12]
    else:
        first, second = whole.edge_index[:, 0], whole.edge_index[:, -1]
        piece = Graph(torch.tensor([[0], [1]]), 2, node_id=first.clone())
        changed, wanted = second.numpy().copy(), table[-1:]
    graphs = Graph.of(piece, piece.num_nodes)[0]
    phi(None, torch.zeros(piece.num_nodes, 2, 1), graphs)
    write(getattr(piece, which), changed)
    graphs = Graph.of(piece, piece.num_nodes)[0]
    assert torch.equal(phi(None, torch.zeros(piece.num_nodes, 2, 1), graphs)[0], wanted)


# --- how often --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("inference", [True, False], ids=["inference", "no grad"])
@pytest.mark.parametrize("make", MAKES)
def test_edges_are_sorted_once_for_all_layers_and_passes(inference, make, sorts):
    model = nn.ModuleList(nets.gat(4, 2, heads=2) for _ in range(4))
    with torch.inference_mode() if inference else torch.no_grad():
        edge_index = MAKES[make](edges(0))
        edge_index = edge_index.clone() if inference else edge_index
        for _ in range(2):
            x = torch.randn(N, 4)
            for layer in model:
                x = layer(x, edge_index)
    assert len(sorts) == 1


def test_writing_the_same_edges_again_sorts_nothing(sorts):
    edge_index = torch.from_numpy(edges(0)).clone()
    layer, x = nets.gcn(4, 3), torch.randn(N, 4)
    with torch.no_grad():
        layer(x, edge_index)
        before = len(sorts)
        edge_index.copy_(edge_index.clone())
        layer(x, edge_index)
    assert before and len(sorts) == before


def test_with_keeping_off_nothing_is_kept(sorts):
    layer, x, edge_index = nets.gcn(4, 3), torch.randn(N, 4), torch.from_numpy(edges(0)).clone()
    with torch.no_grad():
        y = layer(x, edge_index)
        once = len(sorts)
        with edgenet.kept(False):
            torch.testing.assert_close(layer(x, edge_index), y)
            assert len(sorts) > once
            graph = Graph(edge_index, N)
            assert graph.memo("anything", object) is not graph.memo("anything", object)
        del sorts[:]
        layer(x, edge_index)
        assert not sorts


def test_a_copy_of_a_graph_follows_its_own_edges():
    graph = Graph(torch.from_numpy(edges(0)), N)
    assert graph.by_target is not None
    twin = copy.deepcopy(graph)
    by_numpy(twin.edge_index, edges(1))
    assert torch.equal(twin.by_target, Graph(torch.from_numpy(edges(1)), N).by_target)
    assert torch.equal(graph.by_target, Graph(torch.from_numpy(edges(0)), N).by_target)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")  # of ranges, of the tracer
@layers
def test_what_is_traced_holds_no_orders_of_edges_that_were_walked_before(layer):
    conv, x = LAYERS[layer]().eval(), torch.randn(N, 4)
    first, other = torch.from_numpy(edges(0)).clone(), torch.from_numpy(edges(1)).clone()
    conv(x, first)
    traced = torch.jit.trace(conv, (x, first), check_trace=False)
    with torch.no_grad():
        torch.testing.assert_close(traced(x, other), conv(x, other))


@pytest.mark.parametrize("how", [by_numpy, by_data, in_place], ids=lambda f: f.__name__)
@pytest.mark.parametrize("wrong, error", [(10**12, "e_id holds 1000000000000"), (-7, "-7")])
def test_ids_of_edges_are_checked_beside_those_of_nodes_and_again_when_changed(how, wrong, error):
    whole = Graph(torch.from_numpy(np.unique(edges(0), axis=1)), N)
    layer, x = edgenet.EdgeNetConv(4, 3, phi="edge_varying", add_self_loops=False).bind(whole), torch.randn(N, 4)
    ids = np.arange(whole.num_edges)
    piece = Graph(whole.edge_index.clone(), N, node_id=torch.arange(N), edge_id=torch.from_numpy(ids.copy()))
    layer(x, piece)
    ids[3] = wrong
    how(piece.edge_id, ids)
    with pytest.raises(ValueError, match=error):
        layer(x, piece)


def test_ids_made_in_inference_mode_are_never_those_of_before():
    whole = Graph(torch.from_numpy(np.unique(edges(0), axis=1)), N)
    phi = EdgeVarying(1, 2, self_loops=False)
    phi.bind(whole)
    with torch.no_grad():
        phi.edge_table.weight.normal_()
    signal = torch.zeros(N, 2, 1)
    table = phi(None, signal, whole)[0]
    with torch.inference_mode():
        ids = torch.arange(7)
        piece = Graph(whole.edge_index[:, :7].clone(), N, edge_id=ids)
        for shift in (0, 5, 2):
            torch.arange(shift, shift + 7, out=ids)
            assert torch.equal(phi(None, signal, piece)[0], table[shift : shift + 7])


def test_what_is_sorted_are_the_edges_that_were_checked(monkeypatch):
    ends, sort = edges(0), torch.sort
    shared = torch.from_numpy(ends)
    graph = Graph(shared, N)

    def written_meanwhile(*args, **named):
        ends[:] = 2**40
        return sort(*args, **named)

    wanted = Graph(torch.from_numpy(ends.copy()), N).by_target
    monkeypatch.setattr(torch, "sort", written_meanwhile)
    assert torch.equal(graph.by_target, wanted)
