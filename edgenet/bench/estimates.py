"""``docs/results/estimators.md``: a page of which several commands write a section each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgenet.bench import report
from edgenet.bench.page import write_section

TITLE = "Sparse estimators, and what they give graphs"


def write_estimate(page: Path, name: str, heading: str, parts: Sequence[str]) -> None:
    """Put a section in its place on the page: its heading, the command that is running, the machine, and the parts."""
    head = [f"## {heading}", f"```\n{report.command()}\n```", report.machine()]
    write_section(page, TITLE, name, [*head, *parts])
