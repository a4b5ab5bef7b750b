"""decayed: the parameters of a model in groups, by their weight decay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from edgenet.config import OptimizerTable
from edgenet.errors import ConfigError
from edgenet.reading.patterns import matches
from edgenet.text import near_names


def decayed(model: nn.Module, table: OptimizerTable) -> list[dict[str, Any]]:
    """Groups of an optimizer, one for every weight decay that ``table.decay_on`` asks for.

    Raises:
        ConfigError: if there is no first layer although ``decay_on`` names it; or a pattern is no regular expression,
            or fits no parameter.
    """
    names: dict[nn.Parameter, list[str]] = {}  # a tied one has several
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    if isinstance(table.decay_on, str):
        first = {id(p) for p in _first(model).parameters()}
        decays = {p: table.weight_decay if id(p) in first else 0.0 for p in names}
    else:
        decays = _by_pattern(names, table.decay_on, table.weight_decay)
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter, decay in decays.items():
        groups.setdefault(decay, []).append(parameter)
    return [{"params": own, "weight_decay": decay} for decay, own in groups.items()]


def _first(model: nn.Module) -> nn.Module:
    convs: Any = getattr(model, "convs", None)
    if convs is None:
        raise ConfigError(
            f"optimizer.decay_on = 'first' decays model.convs[0], and a {type(model).__name__} has no convs. Name the "
            f"part instead: decay_on = {{pattern: decay}}."
        )
    return convs[0]


def _by_pattern(
    names: Mapping[nn.Parameter, list[str]], decays: Mapping[str, float], rest: float
) -> dict[nn.Parameter, float]:
    known = [name for own in names.values() for name in own]
    for pattern in decays:
        try:
            fits = _fits(pattern, known)
        except re.error as error:
            raise ConfigError(f"optimizer.decay_on: {pattern!r} is no regular expression: {error}.") from error
        if not fits:
            near = ", ".join(near_names(pattern.replace("\\", ""), known, cutoff=0.3) or known[:8])
            raise ConfigError(f"optimizer.decay_on: {pattern!r} begins the name of no parameter; there are {near}.")
    return {
        parameter: next((float(decay) for pattern, decay in decays.items() if _fits(pattern, own)), rest)
        for parameter, own in names.items()
    }


def _fits(pattern: str, names: Iterable[str]) -> bool:
    return any(matches(pattern, name) for name in names)
