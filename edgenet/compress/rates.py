"""Rates: parameters that learn at rates of their own, as groups of whatever optimizer there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from edgenet.errors import ConfigError

Rates = Iterable[Mapping[str, Any]]


def regroup_(optimizer: torch.optim.Optimizer, wanted: Rates) -> None:
    """Put parameters into groups of their own, in place; the others stay with what their group has.

    A new group has the options of the one that its parameters were in, changed as it is said. Groups that lose all
    their parameters go. Call it before a scheduler is made, which notes the rates of the groups.

    Args:
        optimizer: any.
        wanted: mappings with ``params``, and either ``lr``, their rate, or ``times``, a factor of the rate of the group
            that they were in. Anything else is an option of the optimizer. Parameters that the optimizer does not hold
            are passed over.

    Raises:
        ConfigError: if a parameter is to have two rates, or a rate is no positive number.

    Example:
        >>> layer = torch.nn.Linear(3, 8)
        >>> optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        >>> edgenet.compress.regroup_(optimizer, [{"params": [layer.bias], "times": 0.1}])
        >>> [round(group["lr"], 6) for group in optimizer.param_groups]
        [0.01, 0.001]
    """
    asked = [dict(group) for group in wanted]
    place: dict[int, int] = {}
    for number, group in enumerate(asked):
        group["params"] = list(group["params"])
        _check(group)
        for p in group["params"]:
            if place.setdefault(id(p), number) != number:
                raise ConfigError(
                    f"two rules want rates of their own for one parameter of shape {tuple(p.shape)}: let their "
                    f"patterns part the matrices."
                )
    if not place:
        return
    groups = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for group in groups:
        parts: dict[int, list[Any]] = {}
        for p in group["params"]:
            parts.setdefault(place.get(id(p), -1), []).append(p)
        options = {key: value for key, value in group.items() if key != "params"}
        for number in sorted(parts):
            own = {key: value for key, value in asked[number].items() if key != "params"} if number >= 0 else {}
            times = own.pop("times", None)
            if times is not None:
                own["lr"] = options["lr"] * times
            optimizer.add_param_group({**options, **own, "params": parts[number]})


def _check(group: Mapping[str, Any]) -> None:
    given = [name for name in ("lr", "times") if name in group]
    if len(given) != 1 or not 0 < float(group[given[0]]) < float("inf"):
        raise ConfigError(
            f"a group of parameters has a rate of its own, one of lr and times, a positive number; got "
            f"{ {name: group[name] for name in given} }."
        )
