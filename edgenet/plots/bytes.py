"""Quality against bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgenet.plots.style import LINES, METRICS, figure_of, saved

Points = Sequence[tuple[float, float]]
_MARKS = ("o", "s", "^")


def byte_curves(
    panels: Mapping[str, Mapping[str, Points]], path: str | Path, metric: str = "accuracy", lowest: float | None = None
) -> Path:
    """Quality against bytes as a PNG: a panel a network, in each of them a curve a family.

    Args:
        panels: {title: {name: (bytes, metric) points}}. A name has one colour in all panels.
        metric: as in ``METRICS``, or any text.
        lowest: what is lower is drawn at the lower edge.

    Returns:
        The path.

    Raises:
        ConfigError: if matplotlib is not installed.

    Example:
        >>> points = {"Cora": {"low rank": [(1000, 0.7), (4000, 0.8)]}}
        >>> edgenet.plots.byte_curves(points, "bytes.png").name
        'bytes.png'
    """
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    with figure_of(figsize=(5.6 * max(1, len(panels)), 4.8)) as figure:
        handles = {}
        for place, (title, curves) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), place)
            for name, points in curves.items():
                number = names.index(name)
                style = {"color": LINES[number % len(LINES)], "marker": _MARKS[number // len(LINES) % len(_MARKS)]}
                sizes, values = zip(*sorted(points), strict=True)
                shown = [value if lowest is None else max(value, lowest) for value in values]
                (handles[name],) = axes.plot(sizes, shown, markersize=5, linewidth=1.2, alpha=0.9, **style)
            axes.set_xscale("log")
            axes.set(xlabel="bytes on disk", ylabel=METRICS.get(metric, metric) if place == 1 else "")
            axes.set_title(title)
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, fontsize=8.5)
        return saved(figure, path)
