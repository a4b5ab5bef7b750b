"""Plain values: what a description of a module may hold, and how JSON says it.

Numbers, text, booleans, None, lists and dicts stand for themselves. What JSON has not is a dict with one key that
begins with "$": tuples, numbers that are not finite, small tensors, dtypes, the child modules of the module that is
described, and the functions of ``FUNCTIONS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.errors import CheckpointError

FUNCTIONS: dict[str, Callable] = {
    f"torch.nn.functional.{name}": getattr(F, name)
    for name in (
        "relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "leaky_relu", "softplus", "hardtanh", "tanh",
        "sigmoid", "logsigmoid", "softsign", "tanhshrink", "softmax", "log_softmax", "normalize",
    )
}  # fmt: skip
FUNCTIONS |= {f"torch.{name}": getattr(torch, name) for name in ("relu", "tanh", "sigmoid", "sin", "cos", "exp", "abs")}

_NAMES = {function: name for name, function in FUNCTIONS.items()}
_MOST = 1 << 20  # entries of a tensor that is written out as numbers
_DTYPES = {str(value).removeprefix("torch."): value for value in vars(torch).values() if isinstance(value, torch.dtype)}


class NotPlainError(TypeError):
    """A value that no description can hold."""


@dataclass(frozen=True)
class Child:
    """In the arguments of a module: its own child of that name, or what stands at that path in one."""

    name: str


def encode(value: Any) -> Any:
    """The JSON form of a plain value.

    Raises:
        NotPlainError: if it is none.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind, write in _WRITERS.items():
        if isinstance(value, kind):
            return write(value)
    try:
        if value in _NAMES:
            return {"$function": _NAMES[value]}
    except TypeError:  # what cannot be hashed is no function of the list
        pass
    raise _not_plain(value)


def decode(value: Any, children: Mapping[str, nn.Module | None]) -> Any:
    """The value of a JSON form.

    Args:
        value: what ``encode`` made.
        children: the child modules by name.

    Raises:
        CheckpointError: if it is no such form.
    """
    if isinstance(value, list):
        return [decode(item, children) for item in value]
    if not isinstance(value, dict):
        return value
    if not any(key.startswith("$") for key in value):
        return {key: decode(item, children) for key, item in value.items()}
    mark, content = next(iter(value.items()))
    try:
        if len(value) > 1:
            raise KeyError(mark)
        return _READERS[mark](content, children)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{mark} of {str(content)[:60]!r} names nothing that edgenet knows.") from error


def _at(path: str, children: Mapping[str, nn.Module | None]) -> nn.Module | None:
    name, _, rest = path.partition(".")
    child = children[name]
    return child.get_submodule(rest) if rest and child is not None else child


def _not_plain(value: Any) -> NotPlainError:
    return NotPlainError(f"a {type(value).__name__} is no plain value")


def _tuple(value: tuple) -> dict[str, Any]:
    if type(value) is not tuple:  # one with names, say
        raise _not_plain(value)
    return {"$tuple": [encode(item) for item in value]}


def _list(value: list) -> list[Any]:
    if type(value) is not list:
        raise _not_plain(value)
    return [encode(item) for item in value]


def _dict(value: dict) -> dict[str, Any]:
    if type(value) is not dict or not all(isinstance(key, str) and not key.startswith("$") for key in value):
        raise _not_plain(value)
    return {key: encode(item) for key, item in value.items()}


def _tensor(value: Tensor) -> dict[str, Any]:
    if type(value) is not Tensor or value.numel() > _MOST or value.is_complex() or value.is_meta:
        raise _not_plain(value)
    return {"$tensor": [str(value.dtype).removeprefix("torch."), encode(value.tolist())]}


_WRITERS: dict[type, Callable[[Any], Any]] = {
    str: str,
    int: int,
    float: lambda value: float(value) if math.isfinite(value) else {"$float": str(float(value))},
    Child: lambda value: {"$child": value.name},
    tuple: _tuple,
    list: _list,
    dict: _dict,
    torch.dtype: lambda value: {"$dtype": str(value).removeprefix("torch.")},
    Tensor: _tensor,
}
_READERS: dict[str, Callable[[Any, Mapping[str, nn.Module | None]], Any]] = {
    "$tuple": lambda content, children: tuple(decode(item, children) for item in content),
    "$child": lambda content, children: _at(content, children),
    "$function": lambda content, _: FUNCTIONS[content],
    "$dtype": lambda content, _: _DTYPES[content],
    "$float": lambda content, _: float(content),
    "$tensor": lambda content, _: torch.tensor(decode(content[1], {}), dtype=_DTYPES[content[0]], device="cpu"),
}
