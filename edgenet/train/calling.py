"""Calling: how a model of any kind is called with a batch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor, nn

from edgenet.errors import ConfigError
from edgenet.structured import SparseSignal
from edgenet.train.batches import STATES, Batch

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

    Of a chunk of a long sequence, a model gets the state that it ended the chunk before in; see ``Streams``.

    Raises:
        ConfigError: if ``forward`` wants what the data have not, or does not take the state of a chunk.

    Example:
        >>> batch = edgenet.train.Batch(whole=(x, edges), target=None)
        >>> edgenet.train.call_model(edgenet.NodeClassifier(3, 2), batch).shape
        torch.Size([4, 2])
    """
    if STATES in batch.kept:
        return _continued(model, batch)
    if isinstance(batch.whole, tuple):
        return model(*batch.whole)
    wanted = _wanted(model)
    if wanted.whole:
        return model(batch.entire())
    ours = type(model).__module__.startswith(_OURS)
    inputs: list[Any] = []
    named: dict[str, Any] = {}
    gap = False
    for name in wanted.names:
        left_out = name in _ANSWERS or (name == "edge_attr" and not getattr(model, "needs_edge_attr", True))
        value = None if left_out and name not in wanted.required else _value(batch, name, ours)
        if value is None:
            if name in wanted.required:
                raise ConfigError(
                    f"{type(model).__name__}.forward wants {name!r}, and the data have {', '.join(batch.names())}. "
                    f"Rename it, or hand in call=, a function (model, batch)."
                )
            gap = True
        elif gap or name in wanted.named:
            named[name] = value
        else:
            inputs.append(value)
    return model(*inputs, **named)


def _continued(model: nn.Module, batch: Batch) -> Any:
    """What a model says of a chunk. Its states are its own: a teacher that reads the same chunks has others; and it may
    read a chunk twice."""
    if not {"state", "return_state"} <= set(_wanted(model).names):
        raise ConfigError(
            f"the batches are chunks of long sequences, and {type(model).__name__}.forward does not take state= and "
            f"return_state=, by which it would go on where it was. edgenet.models.Sequence does. For a model without "
            f"a state hand in shorter sequences instead: x (S, T, F) and y (S, T)."
        )
    states: dict[int, Any] = batch.kept[STATES]
    chunk, before, after = states.get(id(model), (-1, None, None))
    state = before if chunk == batch.chunk else after
    scores, last = model(*batch.whole, state=state, return_state=True)
    states[id(model)] = batch.chunk, state, _detached(last)
    return scores


def _detached(state: Any) -> Any:
    """Where gradients stop."""
    if isinstance(state, Tensor):
        return state.detach()
    return type(state)(_detached(part) for part in state) if isinstance(state, tuple | list) else state


def _value(batch: Batch, name: str, ours: bool) -> Any:
    if name == "edge_index":
        if "edge_index" not in batch:
            return batch.get("adj_t")
        return batch.edges() if ours else batch.get("edge_index")
    if name in ("num_graphs", "batch_size", "size"):
        return batch.get("num_graphs")
    value = batch.thin() if ours and name == "x" else batch.get(name)
    return value.to_dense() if isinstance(value, SparseSignal) and not ours else value


class Wanted(NamedTuple):
    """What a ``forward`` takes: names of its arguments, those without a default, those that are given by name only, and
    whether it takes a batch whole."""

    names: tuple[str, ...] = ()
    required: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    whole: bool = False


def _wanted(model: nn.Module) -> Wanted:
    """What the ``forward`` of a model takes."""
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
        return Wanted(tuple(told), frozenset(told))
    if "forward" in vars(inner):  # put in its place: it is bound already, and must not be held for ever
        return _read(list(inspect.signature(inner.forward).parameters.values()))
    return _named(type(inner))  # type: ignore[arg-type]  # a class can be hashed, whatever its modules do


@lru_cache(maxsize=256)
def _named(kind: type[nn.Module]) -> Wanted:
    """The same, of all models of a class; looking at one takes as long as a small product."""
    found = list(inspect.signature(kind.forward).parameters.values())
    return _read(found if isinstance(inspect.getattr_static(kind, "forward"), staticmethod) else found[1:])


def _read(found: Sequence[inspect.Parameter]) -> Wanted:
    """The same, of arguments; ``self`` is none of them."""
    cells = [one for one in found if one.kind not in _OPEN]
    required = [one.name for one in cells if one.default is inspect.Parameter.empty]
    if required in (["data"], ["batch"], ["graph"]) and "x" not in _names(cells):
        return Wanted(whole=True)
    if not cells:
        return Wanted(("x", "edge_index"), frozenset(("x", "edge_index")))
    if required in (["input"], ["inputs"], ["X"]):  # a module that reads features alone
        return Wanted(("x",), frozenset("x"))
    named = frozenset(one.name for one in cells if one.kind is inspect.Parameter.KEYWORD_ONLY)
    return Wanted(tuple(_names(cells)), frozenset(required), named)


def _names(cells: Sequence[inspect.Parameter]) -> list[str]:
    return [one.name for one in cells]
