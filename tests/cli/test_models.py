"""What the command line takes for a model."""

import json
from pathlib import Path

import pytest
import torch
import torch_geometric.nn as pyg

from edgenet.cli.models import read_model
from edgenet.pretrained import save_pretrained


def test_a_run_and_its_model_are_read(train, run):
    train("--seeds", "2")
    seeds = json.loads(Path("runs/karate-gat/summary.json").read_text())["seeds"]
    best = max((0, 1), key=lambda seed: seeds[seed]["val"])
    own = f"runs/karate-gat/seed-{best}"
    mine = read_model("runs/karate-gat").state_dict()
    for its in (read_model(own).state_dict(), read_model(f"{own}/model").state_dict()):
        assert all(torch.equal(value, mine[name]) for name, value in its.items())
    for path in ("runs/karate-gat", own, f"{own}/model"):
        assert run("report", path)[0] == 0


def test_a_run_without_a_finished_seed_says_how_to_go_on(train, refused):
    train()
    Path("runs/karate-gat/seed-0/result.json").unlink()
    assert "no seed of this run is done. Go on with: edgenet train runs/karate-gat --resume" in refused(
        "report", "runs/karate-gat"
    )


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["convert", "nowhere", "--out", "o"], "nowhere: no such model"),
        (["convert", "empty", "--out", "o"], "empty: holds none of config.json, config.toml, result.json"),
        (["convert", "gat", "--out", "gat"], "gat exists. Replace it with --overwrite"),
        (["convert", "gat", "--freeze", "karat", "--out", "o"], "karat"),
        (["convert", "gat", "--freeze", "digits", "--out", "o"], "made for 34 input channels and got 64"),
        (["convert", "cut", "--out", "o"], "cut short"),
        (["compress", "gat", "--plan", "none.toml", "--out", "o"], "none.toml"),
        (["compress", "gat", "--ratio", "0.5", "--out", "o"], "--ratio: a number above 1 is wanted, got '0.5'"),
        (["compress", "gat", "--ratio", "2", "--family", "low", "--out", "o"], "low"),
        (["compress", "gat", "--max-drop", "0.1", "--out", "o"], "--max-drop needs --data"),
        (["compress", "gat", "--ratio", "2", "--fine-tune", "3", "--out", "o"], "--fine-tune needs --data"),
        (
            ["compress", "gat", "--ratio", "2", "--fine-tune", "-3", "--out", "o"],
            "--fine-tune: a whole number from 0 is wanted, got '-3'",
        ),
        (
            ["compress", "gat", "--ratio", "2", "--lr", "nan", "--out", "o"],
            "--lr: a number above 0 is wanted, got 'nan'",
        ),
        (["compress", "gat", "--ratio", "2", "--out", "cut/config.json/o"], "config.json is a file"),
        (["convert", "gat", "--out", ""], "--out: a path is wanted, got ''"),
        (["report", "gat", "--picture", "empty"], "empty is a folder"),
        (["convert", "gat", "--out", "run"], "run is the folder of a run"),
        (["convert", "gat", "--out", "run/seed-0"], "run/seed-0 is the folder of a run"),
        (["compress", "gat", "--ratio", "2", "--data", "source_localisation", "--out", "o"], "does not run on source"),
        (["report", "nowhere"], "no such model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_user_can_mend_is_one_line(refused, arguments, says, gat, tmp_path):
    (tmp_path / "empty").mkdir()
    save_pretrained(pyg.GCN(2, 2, 1), "cut")
    data = (tmp_path / "cut/model.safetensors").read_bytes()
    (tmp_path / "cut/model.safetensors").write_bytes(data[:-5])
    (tmp_path / "run/seed-0").mkdir(parents=True)
    (tmp_path / "run/config.toml").write_text("")
    (tmp_path / "run/seed-0/result.json").write_text("")
    assert says in refused(*arguments)
    assert not (tmp_path / "o").exists()
