"""Parts that a user adds are saved and loaded like any other, once a name is theirs; nothing else gets in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgenet.errors import CheckpointError
from edgenet.nn import EdgeNetConv
from edgenet.nn.taps import Taps
from edgenet.phi import Attention, Phi
from edgenet.pretrained import allowed, building, describing, from_pretrained, making, recipe, save_pretrained
from edgenet.pretrained.allowed import allow
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["path"]


class Sharper(Attention):
    """A phi that subclasses a registered one: it inherits what that says of its arguments."""

    def __init__(self, sharpness=2.0, **options):
        super().__init__(**options)
        self.sharpness = sharpness

    def arguments(self):
        return {**super().arguments(), "sharpness": self.sharpness, "order": self.order, "heads": self.heads}


class Fading(Taps):
    """Taps whose constructor keeps its argument under another name, and a child."""

    def __init__(self, rate, inner):
        super().__init__()
        self.scale, self.mixing = nn.Parameter(torch.tensor(rate)), inner

    def arguments(self):
        return {"rate": 0.5, "inner": self.mixing, "nothing": "that the constructor has"}

    def forward(self, signals, graph):
        return self.mixing(sum(self.scale**k * z for k, z in enumerate(signals)).flatten(-2))


@pytest.fixture
def layer(monkeypatch):
    monkeypatch.setattr(allowed, "CLASSES", dict(allowed.CLASSES))  # what a test allows, it alone does
    monkeypatch.setattr(allowed, "NAMES", dict(allowed.NAMES))
    for module in (making, recipe, building, describing):
        for table in ("CLASSES", "NAMES"):
            if hasattr(module, table):
                monkeypatch.setattr(module, table, getattr(allowed, table))
    phi = Sharper(3.0, heads=2, channels=4, dropout=0.25)
    return EdgeNetConv(5, 4, phi=phi, taps=Fading(0.5, nn.Linear(8, 4))).eval()


def test_a_users_parts_come_back_once_they_are_allowed(layer, tmp_path):
    save_pretrained(layer, tmp_path / "before")
    with pytest.raises(CheckpointError, match=r"Sharper.*not one that edgenet knows"):
        from_pretrained(tmp_path / "before")
    allow("phi.sharper", Sharper)
    allow("taps.fading", Fading)
    allow("taps.fading", Fading)  # again, as a module does that is imported again
    save_pretrained(layer, tmp_path / "after")
    again, x = from_pretrained(tmp_path / "after"), torch.randn(GRAPH.num_nodes, 5)
    assert type(again.phi) is Sharper and (again.phi.sharpness, again.phi.dropout) == (3.0, 0.25)
    assert torch.equal(again(x, GRAPH.edge_index), layer(x, GRAPH.edge_index))


@pytest.mark.parametrize(
    "name, kind, says",
    [
        ("phi.own", Phi, "can be made"),
        ("phi.own", print, "class of modules"),
        ("", Fading, "choose one of your own"),
        ("torch.nn.Linear", Fading, "built-in"),
        ("edgenet.phi.Own", Fading, "built-in"),
        ("taps.own", Attention, "edgenet.phi.Attention"),
    ],
)
def test_a_name_that_says_something_else_is_refused(layer, name, kind, says):
    before = dict(allowed.CLASSES), dict(allowed.NAMES)
    with pytest.raises(CheckpointError, match=says):
        allow(name, kind)
    allow("taps.fading", Fading)
    for taken in (("taps.fading", Sharper), ("taps.other", Fading)):
        with pytest.raises(CheckpointError, match="cannot name"):
            allow(*taken)
    del allowed.CLASSES["taps.fading"], allowed.NAMES[Fading]
    assert before == (allowed.CLASSES, allowed.NAMES)


def test_layers_save_themselves_without_an_import_of_what_saves(tmp_path):
    """The methods are on the layers; the file that has them imports nothing that knows layers."""
    code = (
        "import sys\nfrom edgenet.nn import EdgeNetConv\nassert 'edgenet.pretrained' not in sys.modules\n"
        f"EdgeNetConv(5, 4, phi='attention').save_pretrained({str(tmp_path)!r})\n"
        f"print(type(EdgeNetConv.from_pretrained({str(tmp_path)!r})).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "EdgeNetConv", done.stderr


def test_recipes_name_no_class_of_edgenets_layers():
    """What a part's constructor was called with, the part says itself."""
    trees = [ast.parse(Path(file.__file__).read_text(encoding="utf-8")) for file in (making, recipe)]
    modules = {node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in modules if name and name.startswith(("edgenet.nn", "edgenet.phi", "edgenet.models"))]
