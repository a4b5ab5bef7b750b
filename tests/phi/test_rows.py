"""How a table finds its rows: with few bytes beside it, one index a graph, and by edge ids with none."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from edgenet import from_pretrained, save_pretrained
from edgenet.errors import ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.phi import EdgeFactored, EdgeMatrix, EdgeVarying
from edgenet.phi.rows import ByEdge, ByEdgeId
from edgenet.phi.rows.shared import narrow, read, shared, stored
from edgenet.testing import GRAPHS, random_graph

GRAPH = GRAPHS["directed"]  # has repeated edges, self-loops and an isolated node
N = 13


def bound(graph=GRAPH, order=2, heads=3, **options):
    phi = EdgeVarying(order, heads, **options)
    phi.bind(graph)
    with torch.no_grad():
        for table in phi.parameters():
            table.normal_()
    return phi


def weights(phi, graph):
    return phi(None, torch.zeros(graph.num_nodes, phi.heads, 1), graph)


def bytes_of(*tensors):
    return sum(t.numel() * t.element_size() for t in {id(t): t for t in tensors}.values())


def layers(count=3, **options):
    model = nn.Sequential(*(EdgeNetConv(4, 4, heads=2, concat=False, **options) for _ in range(count)))
    for layer in model:
        layer.bind(GRAPH)
    return model


# --- how much ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("nodes, size", [(200, 2), (40_000, 4)])
def test_an_index_takes_the_fewest_bytes_that_hold_its_numbers(nodes, size):
    graph = random_graph(nodes, 5000, seed=0)
    where = EdgeVarying(1, 1, self_loops=False)
    where.bind(graph)
    stored = where.state_dict()
    assert stored["where.source"].element_size() == size and stored["where.rowptr"].element_size() == 2
    assert len(stored["where.row"]) == len(stored["where.node_row"]) == 0  # in the order of the pairs, and of the nodes
    index = bytes_of(*(value for name, value in stored.items() if "table" not in name))
    pairs = where.edge_table.shape[0]
    assert index <= size * pairs + 2 * (nodes + 1) + 8  # 24 bytes a pair, and 8 a node, in int64 arrays


def test_what_does_not_fit_into_two_bytes_takes_four_and_then_eight():
    sizes = {2**15 - 1: torch.int16, 2**15: torch.int32, 2**31 - 1: torch.int32, 2**31: torch.int64}
    for largest, dtype in sizes.items():
        number = torch.tensor([-1, largest])
        held = narrow(number, largest)
        assert held.dtype in (torch.int32, torch.int64), "torch.distributed sends no int16"
        assert stored(held).dtype == dtype and torch.equal(stored(held).long(), number)
        assert read(stored(held)).dtype == held.dtype


def test_keys_of_a_large_graph_do_not_overflow():
    n = 100_000
    graph = Graph(torch.tensor([[n - 1, 0, n - 1], [n - 2, n - 1, 0]]), n)
    phi = bound(graph)
    assert phi.where.key.tolist() == [n - 1, (n - 2) * n + n - 1, (n - 1) * n]
    assert torch.equal(weights(phi, graph)[:, [2, 0, 1]].movedim(1, 0).flatten(1), phi.edge_table.weight)


# --- one for a graph --------------------------------------------------------------------------------------------------
def index_of(model):
    """The tensors that say which rows are whose, by identity."""
    return {id(t) for name, t in model.named_buffers(remove_duplicate=False) if t is not None and t.numel()}


def test_all_tables_of_a_graph_have_one_index():
    model = layers()
    assert index_of(model) == index_of(model[:1])
    other = layers(1)
    assert index_of(other) == index_of(model)  # bound to an equal graph somewhere else
    assert not index_of(layers(1, self_loops=False)) - index_of(model)  # without a table of rows, whose loops have none


def test_the_index_is_one_in_copies_and_after_moves():
    model = layers()
    for moved in (copy.deepcopy(model), copy.deepcopy(model).float(), copy.deepcopy(model)._apply(torch.clone)):
        assert len(index_of(moved)) == len(index_of(model[:1]))


def test_the_index_is_one_after_loading():
    model, x = layers(), torch.randn(N, 4)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    for assign in (False, True):
        state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
        other = nn.Sequential(*(EdgeNetConv(4, 4, heads=2, concat=False) for _ in range(3)))
        other.load_state_dict(state, assign=assign)
        del state
        assert len(index_of(other)) == len(index_of(model[:1])) - 1  # edge ids are known after binding
        for one, two in zip(model, other, strict=True):
            assert torch.equal(one(x, GRAPH), two(x, GRAPH))


def test_the_index_is_stored_once(tmp_path):
    sizes = {}
    for count in (1, 3):
        save_pretrained(layers(count), tmp_path / str(count))
        model = from_pretrained(tmp_path / str(count), edges=GRAPH)
        sizes[count] = (tmp_path / str(count) / "model.safetensors").stat().st_size
        assert len(index_of(model)) == len(index_of(layers(1)))
    table = bytes_of(*layers(1).parameters())
    assert sizes[3] - sizes[1] < 2 * table + 2600  # names of tensors


def test_numpy_that_a_checkpoint_was_read_from_is_not_held():
    phi, other = bound(), EdgeVarying(2, 3)
    state = {name: torch.from_numpy(value.numpy().copy()) for name, value in phi.state_dict().items()}
    other.load_state_dict(state)
    for value in state.values():
        value.numpy()[...] = 0
    assert torch.equal(weights(other, GRAPH), weights(phi, GRAPH))


def test_loading_into_one_table_leaves_others_their_index():
    here = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3)
    there = Graph(torch.tensor([[1, 2, 0], [0, 1, 2]]), 3)
    first, second, stored = bound(here), bound(here), bound(there)
    before = weights(second, here)
    first.load_state_dict(stored.state_dict())
    assert torch.equal(weights(second, here), before) and torch.equal(weights(first, there), weights(stored, there))


def test_tensors_of_equal_contents_are_one_and_others_are_not():
    a = shared(torch.arange(7))
    assert shared(torch.arange(7)) is a and shared(torch.arange(7).int()) is not a
    assert shared(torch.tensor([1, 0, 2, 3, 4, 5, 6])) is not a  # of the same sum


# --- loaded tables ----------------------------------------------------------------------------------------------------
def test_a_loaded_table_learns_from_binding_in_which_order_edge_ids_count():
    phi, other = bound(), EdgeVarying(2, 3)
    other.load_state_dict(phi.state_dict())
    piece = Graph(GRAPH.edge_index[:, [40, 3]], N, edge_id=torch.tensor([40, 3]))
    with pytest.raises(SupportError, match=r"n_id.*bind\(edge_index, num_nodes\)"):
        weights(other, piece)
    other.bind(GRAPH)
    assert torch.equal(weights(other, piece), weights(phi, GRAPH)[:, [40, 3]])


@pytest.mark.parametrize("options", [{}, {"nodes": 3}, {"by_community": True}, {"self_loops": False}], ids=str)
def test_a_checkpoint_that_lacks_part_of_an_index_is_refused_and_changes_nothing(options):
    phi, other = bound(**options), bound(**options)
    before = weights(other, GRAPH)
    state = phi.state_dict()
    del state["where.source"]
    state |= {name: value for name, value in other.state_dict().items() if "table" in name}
    with pytest.raises(RuntimeError, match=r"Missing key.*where\.source"):
        other.load_state_dict(state)
    assert torch.equal(weights(other, GRAPH), before)


# --- by the number of the edge ----------------------------------------------------------------------------------------
def piece(graph, edges, **ids):
    return Graph(graph.edge_index[:, edges], graph.num_nodes, **ids)


def test_by_edge_id_row_e_is_that_of_edge_e():
    phi = bound(share="edge_id", self_loops=False)
    assert phi.edge_table.shape == (47, 6)
    assert torch.equal(weights(phi, GRAPH), phi.edge_table.weight.view(47, 2, 3).movedim(1, 0))
    edges = torch.randperm(47)[:9]
    assert torch.equal(weights(phi, piece(GRAPH, edges, edge_id=edges)), weights(phi, GRAPH)[:, edges])


def test_by_edge_id_nothing_is_stored_to_find_them():
    phi = bound(share="edge_id")
    assert bytes_of(*phi.buffers()) <= 32


def test_by_edge_id_another_list_or_order_is_refused():
    phi = bound(share="edge_id")
    weights(phi, Graph(GRAPH.edge_index.clone(), N))  # an equal list
    order = torch.randperm(47)
    for other in (piece(GRAPH, order), GRAPH.transpose(), random_graph(N, 47, seed=1), random_graph(N, 46, seed=1)):
        with pytest.raises(SupportError, match=r"47 edges on 13 nodes.*Pass e_id.*share='edge'"):
            weights(phi, other)
        with pytest.raises(SupportError, match="47 edges on 13 nodes"):
            phi.bind(other)
    shuffled = piece(GRAPH, order, edge_id=order)
    assert torch.equal(weights(phi, shuffled), weights(phi, GRAPH)[:, order])
    with pytest.raises(SupportError, match="pass e_id beside n_id"):
        weights(phi, piece(GRAPH, order, node_id=torch.arange(N)))
    with pytest.raises(SupportError, match="e_id holds 47"):
        weights(phi, piece(GRAPH, torch.tensor([0]), edge_id=torch.tensor([47])))


def test_by_edge_id_layers_train_are_saved_and_come_back(tmp_path):
    model, x = layers(2, phi="edge_varying", share="edge_id"), torch.randn(N, 4)
    model[1](model[0](x, GRAPH), GRAPH).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path, edges=GRAPH)
    for one, two in zip(model, again, strict=True):
        assert torch.equal(one.eval()(x, GRAPH), two(x, GRAPH))
    other = nn.Sequential(*(EdgeNetConv(4, 4, heads=2, concat=False, share="edge_id") for _ in range(2)))
    other.load_state_dict(copy.deepcopy(model).state_dict())
    assert torch.equal(other[0](x, GRAPH), model[0](x, GRAPH))


def test_by_edge_id_the_start_is_a_normalised_adjacency_but_for_signs_and_reset_is_of_its_size():
    phi = EdgeVarying(1, 2, share="edge_id")
    phi.bind(GRAPHS["star"])
    start = phi.edge_table.weight.clone()
    assert ((start.abs() * 6**0.5 - 1).abs() <= 0.5).all()
    phi.reset_parameters()
    again = phi.edge_table.weight
    assert again.shape == start.shape and (again != start).any() and (again != 0).all()


def test_by_edge_id_matrices_on_edges_work_and_what_finds_edges_by_ends_is_refused():
    phi = EdgeMatrix(1, 2, share="edge_id")
    phi.bind(GRAPH)
    assert phi(None, torch.zeros(N, 2, 1), GRAPH).shape == (1, 47, 4)
    for make in (
        lambda: EdgeFactored(1, 2, 2, share="edge_id"),
        lambda: EdgeVarying(share="edge_id", nodes=3),
        lambda: EdgeVarying(share="edge_id", by_community=True),
        lambda: EdgeVarying(share="edge_id", normalize="rw"),
    ):
        with pytest.raises(ShapeError, match="edge_id"):
            make()


# --- finding ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_pairs_are_found_where_they_stand_and_others_are_not(graph):
    where = ByEdge(self_loops=False)
    where.bind(graph)
    have = sorted({(i, j) for j, i in graph.edge_index.t().tolist()})
    every = np.indices((graph.num_nodes,) * 2).reshape(2, -1)
    place, known = where._places(*torch.from_numpy(every))
    assert [tuple(pair) for pair in every.T[known.numpy()].tolist()] == have
    assert place[known].tolist() == list(range(len(have)))
    assert [tuple(pair) for pair in torch.stack(where.ends()).t().tolist()] == have


def test_rows_are_found_among_the_in_edges_of_a_hub():
    star = Graph(torch.stack([torch.arange(1, 5000), torch.zeros(4999, dtype=torch.long)]), 5000)
    phi = bound(star, order=1, heads=1)
    order = torch.randperm(4999)
    assert torch.equal(weights(phi, star)[0, order], weights(phi, Graph(star.edge_index[:, order], 5000))[0])


def test_the_finder_says_what_it_is():
    assert "unbound" in repr(ByEdge()) and "unbound" in repr(ByEdgeId())
    assert "edges=47" in repr(bound(share="edge_id").where)
