"""What a table of times says in a sentence: ours beside the fastest of the others, case by case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from edgenet.bench.harness import timing
from edgenet.bench.harness.cells import digits

OURS = "edgenet"  # how the names of our implementations begin


def beside_the_fastest(cases: Iterable[Sequence[tuple[str, float]]], what: str) -> str:
    """In how many cases ours is first, and what the best of the others takes, in times of ours.

    Args:
        cases: of each the (name, seconds or bytes) of all implementations.
        what: is compared, as "forward and backward".
    """
    ratios = []
    for case in cases:
        ours = [value for name, value in case if name.startswith(OURS)]
        others = [value for name, value in case if not name.startswith(OURS)]
        if ours and others:
            ratios.append(min(others) / min(ours))
    if not ratios:
        return f"Nothing was measured beside edgenet in {what}."
    won = sum(ratio > 1 for ratio in ratios)
    return (
        f"In {what}, edgenet is ahead of the best peer in {won} of {len(ratios)} cases; that peer takes "
        f"{digits(min(ratios))} to {digits(max(ratios))} times as much."
    )


def times(rows: Iterable[dict[str, Any]], kind: str) -> list[tuple[str, float]]:
    """The least time of every implementation whose check passed."""
    return [(row["name"], row["times"][kind]["minimum"]) for row in rows if timing.passed(row) and kind in row["times"]]
