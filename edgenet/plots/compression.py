"""What every slot of a model takes before and after compression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgenet.compress import Report, Row
from edgenet.plots.style import FAINT, INK, LINES, figure_of, saved


def compression_picture(report: Report, path: str | Path, title: str = "", most: int = 24) -> Path:
    """What every slot of a model takes before and after compression, as a PNG: bytes as bars, on a logarithmic axis.

    Args:
        report: of ``edgenet.compress``.
        most: slots drawn; of more, those that were largest.

    Returns:
        The path.

    Raises:
        ConfigError: if matplotlib is not installed.

    Example:
        >>> made = edgenet.compress.compress_(torch.nn.Linear(64, 32), {"weight": {"structure": "low_rank", "rank": 2}})
        >>> edgenet.plots.compression_picture(made, "slots.png").name
        'slots.png'
    """
    total = report.total
    rows = sorted(report.rows, key=lambda row: -row.bytes_before)[:most]
    shown = [row for row in report.rows if row in rows] + [report.rest] * (report.rest.bytes > 0) + [total]
    with figure_of(figsize=(9.6, 1.3 + 0.42 * len(shown))) as figure:
        axes = figure.subplots()
        families = dict.fromkeys(row.structure for row in rows if row.structure != "dense")
        colours = dict(zip(families, _cycled(LINES, len(families)), strict=True))
        for place, row in enumerate(reversed(shown)):
            colour = INK if row is total else colours.get(row.structure, "#9aa0aa")
            axes.barh(place, row.bytes_before, height=0.74, color=FAINT, zorder=2)
            axes.barh(place, max(row.bytes, 1), height=0.42, color=colour, zorder=3)
            axes.text(
                max(row.bytes_before, row.bytes, 1) * 1.25, place, _said(row), va="center", fontsize=8.4, zorder=4
            )
        axes.set_yticks(range(len(shown)), [row.name for row in reversed(shown)], fontsize=8.6)
        widest = max(max(row.bytes_before, row.bytes, 1) for row in shown)
        least = min(max(row.bytes, 1) for row in shown)
        axes.set_xscale("log")
        axes.set_xlim(least / 2, widest * (2 * widest / least) ** 0.6)  # room for the words
        axes.set_xticks([t for t in axes.get_xticks() if least / 2 <= t <= 2 * widest])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="bytes: before in grey, now in colour")
        axes.grid(False, axis="y")
        axes.set_title(title or f"{total.bytes_before:,} bytes before, {total.bytes:,} now")
        return saved(figure, path)


def _said(row: Row) -> str:
    """What a bar is to be read with."""
    ratio = row.bytes_before / max(1, row.bytes)
    parts = [row.structure] * bool(row.structure) + (
        [f"{ratio:,.1f}x smaller"] if row.bytes != row.bytes_before else []
    )
    return ", ".join(parts + ([] if row.error is None else [f"error {row.error:.2g}"]))


def _cycled(colours: Sequence[str], count: int) -> list[str]:
    return [colours[i % len(colours)] for i in range(count)]
