"""edgenet convert, compress and report."""

import json
from pathlib import Path

import pytest
import torch
import torch_geometric.nn as pyg

from edgenet import cli
from edgenet.commands_model import read_model
from edgenet.data import load
from edgenet.models import NodeClassifier
from edgenet.phi import EdgeVarying
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import LowRank


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def karate():
    return load("karate").train[0]


@pytest.fixture
def gat(karate):
    """A model of PyG in the folder "gat"; and what it says."""
    model = pyg.GAT(karate.num_features, 8, 2, 4, heads=2).eval()
    save_pretrained(model, "gat")
    return model(karate.x.double(), karate.edge_index)


def test_convert_makes_an_edgenet_that_says_the_same(gat, karate, capsys):
    code, out, err = run(capsys, "convert", "gat", "--out", "edgenet")
    assert code == 0, err
    assert "edgenet, GAT," in out and "bound to a graph" not in out
    again = from_pretrained("edgenet")
    torch.testing.assert_close(again(karate.x.double(), karate.edge_index), gat)
    assert type(again.convs[0]).__name__ == "Converted"


def test_convert_freezes_attention(gat, karate, capsys):
    code, out, err = run(capsys, "convert", "gat", "--freeze", "karate", "--out", "frozen")
    assert code == 0, err
    assert "2 of its tables bound to a graph" in out
    again = from_pretrained("frozen", edges=karate)
    torch.testing.assert_close(again(karate.x.double(), karate.edge_index), gat)
    assert isinstance(again.convs[0].phi, EdgeVarying)


def test_compress_by_a_plan(gat, capsys, tmp_path):
    (tmp_path / "plan.toml").write_text('[[rule]]\npattern = ".*lin"\nstructure = "low_rank"\nrank = 2\n')
    code, out, err = run(capsys, "compress", "gat", "--plan", "plan.toml", "--out", "small")
    assert code == 0, err
    assert "low_rank(rank=2)" in out and "compressed by plan.toml" in out
    assert sorted(f.name for f in (tmp_path / "small").iterdir()) == [
        "README.md", "compression.png", "config.json", "model.safetensors", "report.json",
    ]  # fmt: skip
    matrices = [m for m in from_pretrained("small").modules() if isinstance(m, LowRank)]
    assert matrices and all(m.rank == 2 for m in matrices)


def test_compress_to_a_ratio_and_fine_tune(gat, capsys):
    code, out, err = run(capsys, "compress", "gat", "--ratio", "2", "--family", "low_rank", "--data", "karate",
                         "--fine-tune", "3", "--out", "small")  # fmt: skip
    assert code == 0, err
    assert "test accuracy on karate" in out
    report = json.loads(Path("small/report.json").read_text())
    assert report["total"]["parameters"] * 2 <= report["total"]["parameters_before"]
    assert {row["structure"] for row in report["rows"]} <= {"low_rank", "dense"}


def test_compress_to_a_permitted_drop(gat, capsys):
    code, _, err = run(capsys, "compress", "gat", "--max-drop", "0.9", "--family", "low_rank", "--data", "karate",
                         "--out", "small")  # fmt: skip
    assert code == 0, err
    report = json.loads(Path("small/report.json").read_text())
    assert report["total"]["parameters"] < report["total"]["parameters_before"]


class Knows(torch.nn.Module):
    """A teacher that is never wrong."""

    def __init__(self, dataset):
        super().__init__()
        self.scores = 10.0 * torch.nn.functional.one_hot(dataset.train[0].y, dataset.num_outputs).float()

    def forward(self, x, edge_index):
        return self.scores.to(x)


def test_fine_tuning_follows_labels_and_teacher_and_never_ends_worse_than_it_began():
    from edgenet.commands_model import Judge

    dataset = load("karate")
    judge = Judge(dataset)
    model = NodeClassifier(dataset.num_features, dataset.num_outputs, layer="gcn", hidden_channels=8, dropout=0.0)
    before = judge.score(model, "test")
    judge.fine_tune(model, Knows(dataset), 100, 0.05)
    assert judge.score(model, "test") > max(before, 0.9)  # labels of four nodes alone do not tell that much
    after = judge.quality(model)
    judge.fine_tune(model, Knows(dataset), 3, 1e4)
    assert judge.quality(model) >= after


def test_signals_and_values_are_judged_too():
    from edgenet.commands_model import Judge
    from edgenet.models import GraphClassifier

    dataset = load("source_localisation")
    model = GraphClassifier(dataset.num_features, dataset.num_outputs, hidden_channels=2)
    assert 0 <= Judge(dataset).score(model, "val") <= 1


def test_report_shows_errors_of_compression_in_three_forms(gat, capsys):
    run(capsys, "compress", "gat", "--ratio", "2", "--family", "low_rank", "--out", "small")
    code, out, err = run(capsys, "report", "small", "--json", "--picture", "report.png")
    assert code == 0 and "picture: report.png" in err
    content = json.loads(out)
    assert any(row["error"] for row in content["rows"])
    assert Path("report.png").read_bytes()[:4] == b"\x89PNG"
    assert run(capsys, "report", "small", "--markdown")[1].startswith("| name | shape |")
    assert "total" in run(capsys, "report", "gat")[1]


def test_a_run_and_its_model_are_read(capsys):
    assert cli.main(["train", "karate", "--model", "gat", "--epochs", "2", "--seeds", "2", "--no-pictures"]) == 0
    capsys.readouterr()
    seeds = json.loads(Path("runs/karate-gat/summary.json").read_text())["seeds"]
    best = max((0, 1), key=lambda seed: seeds[seed]["val"])
    mine, its = read_model("runs/karate-gat"), read_model(f"runs/karate-gat/seed-{best}/model.pt")
    for name, value in its.state_dict().items():
        assert torch.equal(value, mine.state_dict()[name])
    assert run(capsys, "report", "runs/karate-gat")[0] == 0


@pytest.mark.float32
def test_the_published_gat_is_converted_frozen_and_says_the_same(data_root, capsys):
    file = data_root / "gat_cora_pyg.npz"
    if not file.is_file():
        pytest.skip("the published GAT is not here")
    code, _, err = run(capsys, "convert", file, "--freeze", "cora", "--out", "frozen")
    assert code == 0, err
    cora = load("cora").train[0]
    given, frozen = read_model(file), from_pretrained("frozen")
    with torch.no_grad():
        torch.testing.assert_close(
            frozen(cora.x, cora.edge_index), given(cora.x, cora.edge_index), rtol=0, atol=2e-6
        )  # fmt: skip


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
def test_what_the_user_can_mend_is_one_line(arguments, says, gat, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    save_pretrained(pyg.GCN(2, 2, 1), "cut")
    data = (tmp_path / "cut/model.safetensors").read_bytes()
    (tmp_path / "cut/model.safetensors").write_bytes(data[:-5])
    code, _, err = run(capsys, *arguments)
    assert code == 2 and says in err and err.startswith("edgenet: ") and err.count("\n") == 1, err
    assert not (tmp_path / "o").exists()
