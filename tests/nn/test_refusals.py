"""What layers refuse, in words."""

import pytest
import torch
from convs import LAYERS, layers

from edgenet.errors import EdgeIndexError, ShapeError, SupportError
from edgenet.nn import EdgeNetConv, specializations, taps
from edgenet.phi import Attention, EdgeVarying


def refuses(error: type[Exception], *texts: str):
    """Raises the error, with all the texts in it."""

    class Check:
        def __enter__(self):
            self.context = pytest.raises(error)
            self.info = self.context.__enter__()

        def __exit__(self, *exception):
            caught = self.context.__exit__(*exception)
            for text in texts:
                assert text in str(self.info.value)
            return caught

    return Check()


X, EDGES = torch.zeros(3, 4, dtype=torch.float64), torch.tensor([[0, 1], [1, 2]])


@layers
def test_an_edge_to_a_node_that_is_not_there_is_refused(layer):
    conv = LAYERS[layer](4, 2)
    with refuses(EdgeIndexError, "target 3", "0 to 2", "drop or renumber"):
        conv(X, torch.tensor([[0, 1], [1, 3]]))
    with refuses(EdgeIndexError, "source -1", "0 to 2"):
        conv(X, torch.tensor([[0, -1], [1, 2]]))


def test_a_malformed_edge_list_is_refused():
    conv = specializations.gat(4, 2)
    with refuses(EdgeIndexError, "torch.float64", "edge_index.long()"):
        conv(X, EDGES.double())
    with refuses(EdgeIndexError, "(2, E)", "(3, 2)"):
        conv(X, torch.zeros(3, 2, dtype=torch.long))
    with refuses(EdgeIndexError, "list"):
        conv(X, [[0, 1], [1, 2]])
    with refuses(EdgeIndexError, "4 x 4", "3 targets"):
        conv(X, torch.eye(4).to_sparse_csr())


@layers
def test_features_of_another_width_are_refused(layer):
    conv = LAYERS[layer](5, 2)
    with refuses(ShapeError, "5", "4"):
        conv(X, EDGES if layer != "spectral" else EDGES[:, :0])


def test_features_that_are_no_signal_are_refused():
    conv = specializations.gcnn(4, 2)
    with refuses(ShapeError, "floats", "torch.int64"):
        conv(X.long(), EDGES)
    with refuses(ShapeError, "(nodes, features)", "(3,)"):
        conv(X[:, 0], EDGES)


def test_edge_weights_and_features_of_another_length_are_refused():
    conv = specializations.gat(4, 2, edge_dim=3)
    with refuses(ShapeError, "edge_weight", "2 edges", "(5,)"):
        conv(X, EDGES, edge_weight=torch.ones(5), edge_attr=torch.ones(2, 3))
    with refuses(ShapeError, "edge_attr", "2 edges", "(4, 3)"):
        conv(X, EDGES, edge_attr=torch.ones(4, 3))
    with refuses(ShapeError, "edge_dim=3"):
        specializations.gat(4, 2)(X, EDGES, edge_attr=torch.ones(2, 3))
    with refuses(ShapeError, "2 shift operators", "(2,)"):
        specializations.gcnn(4, 2, shifts=2, normalize=None)(X, EDGES, torch.ones(2))


@pytest.mark.parametrize("layer", ["edge_varying", "edge_varying-mimo", "edge_varying-heads", "hybrid"])
def test_an_edge_outside_the_support_is_refused(layer):
    conv = LAYERS[layer](4, 2).bind(EDGES, 3)
    with refuses(SupportError, "edge 1 (2 -> 0)", "share by hash"):
        conv(X, torch.tensor([[0, 2], [1, 0]]))


@pytest.mark.parametrize("layer", ["edge_varying", "edge_varying-by-node", "node_varying", "hybrid", "spectral"])
def test_a_table_is_refused_on_another_graph(layer):
    edges = EDGES if layer != "spectral" else torch.cat([EDGES, EDGES.flip(0)], 1)
    conv = LAYERS[layer](4, 2).bind(edges, 3)
    with refuses(SupportError, "3 nodes", "5"):
        conv(torch.zeros(5, 4), edges)


