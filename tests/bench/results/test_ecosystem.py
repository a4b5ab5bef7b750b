"""The table of other people's tools: every job has a row, the page has the rows, and a wrong row is found."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgenet.bench.results import ecosystem
from edgenet.errors import ConfigError
from edgenet.testing.ecosystem import JOBS

ROOT = Path(__file__).resolve().parents[3]


def row(job):
    return next(row for row in ecosystem.ROWS if row.job == job)


def test_every_job_has_a_row():
    groups = list(dict.fromkeys(name.partition(",")[0] for name in JOBS.checks))
    assert sorted(row.job for row in ecosystem.ROWS) == sorted([*groups, *ecosystem.OWN_JOBS])


def test_the_page_has_the_rows():
    text = (ROOT / ecosystem.PAGE).read_text(encoding="utf-8")
    table = text.partition("<!-- jobs -->")[2].partition("<!-- /jobs -->")[0].strip().splitlines()
    found = [tuple(cell.strip() for cell in line.strip("|").split("|"))[:-1] for line in table[2:]]
    assert found == [row.cells() for row in ecosystem.ROWS], "python -m edgenet.bench.results.ecosystem writes it"


def test_a_row_is_run_on_both_sides():
    assert ecosystem.checked(row("checkpointing"))[:-1] == row("checkpointing").cells()
    assert ecosystem.checked(row("deltas"))[2] == "3"  # PyG's layer cannot


@pytest.mark.parametrize(
    "change, says", [({"pyg_friction": 3}, "with PyG has friction 3 .* it works"), ({"friction": 3}, "with edgenet")]
)
def test_a_row_that_does_not_go_as_it_says_is_refused(change, says):
    with pytest.raises(ConfigError, match=says):
        ecosystem.checked(replace(row("checkpointing"), **change))
