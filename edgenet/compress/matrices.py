"""The matrices of one family in a model, by a pattern of their paths, for rules that look after them."""

from __future__ import annotations

import re
from typing import TypeVar

from torch import nn

from edgenet.compress.callbacks import Callback, Training
from edgenet.errors import PlanError
from edgenet.reading.patterns import matches
from edgenet.structured import StructuredMatrix

Family = TypeVar("Family", bound=StructuredMatrix)


def checked_pattern(rule: str, pattern: str) -> str:
    """The pattern.

    Raises:
        PlanError: if it is no regular expression; ``rule`` says whose it is.
    """
    try:
        matches(pattern, "")  # of bytes it matches no path
    except (re.error, TypeError) as error:
        raise PlanError(f"{rule}: the pattern {pattern!r} is no regular expression: {error}.") from error
    return pattern


def matching_matrices(model: nn.Module, family: type[Family], pattern: str) -> dict[int, tuple[str, Family]]:
    """By identity: matrices that match, each once, with one of their paths, by ``re.match``. A tied one has several."""
    paths = model.named_modules(remove_duplicate=False)
    return {id(m): (path, m) for path, m in paths if isinstance(m, family) and matches(pattern, path)}


def others_settled(rule: Callback, training: Training) -> bool:
    """Whether no other callback is at work on the structure of the model: what is not there will not come."""
    others = (callback for callback in training.callbacks if callback is not rule and hasattr(callback, "settled"))
    return all(callback.settled(training) for callback in others)
