"""The state of a compressed model tells of its structures, and a fresh uncompressed model takes it."""

import copy
import importlib
import io
import time
import warnings

import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from cases import STRUCTURE_CASES
from torch import nn
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgenet.compress import compress_, pool_, restructure_, restructuring
from edgenet.errors import CheckpointError, PlanError
from edgenet.models import NodeClassifier
from edgenet.structured import Hashed, LowRank, Sparse, StructuredLinear, plan_in_state
from edgenet.structured.plan_in_state import KEY, is_plan, told
from edgenet.testing import GRAPHS

LOW = {"structure": "low_rank", "rank": 2}
GRAPH = GRAPHS["path"]


class Net(nn.Module):
    """Tied layers, an embedding, and tensors that a matrix must stand behind."""

    def __init__(self, seed=9):
        super().__init__()
        torch.manual_seed(seed)
        self.table, self.a, self.b = nn.Embedding(7, 12), nn.Linear(12, 12), nn.Linear(12, 12)
        self.b.weight = self.a.weight
        self.cell, self.lstm = nn.GRUCell(12, 4), nn.LSTM(4, 4)

    def forward(self, index):
        return self.lstm(self.cell(self.b(torch.tanh(self.a(self.table(index))))))[0]


INDEX = torch.tensor([0, 3, 6, 6])


@pytest.fixture
def model():
    model = Net(seed=0).eval()
    compress_(model, {"a|table|cell.weight_ih": LOW, "lstm.weight_hh": {"structure": "kronecker", "bits": 8}})
    return model


def same(model, fresh):
    assert torch.equal(model(INDEX), fresh.eval()(INDEX))
    assert fresh.state_dict().keys() == model.state_dict().keys()
    assert sum(p.numel() for p in fresh.parameters()) == sum(p.numel() for p in model.parameters())


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("strict", [True, False])
def test_a_fresh_model_takes_a_compressed_ones_state(model, strict):
    fresh = Net()
    found = fresh.load_state_dict(through_a_file(model.state_dict()), strict=strict)
    assert not found.missing_keys and not found.unexpected_keys
    same(model, fresh)
    assert fresh.a.weight is fresh.b.weight


@pytest.mark.parametrize("case", [case for case in STRUCTURE_CASES if not case.build().is_dense], ids=str)
def test_every_family_is_told_of(case):
    matrix = case.build()
    model = nn.Sequential(StructuredLinear(matrix))
    fresh = nn.Sequential(nn.Linear(case.n, case.m, bias=False))
    fresh.load_state_dict(safetensors.torch.load(safetensors.torch.save(model.state_dict())))
    made = fresh[0].weight
    assert torch.equal(made.to_dense(), matrix.to_dense())
    fresh.load_state_dict(model.state_dict())
    assert fresh[0].weight is made, "what is told of is there"
    names = [name for name in model.state_dict() if is_plan(name)]
    assert names == [f"0.weight.{KEY}"], "the outermost matrix tells of all"


def test_a_state_is_of_tensors_alone_and_tells_the_same_each_time(model):
    state, again = model.state_dict(), copy.deepcopy(model).state_dict()
    assert all(type(value) is torch.Tensor for value in state.values())
    assert all(torch.equal(value, again[name]) for name, value in state.items())
    assert told(state[f"a.weight.{KEY}"])["config"] == {"shape": [12, 12], "rank": 2}
    assert not any(map(is_plan, Net().state_dict())), "nothing is told of what is dense"


@pytest.mark.parametrize("strip", ["", "model."], ids=["as it is", "in another module"])
def test_one_pool_stays_one(strip):
    model = Net(seed=0)
    pool_(model, ratio=4, include="a|cell")
    outer = nn.ModuleDict({"model": model})
    state = {name.removeprefix(strip): value for name, value in outer.state_dict().items()}
    fresh = Net() if strip else nn.ModuleDict({"model": Net()})
    fresh.load_state_dict(state)
    same(model, fresh if strip else fresh["model"])
    pools = {id(view.pool) for view in fresh.modules() if isinstance(view, Hashed)}
    assert len(pools) == 1


def test_what_is_there_already_stays_with_its_parameters(model):
    parameters = list(map(id, model.parameters()))
    model.load_state_dict(model.state_dict())
    assert list(map(id, model.parameters())) == parameters
    one, two = nn.Sequential(nn.Linear(9, 9)), nn.Sequential(nn.Linear(9, 9))
    for other, density in ((one, 0.5), (two, 0.5)):
        compress_(other, {".*": {"structure": "sparse", "density": density}})
    two[0].weight.set_density_(0.1)  # follows from the numbers, of which the tensors have the same sizes
    before = one[0].weight
    one.load_state_dict(two.state_dict())
    assert one[0].weight is before and isinstance(before, Sparse) and torch.equal(before.mask, two[0].weight.mask)


