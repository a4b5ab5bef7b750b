"""Batch: what a model reads in one step, and what it should say."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.data import BaseData

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.structured import SparseSignal, sparse_features

#: what ``kept`` calls the states that models ended the chunk before in, where batches are chunks of long sequences
STATES = "states"


@dataclass(eq=False)
class Batch:
    """One step's share of a data set. Its fields are attributes too: ``batch.x``.

    Attributes:
        whole: a PyG ``Data`` or ``Batch``, or a tuple of inputs.
        target: what the model should say of ``rows``.
        rows: (R,) rows of the model's output that count; None: all.
        kind: of the nodes to learn of, where a graph has several kinds and the model answers for each.
        values: fields that stand for those of the same name in ``whole``.
        kept: what was computed once for ``whole``: its edges sorted, its features sparse. Batches of one graph share
            it.
        idle: whether it counts nothing: it stands where a process among several has no part of a batch.

    Example:
        >>> batch = edgenet.train.Batch(whole=(x,), target=None, values={"x": x})
        >>> batch.x.shape
        torch.Size([4, 3])
    """

    whole: Any
    target: Any
    rows: Tensor | None = None
    kind: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    idle: bool = False

    def __post_init__(self) -> None:
        self._fields: dict[str, Any] = {}
        if isinstance(self.whole, BaseData):
            self._fields = self.whole.to_dict()
            if self._fields.get("batch") is not None:  # of one graph, PyG says 1 too
                self._fields["num_graphs"] = self.whole.num_graphs
        elif isinstance(self.whole, Mapping):
            self._fields = dict(self.whole)
        self._fields |= self.values

    def get(self, name: str, default: Any = None) -> Any:
        """A field by its name."""
        value = self._fields.get(name)
        if value is None and isinstance(self.whole, HeteroData):  # a model made by to_hetero wants dicts as x
            value = getattr(self.whole, name if name.endswith("_dict") else f"{name}_dict", None) or None
        return default if value is None else value

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = self.get(name)
        if value is None:
            raise AttributeError(f"the batch has no field {name!r}; there are {', '.join(self.names()) or 'none'}.")
        return value

    def names(self) -> list[str]:
        """Names of its fields."""
        return [str(name) for name, value in self._fields.items() if value is not None]

    def edges(self) -> Graph:
        """The edges as a ``Graph``, sorted once."""
        if "graph" not in self.kept:
            self.kept["graph"] = Graph(self.get("edge_index"), int(self.whole.num_nodes))
        return self.kept["graph"]

    def thin(self) -> Any:
        """The features, sparse where most are 0 and every step reads the same; for models that read such."""
        x = self.get("x")
        if "every step" not in self.kept or "x" in self.values or not isinstance(x, Tensor) or x.dim() != 2:
            return x
        if "thin" not in self.kept:
            self.kept["thin"] = sparse_features(x)
        return self.kept["thin"]

    def entire(self) -> Any:
        """``whole``, with ``values`` in the place of its fields; features dense."""
        if not self.values or isinstance(self.whole, tuple):
            return self.whole
        values = {name: v.to_dense() if isinstance(v, SparseSignal) else v for name, v in self.values.items()}
        if isinstance(self.whole, Mapping) and not isinstance(self.whole, BaseData):
            return {**self.whole, **values}
        other = copy.copy(self.whole)
        if isinstance(other, HeteroData):
            kinds: dict[str, Tensor] = self.values["x_dict"]
            for kind, one in kinds.items():
                other[kind].x = one
            return other
        for name, value in values.items():
            setattr(other, name, value)
        return other

    def changed(self, change: Callable[[Any], Any]) -> Batch:
        """This batch with another input, of a graph ``x``, else the first of the inputs; itself, where that stays.

        Args:
            change: makes an input of the input. Features of nodes most of which are 0 in every step come as a
                ``SparseSignal``, and models that read no such get what it makes of them dense.
        """
        if isinstance(self.whole, tuple):
            old = self.whole[0]
        else:
            old = self.thin()
            if isinstance(old, Tensor) and old.layout != torch.strided:
                if "signal" not in self.kept:
                    self.kept["signal"] = SparseSignal.of(old)
                old = self.kept["signal"]
        new = change(old)
        if new is old:
            return self
        other = copy.copy(self)
        if isinstance(self.whole, tuple):
            other.whole = (new, *self.whole[1:])
        else:
            names = ("x", "x_dict") if isinstance(self.whole, HeteroData) else ("x",)
            other.values = {**self.values, **dict.fromkeys(names, new)}
            other._fields = {**self._fields, **other.values}
        return other


def rows_of(output: Any, rows: Tensor | None, kind: str | None = None) -> Any:
    """The rows of a model's output that count; of a graph of several kinds, those of one."""
    if kind is not None and isinstance(output, Mapping):
        output = output[kind]
    if rows is None:
        return output
    if not isinstance(output, Tensor):
        raise ShapeError(
            f"only some rows of the output count, and the model returns a {type(output).__name__}. Hand in call=, a "
            f"function (model, batch) that returns the scores of all nodes."
        )
    try:
        return output[rows]
    except IndexError as error:
        raise ShapeError(
            f"some rows of the output count, by a mask or index of {len(rows):,}, and the model returns "
            f"{tuple(output.shape)}: a score for every node is wanted."
        ) from error


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
