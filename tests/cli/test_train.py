"""edgenet train."""

import json

import pytest
import torch
from torch import nn

from edgenet.cli.models import read_model
from edgenet.compress import CALLBACKS, Anneal
from edgenet.config import RunConfig
from edgenet.models import MODELS
from edgenet.presets import PRESETS
from edgenet.pretrained.allowed import allow
from edgenet.structured import LowRank, Sparse

QUICK = ["--epochs", "3", "--set", "model.options.heads=2", "--no-pictures"]


def test_training_ends_with_a_table_of_all_seeds_and_their_mean(train, tmp_path):
    out = train("--seeds", "3").splitlines()
    title = out.index(next(line for line in out if line.startswith("gat on karate")))
    assert out[title + 1].split()[0] == "seed"
    assert [line.split()[0] for line in out[title + 3 : title + 6]] == ["0", "1", "2"]
    assert out[title + 7].startswith("mean") and out[title + 7].count("±") == 2
    summary = json.loads((tmp_path / "runs" / "karate-gat" / "summary.json").read_text())
    assert f"{summary['test']['mean']:.4f} ± {summary['test']['std']:.4f}" in out[title + 7]


def test_flags_and_assignments_override_the_preset(train, tmp_path):
    train("--seeds", "4,2", "--out", "here", "--set", "optimizer.lr=0.5")
    config = RunConfig.from_toml(tmp_path / "here" / "config.toml")
    assert config.training.seeds == [4, 2] and config.training.epochs == 3
    assert config.optimizer.lr == 0.5 and config.model.options["heads"] == 2 and config.out == "here"


def test_a_preset_with_a_name_of_its_own_says_its_layer(run, tmp_path, monkeypatch):
    table = {"model": {"layer": "gcn", "hidden_channels": 3}, "training": {"epochs": 2}}
    monkeypatch.setitem(PRESETS["karate"], "narrow", table)
    code, out, _ = run("train", "karate", "--preset", "narrow", "--no-pictures")
    config = RunConfig.from_toml(tmp_path / "runs" / "karate-narrow" / "config.toml")
    assert code == 0 and "gcn on karate" in out
    assert (config.model.layer, config.model.hidden_channels, config.training.epochs) == ("gcn", 3, 2)


def test_a_configuration_file_is_trained_and_flags_override_it(run, tmp_path):
    (tmp_path / "my.toml").write_text('[dataset]\nname = "karate"\n[model]\nlayer = "gcn"\n[training]\nepochs = 50\n')
    code, out, _ = run("train", "my.toml", "--epochs", 2, "--no-pictures")
    assert code == 0 and "gcn on karate" in out and "runs/karate-gcn" in out
    assert RunConfig.from_toml(tmp_path / "runs" / "karate-gcn" / "config.toml").training.epochs == 2


def test_the_configuration_of_a_run_makes_the_run_again(train, run):
    train()
    assert run("train", "runs/karate-gat/config.toml", "--out", "again", "--no-pictures")[0] == 0
    first, again = (read_model(folder).state_dict() for folder in ("runs/karate-gat", "again"))
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_a_second_run_is_refused_resumed_or_replaced(train, run):
    train()
    code, out, err = run("train", "karate", "--model", "gat", *QUICK)
    assert code == 2 and not out and err.count("\n") == 1 and "--resume" in err and "--overwrite" in err
    assert "gat on karate" in train("--resume")
    assert "gat on karate" in train("--overwrite", "--set", "optimizer.lr=0.1")
    code, _, err = run("train", "karate", "--model", "gat", *QUICK, "--resume")
    assert code == 2 and "optimizer.lr was 0.1, is 0.01" in err


def test_resuming_what_was_never_begun_begins_and_says_so(run):
    code, _, err = run("train", "karate", *QUICK, "--resume")
    assert code == 0 and "nothing to resume in runs/karate-gat, starting anew" in err


# ---------------------------------------------------------------- rules
RULES = """
[dataset]
name = "karate"
[model]
layer = "gcn"
[training]
epochs = 6
[compress.plan.".*lift.*"]
structure = "sparse"
density = 1.0
[[callback]]
kind = "anneal"
density = 0.25
start = 1
end = 4
every = 1
"""


