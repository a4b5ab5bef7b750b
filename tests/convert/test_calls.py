"""A converted layer is called as the PyG layer was."""

import io

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

from edgenet import Graph, to_edgenet
from edgenet.errors import ShapeError
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
EDGES = GRAPH.edge_index
BIPARTITE = torch.tensor([[0, 3, 3, 1], [1, 0, 1, 1]])  # 4 sources, 3 targets, the last alone
X = torch.linspace(-1, 1, 65, dtype=torch.float64).view(13, 5)


def both(theirs, *args, **named):
    ours = to_edgenet(theirs)
    return ours(*args, **named), theirs(*args, **named)


def test_edge_features_are_the_third_argument_of_attention():
    attr = torch.randn(47, 2)
    for layer in (pyg.GATConv(5, 3, edge_dim=2), pyg.GATv2Conv(5, 3, edge_dim=2)):
        torch.testing.assert_close(*both(layer, X, EDGES, attr))


def test_edge_weights_are_the_third_argument_of_shift_operators():
    weight = torch.rand(47)
    for layer in (pyg.GCNConv(5, 3), pyg.TAGConv(5, 3), pyg.SGConv(5, 3), pyg.ARMAConv(5, 3), pyg.ChebConv(5, 3, 3)):
        torch.testing.assert_close(*both(layer, X, EDGES, weight))


@pytest.mark.float32
@pytest.mark.parametrize("width", [3, 7])
def test_weights_of_more_digits_than_the_signal_give_an_output_of_as_many(width):
    ours, theirs = both(pyg.GCNConv(5, width), X.float(), EDGES, torch.rand(47, dtype=torch.float64))
    assert ours.dtype == theirs.dtype == torch.float64
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)  # their lift is of float32


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("kind", [pyg.GATConv, pyg.GATv2Conv, pyg.TransformerConv])
def test_attention_weights_come_with_their_edges(kind, flow):
    ours, theirs = both(kind(5, 3, heads=2, flow=flow), X, EDGES, return_attention_weights=True)
    torch.testing.assert_close(ours[0], theirs[0])
    assert torch.equal(ours[1][0], theirs[1][0])
    torch.testing.assert_close(ours[1][1], theirs[1][1])


@pytest.mark.parametrize("kind", [pyg.GATConv, pyg.GATv2Conv, pyg.TransformerConv])
def test_asking_for_weights_changes_no_bit_of_the_output(kind):
    x, edges = torch.randn(200, 5).float(), torch.randint(0, 200, (2, 3000))
    layer, seen = to_edgenet(kind(5, 7, heads=3).float()), []
    wanted = layer(x, edges)
    assert torch.equal(layer(x, edges, return_attention_weights=True)[0], wanted)
    layer.phi.register_forward_hook(lambda *_: seen.append(1))
    layer(x, edges, return_attention_weights=True)
    assert seen == [1]  # where somebody looks, it walks once


def test_attention_weights_are_asked_for_as_in_pyg():
    for kind, returned in ((pyg.GATConv, False), (pyg.GATv2Conv, False), (pyg.TransformerConv, True)):
        ours, theirs = both(kind(5, 3), X, EDGES, return_attention_weights=False)
        assert isinstance(ours, tuple) == isinstance(theirs, tuple) == returned
    layer = to_edgenet(pyg.TransformerConv(5, 3, dropout=0.5))
    with pytest.raises(ShapeError, match="before dropout"):
        layer(X, EDGES, return_attention_weights=True)
    assert layer.eval()(X, EDGES, return_attention_weights=True)[1][1].shape == (47, 1)


def test_dropout_is_carried_over():
    for kind in (pyg.GATConv, pyg.GATv2Conv, pyg.TransformerConv):
        layer = to_edgenet(kind(5, 3, dropout=0.7))
        assert layer.phi.dropout == 0.7 and not torch.equal(layer(X, EDGES), layer(X, EDGES))
    layer = to_edgenet(pyg.ARMAConv(5, 3, dropout=0.7))
    assert not torch.equal(layer(X, EDGES), layer(X, EDGES))


