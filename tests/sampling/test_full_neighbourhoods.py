"""With all neighbours, batches and inference layer by layer say what the full graph says, for every specialization."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

from edgenet import NodeClassifier
from edgenet.errors import ConfigError
from edgenet.nn import SPECIALIZATIONS
from edgenet.sampling import NeighborLoader

WHOLE = ("spectral",)  # whose filters belong to one whole graph
OPTIONS = {
    **{name: {"order": 2} for name in ("dagnn", "appnp", "gpr", "grand", "tag")},
    "gcnii": {"before": 1, "after": 1},
    "gcn": {"before": 1, "after": 2, "skip": True, "node_dropout": 0.5},
    "gat": {"activation": "max_local", "activation_hops": 2},
    "edge_varying": {"share": "edge_id"},
}


def sparse_data(weights=False):
    """A graph in which three hops are not everything, in shuffled order; nodes without edges are there."""
    draw = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 88, (2, 90), generator=draw)
    edges = torch.unique(torch.cat([edges, edges.flip(0)], 1), dim=1)
    edges = edges[:, torch.randperm(edges.shape[1], generator=draw)]
    data = Data(x=torch.randn(90, 5, generator=draw), edge_index=edges, y=torch.randint(0, 3, (90,), generator=draw))
    if weights:
        data.edge_weight = torch.rand(edges.shape[1], generator=draw)
    return data


def model_of(name, data):
    options = {"hidden_channels": 6, "dropout": 0.3, **OPTIONS.get(name, {})}
    model = NodeClassifier(5, 3, layer=name, **options).bind(data.edge_index, data.num_nodes)
    model(data.x, data.edge_index)  # what is lazy is made
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def call(model, piece):
    return model(piece.x, piece.edge_index, edge_weight=piece.get("edge_weight"), n_id=piece.n_id, e_id=piece.e_id)


@pytest.mark.parametrize("name", [name for name in SPECIALIZATIONS if name not in WHOLE])
def test_batches_of_all_neighbours_are_the_full_graph(name):
    data = sparse_data()
    model = model_of(name, data)
    wanted, smaller = model(data.x, data.edge_index), 0
    for piece in NeighborLoader(data, [-1] * model.reach, batch_size=9, shuffle=True):
        seeds = piece.n_id[: piece.batch_size]
        torch.testing.assert_close(call(model, piece)[: len(seeds)], wanted[seeds], atol=1e-12, rtol=0)
        smaller += piece.num_nodes < 88
    assert smaller


@pytest.mark.parametrize("name", ["gcn", "gcnn", "node_varying", "gcnii"])
def test_a_hop_less_than_the_reach_is_not_enough(name):
    """``reach`` is no larger than it has to be: one hop less changes some output."""
    data = sparse_data()
    model = model_of(name, data)
    wanted = model(data.x, data.edge_index)
    far = [
        float((call(model, piece)[:5] - wanted[piece.n_id[:5]]).abs().max())
        for piece in NeighborLoader(data, [-1] * (model.reach - 1), batch_size=5)
    ]
    assert max(far) > 1e-6


@pytest.mark.parametrize("name", [name for name in SPECIALIZATIONS if name not in WHOLE])
def test_inference_layer_by_layer_is_the_full_graph(name):
    data = sparse_data()
    model = model_of(name, data)
    wanted = model(data.x, data.edge_index)
    hops = max(max(conv.reach for conv in model.convs), 2)
    model.train()
    found = model.inference(NeighborLoader(data, [-1] * hops, batch_size=20))
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    assert model.training and model.convs[0].training


def test_inference_reads_edge_weights():
    data = sparse_data(weights=True)
    model = model_of("gcnn", data)
    wanted = model(data.x, data.edge_index, edge_weight=data.edge_weight)
    found = model.inference(NeighborLoader(data, [-1] * 3, batch_size=20))
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    for piece in NeighborLoader(data, [-1] * model.reach, batch_size=9):
        torch.testing.assert_close(call(model, piece)[:9], wanted[piece.n_id[:9]], atol=1e-12, rtol=0)


def test_inference_goes_through_layers_of_others():
    data = sparse_data()
    model = model_of("gcn", data)
    model.convs[0] = GCNConv(6, 6)
    wanted = model(data.x, data.edge_index)
    found = model.inference(NeighborLoader(data, [-1, -1], batch_size=20))
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


def test_inference_refuses_what_would_be_wrong():
    data = sparse_data()
    model = model_of("gcn", data)
    for fan_out in ([-1], [-1, 5]):
        with pytest.raises(ConfigError, match=r"within 2 hops, num_neighbors=\[-1, -1\]"):
            model.inference(NeighborLoader(data, fan_out, batch_size=20))
    with pytest.raises(ConfigError, match="leaves 80 of 90 nodes out"):
        model.inference(NeighborLoader(data, [-1, -1], torch.arange(10), batch_size=20))
    with pytest.raises(ConfigError, match="one whole graph"):
        model_of("spectral", data).inference(NeighborLoader(data, [-1, -1], batch_size=20))


@pytest.mark.parametrize("option", ["time_attr", "weight_attr"])
def test_inference_refuses_loaders_that_leave_neighbours_out(option):
    data = sparse_data()
    data.time, data.weight = torch.arange(90), (torch.arange(data.num_edges) % 2).double()
    model = model_of("gcn", data)
    with pytest.raises(ConfigError, match="without time_attr and weight_attr"):
        model.inference(NeighborLoader(data, [-1, -1, -1], batch_size=20, **{option: option.removesuffix("_attr")}))
