"""Runs say what they were measured under, and none takes over the settings of a later one."""

import pytest

from edgenet.bench.harness import jobs
from edgenet.presets import preset

pytestmark = pytest.mark.float32


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """What a run of some seeds in one folder was measured under, at a commit."""

    def run(commit, seeds):
        monkeypatch.setattr(jobs.report, "settings", lambda: {"commit": commit})
        changes = {"training.epochs": 1, "training.seeds": seeds, "out": str(tmp_path / "run")}
        summary = jobs.trained((preset("karate", "gcn", changes), None))
        assert len(summary["seeds"]) == len(seeds)
        return summary["measured"]

    return run


def test_a_run_that_is_read_keeps_the_settings_it_was_made_under(measured):
    assert measured("one", [0]) == {"commit": "one"}
    assert measured("two", [0]) == {"commit": "one"}
    assert measured("one", [0, 1]) == {"commit": "one"}, "more seeds, made alike"


def test_old_seeds_do_not_take_the_settings_of_new_ones(measured):
    measured("one", [0])
    assert measured("two", [0, 1]) is None
    assert measured("three", [0, 1]) is None
    assert measured("three", [0, 1, 2]) is None