@pytest.mark.parametrize("layer", ["edge_varying", "edge_varying-by-node", "node_varying", "hybrid"])
def test_a_bound_layer_refuses_to_be_bound_to_another_graph(layer):
    conv = LAYERS[layer](4, 2).bind(EDGES, 3)
    conv.bind(EDGES, 3)  # the same one is harmless
    with refuses(SupportError, "3 nodes", "5"):
        conv.bind(EDGES, 5)


def test_a_sampled_piece_cannot_be_the_first_graph_of_a_table():
    for conv in (specializations.edge_varying(4, 2), specializations.node_varying(4, 2)):
        with refuses(SupportError, "bind"):
            conv(X, EDGES, n_id=torch.arange(3))


def test_an_edge_list_without_a_number_of_nodes_cannot_be_bound():
    with refuses(ShapeError, "num_nodes"):
        specializations.edge_varying(4, 2).bind(EDGES)


def test_layers_that_cannot_be_are_refused():
    with refuses(ShapeError, "order 0", "self tap"):
        EdgeNetConv(4, 2, order=0, phi="shift", self_tap=False)
    with refuses(ShapeError, "-1", "order >= 0"):
        EdgeNetConv(4, 2, order=-1)
    with refuses(ShapeError, "atention", "attention_v2", "edge_varying"):
        EdgeNetConv(4, 2, phi="atention")
    with refuses(ShapeError, "dropout", "Attention"):
        EdgeNetConv(4, 2, phi=Attention(1, 1, 2), dropout=0.5)
    with refuses(ShapeError, "sum", "last"):
        taps.Sum("last")
    with refuses(ShapeError, "siso", "simo"):
        specializations.edge_varying(4, 2, bank="simo")
    with refuses(ShapeError, "share", "'edges'"):
        specializations.edge_varying(4, 2, share="edges")
    with refuses(ShapeError, "'symmetric'", "sym"):
        specializations.gcnn(4, 2, normalize="symmetric")
    with refuses(ShapeError, "heads=2"):
        EdgeNetConv(4, 2, heads=2, phi="edge_matrix")
    with refuses(ShapeError, "3 heads", "4 output channels"):
        specializations.hybrid(4, 4, bank="heads", heads=3)
    with refuses(ShapeError, "fill_value", "'median'"):
        specializations.gat(4, 2, edge_dim=1, fill_value="median")(X, EDGES, edge_attr=torch.ones(2, 1))
    with refuses(ShapeError, "(4, 5)"):
        specializations.gatv2((4, 5), 2, share_weights=True)


def test_what_a_bipartite_graph_lacks_is_refused():
    x, edges = (torch.zeros(3, 4), torch.zeros(2, 4)), torch.tensor([[0, 2], [1, 0]])
    with refuses(ShapeError, "walked once", "order 2"):
        specializations.gcnn(4, 2, 2, normalize=None)(x, edges)
    with refuses(ShapeError, "walked once", "order 2"):
        specializations.edge_varying_gat(4, 2, 2, add_self_loops=False)((x[0], None), edges, size=(3, 2))
    with refuses(ShapeError, "random_walk"):
        specializations.gcnn(4, 2, 1)(x, edges)
    with refuses(SupportError, "in_channels=(sources, targets)", "self_loops=False"):
        EdgeNetConv(4, 2, phi="edge_varying")(x, edges)
    with refuses(ShapeError, "self_loops=False"):
        EdgeNetConv(4, 2, phi=EdgeVarying(1, 1, share="hash", buckets=3))(x, edges)
    with refuses(ShapeError, "self_tap=False"):
        EdgeNetConv(4, 2, phi="shift")((x[0], None), edges, size=(3, 2))


def test_a_sparse_adjacency_says_its_own_direction():
    conv = EdgeNetConv(4, 2, phi="shift", flow="target_to_source")
    with refuses(ShapeError, "source_to_target"):
        conv(X, torch.eye(3).to_sparse_csr())