def test_another_structure_takes_the_place_of_one(model):
    fresh = Net()
    compress_(fresh, {"a": {"structure": "low_rank", "rank": 5}, "table": {"structure": "kronecker"}})
    fresh.load_state_dict(model.state_dict())
    same(model, fresh)


def test_a_state_that_is_refused_leaves_the_model_as_it_was(model):
    fresh = Net()
    names, modules = set(fresh.state_dict()), [type(m) for m in fresh.modules()]
    with pytest.raises(RuntimeError, match="Unexpected key"):
        fresh.load_state_dict({**model.state_dict(), "more": torch.ones(1)})
    assert set(fresh.state_dict()) == names and [type(m) for m in fresh.modules()] == modules
    other = nn.Sequential(nn.Linear(4, 4))
    compress_(other, {".*": LOW})
    with pytest.raises(CheckpointError, match=r"low_rank matrix of \[4, 4\] in 0\.weight, which is \(5, 4\)"):
        nn.Sequential(nn.Linear(4, 5)).load_state_dict(other.state_dict())
    hooked = nn.Sequential(nn.Linear(4, 4))
    compress_(hooked, {".*": {"structure": "kronecker"}})
    hooked[0].weight.register_forward_hook(lambda *_: None)
    with pytest.raises(PlanError, match="has hooks"):
        hooked.load_state_dict(other.state_dict())


def test_a_part_of_a_state_fills_a_part(model):
    part = {name: value for name, value in model.state_dict().items() if name.startswith("a.")}
    fresh = Net()
    found = fresh.load_state_dict(part, strict=False)
    assert isinstance(fresh.a.weight, LowRank) and isinstance(fresh.table, nn.Embedding)
    assert {name.partition(".")[0] for name in found.missing_keys} == {"table", "b", "cell", "lstm"}


