"""Tutorials are scripts: each runs, and its page has the script's code."""

import re
import runpy

import pytest
import stories

SMALL = {
    "cora": {"epochs": 2, "tuning": 2},
    "own_data": {"epochs": 3},
    "molecules": {"count": 60, "epochs": 1},
    "heterogeneous": {"epochs": 2},
    "traffic": {"steps": 100, "epochs": 1},
    "compress_cnn": {"epochs": 1, "tuning": 1},
    "compress_lstm": {"epochs": 1, "batches": 2},
    "compress_transformer": {"count": 200, "epochs": 1, "tuning": 1},
    "explain": {"epochs": 3},
    "estimators": {"samples": 90, "columns": 6},
}
SLOW = {"cora", "compress_cnn", "compress_transformer"}  # a search each
NAMES = sorted(path.stem for path in stories.EXAMPLES.glob("*.py"))


def test_every_story_has_a_small_size_and_a_page_that_the_index_names():
    assert set(SMALL) == set(NAMES)
    index = (stories.PAGES / "index.md").read_text(encoding="utf-8")
    pages = {path.stem for path in stories.PAGES.glob("*.md")} - {"index"}
    assert pages == set(NAMES)
    assert set(re.findall(r"\]\((\w+)\.md\)", index)) == pages


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_the_code_and_the_words_of_its_script(name):
    title, introduction, cells = stories.cells((stories.EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    page = (stories.PAGES / f"{name}.md").read_text(encoding="utf-8")
    again = f"python docs/site/stories.py {name}"
    assert stories.code_of(page) == [cell.source for cell in cells if cell.kind == "code"], again
    assert page.startswith(f"# {title}\n\n{introduction}\n"), again
    assert all(cell.source in page for cell in cells if cell.kind == "text"), again
    shown = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert all((stories.PAGES / picture).is_file() for picture in shown)
    assert {path.name for path in stories.PAGES.glob(f"{name}_*.png")} == set(shown)


@pytest.mark.float32  # as a reader would run it
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NAMES])
def test_a_story_runs(name, tmp_path, monkeypatch, request, capsys):
    if name == "cora":
        monkeypatch.setenv("EDGENET_DATA", str(request.getfixturevalue("data_root")))
    monkeypatch.chdir(tmp_path)
    script = tmp_path / f"{name}.py"
    script.write_text(stories.small((stories.EXAMPLES / f"{name}.py").read_text(encoding="utf-8"), SMALL[name]))
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out


def test_a_script_is_cut_into_words_and_code():
    head, words, code = '"""Title\n\nWhat it is.\n"""', '# ## Part\n#\n# Words.', 'x = 1  # not words\n# nor this\n'
    text = f'{head}\n\nimport math\n\nn = 3\n\n{words}\n\n{code}'
    title, introduction, cells = stories.cells(text)
    assert (title, introduction) == ("Title", "What it is.")
    assert [(cell.kind, cell.source) for cell in cells] == [
        ("code", "import math\n\nn = 3"), ("text", "## Part\n\nWords."), ("code", "x = 1  # not words\n# nor this"),
    ]  # fmt: skip
    lines = text.splitlines()
    assert [lines[cell.line - 1] for cell in cells] == ["import math", "# ## Part", "x = 1  # not words"]


def test_sizes_are_set_at_the_top_level_alone():
    text = "epochs = 100  # many\n\n\ndef f():\n    count = 5\n"
    assert stories.small(text, {"epochs": 2}) == "epochs = 2\n\n\ndef f():\n    count = 5\n"
    with pytest.raises(ValueError, match="count"):
        stories.small(text, {"count": 1})


def test_several_sizes_of_one_line_can_be_set():
    assert stories.small("a, b = 3, 4\n", {"b": 1}) == "a, b = 3, 1\n"
