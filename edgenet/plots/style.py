"""How all pictures look, and how one is begun and saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgenet.errors import ConfigError
from edgenet.writing import write_atomically

INK, FAINT, PAPER = "#22252b", "#d7dae0", "#ffffff"
LINES = ("#3566c8", "#d9602b", "#2c9568", "#8d4fb5", "#b58900", "#c23b62")
METRICS = {"accuracy": "accuracy", "micro_f1": "micro F1", "rmse": "RMSE"}
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#9aa0aa",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eceef2",
    "grid.linewidth": 0.8,
    "xtick.color": "#5b616c",
    "ytick.color": "#5b616c",
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


@contextlib.contextmanager
def figure_of(**options: Any) -> Iterator[Any]:
    """An empty figure in our style. Not by pyplot, which would keep it and choose a window system for it."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            f"pictures need matplotlib, which cannot be imported ({error}): pip install matplotlib. "
            f"All numbers of a run are in its folder all the same."
        ) from error
    with matplotlib.rc_context(_STYLE):
        yield Figure(layout="constrained", **options)


def saved(figure: Any, path: str | Path, dpi: int = 160) -> Path:
    """The figure as a PNG, whole or not at all; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None}))
    return path
