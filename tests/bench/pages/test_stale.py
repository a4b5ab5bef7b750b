"""Pages whose code has changed are listed with the files, and say so in their first line."""

import pytest

from edgenet.bench.pages import check, stale, syntax
from edgenet.bench.pages.record import Record
from edgenet.bench.pages.text import STALE, block
from edgenet.cli import main

THEN = {"phi/disc.py": b"AREA = 3", "gso.py": b"def f(): return 1", "ops/a.cpp": b"int x;"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    facts = {"command": "edgenet bench disc", "commit": "abc", "date": "2026-01-02", "seeds": [], "packages": {}}
    code = syntax.hashes(THEN, THEN)
    for name, known in (("disc", code), ("old", {})):
        page = tmp_path / f"{name}.md"
        record = Record("Discs", facts, [], None, known)
        record.write(page)
        page.write_text(f"# Discs\n\nThey are round.\n\n{block(record, name)}")
    now = dict(THEN)
    monkeypatch.setattr(syntax, "sources", lambda: now)
    return tmp_path, now


def listed(capsys, folder, *more):
    assert main(["bench", "stale", "--folder", str(folder), *more]) == 0
    return capsys.readouterr().out


def test_code_that_did_not_change_makes_no_page_stale(folder, capsys):
    folder, now = folder
    now["gso.py"] = b"def f():\n    # why\n    return 1"
    out = listed(capsys, folder)
    assert "0 of 2 pages are stale" in out and "old.md: nobody recorded" in out and "disc.md" not in out


def test_a_page_without_rows_is_told_and_the_others_are_listed_all_the_same(folder, capsys):
    folder, now = folder
    now["gso.py"] = b"def f(): return 2"
    (folder / "alone.md").write_text("# Alone\n\nIt has no rows.\n")
    out = listed(capsys, folder)
    assert "alone.md has no rows" in out and "disc.md, made" in out and "1 of 3 pages" in out


def test_a_folder_without_pages_is_an_error(tmp_path, monkeypatch, capsys):
    assert main(["bench", "stale", "--folder", str(tmp_path / "results")]) == 2
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "render"]) == 2 and capsys.readouterr().err.count("has no page of results") == 2


def test_files_that_changed_or_are_gone_are_listed(folder, capsys):
    folder, now = folder
    now["gso.py"] = b"def f(): return 2"
    del now["ops/a.cpp"]
    out = listed(capsys, folder)
    assert "disc.md, made 2026-01-02 at abc:\n  gso.py\n  ops/a.cpp\n" in out and "1 of 2 pages" in out
    assert not (folder / "disc.md").read_text().startswith(STALE)


def test_the_line_is_put_in_once_and_taken_out_and_is_no_fault_of_the_page(folder, capsys):
    folder, now = folder
    listed(capsys, folder, "--write")
    before = (folder / "disc.md").read_text()
    now["gso.py"] = b"def f(): return 2"
    for _ in range(2):
        listed(capsys, folder, "--write")
    said = (folder / "disc.md").read_text()
    assert said.splitlines()[0].startswith(f"{STALE} made at abc; since then changed `gso.py`, of 3")
    assert said.count(STALE) == 1 and said.endswith(before)
    assert check.problems(folder) == [] and ", stale" in (folder / "README.md").read_text()
    now["gso.py"] = THEN["gso.py"]
    listed(capsys, folder, "--write")
    assert (folder / "disc.md").read_text() == before


def test_a_page_names_some_files_and_counts_the_others():
    record = Record("Discs", {"commit": "abc"}, [], None, dict.fromkeys("abcdef", "0"))
    files = stale.changed(record, {})
    assert files == list("abcdef")
    assert "`a`, `b`, `c` and 3 other files, of 6" in stale.sentence(record, files)
    assert "`a`, `b`, `c` and 1 other file, of 6" in stale.sentence(record, files[:4])
