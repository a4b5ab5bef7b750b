"""Recurrent networks: parts are found, measured one by one, and have pages of their own."""

import inspect
from importlib import import_module
from types import SimpleNamespace

import pytest

from edgenet.bench.pages import check
from edgenet.bench.results import SECTIONS, recurrent, recurrent_characters, recurrent_characters_10x, sections
from edgenet.errors import ConfigError


@pytest.mark.parametrize("name", recurrent.PARTS)
def test_every_part_is_measured_by_a_module(name):
    given = inspect.signature(import_module(recurrent.PARTS[name][1]).results).parameters
    needed = [key for key, parameter in given.items() if parameter.default is parameter.empty]
    assert needed == ([] if name in ("speed", "generated") else ["seeds", "runs", "processes", "data_root"])
    assert name in SECTIONS["recurrent"].split(", "), "the help of --parts"


@pytest.mark.parametrize(("parts", "said"), [("copyng", "copying"), (" , ", "names none")])
def test_parts_that_are_unknown_are_refused(parts, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        recurrent.run(1, tmp_path / "page.md", tmp_path, 1, None, parts)
    assert not (tmp_path / "page.md").exists()


def test_a_part_writes_its_own_page_alone(tmp_path, monkeypatch):
    made = SimpleNamespace(
        results=lambda seeds, runs, processes, data_root: {"seeds": seeds},
        claim=lambda found: f"There are {found['seeds']} seeds.", parts=lambda found: ["| a |"], LIMITS="Few.",
    )  # fmt: skip
    monkeypatch.setattr(sections, "import_module", lambda name: made)
    out = tmp_path / "page.md"
    for seeds, part in ((2, "copying"), (3, "traffic"), (4, "copying")):
        recurrent.run(seeds, out, tmp_path, 1, None, part)
    copying, traffic = (tmp_path.joinpath(f"page_{part}.md").read_text() for part in ("copying", "traffic"))
    assert copying.startswith("# Long memory: copying and adding\n\nThere are 4 seeds.") and "3 seeds" in traffic
    assert not out.exists() and len(check.problems(tmp_path)) == 1  # there is no index


def test_characters_are_divided_by_ratio(monkeypatch):
    seen = []
    monkeypatch.setattr(recurrent_characters, "results", lambda *given: seen.append(given) or [])
    recurrent_characters_10x.results(3, "runs", 1, None)
    (given,) = seen
    assert given[:4] == (3, "runs", 1, None) and {row.ratio for row in given[4]} == {10} and len(given[4]) > 9
