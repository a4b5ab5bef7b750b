"""A page is made of the rows in the file beside it, and says what made it."""

import json
import math
import subprocess
import sys

import pytest

from edgenet.bench.pages import Content, check, provenance, publish, render, syntax, text
from edgenet.bench.pages.record import Record, rows_file
from edgenet.cli import main
from edgenet.errors import ConfigError
from edgenet.text import markdown_table


def content(rows):
    mean = sum(rows["scores"]) / len(rows["scores"])
    return Content(
        f"The mean is {mean:g}. It was not aimed at.",
        markdown_table(("score",), [(score,) for score in rows["scores"]]),
        ["Scores are added and divided."],
        "Three scores are few.",
    )


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["edgenet", "bench", "mean"])
    page = tmp_path / "docs" / "mean.md"
    publish(page, "Means", content, {"scores": (1, 2, 6)}, settings={"rate": 0.1}, seeds=range(3))
    render.run(type("Options", (), {"pages": [page]}))
    return page


def test_a_page_has_claim_tables_protocol_limits_and_block_in_this_order(page):
    said = page.read_text()
    assert said.startswith("# Means\n\nThe mean is 3. It was not aimed at.\n\n| score |\n|---|\n| 1 |")
    places = [said.index(one) for one in ("| 6 |", "## Protocol", "edgenet bench mean", "Scores are", "Measured on",
                                          "## Limits", "are few", "## Provenance")]  # fmt: skip
    assert places == sorted(places)


def test_the_block_says_what_made_the_page(page):
    said = text.block_of(page.read_text())
    assert said["command"].endswith("edgenet bench mean") and said["commit"] == provenance.commit()
    assert said["seeds"] == [0, 1, 2] and said["settings"] == {"rate": 0.1} and said["rows"] == "rows/mean.json"
    assert {"torch", "torch_geometric"} == set(said["packages"]) and said["backend"] and len(said["date"]) == 10


def test_the_file_of_rows_holds_every_row_and_the_code(page):
    stored = json.loads(rows_file(page).read_text())
    assert stored["rows"] == {"scores": [1, 2, 6]} and list(stored["code"]) == ["ops/__init__.py"]


def test_long_settings_stand_in_the_file_of_rows_alone(tmp_path):
    page = tmp_path / "long.md"
    publish(page, "Long", content, {"scores": [1]}, settings={"text": "x" * 999}, seeds=[])
    assert text.block_of(page.read_text())["settings"] == "in rows/long.json"
    assert Record.read(page).provenance["settings"] == {"text": "x" * 999}


def test_rows_outlive_a_page_that_cannot_be_made(tmp_path):
    with pytest.raises(KeyError):
        publish(tmp_path / "bad.md", "Bad", content, {"other": 1}, settings={}, seeds=[])
    assert Record.read(tmp_path / "bad.md").rows == {"other": 1}


def test_what_is_no_number_is_none_in_the_rows(tmp_path):
    publish(tmp_path / "few.md", "Few", content, {"scores": [1], "lost": (math.inf, math.nan)}, settings={}, seeds=[])
    assert Record.read(tmp_path / "few.md").rows["lost"] == [None, None]


def test_what_cannot_be_found_again_by_its_name_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="function of a module"):
        publish(tmp_path / "page.md", "Page", lambda rows: content(rows), {}, settings={}, seeds=[])
    assert not list(tmp_path.iterdir())


def test_what_ran_elsewhere_replaces_what_this_process_says(tmp_path):
    page = tmp_path / "far.md"
    publish(page, "Far", content, {"scores": [1]}, settings={}, seeds=[], facts={"backend": "triton", "gpu": "H200"})
    assert text.block_of(page.read_text())["backend"] == "triton" and "GPU: H200." in page.read_text()


