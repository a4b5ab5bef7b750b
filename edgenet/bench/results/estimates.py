"""Pages whose tables are written as they are computed, from what no file could hold: fitted models and functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.pages import Content, from_parts, publish


def write_estimate(
    page: Path,
    heading: str,
    claim: str,
    parts: Sequence[str],
    limits: Sequence[str] | str,
    seeds: int,
    runs: Any = None,
    peers: Sequence[str] = (),
) -> None:
    """Write a page of parts in one row.

    Args:
        parts: what stands before the first table is protocol.
        runs: what every seed came to, JSON-able, where that says more than the tables.
        peers: packages that are measured beside ours.
    """
    rows = {"claim": claim, "parts": list(parts), "limits": limits, "runs": runs}
    packages = ("scipy", "scikit-learn", *peers)
    publish(page, heading, content, rows, settings={"seeds": seeds}, seeds=range(seeds), peers=packages)


def content(rows: Mapping[str, Any]) -> Content:
    """The page of these parts."""
    return from_parts(rows["claim"], rows["parts"], rows["limits"])


def timing_note(rounds: int) -> str:
    """The sentence on how the times of a section were taken, by ``timing.timed`` on one thread; call it beforehand."""
    load = report.load_average()
    busy = "" if load is None else f" Load average when it began: {load:.1f}."
    return (
        f"Times are processor time of one thread, all ways in turn after a warm-up, the shortest of "
        f"{rounds} rounds.{busy}"
    )
