"""edgenet train."""

import json

import torch

from edgenet import checkpoint
from edgenet.config import RunConfig

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


def test_a_configuration_file_is_trained_and_flags_override_it(run, tmp_path):
    (tmp_path / "my.toml").write_text('[dataset]\nname = "karate"\n[model]\nlayer = "gcn"\n[training]\nepochs = 50\n')
    code, out, _ = run("train", "my.toml", "--epochs", 2, "--no-pictures")
    assert code == 0 and "gcn on karate" in out and "runs/karate-gcn" in out
    assert RunConfig.from_toml(tmp_path / "runs" / "karate-gcn" / "config.toml").training.epochs == 2


def test_the_configuration_of_a_run_makes_the_run_again(train, run, tmp_path):
    train()
    assert run("train", "runs/karate-gat/config.toml", "--out", "again", "--no-pictures")[0] == 0
    first, again = (checkpoint.load(tmp_path / p / "seed-0" / "model.pt") for p in ("runs/karate-gat", "again"))
    assert all(torch.equal(first["model"][name], again["model"][name]) for name in first["model"])


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
