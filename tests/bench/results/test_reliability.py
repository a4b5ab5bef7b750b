"""edgenet bench reliability: what the programs print becomes rows, and rows a page."""

import pytest

from edgenet.bench.results import SECTIONS, reliability
from edgenet.bench.results.reliability_page import content
from edgenet.errors import ConfigError

FUZZ = """\
reader                                      read read, as before         refused             raw          memory            hang           crash         seconds
npz                                            3               4              30               1               0               0               0             2.5
model folder                                   1               0              12               0               0               0               0            11.0
all                                            4               4              42               1               0               0               0
"""  # noqa: E501  as the program prints it
SOAK = """\
| way | steps | bytes a step | MiB added in the second half | seconds |
|---|---|---|---|---|
| eager | 10,000 | 0.5 | 0.00 | 328 |
"""


def test_parts_are_listed():
    assert SECTIONS["reliability"] == ", ".join(reliability.PARTS)


def test_rows_of_the_programs_become_a_page(monkeypatch):
    monkeypatch.setattr(reliability, "_lines", lambda *arguments: FUZZ.splitlines())
    files = reliability._damaged(2)
    assert [(row["reader"], row["refused"], row["raw"]) for row in files] == [("npz", 60, 2), ("model folder", 24, 0)]
    soak = reliability._table(SOAK.splitlines())
    gate = [{"call": "a layer", "checked": 2.2e-4, "unchecked": 2e-4}]
    rows = {"files": files, "kills": ["50 kills of savers: fine"], "soak": soak, "gate": gate}
    page = content({name: {"found": found} for name, found in rows.items()})
    assert page.claim.startswith("Of 102 damaged files for 2 readers 2 did harm.")
    assert "at most 0.5 bytes a step over 10,000 steps" in page.claim and "+10.0% (a layer)" in page.claim
    text = "\n".join(page.tables)
    assert "| npz | 6 | 8 | 60 | 2 | 0 | 0 | 0 |" in text and "| a layer | 220 | 200 | +10.0% |" in text


def test_a_program_that_finds_a_fault_ends_the_measurement(monkeypatch, tmp_path):
    folder = tmp_path / "reliability"
    folder.mkdir()
    (folder / "fault.py").write_text("print('a raw error'); raise SystemExit(1)")
    monkeypatch.setattr(reliability, "_TESTS", tmp_path)
    with pytest.raises(ConfigError, match=r"(?s)fault.py 5 ended with 1:.*a raw error"):
        reliability._lines("fault.py", "5")
    monkeypatch.setattr(reliability, "_TESTS", tmp_path / "none")
    with pytest.raises(ConfigError, match="runs in a checkout"):
        reliability._lines("fault.py", "5")
