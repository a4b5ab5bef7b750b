"""Options of layers and models: names that are there, and values of the kind that the signature says."""

from __future__ import annotations

import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from edgenet.errors import ConfigError
from edgenet.text import did_you_mean

_Made = TypeVar("_Made", bound=Callable[..., Any])
_UNIONS = (typing.Union, types.UnionType)
_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}
_WORDS |= {Tensor: "a tensor or a list of numbers", type(None): "None"}


def checked(function: _Made) -> _Made:
    """The function, which now refuses options that it does not have, or that are of another kind than it says.

    Layers and models are made of nested constructors; a text in the place of a number would end in the midst of them.
    The signature stays what it was. What comes from NumPy, or as a tensor of one whole number, is handed on as Python's
    own number, and a list for a pair as a tuple: a configuration that is saved can hold these.

    Raises:
        ConfigError: when it is called with such an option: with its name, the value, and what is wanted.
    """
    owner = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        parameters = _parameters(function)
        check_names(owner, options, parameters)
        check_kinds(owner, dict(zip(parameters, args, strict=False)) | options, parameters)
        plain = [_plain(value, name) for value, name in zip(args, parameters.values(), strict=False)]
        named = {name: _plain(value, parameters.get(name)) for name, value in options.items()}
        return function(*plain, *args[len(plain) :], **named)

    return typing.cast(_Made, call)


def check_names(owner: str, names: Iterable[str], parameters: Mapping[str, inspect.Parameter]) -> None:
    """Refuse names that are not among the parameters, unless any name may come.

    Raises:
        ConfigError: with the near names and those that there are.
    """
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    known = [name for name in parameters if name not in ("self", "cls", "spec")]
    for name in names:
        if name not in parameters:
            raise ConfigError(
                f"{owner} has no option {name!r}; it takes {', '.join(known)}.{did_you_mean(name, known)}"
            )


def check_kinds(owner: str, values: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    """Refuse values of another kind than the annotation of their parameter. What has none may be anything.

    Raises:
        ConfigError: with the name, the value, and what is wanted.
    """
    for name, value in values.items():
        parameter = parameters.get(name)
        if parameter is None or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        kinds = _kinds(parameter.annotation)
        if not any(_is(value, kind) for kind in kinds):
            wanted = " or ".join(dict.fromkeys(_word(kind) for kind in kinds))
            made = f": make one first, {value.__name__}(...)" if isinstance(value, type) else ""
            raise ConfigError(f"{name} of {owner} is {wanted}, got {value!r}{made}.")


def _plain(value: Any, parameter: inspect.Parameter | None) -> Any:
    """The same in Python's own kinds, and arrays of numbers as a tensor where one is wanted."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    kinds = () if parameter is None else _kinds(parameter.annotation)
    if Tensor in kinds:
        return torch.as_tensor(np.asarray(value)) if isinstance(value, np.ndarray | range) else value
    if int in kinds and is_whole(value):
        return operator.index(value)
    if isinstance(value, list) and any(typing.get_origin(kind) is tuple for kind in kinds):
        return tuple(_plain(one, None) for one in value)
    if isinstance(value, list | tuple | np.ndarray | Tensor) and Sequence[int] in kinds:
        return (tuple if isinstance(value, tuple) else list)(operator.index(one) for one in value)
    return value


def phi_options(kind: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a phi's constructor and of its ``for_layer``; of the latter, those that take anything aside."""
    own = {name: p for name, p in _parameters(kind.for_layer).items() if p.kind is not p.VAR_KEYWORD}
    return {**_parameters(kind.__init__), **own}


@functools.lru_cache(maxsize=512)
def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """By name, with annotations that are types; those that cannot be read are left out."""
    parameters = inspect.signature(function).parameters
    try:
        annotations = typing.get_type_hints(inspect.unwrap(function))
    except Exception:  # whatever a name that is only there for type checkers raises
        annotations = {}
    return {name: p.replace(annotation=annotations.get(name, Any)) for name, p in parameters.items()}


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) in _UNIONS else (annotation,)


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of the kind that an annotation names; what this cannot tell is taken for right."""
    if kind is Any:
        return True
    if kind is int:
        return is_whole(value)
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is Tensor:
        return isinstance(value, Tensor | list | tuple | np.ndarray | range)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and Ellipsis not in inner:
        several = isinstance(value, list | tuple) and len(value) == len(inner)
        return several and all(any(_is(v, k) for k in _kinds(want)) for v, want in zip(value, inner, strict=True))
    if origin is Sequence:  # ranges and arrays are as good
        several = isinstance(value, Iterable) and not isinstance(value, type) and getattr(value, "ndim", 1) > 0
        # what can be walked but once is left to who walks it
        return several and (inner != (int,) or isinstance(value, Iterator) or all(map(is_whole, value)))
    if origin is not None:
        kind = origin
    try:
        return not isinstance(kind, type) or isinstance(value, kind)
    except TypeError:  # a protocol, say
        return True


def is_whole(value: Any) -> bool:
    """Whether it is a whole number: Python's, NumPy's, or a tensor of one; True and False are none."""
    if isinstance(value, bool | np.bool_):
        return False
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _word(kind: Any) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and set(inner) == {int}:
        return f"{len(inner)} whole numbers"
    if origin is Sequence and inner == (int,):
        return "a list of whole numbers"
    return f"a {getattr(kind, '__name__', kind)}"
