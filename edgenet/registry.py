"""register: parts of a user's own, found by name wherever the library's are."""

from __future__ import annotations

import inspect
from abc import ABCMeta
from collections.abc import Callable
from typing import Any, cast

from torch import nn

from edgenet.cli import COMMANDS, Command
from edgenet.compress import CALLBACKS, Callback
from edgenet.convert.pyg import CONVERTERS, check_converter
from edgenet.errors import CheckpointError, ConfigError
from edgenet.models import MODELS
from edgenet.nn import SPECIALIZATIONS
from edgenet.nn.lift import LIFTS, Lift
from edgenet.nn.taps import TAPS, Taps
from edgenet.ops import backend
from edgenet.phi import PHIS, Phi
from edgenet.pretrained.allowed import allow
from edgenet.structured import STRUCTURES
from edgenet.testing.structure import check_family
from edgenet.text import did_you_mean


def register(kind: str, name: str, thing: Any) -> None:
    """Announce a part of your own, under a name that plans, configurations, layers and saved models then know.

    ==============  =========================================================  =========================================
    kind            ``thing``                                                  where the name is used
    ==============  =========================================================  =========================================
    "structure"     a subclass of ``structured.StructuredMatrix``              plans, search, reports, files
    "phi"           a subclass of ``phi.Phi``                                  ``EdgeNetConv(phi=name)``, files
    "lift", "taps"  a subclass of ``nn.lift.Lift``, of ``nn.taps.Taps``        ``EdgeNetConv(taps=name)``, files
    "layer"         a function ``(in_channels, out_channels, **options)``      models, ``edgenet train --model name``
    "model"         a module class                                             configurations, files
    "callback"      a subclass of ``compress.Callback``                        configurations
    "converter"     (a class of layers, a function of ``convert.Source``)      ``to_edgenet``
    "op"            a function; the name is "op.backend", "spmm.mine"          ``ops.use("mine")``
    "command"       an ``edgenet.cli.Command``                                 ``edgenet name``
    ==============  =========================================================  =========================================

    Registering the same thing again under its name changes nothing.

    Raises:
        ConfigError: if there is no such kind, the name is taken, or the thing does not fit its kind. Structures,
            converters and backends raise the ``PlanError``, ``ConversionError`` and ``BackendError`` of their parts.

    Example:
        >>> class Mine(edgenet.phi.ShiftOperator):
        ...     pass
        >>> edgenet.register("phi", "mine", Mine)
        >>> edgenet.EdgeNetConv(3, 8, phi="mine")(x, edges).shape
        torch.Size([4, 8])
    """
    if not isinstance(kind, str) or kind not in KINDS:
        near = did_you_mean(str(kind), KINDS)
        raise ConfigError(f"no kind of part is called {kind!r}; there are {', '.join(KINDS)}.{near}")
    if not isinstance(name, str) or not name or name != name.strip():
        raise ConfigError(f"the name of a {kind} is a text, got {name!r}.")
    KINDS[kind](name, thing)


def _class(kind: str, table: dict[str, Any], base: type, saved: bool = True) -> Callable[[str, Any], None]:
    """What registers subclasses of a base."""

    def add(name: str, thing: Any) -> None:
        if not isinstance(thing, type) or not issubclass(thing, base):
            raise ConfigError(f"a {kind} is a subclass of {base.__name__}, got {thing!r}.")
        if inspect.isabstract(thing):
            missing = ", ".join(sorted(cast(ABCMeta, thing).__abstractmethods__))
            raise ConfigError(f"{thing.__name__} cannot be a {kind} yet: it lacks {missing}.")
        if table.get(name) is thing:  # the library's own are saved under other names
            return
        _check_free(kind, table, name, thing)
        if saved:
            try:
                allow(f"{kind}.{name}", cast(type[nn.Module], thing))
            except CheckpointError as error:
                raise ConfigError(f"{thing.__name__} has one name in files, and cannot get another: {error}") from error
        table[name] = thing

    return add


def _structure(name: str, thing: Any) -> None:
    if STRUCTURES.get(name) is not thing:
        check_family(name, thing)
        STRUCTURES[name] = thing


def _layer(name: str, thing: Any) -> None:
    try:
        inspect.signature(thing).bind(1, 1)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a layer is made by thing(in_channels, out_channels, **options): {error}.") from error
    _check_free("layer", SPECIALIZATIONS, name, thing)
    SPECIALIZATIONS[name] = thing


def _op(name: str, thing: Any) -> None:
    op, dot, form = name.partition(".")
    if not (dot and form):
        raise ConfigError(f"the name of a form of an op is 'op.backend', 'spmm.mine' say, got {name!r}.")
    backend.add(op, form, thing)


def _converter(name: str, thing: Any) -> None:
    if not isinstance(thing, tuple) or len(thing) != 2:
        raise ConfigError(f"a converter is a pair (class of layers, function), got {thing!r}.")
    kind, function = thing
    if CONVERTERS.get(kind) is not function:
        check_converter(kind, function)
        CONVERTERS[kind] = function


def _command(name: str, thing: Any) -> None:
    if not isinstance(thing, Command):
        raise ConfigError(f"a command is an edgenet.cli.Command, got {thing!r}.")
    _check_free("command", COMMANDS, name, thing)
    COMMANDS[name] = thing


def _check_free(kind: str, table: dict[str, Any], name: str, thing: Any) -> None:
    if table.get(name, thing) is not thing:
        raise ConfigError(f"a {kind} is called {name!r} already, {table[name]!r}; choose another name.")


#: What takes a thing of each kind.
KINDS: dict[str, Callable[[str, Any], None]] = {
    "structure": _structure,
    "phi": _class("phi", PHIS, Phi),
    "lift": _class("lift", LIFTS, Lift),
    "taps": _class("taps", TAPS, Taps),
    "layer": _layer,
    "model": _class("model", MODELS, nn.Module),
    "callback": _class("callback", CALLBACKS, Callback, saved=False),
    "converter": _converter,
    "op": _op,
    "command": _command,
}
