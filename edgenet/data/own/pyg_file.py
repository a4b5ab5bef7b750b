"""Files of ``torch.save`` with PyG's ``Data`` in them, read without running what they might hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.separate import separate

from edgenet import reading
from edgenet.errors import DataError

Value = Callable[[Any], Any]
_WAY = "In Python, torch.save(data, 'graph.pt') of a Data of tensors makes one; others go in by --data module:function."


def read_pt(path: Path) -> Data | list[Data]:
    """One graph, or several: of a ``Data``, a list of them, or the pair of data and slices that PyG keeps in
    ``processed/data.pt``. Tensors are taken over, and nothing else.

    Only tensors, plain containers and PyG's ``Data`` are read, and no code is run.

    Raises:
        DataError: if the file is damaged, holds anything else, or its tensors do not fit together.
    """
    try:
        content = reading.read_torch(path, DataError, "tensors and PyG's Data", makes=_MAKES, views=True)
    except DataError as error:
        raise DataError(f"{error} {_WAY}") from error
    try:
        return _graphs(content, path)
    except DataError:
        raise
    except Exception as error:  # of containers that are no Data's, PyG's lines raise anything
        raise DataError(f"{path}: holds a Data that is damaged ({type(error).__name__}). {_WAY}") from error


def _data(state: Any, value: Value) -> Data:
    """A ``Data`` of the state of one."""
    store = value(state["_store"])
    if not isinstance(store, _Store):
        raise ValueError("a Data without its fields")
    return Data.from_dict(store.fields)


@dataclass(frozen=True)
class _Store:
    """What PyG keeps the fields of a ``Data`` in."""

    fields: dict[str, Any]

    @classmethod
    def of(cls, state: Any, value: Value) -> _Store:
        if not isinstance(state["_mapping"], dict):
            raise ValueError("fields of a Data that are no table")
        return cls(value(state["_mapping"]))  # and not its "_parent", which is the Data again


#: the classes of an object of PyG, and what is made of each one's state
_MAKES: dict[tuple[str, str], Callable[[Any, Value], Any]] = {
    ("torch_geometric.data.data", "Data"): _data,
    ("torch_geometric.data.storage", "GlobalStorage"): _Store.of,
    ("torch_geometric.data.data", "DataEdgeAttr"): lambda state, value: None,
    ("torch_geometric.data.data", "DataTensorAttr"): lambda state, value: None,
}


def plain(data: Data, where: str) -> Data:
    """A ``Data`` of the tensors of another, its number of nodes, and nothing else.

    Raises:
        DataError: if it has no ``edge_index``.
    """
    held = {name: value for name, value in data.to_dict().items() if isinstance(value, Tensor)}
    if held.get("edge_index") is None:
        also = " It has adj_t: take the transform ToSparseTensor away." if data.get("adj_t") is not None else ""
        raise DataError(f"{where}: has no edge_index; there are {', '.join(map(str, data.keys()))}.{also}")
    held = {name: value.detach().to_dense() if value.layout != torch.strided else value.detach()
            for name, value in held.items()}  # fmt: skip
    made = Data(**held)
    made.num_nodes = int(data.num_nodes or 0)
    return made


def _graphs(content: Any, path: Path) -> Data | list[Data]:
    if isinstance(content, Data):
        return plain(content, str(path))
    if isinstance(content, Sequence) and content and all(isinstance(one, Data) for one in content):
        return [plain(one, f"{path}, graph {number}") for number, one in enumerate(content)]
    if isinstance(content, tuple) and len(content) >= 2:
        held, slices = content[:2]
        whole = Data.from_dict(dict(held)) if isinstance(held, Mapping) else held
        if isinstance(whole, Data) and slices is None:
            return plain(whole, str(path))
        if isinstance(whole, Data) and isinstance(slices, Mapping):
            count = len(next(iter(slices.values()))) - 1
            found = [separate(Data, whole, number, slices, decrement=False) for number in range(count)]
            return [plain(one, f"{path}, graph {number}") for number, one in enumerate(found)]
    raise DataError(f"{path}: holds a {type(content).__name__}; a Data of PyG or a list of them is wanted. {_WAY}")
