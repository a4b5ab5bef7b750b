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
    """In the arguments of a module: its own child of that name."""

    name: str


def encode(value: Any) -> Any:
    """The JSON form of a plain value.

    Raises:
        NotPlainError: if it is none.
    """
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, Child):
        return {"$child": value.name}
    if type(value) is tuple:
        return {"$tuple": [encode(item) for item in value]}
    if type(value) is list:
        return [encode(item) for item in value]
    if type(value) is dict and all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, torch.dtype):
        return {"$dtype": str(value).removeprefix("torch.")}
    if type(value) is Tensor and value.numel() <= _MOST and not value.is_complex() and not value.is_meta:
        return {"$tensor": [str(value.dtype).removeprefix("torch."), encode(value.tolist())]}
    try:
        if value in _NAMES:
            return {"$function": _NAMES[value]}
    except TypeError:  # what cannot be hashed is no function of the list
        pass
    raise NotPlainError(f"a {type(value).__name__} is no plain value")


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
    (mark, content), *more = value.items()
    try:
        if more:
            raise KeyError(mark)
        if mark == "$tuple":
            return tuple(decode(item, children) for item in content)
        if mark == "$child":
            return children[content]
        if mark == "$function":
            return FUNCTIONS[content]
        if mark == "$dtype":
            return _DTYPES[content]
        if mark == "$float":
            return float(content)
        if mark == "$tensor":
            return torch.tensor(decode(content[1], {}), dtype=_DTYPES[content[0]], device="cpu")
        raise KeyError(mark)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{mark} of {str(content)[:60]!r} names nothing that edgenet knows.") from error
