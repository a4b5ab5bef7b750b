"""``module:name``: code of the user's own, which runs because the command line names it.

A configuration in a file can hold such names too, and is data: none of them is imported until the command line says
the same name.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgenet.errors import ConfigError
from edgenet.text import did_you_mean

_BY_PLACE, _EITHER = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
_NAMED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_code(text: str) -> bool:
    """Whether a text names code: ``package.module:name``."""
    return _NAMED.fullmatch(text) is not None


def found(text: str) -> Any:
    """What a text names, its module looked for in the working folder first.

    Raises:
        ConfigError: if there is no such module, it is no Python, or it has no such name; with near ones.
    """
    module_name, _, path = text.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise  # the module is there, and what it imports is not
        near = did_you_mean(module_name, [file.stem for file in Path(here).glob("*.py")])
        raise ConfigError(
            f"{text}: there is no module {module_name!r} in {here}, nor among those installed.{near}"
        ) from error
    except SyntaxError as error:
        file = os.path.relpath(error.filename) if error.filename else module_name
        raise ConfigError(f"in your code, {file}:{error.lineno}: SyntaxError: {error.msg}.") from error
    thing = module
    for name in path.split("."):
        if not hasattr(thing, name):
            own = [one for one, value in vars(thing).items() if callable(value) and not one.startswith("_")]
            raise ConfigError(f"{text}: {module_name} has no {name!r}.{did_you_mean(name, own)}")
        thing = getattr(thing, name)
    return thing


def check_said(name: str | None, said: str | None, flag: str) -> None:
    """Refuse code that a file names and the command line does not.

    Raises:
        ConfigError: with the argument that is to be added.
    """
    if name is not None and is_code(name) and name != said:
        raise ConfigError(
            f"the configuration names your code, {name}, and a file runs no code by itself. Say that you want it: add "
            f"{flag} {name}."
        )


def is_function(thing: Any) -> bool:
    """Whether a thing is called for what is wanted, and is not it itself: a module of torch can be called too."""
    return inspect.isroutine(thing) or isinstance(thing, type | functools.partial)


def data_of(text: str, options: Mapping[str, Any]) -> Any:
    """What the user's function returns, as a data set.

    Raises:
        ConfigError, DataError: as ``given_by``, or if it is no data.
    """
    from edgenet.data import load_object

    return load_object(given_by(text), text, options)


def given_by(text: str) -> Any:
    """What the user's function returns; what is no function is taken itself.

    Raises:
        ConfigError: as ``found``, or if the function has arguments without defaults.
    """
    thing = found(text)
    if not is_function(thing):
        return thing
    try:
        inspect.signature(thing).bind()
    except TypeError as error:
        raise ConfigError(f"{text}: is called without arguments, and {error}. Give its arguments defaults.") from error
    except ValueError:  # of a function in C, which does not tell
        pass
    return thing()


def models_of(text: str) -> dict[str, Callable[..., Any]]:
    """What makes models of the kind that is called so: a class of modules, or a function that returns one.

    It is called with the numbers of features and of outputs, by name where it has ``in_channels`` and ``out_channels``,
    else first and second, and with the options of ``[model]``.

    Raises:
        ConfigError: if it is neither.
    """
    from torch import nn

    thing = found(text)
    if isinstance(thing, nn.Module) or not callable(thing):
        raise ConfigError(
            f"{text}: is a {type(thing).__name__}; a class of modules is wanted, or a function (in_channels, "
            f"out_channels) that makes a new model for every seed."
        )
    told = _parameters(thing)
    names = told or {}
    by_name = {"in_channels", "out_channels"} <= set(names)
    kinds = [p.kind for p in names.values()]
    several = sum(kind in (_BY_PLACE, _EITHER) for kind in kinds) >= 2 or inspect.Parameter.VAR_POSITIONAL in kinds
    if told is not None and not by_name and not several:
        raise ConfigError(
            f"{text}: is called with the numbers of features and of outputs, and takes {inspect.signature(thing)}."
        )

    @functools.wraps(thing, updated=())
    def make(in_channels: int, out_channels: int, **options: Any) -> nn.Module:
        _check_options(text, names, options)
        given = {"in_channels": in_channels, "out_channels": out_channels}
        made = thing(**given, **options) if by_name else thing(in_channels, out_channels, **options)
        if not isinstance(made, nn.Module):
            raise ConfigError(f"{text}: made a {type(made).__name__}, and a torch.nn.Module is wanted.")
        return made

    return {text: make}


def _parameters(thing: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """None where a thing does not tell."""
    try:
        return dict(inspect.signature(thing).parameters)
    except (TypeError, ValueError):  # of a function in C
        return None


def _check_options(text: str, names: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> None:
    """
    Raises:
        ConfigError: if an option is unknown, or one that has no default is missing.
    """
    kinds = {parameter.kind for parameter in names.values()}
    own = [name for name, p in names.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL, p.POSITIONAL_ONLY)]
    sizes = ("in_channels", "out_channels") if {"in_channels", "out_channels"} <= set(own) else tuple(own[:2])
    for name in options:
        if names and name not in own and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise ConfigError(f"{text}: has no option {name!r}; it takes {', '.join(own)}.{did_you_mean(name, own)}")
    missing = [n for n in own if names[n].default is inspect.Parameter.empty and n not in (*sizes, *options)]
    if missing:
        key = "model" if missing[0] in ("hidden_channels", "num_layers", "dropout") else "model.options"
        raise ConfigError(f"{text}: wants {', '.join(missing)}. Add --set {key}.{missing[0]}=VALUE.")
