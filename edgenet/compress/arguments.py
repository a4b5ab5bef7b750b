"""Arguments of training rules: numbers in their range, or an error that says which rule wanted what."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from edgenet.errors import PlanError


def number(rule: str, name: str, value: Any, low: float = 0.0, above: bool = False) -> float:
    """A finite number from ``low`` on, or above it.

    Raises:
        PlanError: if it is none; ``rule`` and ``name`` say whose it is.
    """
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or not (value > low if above else value >= low):
        raise PlanError(f"{rule}: {name} is a number, {'above' if above else 'at least'} {low:g}, got {value!r}.")
    return float(value)


def whole(rule: str, name: str, value: Any, low: int = 0) -> int:
    """A whole number from ``low`` on.

    Raises:
        PlanError: if it is none; ``rule`` and ``name`` say whose it is.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise PlanError(f"{rule}: {name} is a whole number, at least {low}, got {value!r}.")
    return int(value)


def flag(rule: str, name: str, value: Any) -> bool:
    """A truth value.

    Raises:
        PlanError: if it is none; ``rule`` and ``name`` say whose it is.
    """
    if not isinstance(value, bool):
        raise PlanError(f"{rule}: {name} is true or false, got {value!r}.")
    return value
