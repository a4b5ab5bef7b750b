"""Tables of TOML or JSON read into dataclasses, whose type hints say what a value must be."""

from __future__ import annotations

import copy
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from edgenet.errors import ConfigError


def read_table(
    kind: Any, values: Any, where: str, hint: Callable[[str, str, Iterable[str]], str], table: str = ""
) -> Any:
    """The dataclass ``kind`` of nested tables; its fields that are dataclasses are tables inside.

    A field whose ``metadata`` has a "test" wants values that pass it, and "wanted" says which those are.

    Args:
        where: what messages call the whole.
        hint: what is said of an unknown key, of the table with its known keys.
        table: the name of this one; "" at the top.

    Raises:
        ConfigError: on an unknown or missing key, or a value of another type or out of range.
    """
    label = f"[{table}]" if table else "the top level"
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: {table} is a table, got {values!r}.")
    hints, known = typing.get_type_hints(kind), {item.name: item for item in fields(kind)}
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: {label} has no key {key!r}.{hint(key, table, known)}")
    read = {}
    for name, item in known.items():
        if name not in values:
            if item.default is MISSING and item.default_factory is MISSING:
                raise ConfigError(f"{where}: {label} lacks {name}.")
            continue
        value, wanted = values[name], hints[name]
        if isinstance(wanted, type) and is_dataclass(wanted):
            read[name] = read_table(wanted, value, where, hint, name)
            continue
        full = f"{table}.{name}" if table else name
        if not _fits(value, wanted):
            raise ConfigError(f"{where}: {full} is {_spelled(wanted)}, got {value!r}.")
        test = item.metadata.get("test")
        if test is not None and value is not None and not test(value):
            raise ConfigError(f"{where}: {full} is {item.metadata['wanted']}, got {value!r}.")
        read[name] = float(value) if wanted in (float, float | None) and value is not None else copy.deepcopy(value)
    try:
        return kind(**read)
    except ConfigError as error:  # of values that do not go together
        raise ConfigError(f"{where}: {error}") from error


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, one) for one in arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, arguments[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict)
    return isinstance(value, hint)


def _spelled(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if typing.get_origin(hint) in (types.UnionType, typing.Union):  # None is what may be left out
        return " or ".join(_spelled(kind) for kind in typing.get_args(hint) if kind is not type(None))
    if typing.get_origin(hint) is list:
        return "a list of whole numbers" if typing.get_args(hint) == (int,) else "a list of tables"
    if typing.get_origin(hint) is dict:
        return "a table"
    return words.get(hint, str(hint))
