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
    mine, its = read_model("runs/karate-gat"), read_model(f"runs/karate-gat/seed-{best}/model.pt")
    for name, value in its.state_dict().items():
        assert torch.equal(value, mine.state_dict()[name])
    assert run("report", "runs/karate-gat")[0] == 0


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["convert", "nowhere", "--out", "o"], "nowhere: no such model"),
        (["convert", "empty", "--out", "o"], "neither config.json nor config.toml"),
        (["convert", "gat", "--out", "gat"], "gat exists. Replace it with --overwrite"),
        (["convert", "gat", "--freeze", "karat", "--out", "o"], "karat"),
        (["convert", "gat", "--freeze", "digits", "--out", "o"], "made for 34 input channels and got 64"),
        (["convert", "cut", "--out", "o"], "cut short"),
        (["compress", "gat", "--plan", "none.toml", "--out", "o"], "none.toml"),
        (["compress", "gat", "--ratio", "0.5", "--out", "o"], "ratio"),
        (["compress", "gat", "--ratio", "2", "--family", "low", "--out", "o"], "low"),
        (["compress", "gat", "--max-drop", "0.1", "--out", "o"], "--max-drop needs --data"),
        (["compress", "gat", "--ratio", "2", "--fine-tune", "3", "--out", "o"], "--fine-tune needs --data"),
        (["compress", "gat", "--ratio", "2", "--fine-tune", "-3", "--out", "o"], "--fine-tune is 0 or more"),
        (["report", "nowhere"], "no such model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_user_can_mend_is_one_line(run, arguments, says, gat, tmp_path):
    (tmp_path / "empty").mkdir()
    save_pretrained(pyg.GCN(2, 2, 1), "cut")
    data = (tmp_path / "cut/model.safetensors").read_bytes()
    (tmp_path / "cut/model.safetensors").write_bytes(data[:-5])
    code, _, err = run(*arguments)
    assert code == 2 and says in err and err.startswith("edgenet: ") and err.count("\n") == 1, err
    assert not (tmp_path / "o").exists()
