"""What the options of ``SpAM`` may be."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from edgenet.errors import ConfigError
from edgenet.estimators.smoother import SMOOTHERS

TASKS = ("regression", "classification")
CRITERIA = ("gcv", "cp", "cv")


def check_options(options: Any) -> None:
    """Refuse options out of range.

    Args:
        options: the estimator.

    Raises:
        ConfigError: naming the option and its value.
    """
    for name, known in (
        ("task", TASKS),
        ("smoother", SMOOTHERS),
        ("criterion", CRITERIA),
        ("degenerate", ("raise", "drop")),
    ):
        value = getattr(options, name)
        if not isinstance(value, str) or value not in known:
            raise ConfigError(f"{name} is one of {list(known)}, got {getattr(options, name)!r}.")
    for name, kind, word in (
        ("penalty", Real, "number"),
        ("min_ratio", Real, "number"),
        ("tol", Real, "number"),
        ("bandwidth", Real, "number"),
        ("df", Integral, "whole number"),
        ("degree", Integral, "whole number"),
        ("max_iter", Integral, "whole number"),
    ):
        value = getattr(options, name)
        if not isinstance(value, kind) and not (name == "penalty" and value is None):
            raise ConfigError(f"{name} is a {word}, got {value!r}.")
    if options.penalty is not None and not (np.isfinite(options.penalty) and options.penalty >= 0):
        raise ConfigError(f"penalty is a number from 0, or None to choose one, got {options.penalty}.")
    if not 0 < options.min_ratio < 1:
        raise ConfigError(f"min_ratio is between 0 and 1, got {options.min_ratio}.")
    if isinstance(options.penalties, int | np.integer):
        if options.penalties < 1:
            raise ConfigError(f"a path has at least 1 penalty, got {options.penalties}.")
    else:
        try:
            grid = np.asarray(options.penalties, dtype=float)
        except (TypeError, ValueError):
            grid = np.empty(0)
        if (
            grid.ndim != 1
            or not len(grid)
            or not ((grid >= 0) & np.isfinite(grid)).all()
            or not (np.diff(grid) < 0).all()
        ):
            raise ConfigError(f"penalties are falling numbers from 0, or how many, got {options.penalties}.")
    splits = isinstance(options.cv, list) or (hasattr(options.cv, "split") and not isinstance(options.cv, str))
    if not isinstance(options.cv, Integral) and not splits:
        raise ConfigError(f"cv is a whole number, a splitter, or a list of pairs of indices, got {options.cv!r}.")
    if (isinstance(options.cv, Integral) and options.cv < 2) or options.max_iter < 1 or not options.tol > 0:
        raise ConfigError(
            f"cv >= 2, max_iter >= 1, tol > 0 are wanted, got {options.cv}, {options.max_iter}, {options.tol}."
        )
