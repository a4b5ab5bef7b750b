"""The picture of a sparse additive model."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgenet.errors import ConfigError


def draw(model: Any, columns: list[Any], points: int) -> Any:
    """Draw functions of a fitted ``SpAM``, as its ``plot`` says.

    Args:
        columns: by number or name.
        points: at which a curve is drawn.

    Raises:
        ConfigError: if there is no such column.
    """
    from matplotlib.figure import Figure

    names = getattr(model, "feature_names_in_", None)
    columns = [_number(j, model.n_features_in_, names) for j in columns]
    across = max(1, min(4, len(columns)))
    down = max(1, -(-len(columns) // across))
    figure = Figure(figsize=(3.2 * across, 2.6 * down), layout="constrained")
    for place, j in enumerate(columns, 1):
        x = model._x[:, j]
        axis = figure.add_subplot(down, across, place)
        if model.task == "regression":
            partial = model._residual + model._best.values.get(j, 0.0)
            axis.plot(x, partial, ".", color="#9aa0aa", markersize=3, alpha=0.6)
        at = np.linspace(x.min(), x.max(), points)
        curves = model._function(j, at)
        if curves.ndim == 1:
            axis.plot(at, curves, color="#3566c8")
        else:
            for name, curve in zip(model.classes_, curves, strict=True):
                axis.plot(at, curve, label=str(name))
        axis.plot(x, np.zeros_like(x), "|", color="#22252b", markersize=6, transform=axis.get_xaxis_transform())
        axis.set_xlabel(f"x{j}" if names is None else str(names[j]))
        axis.set_ylabel(f"f{j}")
        axis.spines[["top", "right"]].set_visible(False)
    if not columns:
        figure.text(0.5, 0.5, "all functions are zero", ha="center", va="center")
    elif len(getattr(model, "classes_", ())) > 2:
        figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def _number(column: Any, num_columns: int, names: Any) -> int:
    """The number of a column."""
    if names is not None and isinstance(column, str) and column in names:
        return int(np.flatnonzero(names == column)[0])
    if not isinstance(column, int | np.integer) or not 0 <= column < num_columns:
        known = "" if names is None else ", or are called by their names"
        raise ConfigError(f"columns go from 0 to {num_columns - 1}, got {column!r}{known}.")
    return int(column)
