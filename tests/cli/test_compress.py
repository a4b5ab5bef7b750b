"""edgenet compress."""

import json
from pathlib import Path

import torch

from edgenet.data import load
from edgenet.models import NodeClassifier
from edgenet.pretrained import from_pretrained
from edgenet.structured import LowRank


def test_compress_by_a_plan(run, gat, tmp_path):
    (tmp_path / "plan.toml").write_text('[[rule]]\npattern = ".*lin"\nstructure = "low_rank"\nrank = 2\n')
    code, out, err = run("compress", "gat", "--plan", "plan.toml", "--out", "small")
    assert code == 0, err
    assert "low_rank(rank=2)" in out and "compressed by plan.toml" in out
    assert sorted(f.name for f in (tmp_path / "small").iterdir()) == [
        "README.md", "compression.png", "config.json", "model.safetensors", "report.json",
    ]  # fmt: skip
    matrices = [m for m in from_pretrained("small").modules() if isinstance(m, LowRank)]
    assert matrices and all(m.rank == 2 for m in matrices)


def test_compress_to_a_ratio_and_fine_tune(run, gat):
    code, out, err = run("compress", "gat", "--ratio", "2", "--family", "low_rank", "--data", "karate",
                         "--fine-tune", "3", "--out", "small")  # fmt: skip
    assert code == 0, err
    assert "test accuracy on karate" in out
    report = json.loads(Path("small/report.json").read_text())
    assert report["total"]["parameters"] * 2 <= report["total"]["parameters_before"]
    assert {row["structure"] for row in report["rows"]} <= {"low_rank", "dense"}


def test_compress_to_a_permitted_drop(run, gat):
    code, _, err = run("compress", "gat", "--max-drop", "0.9", "--family", "low_rank", "--data", "karate",
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
    from edgenet.cli.judge import Judge

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
    from edgenet.cli.judge import Judge
    from edgenet.models import GraphClassifier

    dataset = load("source_localisation")
    model = GraphClassifier(dataset.num_features, dataset.num_outputs, hidden_channels=2)
    assert 0 <= Judge(dataset).score(model, "val") <= 1
