"""The page on recurrent networks: its parts are found, measured one by one, and leave the others alone."""

import inspect
from importlib import import_module
from types import SimpleNamespace

import pytest

from edgenet.bench.results import SECTIONS, recurrent, recurrent_characters, recurrent_characters_10x, sections
from edgenet.errors import ConfigError


@pytest.mark.parametrize("name", recurrent.PARTS)
def test_every_part_is_measured_by_a_module(name):
    given = inspect.signature(import_module(recurrent.PARTS[name][1]).parts).parameters
    needed = [key for key, parameter in given.items() if parameter.default is parameter.empty]
    assert needed == ([] if name in ("speed", "generated") else ["seeds", "runs", "processes", "data_root"])
    assert name in SECTIONS["recurrent"].split(", "), "the help of --parts"


@pytest.mark.parametrize(("parts", "said"), [("copyng", "copying"), (" , ", "names none")])
def test_parts_that_are_unknown_are_refused(parts, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        recurrent.run(1, tmp_path / "page.md", tmp_path, 1, None, parts)
    assert not (tmp_path / "page.md").exists()


def test_a_part_rewrites_its_own_section_alone(tmp_path, monkeypatch):
    made = SimpleNamespace(parts=lambda seeds, runs, processes, data_root: [f"{seeds} seeds"])
    monkeypatch.setattr(sections, "import_module", lambda name: made)
    out = tmp_path / "page.md"
    for seeds, part in ((2, "copying"), (3, "traffic"), (4, "copying")):
        recurrent.run(seeds, out, tmp_path, 1, None, part)
    text = out.read_text()
    assert "2 seeds" not in text and "4 seeds" in text and "3 seeds" in text
    assert text.index("Long memory") < text.index("Graph recurrent networks")


def test_characters_are_divided_by_ratio(monkeypatch):
    seen = []
    monkeypatch.setattr(recurrent_characters, "parts", lambda *given: seen.append(given) or [])
    recurrent_characters_10x.parts(3, "runs", 1, None)
    (given,) = seen
    assert given[:4] == (3, "runs", 1, None) and {row.ratio for row in given[4]} == {10} and len(given[4]) > 9