def test_targets_of_a_bipartite_graph_may_have_no_signal():
    x = (torch.randn(4, 5), None)
    for layer in (
        pyg.GATConv((5, 2), 3, heads=2, add_self_loops=False),
        pyg.GATConv(5, 3, add_self_loops=False, residual=True),
        pyg.SAGEConv((5, 2), 3),
        pyg.SAGEConv(5, 3),
    ):
        torch.testing.assert_close(*both(layer, x, BIPARTITE, size=(4, 3)))
        torch.testing.assert_close(*both(layer, x, BIPARTITE))  # as many targets as sources
    torch.testing.assert_close(*both(pyg.GINConv(nn.Linear(5, 3), eps=0.5), x, BIPARTITE, size=(4, 3)))
    x = torch.randn(4, 5), torch.randn(3, 2)
    torch.testing.assert_close(*both(pyg.SAGEConv((5, 2), 3), x, BIPARTITE, (4, 3)))
    with pytest.raises(ShapeError, match=r"size \(4, 4\) is not"):
        to_edgenet(pyg.SAGEConv((5, 2), 3))(x, BIPARTITE, (4, 4))
    torch.testing.assert_close(*both(pyg.SAGEConv(5, 3, root_weight=False), x, BIPARTITE))
    with pytest.raises(ShapeError, match="not a pair"):
        to_edgenet(pyg.GCNConv(5, 3))(x, BIPARTITE)
    with pytest.raises(ShapeError, match="swaps the two sides"):
        to_edgenet(pyg.SAGEConv((5, 2), 3, flow="target_to_source"))(x, BIPARTITE)


def adjacency(layout, edges, sizes):
    return torch.sparse_coo_tensor(edges.flip(0), torch.rand(edges.shape[1]), sizes).coalesce().to_sparse(layout=layout)


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo, torch.sparse_csc])
@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("kind", [pyg.GATConv, pyg.GATv2Conv, pyg.TransformerConv])
def test_attention_weights_go_back_into_a_sparse_adjacency(kind, loops, layout):
    theirs, matrix = kind(5, 3, heads=2).double(), adjacency(layout, EDGES.unique(dim=1), (13, 13))
    theirs.add_self_loops = loops
    ours = to_edgenet(theirs)
    y, (got, alpha) = ours(X, matrix, return_attention_weights=True)
    assert got.layout == layout and got._nnz() == len(alpha)
    if layout == torch.sparse_csc:  # which PyG cannot walk
        if kind is pyg.TransformerConv:
            return
        matrix = matrix.to_sparse_csr()
    wanted, (edges, weights) = theirs(X, matrix, return_attention_weights=True)
    torch.testing.assert_close(y, wanted)
    if kind is pyg.TransformerConv:  # PyG gives back what came
        assert got is matrix
        torch.testing.assert_close(alpha, weights)
    else:
        torch.testing.assert_close(dense(got), dense(edges))
        torch.testing.assert_close(got.values(), alpha)


def dense(matrix):
    """A sparse (N, N, H) as it would be dense; torch fills up coordinates alone."""
    if matrix.layout == torch.sparse_coo:
        return matrix.to_dense()
    compressed, plain = (
        (matrix.crow_indices(), matrix.col_indices())
        if matrix.layout == torch.sparse_csr
        else (matrix.ccol_indices(), matrix.row_indices())
    )
    along = torch.arange(len(compressed) - 1).repeat_interleave(compressed.diff())
    index = torch.stack([along, plain] if matrix.layout == torch.sparse_csr else [plain, along])
    return torch.sparse_coo_tensor(index, matrix.values(), matrix.shape).to_dense()


def test_a_sparse_adjacency_that_is_not_coalesced_is_refused_where_repeats_count():
    matrix = torch.sparse_coo_tensor(torch.tensor([[0, 0], [1, 1]]), torch.ones(2), (13, 13))
    with pytest.raises(ShapeError, match="coalesce it first"):
        to_edgenet(pyg.GATConv(5, 3).double())(X, matrix)
    with pytest.raises(ShapeError, match="its own direction"):
        to_edgenet(pyg.GATConv(5, 3, flow="target_to_source").double())(X, matrix)


@pytest.mark.parametrize("kind", [pyg.GATConv, pyg.GATv2Conv])
@pytest.mark.parametrize("targets", [3, 6])
def test_loops_between_two_sets_of_nodes_are_pygs(kind, targets):
    x, attr = (torch.randn(4, 5), torch.randn(targets, 2)), torch.randn(4, 2)
    theirs = kind((5, 2), 3, heads=2).double()
    torch.testing.assert_close(*both(theirs, x, BIPARTITE))
    theirs = kind((5, 2), 3, heads=2, edge_dim=2, fill_value=0.5 if targets > 4 else "mean").double()
    torch.testing.assert_close(*both(theirs, x, BIPARTITE, attr))


