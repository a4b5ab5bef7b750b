"""Commands run inside the test's own folder."""

import re

import pytest
import torch_geometric.nn as pyg

from edgenet.cli import main
from edgenet.compress import CALLBACKS, Callback
from edgenet.data import load
from edgenet.pretrained import save_pretrained

#: what torch, numpy and Python say to themselves
RAW = re.compile(r"mat1|mat2|size mismatch|scalar type|Traceback|at::|aten|numpy\.|unpack|NoneType|0x[0-9a-f]+")
QUICK = ["--epochs", "3", "--set", "model.options.heads=2", "--no-pictures"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Runs a command: (exit code, stdout, stderr). What argparse refuses ends in an exit code like the rest."""

    def run(*arguments):
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def refused(run):
    """Runs a command that must end in one line of ours on stderr, nothing on stdout, exit code 2; gives the line."""

    def refused(*arguments):
        code, out, err = run(*arguments)
        assert code == 2 and not out, (code, out, err)
        assert err.startswith("edgenet") and err.count("\n") == 1, err
        assert not RAW.search(err), err
        return err

    return refused


@pytest.fixture
def train(run):
    """Trains a small attention network on karate, with more arguments; what is printed."""

    def train(*arguments):
        code, out, err = run("train", "karate", "--model", "gat", *QUICK, *arguments)
        assert code == 0, err
        return out

    return train


@pytest.fixture
def interrupt(monkeypatch):
    """What --set makes of a training that is interrupted before its third epoch."""

    class Interrupt(Callback):
        def before_epoch(self, training):
            if training.epoch == 3:
                raise KeyboardInterrupt

    monkeypatch.setitem(CALLBACKS, "interrupt", Interrupt)
    return 'callback=[{kind="interrupt"}]'


@pytest.fixture
def karate():
    """The graph of the karate club."""
    return load("karate").train[0]


@pytest.fixture
def gat(karate):
    """A model of PyG in the folder "gat"; and what it says."""
    model = pyg.GAT(karate.num_features, 8, 2, 4, heads=2).eval()
    save_pretrained(model, "gat")
    return model(karate.x.double(), karate.edge_index)
