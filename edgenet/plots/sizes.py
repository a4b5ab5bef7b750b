"""Quality against compression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgenet.plots.style import LINES, METRICS, figure_of, saved


def size_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]], path: str | Path, metric: str = "accuracy",
    baseline: float | None = None, title: str = "", within: float | None = None,
) -> Path:  # fmt: skip
    """Quality against compression as a PNG, one curve a family.

    Args:
        curves: {name: (times smaller, metric) points}.
        metric: as in ``METRICS``, or any text.
        baseline: metric of the uncompressed model.
        within: how far below the baseline the picture reaches at most, where a higher metric is better: lines that
            fall further leave it, and those that differ little are told apart. Default: as far as they fall.

    Returns:
        The path.

    Raises:
        ConfigError: if matplotlib is not installed.

    Example:
        >>> edgenet.plots.size_curves({"low rank": [(2, 0.8), (10, 0.7)]}, "sizes.png", baseline=0.8).name
        'sizes.png'
    """
    with figure_of(figsize=(8.2, 4.8)) as figure:
        axes = figure.subplots()
        for number, (name, points) in enumerate(curves.items()):
            style = {"color": LINES[number % len(LINES)], "linestyle": ("-", "--", ":")[number // len(LINES) % 3]}
            ratio, value = np.array(sorted(points), dtype=float).reshape(-1, 2).T
            axes.plot(ratio, value, marker="o", markersize=4.5, linewidth=1.8, label=name, zorder=4, **style)
        if baseline is not None:
            axes.axhline(
                baseline, color="#6a707b", linewidth=1.1, linestyle=(0, (4, 3)), label="uncompressed", zorder=2
            )
            lowest = min((value for points in curves.values() for _, value in points), default=baseline)
            if within is not None and lowest < baseline - within:
                highest = max(baseline, *(value for points in curves.values() for _, value in points))
                axes.set_ylim(baseline - within, highest + 0.1 * within)
        axes.set_xscale("log")
        if curves:
            ends = [ratio for points in curves.values() for ratio, _ in points]
            ticks = [10.0**k * sub for k in range(-2, 7) for sub in (1, 2, 5)]
            axes.set_xticks([t for t in ticks if min(ends) / 1.3 <= t <= max(ends) * 1.3])
            axes.xaxis.set_major_formatter("{x:g}x")
            axes.set_xticks([], minor=True)
        axes.set(xlabel="times smaller", ylabel=METRICS.get(metric, metric))
        axes.set_title(title)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8.5, handlelength=3.2)
        return saved(figure, path)
