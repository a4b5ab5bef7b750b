"""Calling: how a model of any kind is called with a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from inspect import getattr_static
from typing import Any

from torch import nn

from edgenet.errors import ConfigError
from edgenet.train.batches import Batch

#: where the classes are whose ``forward`` takes a ``Graph`` for ``edge_index``
_OURS = ("edgenet.models.", "edgenet.nn.", "edgenet.convert.")
_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
#: fields that hold answers; they are given only to a ``forward`` that cannot do without
_ANSWERS = ("y", "target", "train_mask", "val_mask", "test_mask")


def call_model(model: nn.Module, batch: Batch) -> Any:
    """What a model says of a batch.

    A tuple is unpacked. Of a graph, a model gets what its ``forward`` names: ``x``, ``edge_index``, ``edge_weight``,
    ``edge_attr``, ``batch``, ``pos`` and whatever else the data hold; names with a default are left out where the data
    lack them. A ``forward`` of one argument that is called ``data``, ``batch`` or ``graph`` gets the data whole. Models
    of edgenet get a ``Graph`` as ``edge_index``, sorted once, and no edge features if they were made for none.

    Raises:
        ConfigError: if ``forward`` wants what the data have not.
    """
    if isinstance(batch.whole, tuple):
        return model(*batch.whole)
    names, required, takes_all = _wanted(model)
    if takes_all:
        return model(batch.whole)
    ours = type(model).__module__.startswith(_OURS)
    inputs: list[Any] = []
    named: dict[str, Any] = {}
    gap = False
    for name in names:
        left_out = name in _ANSWERS or (name == "edge_attr" and not getattr(model, "needs_edge_attr", True))
        value = None if left_out and name not in required else _value(batch, name, ours)
        if value is None:
            if name in required:
                raise ConfigError(
                    f"{type(model).__name__}.forward wants {name!r}, and the data have {', '.join(batch.names())}. "
                    f"Rename it, or hand in call=, a function (model, batch)."
                )
            gap = True
        elif gap:
            named[name] = value
        else:
            inputs.append(value)
    return model(*inputs, **named)


def _value(batch: Batch, name: str, ours: bool) -> Any:
    if name == "edge_index":
        if "edge_index" not in batch:
            return batch.get("adj_t")
        return batch.edges() if ours else batch.get("edge_index")
    if name in ("num_graphs", "batch_size", "size"):
        return batch.get("num_graphs")
    return batch.thin() if ours and name == "x" else batch.get(name)


def _wanted(model: nn.Module) -> tuple[tuple[str, ...], frozenset[str], bool]:
    """Names of a forward's arguments, those without a default, and whether it takes a batch whole."""
    inner = model
    while True:  # what wraps a model has no signature of its own
        below = getattr(inner, "_orig_mod", None)
        if below is None and isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
            below = inner.module
        if below is None:
            break
        inner = below
    told = getattr(getattr(inner, "signature", None), "param_names", None)  # PyG's Sequential
    if told:
        return tuple(told), frozenset(told), False
    if "forward" in vars(inner):
        return _named(inner.forward, False)
    return _named(type(inner).forward, not isinstance(getattr_static(type(inner), "forward"), staticmethod))


@lru_cache(maxsize=256)
def _named(forward: Callable[..., Any], of_class: bool) -> tuple[tuple[str, ...], frozenset[str], bool]:
    """The same, of a function; looking at one takes as long as a small product."""
    found = list(inspect.signature(forward).parameters.values())
    found = found[1:] if of_class else found  # self, whatever it is called
    cells = [one for one in found if one.kind not in _OPEN]
    required = [one.name for one in cells if one.default is inspect.Parameter.empty]
    if required in (["data"], ["batch"], ["graph"]) and "x" not in _names(cells):
        return (), frozenset(), True
    if not cells:
        return ("x", "edge_index"), frozenset(("x", "edge_index")), False
    if required in (["input"], ["inputs"], ["X"]):  # a module that reads features alone
        return ("x",), frozenset("x"), False
    return tuple(_names(cells)), frozenset(required), False


def _names(cells: Sequence[inspect.Parameter]) -> list[str]:
    return [one.name for one in cells]