HARMS = {
    "sizes": lambda text: text.replace(b'"rank":2', b'"rank":3'),
    "no family": lambda text: text.replace(b"low_rank", b"lowrank"),
    "no options": lambda text: text.replace(b'"rank"', b'"rang"'),
    "no text": lambda text: b"\xff{",
    "foreign": lambda text: b'{"state": 1}',
    "without end": lambda text: b"[" * 100_000,
    "shared with one": lambda text: text[:-1] + b',"shared":{"left":["0.weight.left"]}}',
    "shared with a number": lambda text: text[:-1] + b',"shared":{"left":3}}',
    "shared with no part": lambda text: text[:-1] + b',"shared":{"__class__":["0.weight.a","0.weight.forward"]}}',
    "huge": lambda text: text.replace(b"low_rank", b"kronecker").replace(b'[6,6],"rank":2', b"[999999937,999999929]"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_text_that_is_none_or_lies(harm):
    model, fresh = nn.Sequential(nn.Linear(6, 6)), nn.Sequential(nn.Linear(6, 6))
    compress_(model, {".*": LOW})
    state, key = model.state_dict(), f"0.weight.{KEY}"
    state[key] = torch.tensor(list(HARMS[harm](bytes(state[key].tolist()))), dtype=torch.uint8)
    started = time.process_time()
    with pytest.raises((CheckpointError, PlanError, RuntimeError)):
        fresh.load_state_dict(state)
    assert type(fresh[0]) is nn.Linear and time.process_time() - started < 5


class Counter(nn.Module):
    """Keeps a state of its own beside its tensors, and no slot can be looked for in it."""

    def __init__(self, value):
        super().__init__()
        self.inner, self.value = nn.Linear(2, 2), value

    def get_extra_state(self):
        return self.value

    def set_extra_state(self, state):
        self.value = state


@pytest.mark.parametrize("value", [{"count": 3}, torch.tensor([1 + 1j, 2]), torch.zeros(3).to_sparse()], ids=str)
def test_a_state_of_somebody_elses_is_left_to_torch(value, monkeypatch):
    monkeypatch.setattr(restructuring, "slots", None)
    fresh = nn.Sequential(Counter(None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fresh.load_state_dict(nn.Sequential(Counter(value)).state_dict())
    assert fresh[0].value is value and not found.missing_keys and not found.unexpected_keys


def test_dtypes_and_devices_are_those_of_the_model(model):
    fresh = Net().bfloat16()
    fresh.load_state_dict(model.state_dict())
    assert {p.dtype for p in fresh.parameters()} == {torch.bfloat16}
    with torch.device("meta"):
        empty = Net()
    empty.load_state_dict(model.state_dict(), assign=True)
    same(model, empty)


def test_averages_of_states_tell_what_they_are_averages_of(model):
    state = {name: value.float() * 0.9 + value.float() * 0.1 for name, value in model.state_dict().items()}
    fresh = Net()
    fresh.load_state_dict(state)
    assert isinstance(fresh.a.weight, LowRank)


def test_a_moving_average_is_loaded_into_one_of_a_fresh_model(model):
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    with torch.no_grad():
        model.a.bias.add_(1)
    average.update_parameters(model)
    fresh = AveragedModel(Net())
    fresh.load_state_dict(through_a_file(average.state_dict()))
    same(average.module, fresh.module)


@pytest.mark.filterwarnings("ignore")  # torch's own, of a checkpoint in one process
def test_sharded_checkpoints(model, tmp_path):
    dcp.save({"model": model.state_dict()}, checkpoint_id=tmp_path / "shards")
    dcp_to_torch_save(tmp_path / "shards", tmp_path / "whole.pt")
    fresh = Net()
    fresh.load_state_dict(torch.load(tmp_path / "whole.pt", weights_only=True)["model"])
    same(model, fresh)
    # in place: the structures first, by the entries that tell of them
    fresh, entries = Net(), dcp.FileSystemReader(tmp_path / "shards").read_metadata().state_dict_metadata
    plan = {name: torch.empty(e.size, dtype=e.properties.dtype) for name, e in entries.items() if is_plan(name)}
    dcp.load(plan, checkpoint_id=tmp_path / "shards")
    filled = restructure_(fresh, {name.removeprefix("model."): value for name, value in plan.items()})
    assert set(filled) == {"table.weight", "a.weight", "cell.weight_ih", "lstm.weight_hh_l0"}
    dcp.load({"model": fresh.state_dict()}, checkpoint_id=tmp_path / "shards")
    same(model, fresh)
    fresh = Net()
    set_model_state_dict(fresh, get_model_state_dict(model))
    same(model, fresh)


def test_a_module_is_pickled_whole_and_copied(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    same(model, again)
    assert again.a.weight is again.b.weight
    shallow, deep = copy.copy(model.cell), copy.deepcopy(again)
    x = torch.randn(3, 12)
    assert torch.equal(shallow(x), model.cell(x)) and shallow.weight_hh is model.cell.weight_hh
    with torch.no_grad():
        again.cell.parametrizations.weight_ih[0].matrix.left.zero_()
    same(model, deep)
    again.train()(INDEX).sum().backward()
    compress_(again, {"cell.weight_ih": {"structure": "kronecker"}})  # what was unpickled is compressed anew
    nn.utils.parametrizations.weight_norm(model.cell, "weight_hh")
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        torch.save(model, io.BytesIO())


def test_layers_without_a_size_and_tables_without_a_graph_get_them(tmp_path):
    model = NodeClassifier(5, 3, layer="edge_varying", hidden_channels=4).bind(GRAPH).eval()
    compress_(model, {r"convs": LOW})
    x = torch.randn(GRAPH.num_nodes, 5)
    fresh = NodeClassifier(-1, 3, layer="edge_varying", hidden_channels=4).eval()
    fresh.load_state_dict(through_a_file(model.state_dict()))
    assert torch.equal(fresh(x, GRAPH.edge_index), model(x, GRAPH.edge_index))
    empty = NodeClassifier(-1, 3, layer="edge_varying", hidden_channels=4)
    with pytest.raises(CheckpointError, match="has no size yet"):
        restructure_(empty, {name: value for name, value in model.state_dict().items() if is_plan(name)})


def test_a_layer_that_had_hooks_has_its_matrix_behind_its_weight_here_too(model):
    fresh, other, hooked = Net(), Net(), Net(seed=0).eval()
    hooked.cell.register_forward_hook(lambda *_: None)
    hooked.a.register_forward_hook(lambda *_: None)  # one of two layers of one weight
    compress_(hooked, {"a": LOW})
    fresh.load_state_dict(hooked.state_dict())
    same(hooked, fresh)
    other.a.register_forward_hook(lambda *_: None)
    with pytest.raises(CheckpointError, match=r"a\.weight is that of a structured layer.*Take hooks off"):
        other.load_state_dict(model.state_dict(), strict=False)
    assert type(other.a) is nn.Linear and type(other.table) is nn.Embedding


def test_a_reload_of_the_part_that_teaches_torch_teaches_it_once(model):
    importlib.reload(plan_in_state)
    importlib.reload(plan_in_state)
    fresh = Net()
    fresh.load_state_dict(model.state_dict())
    same(model, fresh)


def test_an_export_and_a_functional_call_take_no_notice():
    model, x = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(3, 6)
    compress_(model, {".*": LOW})
    y = model(x)
    assert torch.equal(torch.func.functional_call(model, model.state_dict(), (x,)), y)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), y)