@pytest.mark.parametrize(
    "layer",
    [
        pyg.GCNConv(5, 3), pyg.TAGConv(5, 3), pyg.SGConv(5, 3, K=2), pyg.ARMAConv(5, 3, 2, 2), pyg.ChebConv(5, 3, 3),
        pyg.SAGEConv(5, 3, project=True), pyg.GINConv(nn.Linear(5, 3)),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_a_batch_of_signals_on_one_graph_goes_through_as_in_pyg(layer):
    layer = layer.double()
    ours, theirs = both(layer, torch.randn(3, 13, 5), EDGES)
    torch.testing.assert_close(ours, theirs)
    assert ours.is_contiguous()


def test_edges_may_come_as_a_graph_or_an_edge_index():
    from torch_geometric import EdgeIndex

    for layer in (pyg.GATConv(5, 3), pyg.ChebConv(5, 3, 3), pyg.SAGEConv(5, 3)):
        ours = to_edgenet(layer)
        wanted = ours(X, EDGES)
        torch.testing.assert_close(ours(X, GRAPH), wanted)
        torch.testing.assert_close(ours(X, EdgeIndex(EDGES, sparse_size=(13, 13))), wanted)


def test_wrong_arguments_are_wrong_as_for_any_function():
    layer = to_edgenet(pyg.GCNConv(5, 3))
    with pytest.raises(TypeError, match="takes x, edge_index, edge_weight"):
        layer(X, EDGES, None, None)
    with pytest.raises(TypeError, match="was given 'edge_attr'"):
        layer(X, EDGES, edge_attr=None)
    with pytest.raises(TypeError, match="two values for 'edge_weight'"):
        layer(X, EDGES, None, edge_weight=None)
    with pytest.raises(ShapeError, match="reads no edge features"):
        to_edgenet(pyg.TransformerConv(5, 3))(X, EDGES, torch.randn(47, 3))
    with pytest.raises(ShapeError, match="need batch"):
        to_edgenet(pyg.ChebConv(5, 3, 3))(X, EDGES, lambda_max=torch.tensor([1.0, 2.0]))


def test_what_models_read_off_a_layer_is_there():
    layer = to_edgenet(pyg.GATConv((5, 4), 3, heads=2, add_self_loops=False))
    assert (layer.in_channels, layer.out_channels, layer.heads, layer.add_self_loops) == ((5, 4), 3, 2, False)
    assert "as GATConv(x, edge_index, edge_attr, size, return_attention_weights)" in repr(layer)
    assert to_edgenet(pyg.GCNConv(5, 3)).add_self_loops


def test_a_fresh_start_draws_every_parameter():
    for build in (
        lambda: pyg.GATConv(5, 3, residual=True, edge_dim=2),
        lambda: pyg.TransformerConv(5, 3, beta=True),
        lambda: pyg.SAGEConv(5, 3, project=True),
        lambda: pyg.GINConv(nn.Linear(5, 3), eps=0.5, train_eps=True),
        lambda: pyg.ARMAConv(5, 3, 2, 3),
    ):
        layer = to_edgenet(build())
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.fill_(7)
        layer.reset_parameters()
        assert not any((parameter == 7).any() for parameter in layer.parameters())


def test_converted_attention_walks_without_weights_in_memory(monkeypatch):
    def never(*_):
        raise AssertionError("the weights were built")

    layers = [to_edgenet(kind(5, 3, heads=2)) for kind in (pyg.GATConv, pyg.GATv2Conv)]
    monkeypatch.setattr("edgenet.phi.softmax.SoftmaxPhi.weights", never)
    for layer in layers:
        layer(X, EDGES)


def test_it_is_pickled_whole():
    for theirs in (pyg.GATConv(5, 3, heads=2), pyg.ChebConv(5, 3, 3), pyg.GINConv(nn.Linear(5, 3))):
        ours, file = to_edgenet(theirs), io.BytesIO()
        torch.save(ours, file)
        file.seek(0)
        assert torch.equal(torch.load(file, weights_only=False)(X, EDGES), ours(X, EDGES))


def test_it_compiles_whole():
    for theirs in (pyg.GATConv(5, 3, heads=2), pyg.SAGEConv(5, 3), pyg.GCNConv(5, 3)):
        ours, graph = to_edgenet(theirs), Graph(EDGES.clone(), 13)
        wanted = ours(X, graph)
        torch._dynamo.reset()
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager", dynamic=False)
        torch.testing.assert_close(compiled(X, graph), wanted)


def test_it_compiles_without_breaks_where_sizes_do_not_depend_on_the_edges():
    for theirs in (pyg.SAGEConv(5, 3), pyg.TAGConv(5, 3), pyg.GATConv(5, 3, add_self_loops=False)):
        torch._dynamo.reset()
        assert torch._dynamo.explain(to_edgenet(theirs.double()))(X, EDGES).graph_break_count == 0
