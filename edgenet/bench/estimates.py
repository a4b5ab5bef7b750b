"""``docs/results/estimators.md``: a page of which several commands write a section each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgenet.bench import report
from edgenet.bench.page import write_section

TITLE = "Sparse estimators, and what they give graphs"


def write_estimate(page: Path, name: str, heading: str, parts: Sequence[str]) -> None:
    """Put a section in its place on the page: its heading, the command that is running, the machine, and the parts."""
    head = [f"## {heading}", f"```\n{report.command()}\n```", report.machine()]
    write_section(page, TITLE, name, [*head, *parts])


def timing_note(rounds: int) -> str:
    """The sentence on how the times of a section were taken, by ``timing.timed`` on one thread; call it beforehand."""
    busy = f" Load average when it began: {os.getloadavg()[0]:.1f}." if hasattr(os, "getloadavg") else ""
    return (
        f"Times are processor time of one thread, all ways in turn after a warm-up, the shortest of "
        f"{rounds} rounds.{busy}"
    )
