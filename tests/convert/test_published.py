"""The published GAT for Cora: as an EdgeNet, and as a model of PyG that is converted, against the stored results."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import GATConv

from edgenet import data, freeze_attention, to_edgenet
from edgenet.convert.published import gat_cora
from edgenet.errors import DataError
from edgenet.graph import Graph

pytestmark = pytest.mark.float32
NAME = "gat_cora_pyg.npz"
CLOSE = {"rtol": 0, "atol": 2e-6}  # float32; the stored logits are those of another order of summation


@pytest.fixture(scope="module")
def path(data_root):
    if not (data_root / NAME).is_file():
        pytest.skip(f"no published GAT: {data_root / NAME} is no file")
    return data_root / NAME


@pytest.fixture(scope="module")
def stored(path):
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file}
    arrays["edge_index"] = arrays["edge_index"].astype(np.int64)
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


@pytest.fixture(scope="module")
def cora(path):
    return data.load("cora").test[0]


class PyGModel(nn.Module):
    """The published model of PyG's layers, which have no bias of scores: it is the weight of a feature that is 1."""

    def __init__(self, stored):
        super().__init__()
        self.conv1, self.conv2 = (GATConv(*widths, edge_dim=1, fill_value=1.0) for widths in ((1433, 8, 8), (64, 7)))
        with torch.no_grad():
            for conv, k in ((self.conv1, "1"), (self.conv2, "2")):
                conv.lin.weight.copy_(stored["W" + k].t())
                conv.att_src.copy_(stored["att_src" + k].view_as(conv.att_src))
                conv.att_dst.copy_(stored["att_dst" + k].view_as(conv.att_dst))
                conv.bias.copy_(stored["bias" + k])
                conv.lin_edge.weight.zero_()
                conv.att_edge.zero_()
                conv.lin_edge.weight.view_as(conv.att_edge)[..., 0] = stored["att_bias" + k]
                conv.att_edge[..., 0] = 1

    def forward(self, x, edge_index):
        ones = x.new_ones(edge_index.shape[1], 1)
        hidden = F.elu(self.conv1(x, edge_index, ones))
        return hidden, self.conv2(hidden, edge_index, ones)


def alphas(frozen, stored):
    """The tables of two frozen layers, edge by edge of the stored edge list."""
    graph = Graph(stored["edge_index"], 2708)
    return [conv.phi(None, torch.empty(2708, conv.heads, 1), graph)[0] for conv in frozen]


def check_alphas(frozen, stored):
    first, second = alphas(frozen, stored)
    torch.testing.assert_close(first, stored["alpha1"], **CLOSE)
    torch.testing.assert_close(second[:, 0], stored["alpha2"], **CLOSE)


@torch.no_grad()
def test_a_model_of_pyg_converts_to_the_stored_results(stored, cora):
    theirs = PyGModel(stored).eval()
    ours = to_edgenet(theirs)
    hidden, logits = ours(cora.x, cora.edge_index)
    torch.testing.assert_close(logits, stored["ref_logits"], **CLOSE)
    torch.testing.assert_close(hidden, stored["ref_hidden"], **CLOSE)
    torch.testing.assert_close(logits, theirs(cora.x, cora.edge_index)[1], **CLOSE)
    frozen = freeze_attention(ours, cora.x, cora.edge_index)
    hidden, logits = frozen(cora.x, cora.edge_index)
    torch.testing.assert_close(logits, stored["ref_logits"], **CLOSE)
    torch.testing.assert_close(hidden, stored["ref_hidden"], **CLOSE)
    check_alphas([frozen.conv1, frozen.conv2], stored)


@torch.no_grad()
def test_the_edgenet_gives_the_stored_results(path, stored, cora):
    model = gat_cora(path)
    assert not model.training and sum(p.numel() for p in model.parameters()) == 92_373 + 8 + 1
    hidden = F.elu(model.convs[0](cora.x, cora.edge_index))
    logits = model(cora.x, cora.edge_index)
    torch.testing.assert_close(hidden, stored["ref_hidden"], **CLOSE)
    torch.testing.assert_close(logits, stored["ref_logits"], **CLOSE)
    correct = (logits.argmax(1) == cora.y)[cora.test_mask]
    assert correct.sum().item() == 844 and len(correct) == 1000
    frozen = freeze_attention(model, cora.x, cora.edge_index)
    torch.testing.assert_close(frozen(cora.x, cora.edge_index), stored["ref_logits"], **CLOSE)
    check_alphas(frozen.convs, stored)
    # uniform attention is about as accurate, so only the logits tell whether a conversion is right
    for conv in model.convs:
        conv.phi.att_source.weight.zero_(), conv.phi.att_target.weight.zero_()
    assert not torch.allclose(model(cora.x, cora.edge_index), stored["ref_logits"], atol=1e-2)


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "model.npz"
    with pytest.raises(FileNotFoundError):
        gat_cora(file)
    file.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match=r"no whole \.npz"):
        gat_cora(file)
    np.savez(file, W1=np.zeros((1433, 64), np.float32))
    with pytest.raises(DataError, match="has no W2, att_bias1"):
        gat_cora(file)


def test_arrays_of_other_shapes_or_values_are_refused(path, tmp_path):
    with np.load(path) as stored:
        arrays = dict(stored)
    changed = {
        "att_src1": arrays["att_src1"][:4],
        "W2": arrays["W2"].astype(np.float64),
        "bias2": arrays["bias2"] * np.float32("nan"),
        "att_bias1": np.array([None] * 8),
    }
    for name, value in changed.items():
        np.savez(tmp_path / "model.npz", **(arrays | {name: value}), allow_pickle=True)
        with pytest.raises(DataError, match=name if name != "att_bias1" else "plain arrays"):
            gat_cora(tmp_path / "model.npz")
