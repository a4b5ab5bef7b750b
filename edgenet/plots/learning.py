"""Learning curves: loss and metric of all seeds over the epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.plots.style import LINES, METRICS, figure_of, saved

#: metrics of which less is better
_LOWER = ("rmse", "mae", "bits", "loss")


def learning_curve(
    histories: Mapping[int, Sequence[Mapping[str, Any]]], metric: str, path: str | Path, title: str = "",
    stop_by: str = "metric",
) -> Path:  # fmt: skip
    """Loss and validation metric of all seeds over the epochs, best epochs marked, as a PNG.

    Args:
        histories: {seed: records} as in ``RunResult.histories``.
        metric: "accuracy", "micro_f1" or "rmse".
        stop_by: which number chose the best epoch, see ``TrainingTable``.

    Returns:
        The path.

    Raises:
        ConfigError: if matplotlib is not installed.

    Example:
        >>> record = {"epoch": 1, "loss": 1.0, "val_loss": 1.0, "train": 0.5, "val": 0.5}
        >>> edgenet.plots.learning_curve({0: [record, {**record, "epoch": 2}]}, "accuracy", "curve.png").name
        'curve.png'
    """
    with figure_of(figsize=(10, 3.9)) as figure:
        left, right = figure.subplots(1, 2)
        draw_curves(left, histories, "loss", LINES[0], "training")
        draw_curves(left, histories, "val_loss", LINES[1], "validation", "min" if stop_by == "loss" else None)
        left.set(xlabel="epoch", ylabel="loss", title="Loss")
        if min((r["loss"] for records in histories.values() for r in records), default=0) > 0:
            left.set_yscale("log")
        wanted = None if stop_by == "loss" else ("min" if metric in _LOWER else "max")
        draw_curves(right, histories, "train", LINES[0], "training")
        draw_curves(right, histories, "val", LINES[1], "validation", wanted)
        name = METRICS.get(metric, metric)
        right.set(xlabel="epoch", ylabel=name, title=name[0].upper() + name[1:])
        _show_the_upper_part(right, histories.values(), metric)
        for axes in (left, right):
            axes.margins(x=0.02)
            if histories:
                axes.legend(loc="best", fontsize=8.5)
        marks = "thin: each seed, thick: their mean, dots: best epochs" if len(histories) > 1 else "dot: best epoch"
        figure.suptitle(title or " ", x=0.01, ha="left", fontsize=13, fontweight="bold")
        figure.text(0.99, 0.985, marks, ha="right", va="top", fontsize=8.2, color="#6a707b")
        return saved(figure, path)


def draw_curves(
    axes: Any, histories: Mapping[Any, Sequence[Mapping[str, Any]]], key: str, colour: str, label: str = "",
    best: str | None = None,
) -> None:  # fmt: skip
    """The course of one number over the epochs: a faint line a seed, their mean, and a mark on every best epoch.

    Args:
        axes: of matplotlib.
        histories: the records of every seed's epochs.
        key: of the record: "loss", "val", ...
        best: "max" or "min" of this key marks the best epoch, of equals that of the lowest validation loss; None marks
            none.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> records = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]
        >>> edgenet.plots.draw_curves(axes, {0: records}, "loss", "black")
    """
    curves = [([r["epoch"] for r in records], [r[key] for r in records]) for records in histories.values() if records]
    if not curves:
        return
    for (epochs, values), records in zip(curves, filter(None, histories.values()), strict=True):
        axes.plot(epochs, values, color=colour, linewidth=0.9, alpha=0.35 if len(curves) > 1 else 0.0, zorder=2)
        if best:
            sign = 1 if best == "max" else -1
            at = max(range(len(values)), key=lambda i: (sign * values[i], -records[i].get("val_loss", 0.0)))
            axes.plot(
                epochs[at], values[at], "o", markersize=6.5, color=colour, markeredgecolor="white",
                markeredgewidth=1.2, zorder=5, clip_on=False,
            )  # fmt: skip
    shared = min(len(values) for _, values in curves)  # beyond it the mean would be of fewer seeds
    mean = np.mean([values[:shared] for _, values in curves], axis=0)
    axes.plot(curves[0][0][:shared], mean, color=colour, linewidth=2.0, label=label, zorder=4, solid_capstyle="round")


def _show_the_upper_part(axes: Any, histories: Iterable[Sequence[Mapping[str, Any]]], metric: str) -> None:
    """Leave out the steep beginning of a score, beside which all else would be one flat line."""
    values = [r["val"] for records in histories for r in records]
    if values and metric not in _LOWER:
        middle, top = float(np.median(values)), axes.get_ylim()[1]
        axes.set_ylim(max(min(values), middle - max(0.1, 2.5 * (max(values) - middle))), min(top, 1.005))