def test_runs_of_other_commits_are_counted(tmp_path):
    page = tmp_path / "runs.md"
    runs = [{"measured": {"commit": "abc", "threads": 1}}] * 2 + [{"measured": None}]
    publish(page, "Runs", content, {"scores": [1], "runs": runs}, settings={}, seeds=[])
    assert text.block_of(page.read_text())["runs"] == {"commit abc, threads 1": 2, "not recorded": 1}
    assert "2 with commit abc" in page.read_text().replace("\n", " ")


def test_runs_that_are_all_of_one_earlier_commit_are_told(tmp_path):
    for commit, told in (("abc", True), (provenance.commit(), False)):
        page = tmp_path / "runs.md"
        runs = [{"measured": {"commit": commit, "threads": 1}}]
        publish(page, "Runs", content, {"scores": [1], "runs": runs}, settings={}, seeds=[])
        assert ("before the page: 1 with commit abc" in page.read_text()) == told


def test_a_package_inside_a_repository_that_is_none_of_its_files_has_no_commit(tmp_path, monkeypatch):
    (tmp_path / "edgenet").mkdir()
    (tmp_path / "edgenet" / "_version.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(syntax, "PACKAGE", tmp_path / "edgenet")
    assert provenance.commit.__wrapped__() == "unknown"
    for words in (["add", "."], ["commit", "-qm", "ours"]):
        subprocess.run([*git, *words], check=True)
    assert len(provenance.commit.__wrapped__()) == 7
    (tmp_path / "edgenet" / "new.py").write_text("")
    assert provenance.commit.__wrapped__().endswith(" + changes")


def test_a_page_as_it_was_written_has_no_problem(page):
    assert check.problems(page.parent) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [("| 6 |", "| 7 |", "| 7 |"), ("mean is 3", "mean is 4", "mean is 4"),
     ('"seeds": [0, 1, 2]', '"seeds": [0]', "seeds"),
     ("## Provenance", "## Made", "no block"), ("are few.", "are few.\n\nAnd more.", "And more")],
)  # fmt: skip
def test_a_page_that_is_not_what_its_rows_make_is_found(page, old, new, told):
    page.write_text(page.read_text().replace(old, new))
    (problem, *index) = check.problems(page.parent)
    assert told in problem and "mean.md" in problem and len(index) <= 1


def test_rows_that_were_edited_are_found(page):
    file = rows_file(page)
    file.write_text(file.read_text().replace("6", "9"))
    assert "mean.md" in check.problems(page.parent)[0]
    assert render.render(page) and "| 9 |" in page.read_text() and not render.render(page)


def test_a_page_without_rows_and_rows_without_a_page_are_found(page):
    rows_file(page).rename(page.parent / "rows" / "other.json")
    problems = check.problems(page.parent)
    assert "mean.json is missing" in problems[0] and "no page other.md" in problems[1]


def test_a_page_whose_maker_is_gone_or_fails_is_found(page, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "content", lambda rows: rows["missing"])
    assert "KeyError" in check.problems(page.parent)[0]
    monkeypatch.delattr(sys.modules[__name__], "content")
    assert "is gone" in check.problems(page.parent)[0]


def test_the_index_lists_every_page_with_the_first_sentence_of_its_claim(page):
    listed = (page.parent / "README.md").read_text()
    date = text.block_of(page.read_text())["date"]
    assert f"| [Means](mean.md) | The mean is 3. | {date} | `edgenet bench mean` |" in listed
    (page.parent / "README.md").write_text(listed + "by hand")
    assert check.problems(page.parent) == [f"{page.parent / 'README.md'} is not the index of the pages that are there: "
                                           "`edgenet bench render` makes it."]  # fmt: skip


def test_the_command_renders_pages_and_their_index(page, capsys):
    page.write_text("gone")
    (page.parent / "README.md").unlink()
    assert main(["bench", "render", str(page)]) == 0 and f"written: {page}" in capsys.readouterr().out
    assert check.problems(page.parent) == []
    assert main(["bench", "render", str(page.parent / "none.md")]) == 2
