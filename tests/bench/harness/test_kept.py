"""Results are kept for the job that they are of, and jobs are killed by a signal that nothing catches."""

import shutil

import pytest

from edgenet.bench.harness import killed, peers
from edgenet.bench.harness.kept import kept


def test_a_result_is_read_for_the_same_job_and_computed_anew_for_another(tmp_path):
    file, computed = tmp_path / "runs" / "a.json", []

    def compute():
        computed.append(len(computed))
        return {"number": computed[-1]}

    assert [kept(file, {"seed": 1}, compute) for _ in range(2)] == [{"number": 0}] * 2
    assert kept(file, {"seed": 2}, compute) == {"number": 1} and computed == [0, 1]


def test_a_job_that_fails_leaves_no_result(tmp_path):
    def fails():
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        kept(tmp_path / "a.json", {}, fails)
    assert kept(tmp_path / "a.json", {}, lambda: {"number": 3}) == {"number": 3}


JOB = {"measure": peers.__name__, "title": "", "threads": 1, "malloc": "default", "peers": []}


def test_a_job_is_killed_when_it_is_time():
    assert killed.killed(JOB, lambda: True)


def test_a_job_that_ends_before_it_is_time_was_not_killed(monkeypatch):
    nothing = shutil.which("true")
    if nothing is None:
        pytest.skip("there is no program `true` here")
    monkeypatch.setattr(killed.sys, "executable", nothing)
    assert not killed.killed(JOB, lambda: False)
