"""edgenet inspect."""

import re
import tomllib

import pytest
from torch import nn

from edgenet import checkpoint
from edgenet.data import load
from edgenet.models import NodeClassifier
from edgenet.train import fit, run_seeds


def test_a_run_is_shown_with_its_configuration_seeds_tensors_and_pictures(train, run):
    train("--seeds", "2")
    code, out, _ = run("inspect", "runs/karate-gat")
    assert code == 0
    text = out[: out.index("seed  state")]
    assert tomllib.loads(text)["model"]["layer"] == "gat"
    lines = out.splitlines()
    assert sum(" done " in line and line[0] in "01" for line in lines) == 2
    assert next(line for line in lines if line.startswith("mean")).count("±") == 1 and "no pictures yet" in out
    total = int(next(line for line in lines if line.startswith("NodeClassifier")).split()[1].replace(",", ""))
    table = lines[lines.index(next(line for line in lines if line.startswith("tensor"))) + 2 :]
    numbers = [int(line.split()[-1].replace(",", "")) for line in table if "convs" in line and "fixed" not in line]
    assert sum(numbers) == total


def test_an_unfinished_run_says_where_it_can_go_on(run, interrupt):
    often = ["--set", "training.checkpoint_epochs=1"]
    assert run("train", "karate", "--seeds", "2", "--epochs", "5", *often, "--set", interrupt)[0] == 130
    _, out, _ = run("inspect", "runs/karate-gat")
    assert "can go on from epoch 2" in out and "not begun" in out
    assert "go on with: edgenet train runs/karate-gat --resume" in out


@pytest.mark.parametrize(
    "name", ["seed-0/result.json", "seed-0/model/config.json", "seed-0/metrics.jsonl", "config.toml"]
)
def test_a_damaged_file_of_a_run_is_refused_by_name(train, run, tmp_path, name):
    train()
    file = tmp_path / "runs" / "karate-gat" / name
    file.write_bytes(b"[nonsense\n" + file.read_bytes()[: file.stat().st_size // 2])
    code, _, err = run("inspect", "runs/karate-gat")
    assert code == 2 and name.rpartition("/")[2] in err and err.count("\n") == 1


def test_a_checkpoint_of_something_else_is_refused_by_name(train, run, tmp_path):
    train()
    own = tmp_path / "runs" / "karate-gat" / "seed-0"
    (own / "result.json").unlink()
    for content in ([1], {"epoch": "x"}):
        checkpoint.save(own / "checkpoint.pt", content)
        code, _, err = run("inspect", "runs/karate-gat")
        assert code == 2 and "checkpoint.pt: is no state of a training" in err


def test_what_fit_leaves_in_a_folder_is_shown_too(run):
    data = load("karate").train[0]
    fit(NodeClassifier(data.num_features, 4, layer="gcn"), data, epochs=2, folder="mine", progress=False)
    code, out, err = run("inspect", "mine")
    assert code == 0, err
    assert "done" in out and "NodeClassifier," in out and "convs.0" in out and "--resume" not in out


class Mine(nn.Module):
    """A model that edgenet does not know how to make."""

    def __init__(self, features):
        super().__init__()
        self.map = nn.Linear(features, 4)

    def forward(self, x):
        return self.map(x)


def test_seeds_of_a_model_of_ones_own_are_shown_with_their_settings_and_tensors(run):
    data = load("karate").train[0]
    run_seeds(lambda: Mine(data.num_features), data, epochs=2, seeds=[0, 1], folder="mine", progress=False)
    code, out, err = run("inspect", "mine")
    assert code == 0, err
    assert tomllib.loads(out[: out.index("seed  state")])["training"]["epochs"] == 2 and "2 of 2 done" in out
    assert "Mine, 140 parameters" in out and re.search(r"map\.weight +4 x 34 +float64 +136\n", out)