def test_structures_and_rules_come_from_a_configuration(run, tmp_path):
    (tmp_path / "my.toml").write_text(RULES)
    code, out, err = run("train", "my.toml", "--seeds", "2", "--no-pictures")
    assert code == 0 and "gcn on karate" in out, err
    for seed in (0, 1):
        matrices = [m for m in read_model(f"runs/karate-gcn/seed-{seed}").modules() if isinstance(m, Sparse)]
        assert matrices and all(m.num_parameters() == round(0.25 * m.shape[0] * m.shape[1]) for m in matrices)
    assert run("train", "runs/karate-gcn", "--resume", "--no-pictures")[1].count("runs/karate-gcn") == 1
    assert run("inspect", "runs/karate-gcn")[0] == run("report", "runs/karate-gcn")[0] == 0


def test_a_run_with_rules_that_was_interrupted_goes_on_to_the_same_bits(run, tmp_path, monkeypatch):
    (tmp_path / "my.toml").write_text(RULES.replace("epochs = 6", "epochs = 6\ncheckpoint_epochs = 1"))
    assert run("train", "my.toml", "--out", "whole", "--no-pictures")[0] == 0
    stops = [4]

    class Interrupted(Anneal):
        def before_epoch(self, training):
            if training.epoch in stops:
                stops.clear()
                raise KeyboardInterrupt

    monkeypatch.setitem(CALLBACKS, "anneal", Interrupted)
    code, _, err = run("train", "my.toml", "--out", "parts", "--no-pictures")
    assert code == 130 and "edgenet train parts --resume" in err
    assert run("train", "parts", "--resume", "--no-pictures")[0] == 0
    whole, parts = read_model("whole").state_dict(), read_model("parts").state_dict()
    assert list(whole) == list(parts) and all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_structures_and_rules_are_set_on_the_command_line(train):
    rules = 'callback=[{kind="distill", teacher="runs/karate-gat/seed-0/model", weight=0.5}]'
    train()
    train("--set", "compress.ratio=4", "--set", 'compress.families=["low_rank"]', "--set", rules, "--out", "small")
    assert any(isinstance(m, LowRank) for m in read_model("small").modules())
    config = RunConfig.from_toml("small/config.toml")
    assert config.compress == {"ratio": 4, "families": ["low_rank"]} and config.callback[0]["weight"] == 0.5


@pytest.mark.parametrize(
    "change, says",
    [
        ("compress.ration=4", "[compress]: there is no argument 'ration'"),
        ("compress.ratio=0.5", "got 0.5"),
        ("compress.plan=gone.toml", "gone.toml: cannot be read"),
        ('callback=[{kind="aneal"}]', "Did you mean 'anneal'?"),
        ('callback=[{kind="admm"}]', "the argument 'plan' is missing"),
        ('callback=[{kind="distill", teacher="gone"}]', "gone"),
        ("callback=[3]", "callback"),
        ("callback=3", "callback"),
        ("compress=3", "compress is a table, got 3"),
    ],
)
def test_a_rule_that_does_not_fit_is_one_line_and_leaves_no_folder(refused, tmp_path, change, says):
    assert says in refused("train", "karate", "--set", change)
    assert not (tmp_path / "runs").exists()


class Line(nn.Module):
    """A model of one's own, which looks at no edges."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.options = {"in_channels": in_channels, "out_channels": out_channels}
        self.map = nn.Linear(in_channels, out_channels)

    def arguments(self):
        return self.options

    def forward(self, x):
        return self.map(x)


@pytest.mark.float32
def test_a_model_of_ones_own_is_trained_by_its_name(run, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "Line", Line)
    allow("model.Line", Line)
    (tmp_path / "my.toml").write_text('[dataset]\nname = "karate"\n[model]\nkind = "Line"\n[training]\nepochs = 2\n')
    code, out, err = run("train", "my.toml")
    assert code == 0, err
    assert "Line on karate, 140 parameters" in out and "runs/karate-Line" in out and "learning_curve.png" in out
    assert type(read_model("runs/karate-Line")) is Line


def test_batches_of_drawn_neighbours_are_asked_for_by_options(run, tmp_path):
    drawn = ["--batch", "neighbors", "--fan-out", "4,-1", "--batch-size", 10]
    code, _, _ = run("train", "karate", "--model", "gcn", *drawn, "--epochs", 2, "--no-pictures")
    table = RunConfig.from_toml(tmp_path / "runs" / "karate-gcn" / "config.toml").training
    assert code == 0 and (table.batch, table.fan_out, table.batch_size) == ("neighbors", [4, -1], 10)
    code, _, err = run("train", "karate", "--model", "gcn", "--fan-out", "4,0")
    assert code != 0 and "how many neighbours at each hop, such as 10,5, is wanted, got '4,0'" in err
