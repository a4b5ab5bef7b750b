"""A graph in a file of plain arrays: reading a user's own, writing what was made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset
from edgenet.data.files import read_npz, write_npz
from edgenet.errors import ConfigError, DataError, DatasetNotFoundError, EdgeIndexError

ARRAYS = ("edge_index", "num_nodes", "edge_weight", "x", "y", "train_mask", "val_mask", "test_mask")
MAX_NODES = 10**8  # of a graph without features, whose file has no bytes per node; one signal takes 400 MB


def read_graph(path: str | Path) -> Data:
    """A graph from an ``.npz`` file.

    Args:
        path: file with ``edge_index`` (2, E) of any integer type, row 0 source and row 1 target, and where wanted
            ``num_nodes`` (by default the rows of x, or else the largest index + 1), ``edge_weight`` (E,), x (N, F),
            y (N,) and boolean ``train_mask``, ``val_mask``, ``test_mask`` (N,).

    Returns:
        ``Data`` with float32 and int64 tensors.

    Raises:
        DatasetNotFoundError: there is no such file.
        DataError: the file is damaged, holds Python objects, or an array that is none of these; or a graph without
            features claims more than ``MAX_NODES`` nodes.
        EdgeIndexError: ``edge_index`` is not (2, E) whole numbers, or names a node that is not there.
        ShapeError: NaN or infinity in x or ``edge_weight``, or lengths that do not agree.

    Example:
        >>> import numpy as np
        >>> np.savez("mine.npz", edge_index=np.array([[0, 1], [1, 0]]), x=np.ones((2, 3)))
        >>> edgenet.data.read_graph("mine.npz")
        Data(x=[2, 3], edge_index=[2, 2])
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DatasetNotFoundError(
            f"{path}: no such file. A graph file is an .npz with edge_index (2, E), made for instance by "
            f"numpy.savez({path.name!r}, edge_index=edge_index, num_nodes=N)."
        )
    arrays = read_npz(path)
    unknown = [name for name in arrays if name not in ARRAYS]
    if unknown or "edge_index" not in arrays:
        amiss = f"holds {', '.join(unknown)}" if unknown else "lacks edge_index"
        raise DataError(f"{path}: {amiss}; a graph file has edge_index and may have {', '.join(ARRAYS[1:])}.")
    tensors: dict[str, Tensor | int] = {}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise DataError(f"{path}: {name} is of dtype {array.dtype}; wanted numbers.")
        if name == "num_nodes":
            if array.dtype.kind not in "iu" or array.size != 1 or int(array.item()) < 0:
                raise DataError(f"{path}: num_nodes must be one whole number, got {array.tolist()!r:.80}.")
            tensors[name] = int(array.item())
        elif array.dtype.kind == "f":
            tensors[name] = torch.from_numpy(array.astype(np.float32))
        elif array.dtype.kind == "b":
            tensors[name] = torch.from_numpy(array)
        else:
            tensors[name] = torch.from_numpy(array.astype(np.int64))
    edge_index = tensors["edge_index"]
    if isinstance(edge_index, Tensor) and edge_index.is_floating_point():
        raise EdgeIndexError(
            f"{path}: edge_index is of dtype {arrays['edge_index'].dtype}, but node numbers are whole: save "
            f"edge_index.astype(numpy.int64), after a look at why they are not."
        )
    for name in ("x", "edge_weight"):
        if isinstance(tensors.get(name), Tensor):
            tensors[name] = tensors[name].to(torch.float32)
    data = Data(**tensors)
    if "num_nodes" not in tensors and "x" not in tensors:
        data.num_nodes = int(edge_index.max()) + 1 if edge_index.numel() else 0
    check_data(data, str(path))
    if data.num_nodes > MAX_NODES and ("x" not in tensors or not data.x.numel()):
        raise DataError(
            f"{path}: claims {data.num_nodes} nodes; a graph without features may have {MAX_NODES}, for a small file "
            f"could ask for any amount of memory. Renumber the nodes from 0 without gaps, or give x."
        )
    return data


def export(dataset: Dataset, path: str | Path) -> Path:
    """Writes a data set's arrays to an ``.npz`` file, whole or not at all, and returns its path.

    A set of one graph with masks is written so that ``read_graph`` reads it back. Of any other set the arrays are named
    ``<split>_<index>_<array>``: ``train_0_x``. An earlier ``.npz`` file of that name is replaced.

    Raises:
        ConfigError: ``path`` is a folder, or a file that is there and is no ``.npz``.

    Example:
        >>> path = edgenet.data.export(edgenet.data.load("karate"), "karate.npz")
        >>> edgenet.data.read_graph(path).num_nodes
        34
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; name the .npz file to write, for instance {path / dataset.name}.npz.")
    if path.exists() and path.suffix.lower() != ".npz":
        raise ConfigError(f"{path}: is there already and is no .npz file, so it is kept. Name another file to write.")
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    if len(dataset.train) == 1 and dataset.train[0] is dataset.val[0] is dataset.test[0]:
        write_npz(path, _arrays(dataset.train[0]))
        return path
    arrays = {}
    for split, graphs in splits.items():
        for index, data in enumerate(graphs):
            arrays |= {f"{split}_{index}_{name}": array for name, array in _arrays(data).items()}
    write_npz(path, arrays)
    return path


def _arrays(data: Data) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(value.numpy() if isinstance(value, Tensor) else value)
        for name, value in data.to_dict().items()
    }
