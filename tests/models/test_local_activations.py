"""Models with activations that look at the neighbourhood of each node."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data

from edgenet import from_pretrained
from edgenet.errors import ConfigError
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.nn.graph_signal import MaxLocalActivation, MedianLocalActivation
from edgenet.testing import GRAPHS, check_model

GRAPH = GRAPHS["directed"]
KINDS = {"max_local": MaxLocalActivation, "median_local": MedianLocalActivation}
names = pytest.mark.parametrize("name", KINDS)


@names
def test_a_node_classifier_has_one_for_each_hidden_layer(name):
    model = NodeClassifier(3, 2, layer="gcnn", num_layers=3, hidden_channels=4, activation=name, activation_hops=2)
    assert [(type(part), part.hops) for part in model.activation] == [(KINDS[name], 2)] * 2
    x, (one, two, three) = torch.randn(13, 3), model.eval().convs
    first, second = model.activation
    wanted = three(second(two(first(one(x, GRAPH), GRAPH), GRAPH), GRAPH), GRAPH)
    torch.testing.assert_close(model(x, GRAPH), wanted, rtol=1e-12, atol=1e-12)
    model(x, GRAPH).pow(2).sum().backward()
    assert all(part.weight.grad.count_nonzero() == 3 for part in model.activation)


@names
def test_a_graph_classifier_has_one_for_every_layer(name):
    model = GraphClassifier(3, 2, num_layers=2, hidden_channels=4, activation=name)
    assert [type(part) for part in model.activation] == [KINDS[name]] * 2
    x, (one, two) = torch.randn(5, 13, 3), model.convs
    first, second = model.activation
    wanted = model.head(second(two(first(one(x, GRAPH), GRAPH), GRAPH), GRAPH).mean(1))
    torch.testing.assert_close(model(x, GRAPH), wanted, rtol=1e-12, atol=1e-12)
    some = [Data(x=torch.randn(g.num_nodes, 3), edge_index=g.edge_index) for g in (GRAPH, GRAPHS["path"])]
    batch = Batch.from_data_list(some)
    alone = torch.cat([model(one.x, one.edge_index) for one in some])
    torch.testing.assert_close(model(batch.x, batch.edge_index, batch.batch), alone)


@names
def test_they_come_back_from_a_folder_and_are_drawn_anew(name, tmp_path):
    model = NodeClassifier(3, 2, layer="gcnn", hidden_channels=4, activation=name, activation_hops=3).eval()
    x = torch.randn(13, 3)
    model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path)
    torch.testing.assert_close(again(x, GRAPH), model(x, GRAPH), rtol=0, atol=0)
    assert again.config() == model.config() and again.activation[0].hops == 3
    before = model.activation[0].weight.clone()
    model.reset_parameters()
    assert not model.activation[0].weight.equal(before)


def test_such_a_model_keeps_the_contract_of_models():
    def make(i, o):
        return NodeClassifier(i, o, layer="gat", hidden_channels=4, activation="max_local", dropout=0.0)

    check_model(make, skip="compile")


def test_an_activation_of_ones_own_may_be_set():
    model, x = NodeClassifier(3, 2, layer="gcnn", hidden_channels=4).eval(), torch.randn(13, 3)
    plain = model(x, GRAPH)
    model.activation = nn.ModuleList([nn.Sequential(nn.ReLU(), nn.Identity())])
    torch.testing.assert_close(model(x, GRAPH), plain, rtol=0, atol=0)
    model.activation = MaxLocalActivation(1)
    assert not model(x, GRAPH).allclose(plain)


def test_hops_are_for_local_activations_alone():
    with pytest.raises(ConfigError, match="activation_hops=2 is for max_local and median_local"):
        NodeClassifier(3, 2, activation="relu", activation_hops=2)
    with pytest.raises(ConfigError, match="got 0"):
        NodeClassifier(3, 2, activation="max_local", activation_hops=0)
    with pytest.raises(ConfigError, match="Did you mean 'max_local'"):
        NodeClassifier(3, 2, activation="maxlocal")
