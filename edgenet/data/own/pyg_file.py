"""Files of ``torch.save`` with PyG's ``Data`` in them, read without running what they might hold."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.separate import separate
from torch_geometric.data.storage import GlobalStorage

from edgenet.errors import DataError

_ADMITTED = [Data, GlobalStorage, DataEdgeAttr, DataTensorAttr]
_WAY = "In Python, torch.save(data, 'graph.pt') of a Data of tensors makes one; others go in by --data module:function."


def read_pt(path: Path) -> Data | list[Data]:
    """One graph, or several: of a ``Data``, a list of them, or the pair of data and slices that PyG keeps in
    ``processed/data.pt``. Tensors are taken over, and nothing else.

    Only tensors, plain containers and PyG's ``Data`` are unpickled, by torch's own restricted reader.

    Raises:
        DataError: if the file is damaged, holds anything else, or its tensors do not fit together.
    """
    try:
        with torch.serialization.safe_globals(_ADMITTED), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles of another protocol, which are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = _refused(str(error))
        what = f"holds {name}, and only tensors and PyG's Data are read" if name else "is no file of torch.save"
        raise DataError(f"{path}: {what}; nothing in it was run. {_WAY}") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
            zipfile.BadZipFile) as error:  # fmt: skip
        raise DataError(
            f"{path}: is damaged, or no file of torch.save ({path.stat().st_size} bytes). {_WAY}"
        ) from error
    try:
        return _graphs(content, path)
    except DataError:
        raise
    except Exception as error:  # of containers that are no Data's, PyG's lines raise anything
        raise DataError(f"{path}: holds a Data that is damaged ({type(error).__name__}). {_WAY}") from error


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


def _refused(text: str) -> str | None:
    """The name that torch's reader did not admit."""
    found = re.search(r"[Uu]nsupported (?:global: GLOBAL|GLOBAL|class) ([\w.]+)", text)
    return None if found is None else found.group(1)
