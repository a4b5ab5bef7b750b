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
    code, out, err = run("compress", "gat", "--times", "2", "--family", "low_rank", "--data", "karate",
                         "--fine-tune", "3", "--out", "small")  # fmt: skip
    assert code == 0, err
    assert "val accuracy on karate" in out and "test accuracy on karate" in out
    report = json.loads(Path("small/report.json").read_text())
    assert report["total"]["bytes"] * 2 <= report["total"]["bytes_before"]
    assert report["total"]["bytes"] == tensor_bytes("small")
    assert {row["structure"] for row in report["rows"]} <= {"low_rank", "dense"}


def tensor_bytes(folder):
    """Of all tensors in a saved model, as its file counts them."""
    content = Path(folder, "model.safetensors").read_bytes()
    return len(content) - 8 - int.from_bytes(content[:8], "little")


def test_compress_to_bytes_in_codes_of_chosen_bits(run, gat):
    code, _, err = run("compress", "gat", "--bytes", "800", "--family", "low_rank", "--bits", "8", "4",
                         "--out", "small")  # fmt: skip
    assert code == 0, err
    assert tensor_bytes("small") <= 800
    widths = {m.config()["bits"] for m in from_pretrained("small").modules() if isinstance(m, Coded)}
    assert widths and widths <= {4, 8}


def test_compress_to_a_tolerance_wants_more_examples_than_a_club_has(run, gat):
    """An interval of a few examples is wide, and the command says that it is not kept."""
    code, out, err = run("compress", "gat", "--tolerance", "0.01", "--family", "low_rank", "--data", "karate",
                         "--fine-tune", "0", "--out", "small")  # fmt: skip
    assert code == 0, err
    assert "the permitted drop of 0.01 is NOT met" in out and "95 %" in out


def test_a_rate_of_fine_tuning_without_fine_tuning_is_refused(run, gat):
    code, _, err = run("compress", "gat", "--times", "2", "--lr", "0.1", "--out", "small")
    assert code == 2 and "--lr is for --fine-tune" in err and not Path("small").exists()


def test_compress_to_a_permitted_drop(run, gat):
    code, _, err = run("compress", "gat", "--max-drop", "0.9", "--family", "low_rank", "--data", "karate",
                       "--fine-tune", "0", "--out", "small")  # fmt: skip
    assert code == 0, err
    report = json.loads(Path("small/report.json").read_text())
    assert report["total"]["bytes"] < report["total"]["bytes_before"]


def test_compress_to_a_form_of_few_bits(run, gat):
    code, out, err = run("compress", "gat", "--form", "deepshift_q", "--bits", "4", "--out", "small")
    assert code == 0, err
    assert "converted to deepshift_q" in out
    matrices = [m for m in from_pretrained("small").modules() if isinstance(m, Coded)]
    assert matrices and {m.config()["bits"] for m in matrices} == {4}
    code, _, err = run("compress", "gat", "--form", "int9", "--out", "other")
    assert code == 2 and "Did you mean 'int8'" in err
    Path("plan.toml").write_text('[[rule]]\npattern = ".*"\nstructure = "keep"\n')
    code, _, err = run("compress", "gat", "--plan", "plan.toml", "--bits", "4", "--out", "other")
    assert code == 2 and "--bits is for a search or --form" in err


def test_a_size_and_a_tolerance_are_one_goal_and_a_plan_is_another(run, gat):
    code, out, err = run("compress", "gat", "--times", "2", "--tolerance", "0.5", "--family", "low_rank", "--data",
                         "karate", "--fine-tune", "0", "--out", "small")  # fmt: skip
    assert code == 0, err
    report = json.loads(Path("small/report.json").read_text())
    assert report["total"]["bytes"] * 2 <= report["total"]["bytes_before"] and "95 %" in out
    for goal in (["--times", "2", "--bytes", "100"], ["--tolerance", "0.1", "--max-drop", "0.1", "--data", "karate"]):
        code, _, err = run("compress", "gat", *goal, "--out", "other")
        assert code == 2 and "not allowed with argument" in err
    for goal in (["--times", "2", "--form", "int8"], ["--plan", "p.toml", "--form", "int8"], []):
        code, _, err = run("compress", "gat", *goal, "--out", "other")
        assert code == 2 and "one goal is wanted" in err
