"""What the options of ``QuantilePath`` may be."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from edgenet.errors import ConfigError


def check_options(options: Any) -> None:
    """Refuse options out of range.

    Args:
        options: the estimator.

    Raises:
        ConfigError: naming the option and its value.
    """
    _check_levels(options.tau)
    for name in ("penalty", "lambda_min", "t_max", "max_groups"):
        value = getattr(options, name)
        if not isinstance(value, Real) and (value is not None or name == "lambda_min"):
            raise ConfigError(f"{name} is a number, got {value!r}.")
    for name in ("penalty", "lambda_min", "t_max"):
        value = getattr(options, name)
        if value is not None and not value >= 0:
            raise ConfigError(f"{name} is at least 0, got {value}.")
    if not options.lambda_min < np.inf:
        raise ConfigError(f"lambda_min is finite, got {options.lambda_min}.")
    if options.penalty is not None and options.cv is not None:
        raise ConfigError(f"penalty={options.penalty} leaves nothing for cv={options.cv} to choose; give one of them.")
    if options.penalty is not None and options.penalty < options.lambda_min:
        raise ConfigError(f"penalty={options.penalty} is below the end of the path, lambda_min={options.lambda_min}.")
    if options.max_groups is not None and options.max_groups < 1:
        raise ConfigError(f"max_groups is at least 1, got {options.max_groups}.")


def _check_levels(tau: Any) -> None:
    """A number in (0, 1), or rising ones."""
    several = isinstance(tau, Sequence | np.ndarray) and not isinstance(tau, str)
    levels = list(tau) if several and np.ndim(tau) == 1 else [tau]
    for level in levels:
        if not isinstance(level, int | float | np.number):
            raise ConfigError(f"tau is a number, got {tau!r}; or several rising ones.")
        if not 0 < level < 1:
            raise ConfigError(f"tau lies between 0 and 1, neither included, got {level}.")
    if not levels or any(after <= before for before, after in pairwise(levels)):
        raise ConfigError(f"the levels tau rise, each once, got {tau!r}.")


def read_group_weights(given: Any, labels: Sequence[Hashable]) -> np.ndarray:
    """(G,) weights of the groups.

    Args:
        given: None, all 1; or in the order of ``labels``; or a mapping from labels.

    Raises:
        ConfigError: if there is not one positive number for each.
    """
    if given is None:
        return np.ones(len(labels))
    if hasattr(given, "items"):
        given = dict(given.items())  # a Series too
        unknown, missing = set(given) - set(labels), [g for g in labels if g not in given]
        if unknown or missing:
            raise ConfigError(f"group_weights wants the labels {labels}, got {list(given)}.")
        given = [given[label] for label in labels]
    try:
        weight = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"group_weights are numbers, got {given!r}.") from error
    if weight.shape != (len(labels),):
        raise ConfigError(f"group_weights has shape {weight.shape}; there are {len(labels)} groups.")
    wrong = np.flatnonzero(~((weight > 0) & np.isfinite(weight)))
    if len(wrong):
        raise ConfigError(f"the weight of group {labels[wrong[0]]!r} is positive, got {weight[wrong[0]]}.")
    return weight
