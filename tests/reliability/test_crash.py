"""Some kills of ``make crash``, and every step of a run's own end."""

import os
import sys

import pytest
from reliability.crash import check_whole, killed_runs, killed_saves, state_of
from reliability.processes import ended, forked
from reliability.small_runs import At, numbers, trained

pytestmark = pytest.mark.filterwarnings("ignore:.*fork")


def test_a_run_that_is_killed_and_resumed_ends_with_the_bits_of_one_that_is_not(tmp_path):
    runs, kills = killed_runs(2, tmp_path)
    assert kills == 2 and runs >= 1


def test_a_model_that_is_saved_over_another_is_the_old_one_or_the_new_one(tmp_path):
    assert killed_saves(6, tmp_path) == 6


def run(folder):
    return trained(folder, At(0, int), checkpoint_epochs=1, epochs=2)


def last_steps(folder, count):
    """A training that is killed before it touches a file of its folder once more than so many times."""

    def watch(event, arguments):
        nonlocal count
        paths = [os.fsdecode(a) for a in arguments if isinstance(a, str | bytes | os.PathLike)]
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and any(str(folder) in path for path in paths):
            count -= 1
            if count < 0:
                os._exit(9)  # without a finally, as by kill -9

    sys.addaudithook(watch)
    run(folder)


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_any_step_of_its_writing_ends_in_the_same_bits(tmp_path, every):
    wanted = numbers(run(tmp_path / "whole"))
    left = state_of(tmp_path / "whole")
    for count in range(0, 200, every):
        folder = tmp_path / str(count)
        status = ended(forked(lambda folder=folder, count=count: last_steps(folder, count)))
        assert status in (0, 9)
        check_whole(folder, epochs=2)
        assert numbers(run(folder)) == wanted, count
        there = state_of(folder)
        there.pop(".lock", None)  # what is done is read without a lock, and that of a dead process hinders nobody
        assert there == left, count
        if status == 0:
            break
    assert status == 0 and count > 30, "every step had its turn"


@pytest.mark.slow
def test_more_kills_at_other_moments(tmp_path):
    for seed in range(1, 4):
        (tmp_path / str(seed)).mkdir()
        killed_runs(10, tmp_path / str(seed), seed)
        killed_saves(20, tmp_path / str(seed), seed)
