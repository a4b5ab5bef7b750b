"""Graph: what it holds, that it sorts once, what it is made of, and what it refuses."""

import copy
import gc
import pickle
import weakref

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
import torch_geometric.utils as pyg
from torch_geometric import EdgeIndex
from torch_geometric.data import Data

from edgenet.errors import EdgeIndexError, ShapeError
from edgenet.graph import Graph
from edgenet.testing import GRAPHS

graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def fresh(graph):
    return Graph(graph.edge_index.clone(), graph.num_nodes)


# --- sort orders ------------------------------------------------------------------------------------------------------
@graphs
def test_the_orders_are_numpys_stable_ones(graph):
    source, target = graph.edge_index.numpy()
    for order, start, ends in ((graph.by_target, graph.rowptr, target), (graph.by_source, graph.colptr, source)):
        assert order.tolist() == np.argsort(ends, kind="stable").tolist()
        assert start.tolist() == [int((ends < node).sum()) for node in range(graph.num_nodes + 1)]


def test_a_bipartite_graph_counts_its_sources_and_targets_apart():
    graph = Graph(torch.tensor([[4, 0], [0, 1]]), num_nodes=2, num_sources=5)
    assert graph.is_bipartite and graph.in_degree.tolist() == [1, 1]
    assert graph.rowptr.tolist() == [0, 1, 2] and graph.colptr.tolist() == [0, 1, 1, 1, 1, 2]


@graphs
def test_the_in_degree_counts_edges_repeated_ones_too(graph):
    assert graph.in_degree.tolist() == np.bincount(graph.target.numpy(), minlength=graph.num_nodes).tolist()


def test_a_graph_sorts_once():
    graph = fresh(GRAPHS["directed"])
    assert graph.by_target is graph.by_target and graph.rowptr is graph.rowptr
    assert graph.by_source is graph.by_source and graph.transpose() is graph.transpose()
    assert graph.with_self_loops()[0] is graph.with_self_loops()[0]


def test_two_convolutions_that_are_given_one_edge_list_share_its_orders():
    edge_index = GRAPHS["directed"].edge_index.clone()
    first, _ = Graph.of(edge_index, 13)
    second, _ = Graph.of(edge_index, 13)
    assert first.by_target is second.by_target
    assert first.with_self_loops()[0].by_target is second.with_self_loops()[0].by_target
    assert Graph.of(edge_index.clone(), 13)[0].by_target is not first.by_target


def test_an_edge_list_changed_in_place_is_sorted_and_checked_again():
    edge_index = torch.tensor([[0, 1], [1, 0]])
    assert Graph.of(edge_index, 3)[0].by_target.tolist() == [1, 0]
    edge_index[1] = torch.tensor([0, 2])
    assert Graph.of(edge_index, 3)[0].by_target.tolist() == [0, 1]
    edge_index[0, 0] = 7
    with pytest.raises(EdgeIndexError, match="source 7"):
        Graph.of(edge_index, 3)


def test_a_sparse_adjacency_changed_in_place_is_sorted_again():
    adjacency = torch.sparse_coo_tensor([[0], [1]], [1.0], (3, 3))
    assert Graph.of(adjacency, 3)[0].by_target.tolist() == [0]
    adjacency.add_(torch.sparse_coo_tensor([[2], [1]], [1.0], (3, 3)))
    assert Graph.of(adjacency, 3)[0].by_target.tolist() == [0, 1]


def test_one_edge_list_with_other_node_counts_is_checked_again():
    edge_index = torch.tensor([[0, 1], [1, 2]])
    assert Graph.of(edge_index, 4)[0].rowptr.tolist() == [0, 0, 1, 2, 2]
    assert Graph.of(edge_index, 3)[0].rowptr.tolist() == [0, 0, 1, 2]
    with pytest.raises(EdgeIndexError, match="target 2"):
        Graph.of(edge_index, 2)


def test_what_is_remembered_does_not_keep_the_edge_list_alive():
    edge_index = GRAPHS["directed"].edge_index.clone()
    graph, _ = Graph.of(edge_index, 13)
    for built in (graph.by_target, graph.by_source, graph.transpose(), graph.with_self_loops()):
        assert built is not None
    graph.without_self_loops()
    alive = weakref.ref(edge_index)
    del edge_index, graph, built
    gc.collect()
    assert alive() is None


def test_a_graph_without_loops_is_not_kept_alive_by_its_memo():
    edge_index = torch.tensor([[0, 1], [1, 2]])
    graph, _ = Graph.of(edge_index, 3)
    assert graph.without_self_loops()[0] is graph  # nothing to drop
    alive = weakref.ref(edge_index)
    del edge_index, graph
    gc.collect()
    assert alive() is None


