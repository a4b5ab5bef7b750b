"""Training rules from tables of a configuration: ``[[callback]]`` and ``[compress]``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from edgenet.compress.admm import ADMM
from edgenet.compress.binary_recipe import BinaryRecipe
from edgenet.compress.callbacks import Callback
from edgenet.compress.compress_rule import Compress
from edgenet.compress.consistency_rule import Consistency
from edgenet.compress.distill_rule import Distill
from edgenet.compress.end_when import EndWhen
from edgenet.compress.group_lasso import GroupLasso
from edgenet.compress.l1_inf import L1Inf
from edgenet.compress.row_dropout import RowDropout
from edgenet.compress.schedules import Anneal
from edgenet.compress.shift_recipe import ShiftRecipe
from edgenet.compress.unify_rule import Unify
from edgenet.errors import ConfigError
from edgenet.text import did_you_mean

#: The training rules, by the name that configurations use.
CALLBACKS: dict[str, type[Callback]] = {
    "admm": ADMM,
    "anneal": Anneal,
    "binary_recipe": BinaryRecipe,
    "compress": Compress,
    "consistency": Consistency,
    "distill": Distill,
    "end_when": EndWhen,
    "group_lasso": GroupLasso,
    "l1_inf": L1Inf,
    "row_dropout": RowDropout,
    "shift_recipe": ShiftRecipe,
    "unify": Unify,
}


def make_callbacks(
    callbacks: Sequence[Mapping[str, Any]] = (),
    compress: Mapping[str, Any] | None = None,
    read_model: Callable[[str], nn.Module] | None = None,
) -> list[Callback]:
    """New callbacks of the tables of a configuration: the one of ``compress`` first, then the others in their order.

    Args:
        callbacks: ``{"kind": name in CALLBACKS, **arguments}`` each.
        compress: the arguments of ``Compress``; None for none.
        read_model: reads the model in a folder, for arguments such as the teacher of ``Distill``. None leaves the path.

    Raises:
        ConfigError: if a kind or argument is unknown or missing; with the known ones.
        PlanError, RankError: if an argument is not what the rule takes.

    Example:
        >>> [rule] = edgenet.compress.make_callbacks([{"kind": "anneal", "density": 0.1}])
        >>> type(rule).__name__
        'Anneal'
    """
    if isinstance(callbacks, Mapping) or not all(isinstance(table, Mapping) for table in callbacks):
        raise ConfigError("callbacks are a list of tables: write [[callback]], with two brackets.")
    made = [] if compress is None else [_made("[compress]", Compress, compress, read_model)]
    for place, table in enumerate(callbacks, 1):
        arguments = dict(table)
        where = f"[[callback]] number {place}"
        if "kind" not in arguments:
            raise ConfigError(f"{where} lacks its kind, one of {', '.join(CALLBACKS)}.")
        kind = arguments.pop("kind")
        if not isinstance(kind, str) or kind not in CALLBACKS:
            meant = did_you_mean(kind, CALLBACKS)
            raise ConfigError(f"{where}: no rule is called {kind!r}; there are {', '.join(CALLBACKS)}.{meant}")
        made.append(_made(f"{where}, {kind}", CALLBACKS[kind], arguments, read_model))
    return made


def _made(
    where: str, rule: type[Callback], arguments: Mapping[str, Any], read_model: Callable[[str], nn.Module] | None
) -> Callback:
    known = _arguments(rule)
    named = [p for p in known if p.kind is not p.VAR_KEYWORD]
    names = [p.name for p in named]
    has = f"it has the arguments {', '.join(names)}" if names else "it has no arguments"
    for name in arguments:
        if name not in names and len(named) == len(known):
            raise ConfigError(f"{where}: there is no argument {name!r}; {has}.{did_you_mean(name, names)}")
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in arguments:
            raise ConfigError(f"{where}: the argument {parameter.name!r} is missing; {has}.")
    given = dict(arguments)
    for name in rule.takes_models:
        if read_model is not None and isinstance(given.get(name), str | os.PathLike):
            given[name] = read_model(str(given[name]))
    try:
        return rule(**given)
    except TypeError as error:  # a rule of the user's that does not look at its arguments
        raise ConfigError(f"{where}: {error}.") from error


def _arguments(rule: type[Callback]) -> list[inspect.Parameter]:
    """Of its constructor; a rule without one takes none."""
    if rule.__init__ is object.__init__:
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
    return [p for p in inspect.signature(rule).parameters.values() if p.kind not in kinds]
