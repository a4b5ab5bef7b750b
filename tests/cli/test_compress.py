"""edgenet compress."""

import json
from pathlib import Path

from edgenet.pretrained import from_pretrained
from edgenet.structured import LowRank
from edgenet.structured.codes import Coded


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


def test_a_rate_of_fine_tuning_without_fine_tuning_is_refused(run, gat):
    code, _, err = run("compress", "gat", "--ratio", "2", "--lr", "0.1", "--out", "small")
    assert code == 2 and "--lr is for --fine-tune" in err and not Path("small").exists()


def test_compress_to_a_permitted_drop(run, gat):
    code, _, err = run("compress", "gat", "--max-drop", "0.9", "--family", "low_rank", "--data", "karate",
                         "--out", "small")  # fmt: skip
    assert code == 0, err
    report = json.loads(Path("small/report.json").read_text())
    assert report["total"]["parameters"] < report["total"]["parameters_before"]


def test_compress_to_a_form_of_few_bits(run, gat):
    code, out, err = run("compress", "gat", "--form", "deepshift_q", "--bits", "4", "--out", "small")
    assert code == 0, err
    assert "converted to deepshift_q" in out
    matrices = [m for m in from_pretrained("small").modules() if isinstance(m, Coded)]
    assert matrices and {m.config()["bits"] for m in matrices} == {4}
    code, _, err = run("compress", "gat", "--form", "int9", "--out", "other")
    assert code == 2 and "Did you mean 'int8'" in err
    code, _, err = run("compress", "gat", "--ratio", "2", "--bits", "4", "--out", "other")
    assert code == 2 and "--bits is for --form" in err
