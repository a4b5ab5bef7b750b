"""A part of one's own takes one file and one ``edgenet.register``: this file, and a line for each."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

import edgenet
from edgenet import EdgeNetConv, NodeClassifier, from_pretrained, ops, register, save_pretrained, to_edgenet
from edgenet.cli import COMMANDS, Command, main
from edgenet.compress import CALLBACKS, Budget, Callback, compress_, search
from edgenet.config import RunConfig
from edgenet.convert.pyg import CONVERTERS
from edgenet.errors import BackendError, ConfigError, ConversionError, PlanError
from edgenet.models import MODELS
from edgenet.nn import SPECIALIZATIONS
from edgenet.nn.lift import LIFTS, Lift
from edgenet.nn.taps import TAPS, Taps
from edgenet.ops import backend
from edgenet.phi import PHIS, Attention, AttentionV2, Phi
from edgenet.pretrained import allowed
from edgenet.structured import STRUCTURES, StructuredMatrix
from edgenet.train import run

from train.small_data import config, nodes, ring  # isort: skip

TABLES = (
    STRUCTURES, PHIS, LIFTS, TAPS, SPECIALIZATIONS, MODELS, CALLBACKS, CONVERTERS, COMMANDS, backend._IMPLEMENTATIONS,
    allowed.CLASSES, allowed.NAMES,
)  # fmt: skip
EDGES, NODES = ring(6), 6


@pytest.fixture(autouse=True)
def _nothing_stays():
    before = [{key: dict(v) if isinstance(v, dict) else v for key, v in table.items()} for table in TABLES]
    order = backend.ORDER
    yield
    backend.ORDER = order
    for table, entries in zip(TABLES, before, strict=True):
        table.clear()
        table.update(entries)


def same_after_saving(model, folder, *inputs):
    """The model reads its folder, and gives the same."""
    save_pretrained(model, folder)
    again = from_pretrained(folder)
    torch.testing.assert_close(again.eval()(*inputs), model.eval()(*inputs), rtol=0, atol=0)
    return again


# --- structure --------------------------------------------------------------------------------------------------------
class OneRow(StructuredMatrix):
    """All rows are one: a family of one size."""

    def __init__(self, rows, row):
        super().__init__()
        self.count, self.row = rows, nn.Parameter(row.detach().clone())

    @property
    def shape(self):
        return self.count, len(self.row)

    def matmul(self, x):
        return (x @ self.row).unsqueeze(-1).expand(*x.shape[:-1], self.count)

    def to_dense(self):
        return self.row.expand(self.count, -1)

    @classmethod
    def from_dense(cls, weight):
        return cls(len(weight), weight.mean(0))

    def draw_(self, std):
        nn.init.normal_(self.row, std=std)


def test_a_structure_is_known_to_plans_and_files(tmp_path):
    register("structure", "one_row", OneRow)
    model = NodeClassifier(5, 3, layer="gcn", hidden_channels=4)
    compress_(model, {r"convs\.0\.lift": {"structure": "one_row"}, r"convs\.1\.lift": "one_row"})
    assert [type(m) for m in model.modules() if isinstance(m, StructuredMatrix)] == [OneRow, OneRow]
    again = same_after_saving(model, tmp_path / "model", torch.randn(NODES, 5), EDGES)
    assert any(isinstance(m, OneRow) for m in again.modules())
    assert "one_row" in str(edgenet.compress.report(model))


def test_a_structure_of_one_size_is_searched():
    register("structure", "one_row", OneRow)
    model = NodeClassifier(24, 3, layer="gcn", hidden_channels=16)
    found = search(model, budget=Budget(ratio=2), families=("one_row",))
    assert any(isinstance(m, OneRow) for m in found.model.modules())


# --- phi --------------------------------------------------------------------------------------------------------------
class Halves(Phi):
    """Every edge weighs half."""

    def __init__(self, order=1, heads=1):
        super().__init__()
        self.order, self.heads = order, heads
        self.weight = nn.Parameter(torch.full((heads,), 0.5))

    def forward(self, x, z, graph, edge_weight=None, edge_attr=None):
        return self.weight.expand(self.order, graph.num_edges, -1)


class MyAttention(Attention):
    """Attention of somebody else, who changed nothing yet."""


def test_a_phi_is_known_to_layers_and_files(tmp_path):
    register("phi", "halves", Halves)
    conv, x = EdgeNetConv(4, 3, 2, 2, phi="halves"), torch.randn(NODES, 4)
    assert type(conv.phi) is Halves and conv(x, EDGES).shape == (NODES, 6)
    assert type(same_after_saving(conv, tmp_path / "conv", x, EDGES).phi) is Halves


@pytest.mark.parametrize("widths", [(4, 8), (40, 4)])
def test_a_phi_that_subclasses_another_works_under_its_own_name(tmp_path, widths):
    register("phi", "my_attention", MyAttention)
    x = torch.randn(NODES, widths[0])
    torch.manual_seed(0)
    conv = EdgeNetConv(*widths, 1, 2, phi="my_attention", edge_dim=None, dropout=0.1)
    torch.manual_seed(0)
    other = EdgeNetConv(*widths, 1, 2, phi="attention", edge_dim=None, dropout=0.1)
    assert type(conv.phi) is MyAttention
    torch.testing.assert_close(conv.eval()(x, EDGES), other.eval()(x, EDGES), rtol=1e-12, atol=1e-12)
    assert type(same_after_saving(conv, tmp_path / "conv", x, EDGES).phi) is MyAttention


# --- lift and taps ----------------------------------------------------------------------------------------------------
class Tripled(Lift):
    """Every head carries three times the input."""

    def __init__(self, heads=1):
        super().__init__()
        self.heads = heads

    @classmethod
    def for_layer(cls, spec):
        return cls(spec.heads)

    def forward(self, x):
        return 3 * x.unsqueeze(-2).expand(*x.shape[:-1], self.heads, -1)


class Last(Taps):
    """The last signal, its heads summed."""

    def forward(self, signals, graph):
        return signals[-1].sum(-2)


def test_lift_and_taps_are_known_to_layers_and_files(tmp_path):
    register("lift", "tripled", Tripled)
    register("taps", "last", Last)
    conv = EdgeNetConv(4, 4, 2, 2, phi="shift_product", lift="tripled", taps="last", bias=False)
    x = torch.randn(NODES, 4)
    assert (type(conv.lift), type(conv.taps)) == (Tripled, Last) and conv.lift.heads == 2
    torch.testing.assert_close(conv(2 * x, EDGES), 2 * conv(x, EDGES))
    again = same_after_saving(conv, tmp_path / "conv", x, EDGES)
    assert (type(again.lift), type(again.taps)) == (Tripled, Last)


# --- layer, model, callback, command ----------------------------------------------------------------------------------
def neighbours(in_channels, out_channels, order=1, bias=True):
    return EdgeNetConv(in_channels, out_channels, order, phi="shift", normalize="rw", self_tap=False, bias=bias)


def test_a_layer_is_known_to_models_and_to_the_command_line(tmp_path, capsys):
    register("layer", "neighbours", neighbours)
    model = NodeClassifier(4, 3, layer="neighbours", order=2)
    assert [conv.order for conv in model.convs] == [2, 2]
    same_after_saving(model, tmp_path / "model", torch.randn(NODES, 4), EDGES)
    with pytest.raises(ConfigError, match="no option 'ordr'"):
        NodeClassifier(4, 3, layer="neighbours", ordr=2)
    arguments = ["train", "karate", "--model", "neighbours", "--epochs", "2", "--out", str(tmp_path / "run")]
    assert main([*arguments, "--seeds", "1", "--no-pictures"]) == 0
    assert "accuracy" in capsys.readouterr().out


class Line(nn.Module):
    """A model without a graph."""

    def __init__(self, in_channels, out_channels, **options):
        super().__init__()
        self.options = {"in_channels": in_channels, "out_channels": out_channels}
        self.map = nn.Linear(in_channels, out_channels)

    def arguments(self):
        return self.options

    def forward(self, x, *_, **__):
        return self.map(x)


def test_a_model_is_known_to_files(tmp_path):
    register("model", "line", Line)
    assert MODELS["line"] is Line
    same_after_saving(Line(4, 2), tmp_path / "model", torch.randn(NODES, 4))


def test_a_model_is_trained_by_its_name_in_a_configuration(tmp_path):
    register("model", "line", Line)
    settings = config(out=str(tmp_path / "run"), model__layer=None, model__hidden_channels=None, model__kind="line")
    result = run(settings, dataset=nodes(), progress=False)
    assert type(result.models[0]) is Line and result.seeds[0].epochs == 6
    again = run(settings, dataset=nodes(), progress=False, resume=True)
    assert torch.equal(again.models[0].map.weight, result.models[0].map.weight)
    with pytest.raises(ConfigError, match=r"no model is called 'lime'\..*Did you mean 'line'"):
        run(settings.replaced(out=None, model__kind="lime"), dataset=nodes(), progress=False)


class Counting(Callback):
    steps = 0

    def __init__(self, by=1):
        self.by = by

    def after_step(self, run):
        Counting.steps += self.by


def test_a_callback_takes_part_in_training(tmp_path):
    register("callback", "counting", Counting)
    Counting.steps = 0
    settings = config(out=str(tmp_path), callback=[{"kind": "counting", "by": 2}])
    run(settings, dataset=nodes(), progress=False)
    assert Counting.steps == 2 * 6  # epochs of one step


def test_a_command_is_known_to_the_command_line(capsys):
    def run(arguments):
        print(arguments.word * 2)
        return 3

    register("command", "echo", Command("say it twice", lambda parser: parser.add_argument("word"), run))
    assert main(["echo", "ho"]) == 3
    assert capsys.readouterr().out == "hoho\n"
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "say it twice" in capsys.readouterr().out


# --- converter, op ----------------------------------------------------------------------------------------------------
def test_a_converter_is_known_to_to_edgenet():
    class Own(pyg.GCNConv):
        """A layer of somebody else."""

    seen = []

    def convert(source):
        seen.append(type(source.layer))
        return CONVERTERS[pyg.GCNConv](source)

    register("converter", "own", (Own, convert))
    layer, x = Own(4, 3), torch.randn(NODES, 4)
    model = nn.ModuleList([layer, pyg.GCNConv(4, 3)])
    found = to_edgenet(copy.deepcopy(layer))
    torch.testing.assert_close(found(x, EDGES), layer(x, EDGES))
    assert seen == [Own] and len(to_edgenet(model)) == 2


def test_a_form_of_an_op_is_used_where_it_is_asked_for():
    calls = []

    def spmm(source, target, num_nodes, weight, x):
        calls.append(num_nodes)
        return backend._IMPLEMENTATIONS["spmm"]["reference"](source, target, num_nodes, weight, x)

    register("op", "spmm.toy", spmm)
    conv, x = EdgeNetConv(4, 3, phi="shift"), torch.randn(NODES, 4)
    wanted = conv(x, EDGES)
    assert not calls and "toy" in ops.available("spmm")
    with ops.use("toy"):
        found = conv(x, EDGES)
    assert calls
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


# --- refusals ---------------------------------------------------------------------------------------------------------
REFUSED = (ConfigError, PlanError, ConversionError, BackendError)


class Unfinished(Phi):
    """Lacks ``forward``."""


@pytest.mark.parametrize(
    ("kind", "name", "thing"),
    [
        ("structures", "mine", OneRow),
        ("structure", "dense", OneRow),
        ("structure", "mine", nn.Linear),
        ("structure", "mine", OneRow(2, torch.ones(2))),
        ("phi", "attention", Halves),
        ("phi", "mine", OneRow),
        ("phi", "mine", Unfinished),
        ("lift", "linear", Tripled),
        ("lift", "mine", Last),
        ("taps", "sum", Last),
        ("taps", "mine", Tripled),
        ("layer", "gat", neighbours),
        ("layer", "mine", lambda in_channels: None),
        ("layer", "mine", 3),
        ("model", "NodeClassifier", Line),
        ("model", "mine", neighbours),
        ("callback", "mine", Line),
        ("converter", "mine", pyg.GCNConv),
        ("converter", "mine", (pyg.GCNConv, neighbours)),
        ("converter", "mine", (OneRow(2, torch.ones(2)), neighbours)),
        ("op", "spmm", max),
        ("op", "spam.mine", max),
        ("op", "spmm.reference", max),
        ("op", "spmm.mine", 3),
        ("command", "train", Command("", print, print)),
        ("command", "mine", print),
        ("phi", "", Halves),
        ("phi", 3, Halves),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_registered(kind, name, thing):
    before = [dict(table) for table in TABLES]
    with pytest.raises(REFUSED) as refused:
        register(kind, name, thing)
    assert len(str(refused.value)) > 20
    assert before == [dict(table) for table in TABLES]


def test_registering_the_same_again_changes_nothing():
    for kind, thing in (("structure", OneRow), ("phi", Halves), ("lift", Tripled), ("taps", Last)):
        register(kind, "mine", thing)
        register(kind, "mine", thing)


def test_an_unknown_name_lists_what_was_registered():
    register("phi", "halves", Halves)
    with pytest.raises(Exception, match="halves"):
        EdgeNetConv(4, 3, phi="halfs")
    register("structure", "one_row", OneRow)
    with pytest.raises(PlanError, match="one_row"):
        compress_(NodeClassifier(5, 3), {"convs": "one_rows"})


def test_a_configuration_takes_a_registered_layer():
    register("layer", "neighbours", neighbours)
    assert RunConfig.from_dict({"dataset": {"name": "karate"}, "model": {"layer": "neighbours"}})


def test_the_librarys_own_parts_may_be_registered_again():
    for kind, table in (("phi", PHIS), ("lift", LIFTS), ("taps", TAPS), ("model", MODELS), ("callback", CALLBACKS)):
        before = dict(table)
        for name, thing in before.items():
            register(kind, name, thing)
        assert table == before


@pytest.mark.parametrize("name", ["my_attention", "attention"])
def test_a_part_has_one_name_and_a_name_one_part(name: str):
    with pytest.raises(ConfigError):
        register("phi", name, AttentionV2)
    assert "my_attention" not in PHIS


def test_a_kind_is_a_text():
    with pytest.raises(ConfigError, match="no kind of part"):
        register(["phi"], "mine", AttentionV2)