def test_edge_lists_made_in_inference_mode_are_taken():
    with torch.inference_mode():
        edge_index = torch.tensor([[0, 1], [1, 0]])
        assert Graph.of(edge_index, 2)[0].by_target.tolist() == [1, 0]


# --- self-loops and transposition -------------------------------------------------------------------------------------
@graphs
def test_without_self_loops_is_pygs_remove_self_loops(graph):
    weight = torch.rand(graph.num_edges)
    bare, kept = fresh(graph).without_self_loops()
    edge_index, wanted = pyg.remove_self_loops(graph.edge_index, weight)
    assert torch.equal(bare.edge_index, edge_index) and torch.equal(weight[kept], wanted)


@graphs
def test_with_self_loops_is_pygs_remove_and_add_self_loops(graph):
    weight = torch.rand(graph.num_edges)
    looped, kept = fresh(graph).with_self_loops()
    edge_index, wanted = pyg.remove_self_loops(graph.edge_index, weight)
    edge_index, _ = pyg.add_self_loops(edge_index, num_nodes=graph.num_nodes)
    assert torch.equal(looped.edge_index, edge_index) and torch.equal(weight[kept], wanted)
    assert looped.num_nodes == graph.num_nodes


def test_a_bipartite_graph_has_no_self_loops_to_add():
    with pytest.raises(ShapeError, match=r"2 sources.*3 targets.*add_self_loops=False"):
        Graph(torch.tensor([[0], [2]]), 3, num_sources=2).with_self_loops()


@graphs
def test_the_transpose_turns_every_edge_and_keeps_their_order(graph):
    graph = fresh(graph)
    before = graph.by_target
    turned = graph.transpose()
    assert torch.equal(turned.edge_index, graph.edge_index.flip(0))
    assert turned.by_source is before  # nothing is sorted twice
    assert turned.by_target.tolist() == Graph(turned.edge_index, graph.num_nodes).by_target.tolist()


def test_the_transpose_of_a_bipartite_graph_swaps_the_counts():
    turned = Graph(torch.tensor([[4], [0]]), num_nodes=2, num_sources=5).transpose()
    assert (turned.num_nodes, turned.num_sources) == (5, 2) and turned.rowptr.tolist() == [0] * 5 + [1]


def test_edges_keep_their_ids_and_nodes_theirs_where_loops_are_dropped_or_added():
    ids = torch.tensor([30, 10, 20])
    graph = Graph(torch.tensor([[0, 1, 2], [1, 1, 0]]), 3, node_id=ids, edge_id=ids + 1)
    bare, _ = graph.without_self_loops()
    assert bare.edge_id.tolist() == [31, 21] and bare.node_id is ids
    looped, _ = graph.with_self_loops()
    assert looped.edge_id.tolist() == [31, 21, -1, -1, -1]  # an added loop is no edge of the full graph
    assert looped.node_id is ids and graph.transpose().node_id is ids
    assert graph.transpose().edge_id.tolist() == (ids + 1).tolist()


# --- from elsewhere ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph, nx.MultiDiGraph, nx.MultiGraph])
def test_a_networkx_graph_keeps_its_node_order_and_weights(kind):
    source = kind()
    source.add_nodes_from("cab")
    source.add_weighted_edges_from([("a", "b", 2.0), ("c", "a", 3.0), ("b", "b", 5.0)])
    graph, weight = Graph.from_networkx(source)
    nodes = list("cab")
    edges = {(nodes[j], nodes[i]): w for (j, i), w in zip(graph.edge_index.t().tolist(), weight.tolist(), strict=True)}
    wanted = {("a", "b"): 2.0, ("c", "a"): 3.0, ("b", "b"): 5.0}
    if not source.is_directed():
        wanted |= {("b", "a"): 2.0, ("a", "c"): 3.0}
    assert edges == wanted and graph.num_edges == len(wanted) and graph.num_nodes == 3


def test_networkx_edges_of_which_some_have_no_weight_have_none():
    source = nx.DiGraph([(0, 1)])
    source.add_edge(1, 0, weight=2.0)
    assert Graph.from_networkx(source)[1] is None
    graph, weight = Graph.from_networkx(nx.empty_graph(4))
    assert graph.num_nodes == 4 and graph.edge_index.shape == (2, 0) and weight is None


