"""Cells of tables of times: three digits, ratios, and errors that are marked where they are too large."""

from __future__ import annotations

from typing import Any

from edgenet.bench.harness import timing


def milliseconds(row: dict[str, Any], kind: str) -> str:
    """The least time of a call, three digits; "-" where it was not measured, or its check failed."""
    if kind not in row["times"] or not timing.passed(row):
        return "-"
    return digits(1e3 * row["times"][kind]["minimum"])


def error(row: dict[str, Any]) -> str:
    """The worst error of a row, marked where it is too large."""
    if row["failed"] is not None:
        return "not measured"
    return f"{row['error']:.0e}" if timing.passed(row) else f"**WRONG: {row['error']:.1e}**"


def digits(value: float) -> str:
    """Three digits, at most three of them behind the point."""
    value = float(f"{value:.3g}") if value < 1000 else value  # 9.999 is 10.0
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
