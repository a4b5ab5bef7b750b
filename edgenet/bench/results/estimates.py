"""``docs/results/estimators.md``: a page of which several commands write a section each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgenet.bench.harness import report
from edgenet.bench.harness.page import write_section

TITLE = "Sparse estimators, and what they give graphs"


def write_estimate(page: Path, name: str, heading: str, parts: Sequence[str]) -> None:
    """Put a section in its place on the page: its heading, the command that is running, the machine, and the parts."""
    head = [f"## {heading}", f"```\n{report.command()}\n```", report.machine()]
    write_section(page, TITLE, name, [*head, *parts])


def timing_note(rounds: int) -> str:
    """The sentence on how the times of a section were taken, by ``timing.timed`` on one thread; call it beforehand."""
    load = report.load_average()
    busy = "" if load is None else f" Load average when it began: {load:.1f}."
    return (
        f"Times are processor time of one thread, all ways in turn after a warm-up, the shortest of "
        f"{rounds} rounds.{busy}"
    )