def test_a_scipy_matrix_is_read_as_row_receives_from_column():
    dense = np.array([[0, 0, 2.0], [3.0, 0, 0], [0, 0, 5.0]])
    graph, weight = Graph.from_scipy(scipy.sparse.csr_matrix(dense))
    rebuilt = torch.zeros(3, 3).index_put((graph.target, graph.source), weight)
    assert rebuilt.tolist() == dense.tolist() and weight.dtype == torch.get_default_dtype()


def test_the_weights_of_a_scipy_matrix_are_copied():
    matrix = scipy.sparse.coo_matrix(([1.0], ([0], [1])), shape=(2, 2))
    _, weight = Graph.from_scipy(matrix)
    weight.mul_(7)
    assert matrix.data.tolist() == [1.0]


def test_a_rectangular_scipy_matrix_is_refused():
    with pytest.raises(ShapeError, match=r"square, got \(2, 3\)"):
        Graph.from_scipy(scipy.sparse.csr_matrix((2, 3)))


def test_pyg_data_brings_its_ids():
    data = Data(x=torch.zeros(3, 1), edge_index=torch.tensor([[0, 1], [1, 2]]))
    assert Graph.from_data(data).node_id is None
    data.n_id, data.e_id = torch.tensor([5, 3, 4]), torch.tensor([9, 8])
    graph = Graph.from_data(data)
    assert graph.node_id is data.n_id and graph.edge_id is data.e_id and graph.num_nodes == 3


def test_a_piece_shares_the_orders_of_the_edge_list_but_not_what_depends_on_its_ids():
    graph = fresh(GRAPHS["directed"])
    order = graph.by_target
    graph.with_self_loops()
    piece = graph.with_ids(torch.arange(13) + 100)
    assert piece.by_target is order
    assert piece.with_self_loops()[0].node_id is piece.node_id
    assert graph.with_ids() is graph


def test_an_edge_index_of_pyg_is_taken_as_a_plain_tensor():
    edges = EdgeIndex(GRAPHS["directed"].edge_index, sparse_size=(13, 13))
    graph, weight = Graph.of(edges, 13)
    assert type(graph.edge_index) is torch.Tensor and weight is None
    assert torch.equal(graph.edge_index, GRAPHS["directed"].edge_index)
    assert Graph.of(edges, 13)[0].by_target is graph.by_target


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_a_torch_sparse_adjacency_is_read_as_row_receives_from_column(layout):
    dense = torch.tensor([[0, 0, 2.0], [3.0, 0, 0]])  # 2 targets, 3 sources
    sparse = getattr(dense, f"to_sparse_{layout}")()
    graph, weight = Graph.of(sparse, 2, 3)
    assert torch.zeros(2, 3).index_put((graph.target, graph.source), weight).tolist() == dense.tolist()
    assert Graph.of(sparse, 2, 3)[0].by_target is graph.by_target


def test_a_sparse_adjacency_of_another_size_or_way_round_is_refused():
    with pytest.raises(EdgeIndexError, match=r"2 x 3.*3 targets x 2 sources.*transposed"):
        Graph.of(torch.ones(2, 3).to_sparse_csr(), 3, 2)


def test_weights_of_a_sparse_adjacency_carry_gradients():
    value = torch.ones(2, requires_grad=True)
    _, weight = Graph.of(torch.sparse_coo_tensor([[0, 1], [1, 0]], value, (2, 2)), 2)
    weight.sum().backward()
    assert value.grad.tolist() == [1.0, 1.0]


def test_a_graph_is_taken_as_it_is_where_its_sizes_fit():
    graph = GRAPHS["path"]
    assert Graph.of(graph, 5)[0] is graph
    with pytest.raises(ShapeError, match=r"graph has 5 nodes .*signal 6"):
        Graph.of(graph, 6)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_smaller_integers_become_int64(dtype):
    graph = Graph(torch.tensor([[0], [1]], dtype=dtype), 2, node_id=torch.tensor([4, 5], dtype=dtype))
    assert graph.edge_index.dtype == graph.node_id.dtype == torch.long


# --- bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "edges, says",
    [
        ([[0, 3], [1, 1]], ["edge 1 has source 3", "0 to 2", "Raise num_nodes"]),
        ([[0, 1], [1, 7]], ["edge 1 has target 7", "0 to 2"]),
        ([[0, 1], [-1, 1]], ["edge 0 has target -1", "0 to 2"]),
        ([[0.0, 1.0], [1.0, 0.0]], ["integer", "float64", ".long()"]),
        ([[True, False], [False, True]], ["integer", "bool"]),
        ([[1j], [1j]], ["integer", "complex"]),
        ([[0, 1, 2]], ["(2, E)", "(1, 3)"]),
        ([[0, 1], [1, 2], [2, 0]], ["(2, E)", "(3, 2)"]),
        ([0, 1], ["(2, E)", "(2,)"]),
    ],
)
def test_a_malformed_edge_list_is_refused_with_its_value_and_the_remedy(edges, says):
    edges = torch.tensor(edges)
    for make in (lambda: Graph(edges, 3), lambda: Graph.of(edges, 3)):
        with pytest.raises(EdgeIndexError) as error:
            make()
        assert all(word in str(error.value) for word in says), error.value


