"""A layer that is not edgenet's stands in a model as it is: it gets tensors, whatever the model is called with."""

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

from edgenet import EdgeNetConv, Graph, GraphClassifier, NodeClassifier, fit
from edgenet.data import load
from edgenet.errors import ConfigError
from edgenet.nn import SPECIALIZATIONS

N, F = 6, 5
RING = torch.stack([torch.arange(N), (torch.arange(N) + 1) % N])
BOTH = torch.cat([RING, RING.flip(0)], 1)


class Around(nn.Module):
    """Somebody's own module around a layer of edgenet."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.inner = EdgeNetConv(in_channels, out_channels, order=2)
        self.saw = None

    def forward(self, x, edge_index, **given):
        self.saw = edge_index
        return self.inner(x, edge_index, **given)


LAYERS = {"gcn": pyg.GCNConv, "sage": pyg.SAGEConv, "gat": pyg.GATConv, "around": Around}


@pytest.fixture(autouse=True, params=LAYERS)
def layer(request, monkeypatch):
    monkeypatch.setitem(SPECIALIZATIONS, "theirs", LAYERS[request.param])
    return request.param


@pytest.mark.parametrize("make", [NodeClassifier, GraphClassifier])
@pytest.mark.parametrize("skip", [False, True])
def test_sparse_features_and_graphs_are_handed_to_layers_of_others_as_tensors(make, skip):
    x, graph = (torch.randn(N, F) * (torch.rand(N, F) < 0.5)), Graph(BOTH, num_nodes=N)
    model = make(F, 3, layer="theirs", skip=skip, num_layers=2).eval()
    wanted = model(x, BOTH)
    for features in (x, x.to_sparse_csr(), x.to_sparse()):
        for edges in (BOTH, graph):
            torch.testing.assert_close(model(features, edges), wanted)


def test_a_module_around_a_layer_of_edgenet_gets_what_that_layer_takes(layer):
    if layer == "around":
        model, graph = NodeClassifier(F, 3, layer="theirs"), Graph(BOTH, num_nodes=N)
        model(torch.randn(N, F), graph)
        assert model.convs[0].saw is graph


def test_a_layer_of_others_is_trained_on_sparse_features_by_fit():
    found = fit(NodeClassifier(34, 4, layer="theirs"), load("karate"), epochs=1, dtype="float32", progress=False)
    assert found.epochs == 1


def test_edge_features_that_a_layer_does_not_take_are_refused_by_name(layer):
    model, features = NodeClassifier(F, 3, layer="theirs"), torch.randn(2 * N, 2)
    assert model.needs_edge_attr == (layer in ("gat", "around"))  # who takes any may want them
    if layer in ("gcn", "sage"):
        with pytest.raises(ConfigError, match=r"edge_attr came, and \w+Conv\.forward takes x, edge_index, "):
            model(torch.randn(N, F), BOTH, edge_attr=features)


@pytest.mark.parametrize("make", [NodeClassifier, GraphClassifier])
def test_the_spectral_filter_reads_sparse_features(make):
    x, model = (torch.randn(N, F) * (torch.rand(N, F) < 0.5)), make(F, 3, layer="spectral", num_layers=2).eval()
    wanted = model(x, BOTH)
    torch.testing.assert_close(model(x.to_sparse_csr(), BOTH), wanted)
    torch.testing.assert_close(model.convs[0](x.to_sparse_csr(), BOTH), model.convs[0](x, BOTH))
