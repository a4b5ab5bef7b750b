"""Models of the library keep the contract of models."""

from functools import partial

import pytest
from torch import nn
from torch_geometric.nn import GCNConv, global_mean_pool

from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.testing.model import CHECKS, ModelCase


class Own(nn.Module):
    """Somebody's graph classifier of PyG's layers."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv, self.head = GCNConv(in_channels, 16), nn.Linear(16, out_channels)

    def forward(self, x, edge_index, batch=None):
        return self.head(global_mean_pool(self.conv(x, edge_index).tanh(), batch))


MODELS = {
    "NodeClassifier gat": ModelCase(partial(NodeClassifier, layer="gat", heads=2)),
    "NodeClassifier gcnn": ModelCase(partial(NodeClassifier, layer="gcnn"), weights=1),
    "NodeClassifier edge_varying": ModelCase(partial(NodeClassifier, layer="edge_varying", hidden_channels=4)),
    "GraphClassifier gcnn": ModelCase(GraphClassifier, graphs=True),
    "Own": ModelCase(Own, graphs=True),
}


@pytest.mark.parametrize("check", CHECKS.chosen(skip="compile"))
@pytest.mark.parametrize("name", MODELS)
def test_a_model_keeps_its_contract(name, check):
    beside_the_point = CHECKS.hold(check, MODELS[name])
    if beside_the_point:
        pytest.skip(beside_the_point)
