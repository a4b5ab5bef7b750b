"""A page of the old form is kept: its rows are read off its tables, and its block says so."""

import subprocess

import pytest

from edgenet.bench.pages import adopt, check, render, syntax, text
from edgenet.bench.pages.record import Record
from edgenet.cli import main
from edgenet.errors import ConfigError

OLD = """# Discs

```
OMP_NUM_THREADS=1 edgenet bench discs
```

Measured on a Xeon (2 cores), one thread a run; torch 2.13.0+cpu, torch_geometric 2.8.1; backend of spmm: scatter.

Areas in percent, over 3 seeds (0 to 2).

| disc | area |
|---|---:|
| small \\| round | **3.1 ± 0.2** |

Rates were not searched.
"""


@pytest.fixture
def page(tmp_path):
    page = tmp_path / "discs.md"
    page.write_text(OLD)
    committed(tmp_path)
    return page


def committed(folder):
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "discs"]):
        subprocess.run([*git, *words], check=True)


def test_an_adopted_page_has_its_block_and_its_order(page):
    assert main(["bench", "adopt", str(page), "--claim", "Discs are round."]) == 0
    said, block = page.read_text(), text.block_of(page.read_text())
    assert said.startswith("# Discs\n\nDiscs are round.\n\n| disc | area |")
    places = [said.index(one) for one in ("not searched", "## Protocol", "bench discs", "Areas in", "Measured on",
                                          "## Limits", "## Provenance")]  # fmt: skip
    assert places == sorted(places)
    assert block["rows"] == "rows/discs.json, read off the page" and block["seeds"] == [0, 1, 2]
    assert block["backend"] == "scatter" and block["command"] == "OMP_NUM_THREADS=1 edgenet bench discs"
    assert block["packages"] == {"torch": "2.13.0+cpu", "torch_geometric": "2.8.1"} and len(block["commit"]) >= 7
    assert Record.read(page).rows == [[["disc", "area"], ["small \\| round", "**3.1 ± 0.2**"]]]


def test_a_number_edited_afterwards_is_found_and_text_may_be_mended(page):
    main(["bench", "adopt", str(page)])
    main(["bench", "render", str(page)])
    assert check.problems(page.parent) == []
    said = page.read_text()
    page.write_text(said.replace("not searched", "never searched"))
    assert check.problems(page.parent) == []
    page.write_text(said.replace("3.1 ±", "3.2 ±"))
    assert "3.2" in check.problems(page.parent)[0] and "edited by hand" in check.problems(page.parent)[0]
    page.write_text(said.replace("| small \\| round | **3.1 ± 0.2** |\n", ""))
    assert "No table is edited by hand" in check.problems(page.parent)[0]
    assert not render.render(page)


def test_a_section_becomes_a_page(page):
    body = OLD.partition("\n")[2]
    page.write_text(
        f"# Shapes\n\n<!-- discs -->\n\n## Discs\n{body}\n### More\n\n| a |\n|---|\n| 1 |\n\n<!-- /discs -->\n"
    )
    into = page.parent / "shapes_discs.md"
    assert main(["bench", "adopt", str(page), "--section", "discs", "--into", str(into), "--commit", "HEAD"]) == 0
    said = into.read_text()
    assert said.startswith("# Discs\n") and "\n### More\n" in said and len(Record.read(into).rows) == 2
    head = subprocess.check_output(["git", "-C", str(page.parent), "rev-parse", "HEAD"], text=True)
    assert head.startswith(text.block_of(said)["commit"]) and into.read_text().count("<!--") == 0
    assert main(["bench", "adopt", str(page), "--section", "rings"]) == 2


def test_adopting_again_keeps_what_is_said_of_the_making(page):
    main(["bench", "adopt", str(page)])
    facts = Record.read(page).provenance
    page.write_text(page.read_text().replace("OMP_NUM_THREADS=1 ", ""))
    main(["bench", "adopt", str(page)])
    assert Record.read(page).provenance == facts and page.read_text().count("## Provenance") == 1


def test_adopting_again_refuses_what_it_would_not_heed(page, capsys):
    main(["bench", "adopt", str(page)])
    assert main(["bench", "adopt", str(page), "--claim", "Discs are flat."]) == 2
    assert "--claim would change nothing" in capsys.readouterr().err and "flat" not in page.read_text()


def test_an_adopted_page_that_is_gone_is_not_made_of_its_cells(page, capsys):
    main(["bench", "adopt", str(page)])
    page.unlink()
    assert main(["bench", "render", str(page)]) == 2 and not page.exists()
    assert "its words with it" in capsys.readouterr().err


def test_code_at_no_commit_is_told(tmp_path, monkeypatch):
    (tmp_path / "edgenet").mkdir()
    (tmp_path / "edgenet" / "gso.py").write_text("x = 1")
    committed(tmp_path)
    monkeypatch.setattr(syntax, "PACKAGE", tmp_path / "edgenet")
    with pytest.raises(ConfigError, match="code at 0123456 cannot be read"):
        adopt.code_at("0123456", ["edgenet.gso"])


def test_a_page_that_has_its_rows_is_refused(page, capsys):
    Record("Discs", {}, {}, "a:b").write(page)
    assert main(["bench", "adopt", str(page)]) == 2 and "render" in capsys.readouterr().err


def test_code_is_hashed_as_it_was_at_the_commit(tmp_path, monkeypatch):
    package = tmp_path / "edgenet"
    (package / "phi").mkdir(parents=True)
    (package / "phi" / "disc.py").write_text("from edgenet import gso")
    (package / "gso.py").write_text("x = 1")
    (package / "unread.py").write_text("")
    committed(tmp_path)
    (package / "gso.py").write_text("x = 2")
    monkeypatch.setattr(syntax, "PACKAGE", package)
    code = adopt.code_at("HEAD", ["edgenet.phi.disc"])
    now = syntax.hashes(code, syntax.sources(package))
    assert sorted(code) == ["gso.py", "phi/disc.py"]
    assert code["phi/disc.py"] == now["phi/disc.py"] and code["gso.py"] != now["gso.py"]
    with pytest.raises(ConfigError, match="there was no phi/ring"):
        adopt.code_at("HEAD", ["edgenet.phi.ring"])
