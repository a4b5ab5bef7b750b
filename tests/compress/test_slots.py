"""Slots: which places of a model are found, under which names, and what replacing one keeps."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch_geometric.nn import GATConv, GCNConv, LightGCN
from torch_geometric.nn import Linear as PyGLinear

from edgenet.compress import replace, slots
from edgenet.compress.slot import clear
from edgenet.errors import PlanError
from edgenet.models import NodeClassifier
from edgenet.nn import LSTM, EdgeNetConv
from edgenet.structured import Dense, StructuredLinear, TensorTrain
from edgenet.structured.bridge import bridged
from edgenet.structured.embedding import StructuredEmbedding

EDGES = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 3]])


def fill(slot, rank=2):
    """A rank-2 tensor train of two modes for a slot."""
    return replace(slot, TensorTrain.from_dense(slot.weight().detach(), rank=rank, dims=2))


def snapshot(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(before, model):
    after = model.state_dict()
    return list(before) == list(after) and all(torch.equal(before[key], after[key]) for key in before)


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.fc = nn.Linear(6, 5)
        self.lin = PyGLinear(5, 4)
        self.norm = nn.LayerNorm(4)
        self.pair = nn.Bilinear(4, 4, 3)

    def forward(self, index):
        x = self.lstm(self.encoder(self.table(index)))[0]
        x = self.norm(self.lin(torch.relu(self.fc(x))))
        return self.pair(x, x)


def test_the_slots_of_a_model_of_everything():
    found = slots(Everything())
    assert {name: slot.shape for name, slot in found.items()} == {
        "table.weight": (9, 8),
        "encoder.self_attn.in_proj_weight": (24, 8),
        "encoder.self_attn.out_proj.weight": (8, 8),
        "encoder.linear1.weight": (16, 8),
        "encoder.linear2.weight": (8, 16),
        "lstm.weight_ih_l0": (24, 8),
        "lstm.weight_hh_l0": (24, 6),
        "fc.weight": (5, 6),
        "lin.weight": (4, 5),
        "pair.weight": (3, 16),
    }
    swapped = [name for name, slot in found.items() if any(holder.use != "tensor" for holder in slot.holders)]
    assert swapped == ["table.weight", "fc.weight", "lin.weight"]


@pytest.mark.parametrize("training", [True, False])
def test_filled_slots_keep_names_and_compute_what_the_dense_ones_would(training):
    plain = Everything().train(training)
    model, index = deepcopy(plain), torch.randint(0, 9, (3, 5))
    for slot in slots(model).values():
        fill(slot)
    assert sorted(slots(model)) == sorted(slots(plain))
    with torch.no_grad():
        for name, slot in slots(plain).items():
            slot.parameter.copy_(slots(model)[name].weight().reshape(slot.parameter.shape))
        torch.testing.assert_close(model(index), plain(index))  # in eval mode, torch's fast path
    torch.testing.assert_close(model(index), plain(index))
    model(index).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(m.training is training for m in model.modules())
    other = Everything()
    for slot in slots(other).values():
        fill(slot)
    other.train(training).load_state_dict(model.state_dict())
    assert torch.equal(other(index), model(index)) and torch.equal(deepcopy(model)(index), model(index))


def test_undo_gives_back_the_very_modules_and_parameters():
    model = Everything()
    before, modules, parameters = snapshot(model), list(model.modules()), list(model.parameters())
    undos = [fill(slot) for slot in slots(model).values()]
    assert not same(before, model)
    for undo in reversed(undos):
        undo()
    assert same(before, model)
    assert all(a is b for a, b in zip(modules, model.modules(), strict=True))
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))


def test_clearing_leaves_the_dense_form_in_every_slot():
    model, index = Everything().eval(), torch.randint(0, 9, (3, 5))
    for slot in slots(model).values():
        fill(slot)
    y = model(index)
    for slot in slots(model).values():
        clear(slot)
    torch.testing.assert_close(model(index), y)
    assert all(slot.is_dense for slot in slots(model).values())
    assert type(model.lstm) is nn.LSTM and isinstance(model.fc.weight, Dense)


def test_edgenets_slots_are_its_structured_matrices():
    model = NodeClassifier(6, 3, hidden_channels=8, heads=2, layer="gat").eval()
    x = torch.randn(4, 6)
    y = model(x, EDGES)
    found = slots(model)
    assert {"convs.0.lift.linear.weight", "convs.1.lift.linear.weight"} <= set(found)
    for slot in found.values():
        fill(slot, rank=None)  # exact
    torch.testing.assert_close(model(x, EDGES), y)


def test_a_matrix_inside_a_structured_matrix_is_no_slot():
    class Pair(Dense):
        def __init__(self):
            super().__init__(torch.zeros(3, 4))
            self.inner = Dense(torch.zeros(3, 4))

    assert list(slots(nn.Sequential(StructuredLinear(Pair())))) == ["0.weight"]


def test_pygs_layers_are_swapped_by_their_linear_maps_alone():
    model = nn.ModuleList([GATConv(5, 4, heads=2), GCNConv(8, 3)])
    x = torch.randn(4, 5)
    y = model[0](x, EDGES)
    assert list(slots(model)) == ["0.lin.weight", "1.lin.weight"]
    fill(slots(model)["0.lin.weight"], rank=None)
    torch.testing.assert_close(model[0](x, EDGES), y)
    assert set(model.state_dict()) >= {"0.lin.weight.cores.0", "0.lin.weight.cores.1"}
    assert "0.lin.weight" not in model.state_dict()


def test_a_model_that_reads_the_weight_as_a_tensor_gets_a_bridge():
    model = LightGCN(4, 8, 1)
    fill(slots(model)["embedding.weight"])
    assert set(bridged(model.embedding)) == {"weight"} and model.get_embedding(EDGES).shape == (4, 8)


@pytest.mark.parametrize("make", [lambda: PyGLinear(-1, 4), lambda: nn.LazyLinear(4), lambda: EdgeNetConv(-1, 4)])
def test_a_lazy_slot_is_listed_and_refused_until_the_model_has_run(make):
    model = nn.ModuleList([make()])
    lazy = [slot for slot in slots(model).values() if slot.is_lazy]
    assert lazy
    with pytest.raises(PlanError, match="run the model once first"):
        replace(lazy[0], TensorTrain.random((4, 5), rank=1))
    with pytest.raises(PlanError, match="run the model once first"):
        lazy[0].weight()
    model[0](*([torch.randn(4, 5), EDGES] if isinstance(model[0], EdgeNetConv) else [torch.randn(4, 5)]))
    assert not any(slot.is_lazy for slot in slots(model).values())


def test_a_model_that_is_one_linear_layer_gets_a_bridge():
    model, x = nn.Linear(6, 4), torch.randn(3, 6)
    fill(slots(model)["weight"])
    assert model(x).shape == (3, 4) and slots(model)["weight"].shape == (4, 6)


def test_hooks_go_on_being_called():
    model, heard = nn.Sequential(nn.Linear(6, 4)), []
    handle = model[0].register_forward_hook(lambda *_: heard.append(1))
    fill(slots(model)["0.weight"])
    model(torch.randn(3, 6))
    assert heard == [1] and isinstance(slots(model)["0.weight"].matrix, TensorTrain)
    handle.remove()
    model(torch.randn(3, 6))
    assert heard == [1]


def test_hooks_that_would_be_lost_are_refused():
    model = nn.Sequential(StructuredLinear.dense(6, 4), PyGLinear(4, 5))
    prune.l1_unstructured(model[0].weight, "weight", amount=2)
    model[1].register_forward_hook(lambda *_: None)
    before = snapshot(model)
    with pytest.raises(PlanError, match="hooks or parametrizations"):
        replace(slots(model)["0.weight"], TensorTrain.random((4, 6), rank=1))
    with pytest.raises(PlanError, match="remove its hooks"):
        fill(slots(model)["1.weight"])
    assert same(before, model)


# ---------------------------------------------------------------- tied weights
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(7, 6), nn.Linear(6, 7, bias=False)
        self.out.weight = self.table.weight
        self.once = self.twice = nn.Linear(6, 6)

    def forward(self, index):
        return self.out(self.twice(self.once(self.table(index))))


def test_tied_weights_are_one_slot_and_stay_tied():
    model, index = Tied(), torch.arange(7)
    found = slots(model)
    assert found["table.weight"].names == ("table.weight", "out.weight")
    assert found["once.weight"].names == ("once.weight", "twice.weight") and len(found) == 2
    for slot in found.values():
        fill(slot)
    assert model.table.weight is model.out.weight and model.once is model.twice
    assert isinstance(model.table, StructuredEmbedding)
    dense, w, b = (t.detach() for t in (model.out.weight.to_dense(), model.once.weight.to_dense(), model.once.bias))
    torch.testing.assert_close(model(index).detach(), ((dense[index] @ w.T + b) @ w.T + b) @ dense.T)
    clear(slots(model)["table.weight"])
    assert model.table.weight is model.out.weight


def test_a_tie_behind_bridges_stays():
    model = nn.ModuleDict({"a": nn.GRUCell(4, 4), "b": nn.GRUCell(4, 4)})
    model["b"].weight_hh = model["a"].weight_hh
    fill(slots(model)["a.weight_hh"])
    assert bridged(model["a"])["weight_hh"] is bridged(model["b"])["weight_hh"]
    clear(slots(model)["a.weight_hh"])
    assert model["b"].weight_hh is model["a"].weight_hh


# ---------------------------------------------------------------- embeddings
def test_an_embedding_reads_rows_and_keeps_its_padding():
    model = nn.Sequential(nn.Embedding(9, 4, padding_idx=2))
    fill(slots(model)["0.weight"], rank=None)
    index = torch.tensor([[0, 2], [8, 1]])
    dense = model[0].weight.to_dense()
    expected = dense[index].clone()
    expected[0, 1] = 0
    torch.testing.assert_close(model(index), expected)
    assert model(torch.tensor(3)).shape == (4,)


@pytest.mark.parametrize(
    "table, says",
    [
        (nn.Embedding(9, 4, max_norm=1.0), "max_norm"),
        (nn.Embedding(9, 4, sparse=True), "sparse"),
        (nn.Embedding.from_pretrained(torch.ones(9, 4), padding_idx=2), "padding row 2"),
    ],
)
def test_an_embedding_that_would_change_is_refused(table, says):
    model = nn.Sequential(table)
    with pytest.raises(PlanError, match=says):
        fill(slots(model)["0.weight"])
    assert model[0] is table


def test_peepholes_are_vectors_and_no_slot():
    names = slots(nn.Sequential(LSTM(4, 4, peepholes=True)))
    assert list(names) == ["0.cells.0.input_map.weight", "0.cells.0.state_map.weight"]


# ---------------------------------------------------------------- what replacing keeps
def test_frozen_weights_stay_frozen_and_the_bias_stays_the_same_parameter():
    model = nn.Sequential(nn.Linear(6, 4)).eval()
    model[0].weight.requires_grad_(False)
    bias = model[0].bias
    fill(slots(model)["0.weight"])
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["0.bias"]
    assert model[0].bias is bias and not any(m.training for m in model.modules())


def test_another_shape_is_refused():
    model = nn.Sequential(nn.Linear(6, 4))
    with pytest.raises(PlanError, match=r"\(4, 6\), and the matrix for it \(6, 4\)"):
        replace(slots(model)["0.weight"], TensorTrain.random((6, 4), rank=1))
    with pytest.raises(PlanError, match="StructuredMatrix, got Parameter"):
        replace(slots(model)["0.weight"], model[0].weight)
    with pytest.raises(PlanError, match="from_dense"):
        slots(Dense(torch.zeros(2, 2)))