def test_the_range_of_sources_and_targets_of_a_bipartite_graph_is_checked_apart():
    Graph(torch.tensor([[4], [0]]), num_nodes=1, num_sources=5)
    with pytest.raises(EdgeIndexError, match=r"target 4.*0 to 0"):
        Graph(torch.tensor([[0], [4]]), num_nodes=1, num_sources=5)


def test_an_edge_on_no_nodes_is_refused():
    with pytest.raises(EdgeIndexError, match="0 nodes"):
        Graph(torch.tensor([[0], [0]]), 0)


def test_what_is_no_edge_list_at_all_is_refused_by_name():
    with pytest.raises(EdgeIndexError, match="ndarray"):
        Graph.of(np.zeros((2, 1), dtype=np.int64), 1)


@pytest.mark.parametrize("name, count", [("node_id", 3), ("edge_id", 2)])
def test_ids_of_another_length_or_kind_are_refused(name, count):
    edge_index = torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(ShapeError, match=rf"{name}.*each of the {count} {name[:4]}s.*\({count + 1},\)"):
        Graph(edge_index, 3, **{name: torch.arange(count + 1)})
    with pytest.raises(EdgeIndexError, match=rf"{name}.*integer.*float"):
        Graph(edge_index, 3, **{name: torch.zeros(count)})
    with pytest.raises(ShapeError, match=name):
        Graph(edge_index, 3).with_ids(**{name: torch.arange(count + 1)})


# --- as an object -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g)), lambda g: g.to("cpu")])
def test_copies_hold_the_same_edges_and_ids_and_sort_for_themselves(duplicate):
    graph = Graph(torch.tensor([[0, 4], [1, 0]]), 2, 5, torch.tensor([7, 8]), torch.tensor([1, 2]))
    order = graph.by_target
    twin = duplicate(graph)
    assert (twin.num_nodes, twin.num_sources) == (2, 5)
    for name in ("edge_index", "node_id", "edge_id", "by_target"):
        assert torch.equal(getattr(twin, name), getattr(graph, name))
    assert twin.by_target is not order


def test_a_graph_cannot_be_changed_by_assignment():
    with pytest.raises(AttributeError):
        GRAPHS["path"].num_nodes = 7


@graphs
def test_a_graph_built_while_compiling_sorts_as_any_other(graph):
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda e: Graph(e, graph.num_nodes).by_target + 0, fullgraph=True, backend="aot_eager", dynamic=False
    )
    assert compiled(graph.edge_index).tolist() == graph.by_target.tolist()


def test_in_inference_mode_too_a_graph_is_sorted_once():
    graph = GRAPHS["directed"]
    graph = Graph(graph.edge_index, graph.num_nodes)
    with torch.inference_mode():
        order = graph.by_target
        assert graph.by_target is order
    weight = torch.ones(graph.num_edges, requires_grad=True)
    (weight[graph.by_target] * weight).sum().backward()  # what was sorted there serves training


def test_of_keys_that_begin_alike_so_many_are_kept():
    graph, made = fresh(GRAPHS["path"]), []
    for key in (0, 1, 2, 1, 2, 0):
        graph.memo(("alike", key), lambda key=key: made.append(key), at_most=2)
    assert made == [0, 1, 2, 0]


class Adjacency:
    """As ``torch_sparse.SparseTensor`` answers: rows are targets."""

    row, col, value = torch.tensor([0, 2, 2]), torch.tensor([1, 0, 3]), torch.tensor([0.5, 2.0, 4.0])

    def coo(self):
        return self.row, self.col, self.value

    def sparse_sizes(self):
        return 3, 4

    def sparse_size(self, axis):
        return self.sparse_sizes()[axis]


def test_a_sparse_tensor_of_torch_sparse_is_read_by_rows():
    graph, values = Graph.of(Adjacency(), 3, 4)
    assert graph.source.tolist() == [1, 0, 3] and graph.target.tolist() == [0, 2, 2]
    assert values.tolist() == [0.5, 2.0, 4.0] and (graph.num_nodes, graph.num_sources) == (3, 4)
    with pytest.raises(EdgeIndexError, match="3 x 4"):
        Graph.of(Adjacency(), 4)
