"""Implementations are timed in turn, and each is checked."""

import math

import pytest
import torch

from edgenet.bench.harness import timing
from edgenet.bench.harness.timing import BOTH, FORWARD, Implementation


class Clock:
    """A clock that only calls move."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def implementation(self, name, *seconds, results=lambda: {"value": torch.ones(2)}):
        """One whose calls take these times in turn, the last of them for ever."""
        left = list(seconds)

        def call():
            self.log.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return Implementation(name, {FORWARD: call}, results)


def test_calls_are_warmed_up_and_then_made_in_turn():
    clock = Clock()
    a, b = timing.timed([clock.implementation("a", 9, 8, 3, 1, 2), clock.implementation("b", 5)], 3, clock)
    assert "".join(clock.log) == "aabb" + "ab" * 3
    assert a["times"][FORWARD] == {"repeats": 1, "seconds": [3, 1, 2], "minimum": 1, "median": 2}
    assert b["times"][FORWARD]["minimum"] == 5 and a["failed"] is None


def test_quick_calls_are_repeated_until_they_can_be_measured():
    clock = Clock()
    (row,) = timing.timed(
        [clock.implementation("a", 30, 9e-4)], 1, clock
    )  # the first call, which compiles, is no guide
    assert row["times"][FORWARD]["repeats"] == 23  # of 0.9 ms, to take 20
    assert row["times"][FORWARD]["minimum"] == pytest.approx(9e-4)


def test_slow_cases_have_fewer_rounds_but_three_if_asked_for():
    for seconds, asked, made in ((1, 7, 7), (10, 7, 4), (100, 7, 3), (100, 2, 2)):
        clock = Clock()
        (row,) = timing.timed([clock.implementation("a", seconds)], asked, clock)
        assert len(row["times"][FORWARD]["seconds"]) == made, seconds


def test_what_cannot_run_says_why_and_the_others_are_measured():
    def no_memory():
        raise RuntimeError("can't allocate memory\nmore")

    clock = Clock()
    bad = Implementation("bad", {FORWARD: no_memory}, lambda: {"value": torch.ones(2)})
    wanted = {"value": torch.ones(2, dtype=torch.float64)}
    first, second = timing.compared([bad, clock.implementation("a", 1)], lambda: wanted, 1, clock)
    assert first["failed"] == "RuntimeError: can't allocate memory" and not timing.passed(first)
    assert timing.passed(second) and second["error"] == 0


def test_what_is_wrong_is_not_timed():
    clock, wanted = Clock(), {"value": torch.ones(2, dtype=torch.float64)}
    wrong = clock.implementation("w", 1, results=lambda: {"value": torch.full((2,), 1.1)})
    first, second = timing.compared([wrong, clock.implementation("a", 1)], lambda: wanted, 2, clock)
    assert "w" not in clock.log and first["times"] == {} and not timing.passed(first)
    assert len(second["times"][FORWARD]["seconds"]) == 2


def test_a_check_that_cannot_run_says_why_and_the_others_are_measured():
    def no_memory():
        raise RuntimeError("can't allocate memory\nmore")

    clock, wanted = Clock(), {"value": torch.ones(2, dtype=torch.float64)}
    bad = clock.implementation("b", 1, results=no_memory)
    first, second = timing.compared([bad, clock.implementation("a", 1)], lambda: wanted, 1, clock)
    assert first["failed"] == "RuntimeError: can't allocate memory" and "b" not in clock.log
    assert timing.passed(second)


def test_a_check_fails_where_a_value_or_gradient_is_off_missing_or_not_finite():
    wanted = {"value": torch.ones(4, dtype=torch.float64), "gradient": torch.tensor([3.0, 4.0], dtype=torch.float64)}
    good = {"value": torch.ones(4), "gradient": torch.tensor([3.0, 4.0])}
    for change, error in (
        ({}, 0.0),
        ({"gradient": torch.tensor([3.0, 4.0 + 5e-3])}, 1e-3),
        ({"value": torch.ones(2, 2)}, timing.NOT_ALIKE),
        ({"value": torch.full((4,), math.nan)}, timing.NOT_ALIKE),
    ):
        clock = Clock()
        implementation = clock.implementation("a", 1, results=lambda change=change: good | change)
        (row,) = timing.compared([implementation], lambda: wanted, 1, clock)
        assert row["error"] == pytest.approx(error, rel=1e-3) and timing.passed(row) == (error == 0)
    lacking = Implementation("a", {BOTH: lambda: None}, lambda: {"value": good["value"]})
    (row,) = timing.compared([lacking], lambda: wanted, 1)
    assert row["errors"] == {"value": 0.0, "gradient": timing.NOT_ALIKE}
