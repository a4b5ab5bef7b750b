"""Batch: what a model reads in one step and what it should say; and how a model of any kind is called with it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data.data import BaseData

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.structured import sparse_features

#: where the classes are whose ``forward`` takes a ``Graph`` for ``edge_index``
_OURS = ("edgenet.models.", "edgenet.nn.", "edgenet.convert.")
_CELLS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
#: fields that hold answers; they are given only to a ``forward`` that cannot do without
_ANSWERS = ("y", "target", "train_mask", "val_mask", "test_mask")


@dataclass(eq=False)
class Batch:
    """One step's share of a data set.

    Attributes:
        whole: a PyG ``Data`` or ``Batch``, or a tuple of inputs.
        target: what the model should say of ``rows``.
        rows: (R,) rows of the model's output that count; None: all.
        graph: the edges of ``whole``, sorted once; None where it has none.
        values: fields that stand for those of the same name in ``whole``.
    """

    whole: Any
    target: Any
    rows: Tensor | None = None
    graph: Graph | None = None
    values: dict[str, Any] = field(default_factory=dict)
    _sparse: Tensor | None = field(default=None, repr=False)

    def get(self, name: str, default: Any = None) -> Any:
        """A field by its name."""
        if name in self.values:
            return self.values[name]
        if isinstance(self.whole, Mapping):
            return self.whole.get(name, default)
        if not isinstance(self.whole, BaseData):
            return default
        if name == "num_graphs":  # of one graph, PyG says 1 too
            return self.whole.num_graphs if "batch" in self else default
        value = self.whole.get(name, default) if hasattr(self.whole, "get") else getattr(self.whole, name, default)
        if value is None and name.endswith("_dict"):
            return getattr(self.whole, name, default)
        return default if value is None else value

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __getattr__(self, name: str) -> Any:
        """Fields are attributes too: ``batch.x``."""
        if name.startswith("_"):
            raise AttributeError(name)
        value = self.get(name)
        if value is None:
            raise AttributeError(f"the batch has no field {name!r}; there are {', '.join(self.names()) or 'none'}.")
        return value

    def names(self) -> list[str]:
        """Names of its fields."""
        if isinstance(self.whole, BaseData):
            own = list(self.whole.keys())
        else:
            own = list(self.whole) if isinstance(self.whole, Mapping) else []
        return list(dict.fromkeys([*self.values, *own]))

    def edges(self) -> Graph:
        """The edges as a ``Graph``."""
        if self.graph is None:
            self.graph = Graph(self.get("edge_index"), int(self.whole.num_nodes))
        return self.graph

    def thin(self, x: Tensor) -> Tensor:
        """Features, sparse where most are 0, for models that read such."""
        if self.rows is None or x.dim() != 2:
            return x
        if self._sparse is None:
            self._sparse = sparse_features(x)
        return self._sparse


def rows_of(output: Any, rows: Tensor | None) -> Any:
    """The rows of a model's output that count."""
    if rows is None:
        return output
    if not isinstance(output, Tensor):
        raise ShapeError(
            f"only some rows of the output count, and the model returns a {type(output).__name__}. Hand in call=, a "
            f"function (model, batch) that returns the scores of all nodes."
        )
    return output[rows]


# ---------------------------------------------------------------- calling a model
def call_model(model: nn.Module, batch: Batch) -> Any:
    """What a model says of a batch.

    A tuple is unpacked. Of a graph, a model gets what its ``forward`` names: ``x``, ``edge_index``, ``edge_weight``,
    ``edge_attr``, ``batch``, ``pos`` and whatever else the data hold; names with a default are left out where the data
    lack them. A ``forward`` of one argument that is called ``data``, ``batch`` or ``graph`` gets the data whole. Models
    of edgenet get a ``Graph`` as ``edge_index``, sorted once.

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
        value = None if name in _ANSWERS and name not in required else _value(batch, name, ours)
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
        if ours and batch.get("edge_index") is not None:
            return batch.edges()
        value = batch.get("edge_index")
        return batch.get("adj_t") if value is None else value
    if name in ("num_graphs", "batch_size", "size"):
        return batch.get("num_graphs")
    value = batch.get(name)
    return batch.thin(value) if ours and name == "x" and value is not None else value


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
    found = list(inspect.signature(inner.forward).parameters.values())
    cells = [one for one in found if one.kind not in _OPEN]
    required = [one.name for one in cells if one.default is inspect.Parameter.empty]
    if len(required) == 1 and required[0] in ("data", "batch", "graph") and (len(cells) == 1 or "x" not in _names(cells)):
        return (), frozenset(), True
    if not cells:
        return ("x", "edge_index"), frozenset(("x", "edge_index")), False
    if len(required) == 1 and required[0] in ("input", "inputs", "X"):  # a module that reads features alone
        return ("x",), frozenset("x"), False
    return tuple(_names(cells)), frozenset(required), False


def _names(cells: Sequence[inspect.Parameter]) -> list[str]:
    return [one.name for one in cells]


# ---------------------------------------------------------------- placing
def placed(thing: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """A copy whose tensors are on a device, those of floating point in a dtype. Data keep their other fields."""
    if isinstance(thing, Tensor):
        return thing.to(device, dtype) if thing.is_floating_point() else thing.to(device)
    if isinstance(thing, BaseData):
        return copy.copy(thing).apply(lambda tensor: placed(tensor, device, dtype))
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return type(thing)(*(placed(item, device, dtype) for item in thing))
    if isinstance(thing, tuple | list):
        return type(thing)(placed(item, device, dtype) for item in thing)
    if isinstance(thing, Mapping):
        return {key: placed(item, device, dtype) for key, item in thing.items()}
    return thing.to(device) if hasattr(thing, "to") else thing  # a SparseTensor, for instance
