"""What was put on a module after it was made is in no file: it is refused before anything is written, with a remedy."""

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn
from torch.nn.utils import parametrizations, prune, remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm
from torch.nn.utils.parametrize import remove_parametrizations

from edgenet.compress import compress_, report
from edgenet.errors import CheckpointError
from edgenet.models import NodeClassifier
from edgenet.pretrained import from_pretrained, save_pretrained, tensors_of
from edgenet.structured import StructuredLinear
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["path"]
pytestmark = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")


def signal():
    return torch.randn(GRAPH.num_nodes, 6, generator=torch.Generator().manual_seed(0))


ADDITIONS = {  # how it is put on, how the text says it is taken off, and the same in Python
    "forward hook": (lambda m: m.register_forward_hook(lambda *a: 2 * a[2]), r"handle\.remove", None),
    "forward pre-hook": (lambda m: m.register_forward_pre_hook(lambda m, x: (2 * x[0],)), r"handle\.remove", None),
    "prune": (
        lambda m: prune.l1_unstructured(m, "weight", amount=0.5),
        r"L1Unstructured.*prune\.remove", lambda m: prune.remove(m, "weight"),
    ),
    "old weight norm": (weight_norm, "remove_weight_norm", remove_weight_norm),
    "old spectral norm": (spectral_norm, "remove_spectral_norm", remove_spectral_norm),
    "new weight norm": (
        parametrizations.weight_norm, r"remove_parametrizations\(module, 'weight'\)",
        lambda m: remove_parametrizations(m, "weight"),
    ),
    "new spectral norm": (
        parametrizations.spectral_norm, "remove_parametrizations", lambda m: remove_parametrizations(m, "weight"),
    ),
}  # fmt: skip

MODELS = {
    "a slot of a lift": (lambda: NodeClassifier(6, 3, hidden_channels=8, layer="gat"), "convs.0.lift.linear.weight"),
    "a slot that is read": (lambda: NodeClassifier(6, 3, hidden_channels=8, layer="gat"), "convs.0.phi.att_source"),
    "taps": (lambda: NodeClassifier(6, 3, hidden_channels=8, layer="gcnn"), "convs.1.taps.linear.weight"),
    "a table": (
        lambda: NodeClassifier(6, 3, hidden_channels=4, layer="edge_varying").bind(GRAPH), "convs.0.phi.edge_table",
    ),
    "torch's linear layer": (lambda: nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3)), "1"),
}  # fmt: skip


def run(model):
    with torch.no_grad():
        return model(signal(), GRAPH.edge_index) if isinstance(model, NodeClassifier) else model(signal())


@pytest.mark.parametrize("kind", ADDITIONS)
@pytest.mark.parametrize("where", MODELS)
def test_it_is_refused_with_its_path_and_the_remedy_which_helps(where, kind, tmp_path):
    make, path = MODELS[where]
    add, says, remove = ADDITIONS[kind]
    model = make().eval()
    module = model.get_submodule(path)
    handle = add(module)
    made = report(model)
    assert made.total.parameters == sum(p.numel() for p in model.parameters())
    # tables of one graph share their indices
    once = {(t.data_ptr(), t.shape) if t.numel() else id(t): t for t in tensors_of(model).values()}
    assert made.total.bytes == sum(t.numel() * t.element_size() for t in once.values())
    folder = tmp_path / "model"
    with pytest.raises(CheckpointError, match=rf"{path}, a \w+, cannot be saved as it is: .*{says}"):
        save_pretrained(model, folder)
    assert not folder.exists()
    handle.remove() if remove is None else remove(module)
    y = run(model)
    save_pretrained(model, folder)
    torch.testing.assert_close(run(from_pretrained(folder)), y)


def test_hooks_on_messages_and_a_forward_of_ones_own_are_refused(tmp_path):
    layer = pyg.GCNConv(6, 3)
    handle = layer.register_message_forward_hook(lambda m, i, o: 2 * o)
    with pytest.raises(CheckpointError, match=r"the model, a GCNConv.*handle\.remove"):
        save_pretrained(layer, tmp_path / "model")
    handle.remove()
    layer.forward = lambda *args: None
    with pytest.raises(CheckpointError, match=r"del module\.forward"):
        save_pretrained(layer, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_hooks_on_gradients_and_those_of_bridges_are_no_hindrance(tmp_path):
    model = nn.Sequential(nn.LSTM(6, 4)).eval()
    compress_(model, {"0.weight_hh": {"structure": "low_rank", "rank": 1}})
    model[0].register_full_backward_hook(lambda *_: None)
    save_pretrained(model, tmp_path)
    x = signal()
    assert torch.equal(from_pretrained(tmp_path)[0](x)[0], model[0](x)[0])


class Own(nn.Module):
    """A user's class, which puts on what it needs."""

    def __init__(self):
        super().__init__()
        self.fc = parametrizations.weight_norm(nn.Linear(6, 6))
        self.slot = StructuredLinear.dense(6, 3)
        self.slot.weight.register_forward_hook(lambda m, i, o: 2 * o)

    def forward(self, x):
        return self.slot(self.fc(x))


def test_what_a_users_own_class_puts_on_its_parts_is_its_own_to_make(tmp_path):
    model = Own().eval()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path, model=Own())
    torch.testing.assert_close(run(again), run(model))


def test_a_sequential_of_pyg_which_writes_a_forward_for_itself_is_its_owners_to_make(tmp_path):
    def build():
        return pyg.Sequential("x, edges", [(pyg.GCNConv(6, 4), "x, edges -> x"), nn.ReLU(), nn.Linear(4, 3)]).eval()

    model, x = build(), signal()
    compress_(model, {"module_2": {"structure": "low_rank", "rank": 1}})
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path, model=build())
    assert torch.equal(again(x, GRAPH.edge_index), model(x, GRAPH.edge_index))


class Adapter(nn.Module):
    """A wrapper, as tuner layers are, that hands on what it does not have."""

    def __init__(self, base, rank=1):
        super().__init__()
        self.base = base
        rows, columns = base.weight.shape
        self.down, self.up = nn.Parameter(torch.randn(rank, columns)), nn.Parameter(torch.randn(rows, rank))

    @property
    def weight(self):
        return self.base.weight

    @property
    def bias(self):
        return self.base.bias

    def forward(self, x):
        return self.base(x) + x @ self.down.mT @ self.up.mT


@pytest.mark.parametrize("kind", [nn.Linear, StructuredLinear.dense], ids=["torch", "ours"])
def test_the_slot_inside_an_adapter_is_compressed_and_saved(kind, tmp_path):
    model, x = nn.Sequential(nn.Linear(6, 6), Adapter(kind(6, 6, bias=True))).eval(), signal()
    rows = compress_(model, {r"1\.base\.weight": {"structure": "low_rank", "rank": 2}}).rows
    assert next(row.parameters for row in rows if row.name == "1.base.weight") == 24
    inner = x @ model[1].weight.to_dense().mT + model[1].bias
    torch.testing.assert_close(model[1](x), inner + x @ model[1].down.mT @ model[1].up.mT)  # the adapter goes on
    save_pretrained(model, tmp_path)
    fresh = nn.Sequential(nn.Linear(6, 6), Adapter(nn.Linear(6, 6)))
    again = from_pretrained(tmp_path, model=fresh)
    torch.testing.assert_close(run(again), run(model))
