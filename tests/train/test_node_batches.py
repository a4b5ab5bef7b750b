"""fit on the pieces around nodes of one graph: what a step reads, and that interruptions leave no trace."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Data

from edgenet import EdgeNetConv, NodeClassifier, fit
from edgenet.config import TrainingTable
from edgenet.errors import ConfigError
from edgenet.train import Task


def graph(nodes=60, classes=3):
    """Classes that features tell, and neighbours mostly of the own class."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, classes, (nodes,), generator=draw)
    edges = torch.randint(0, nodes, (2, 600), generator=draw)
    edges = edges[:, (y[edges[0]] == y[edges[1]]) | (torch.rand(600, generator=draw) < 0.1)]
    x = torch.nn.functional.one_hot(y, classes).double() + 0.7 * torch.randn(nodes, classes, generator=draw)
    number = torch.arange(nodes)
    masks = {"train_mask": number < 30, "val_mask": (number >= 30) & (number < 45), "test_mask": number >= 45}
    return Data(x=x, edge_index=edges, y=y, **masks)


def model(layer="gat", **options):
    torch.manual_seed(0)
    return NodeClassifier(3, 3, layer=layer, hidden_channels=6, dropout=0.0, **options)


class Watched(nn.Module):
    """A model of one's own, which keeps the pieces that it is called with."""

    def __init__(self):
        super().__init__()
        self.conv, self.pieces = EdgeNetConv(3, 3, phi="attention"), []

    def forward(self, x, edge_index, n_id=None, e_id=None):
        if self.training:
            self.pieces.append((n_id, e_id, edge_index))
        return self.conv(x, edge_index)


def test_every_training_node_is_a_seed_once_an_epoch():
    data, own = graph(), Watched()
    fit(own, data, epochs=2, batch="neighbors", fan_out=[3], batch_size=8, seed=0, progress=False)
    assert len(own.pieces) == 8
    for epoch in (own.pieces[:4], own.pieces[4:]):
        seeds = torch.cat([n_id[:8] for n_id, _, _ in epoch[:3]] + [epoch[3][0][:6]])
        assert seeds.sort().values.tolist() == list(range(30))
    for n_id, e_id, edges in own.pieces:
        assert torch.equal(n_id[edges], data.edge_index[:, e_id])
        assert edges[1].bincount().max() <= 3
    assert own.pieces[0][0].tolist() != own.pieces[4][0].tolist()


@pytest.mark.parametrize("layer", ["gat", "edge_varying", "node_varying", "gcn"])
def test_with_all_neighbours_and_nodes_a_step_is_that_of_the_graph(layer):
    data, found = graph(), {}
    for batch in ("whole", "neighbors"):
        own = model(layer)
        reach = own.reach
        options = {"fan_out": [-1] * reach} if batch == "neighbors" else {}
        fit(own, data, epochs=3, batch=batch, batch_size=30, seed=0, lr=0.1, progress=False, **options)
        found[batch] = own.state_dict()
    for name, value in found["whole"].items():
        torch.testing.assert_close(found["neighbors"][name], value, rtol=1e-8, atol=1e-10)  # Adam divides by small sums


def test_neighbours_are_enough_to_learn_by():
    result = fit(model(), graph(), epochs=30, batch="neighbors", fan_out=[4, 4], batch_size=10, seed=0, lr=0.02,
                 progress=False)  # fmt: skip
    assert result.test > 0.8


def test_fan_outs_that_are_left_out_are_ten_at_each_hop():
    data, own = graph(), model("gcnn", order=2)
    task = Task(data, fan_out=[])
    task.prepare(torch.device("cpu"), torch.float64)
    task.complete(own)
    assert task.source("train").loader.node_sampler.num_neighbors.values == [10] * 4


@pytest.mark.parametrize("layer", ["gat", "edge_varying"])
def test_a_training_that_is_gone_on_with_ends_in_the_same_bits(layer, tmp_path):
    options = {"batch": "neighbors", "fan_out": [3] * 4, "batch_size": 8, "seed": 0, "progress": False,
               "checkpoint_epochs": 1, "checkpoint_seconds": 0.0}  # fmt: skip
    whole, again = model(layer), model(layer)
    fit(whole, graph(), epochs=6, folder=tmp_path / "whole", **options)

    class Stop(Exception):
        pass

    def stop(record):
        if record["epoch"] == 3:
            raise Stop

    with pytest.raises(Stop):
        fit(again, graph(), epochs=6, folder=tmp_path / "killed", log=stop, **options)
    other = model(layer)
    fit(other, graph(), epochs=6, folder=tmp_path / "killed", resume=True, **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match=r"is for training\.batch"):
        TrainingTable(fan_out=[3])
    with pytest.raises(ConfigError, match="the model walks 2 hops, and batches reach 1"):
        fit(model(), graph(), epochs=1, batch="neighbors", fan_out=[3], progress=False)
    with pytest.raises(ConfigError, match="does not tell how many hops"):
        fit(Watched(), graph(), epochs=1, batch="neighbors", progress=False)
    with pytest.raises(ConfigError, match="nodes of one graph; the train data are a list"):
        fit(Watched(), [graph(), graph()], epochs=1, batch="neighbors", fan_out=[3], progress=False)
    with pytest.raises(ConfigError, match="one whole graph"):
        fit(model("spectral"), graph(), epochs=1, batch="neighbors", fan_out=[3, 3], progress=False)
