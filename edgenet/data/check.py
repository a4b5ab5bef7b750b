"""Is a graph usable? The checks every data set passes through, and what a user's own graph can be held against."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.errors import EdgeIndexError, ShapeError


def check_data(data: Data, where: str = "data") -> Data:
    """Refuses what a model could only turn into nonsense; returns ``data`` itself.

    Args:
        data: ``edge_index`` (2, E) int64; optionally ``edge_weight`` (E,), x (N, F), (S, N, F) or (S, T, N, F), y, and
            boolean masks (N,). A graph without nodes or without edges passes.
        where: what the messages call it, a file name for instance.

    Raises:
        EdgeIndexError: ``edge_index`` is missing, not (2, E), not int64, or names a node that is not there.
        ShapeError: x is not floating point, or x or ``edge_weight`` holds NaN or infinity; lengths do not agree.

    Example:
        >>> from torch_geometric.data import Data
        >>> edgenet.data.check_data(Data(x=x, edge_index=edges))
        Data(x=[4, 3], edge_index=[2, 4])
    """
    nodes = _num_nodes(data, where)
    check_edge_index(data.edge_index, nodes, where)
    edges = data.edge_index.shape[1]
    weight = _get(data, "edge_weight")
    if weight is not None:
        if weight.shape != (edges,):
            raise ShapeError(
                f"{where}: edge_weight must have one number for each of {edges} edges, got {_text(weight)}."
            )
        check_finite(weight, "edge_weight", where)
    x = _get(data, "x")
    if x is not None:
        if x.dim() not in (2, 3, 4) or not x.is_floating_point():
            raise ShapeError(
                f"{where}: x must be floating point, (N, F), (S, N, F) or (S, T, N, F), got {_text(x)}. Try x.float()."
            )
        if x.shape[-2] != nodes:
            raise ShapeError(f"{where}: x has {x.shape[-2]} rows and the graph {nodes} nodes: {_text(x)}.")
        check_finite(x, "x", where)
    y = _get(data, "y")
    if y is not None:
        rows = nodes if x is None or x.dim() == 2 else x.shape[0]
        if y.dim() == 0 or y.shape[0] != rows:
            raise ShapeError(f"{where}: y must have {rows} rows, as many as there are targets, got {_text(y)}.")
        if y.is_floating_point():
            check_finite(y, "y", where)
    for name in ("train_mask", "val_mask", "test_mask"):
        mask = _get(data, name)
        if mask is not None and (mask.dtype != torch.bool or mask.shape != (nodes,)):
            raise ShapeError(f"{where}: {name} must be ({nodes},) of torch.bool, got {_text(mask)}.")
    return data


def check_edge_index(edge_index: Tensor, num_nodes: int, where: str = "data") -> None:
    """Raises ``EdgeIndexError`` unless ``edge_index`` is (2, E) int64 with entries in [0, num_nodes)."""
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise EdgeIndexError(f"{where}: edge_index must be (2, E), sources above targets, got {_text(edge_index)}.")
    if edge_index.dtype != torch.int64:
        raise EdgeIndexError(
            f"{where}: edge_index must be torch.int64, got {_text(edge_index)}. Node numbers are whole: "
            f"edge_index.long() converts them, after a look at why they are not."
        )
    if edge_index.numel() == 0:
        return
    for bad in (int(edge_index.min()), int(edge_index.max())):
        if not 0 <= bad < num_nodes:
            column = int((edge_index == bad).any(0).nonzero()[0])
            raise EdgeIndexError(
                f"{where}: edge {column} is {edge_index[:, column].tolist()}, but node {bad} does not exist: there are "
                f"{num_nodes} nodes, 0 to {num_nodes - 1}. Raise num_nodes, or renumber the nodes from 0."
            )


def check_finite(values: Tensor, name: str, where: str = "data") -> None:
    """Raises ``ShapeError`` naming the first entry that is NaN or infinite, and how many there are."""
    bad = ~torch.isfinite(values)
    if not bad.any():
        return
    first = tuple(bad.nonzero()[0].tolist())
    raise ShapeError(
        f"{where}: {name}{list(first)} is {float(values[first])}; {int(bad.sum())} of {values.numel()} entries are not "
        f"finite. Replace them, for instance by torch.nan_to_num({name}), or drop what they belong to."
    )


def _num_nodes(data: Data, where: str) -> int:
    """N as given, or the rows of x; never guessed from the edges, where a wrong index would make itself right."""
    if _get(data, "edge_index") is None:
        raise EdgeIndexError(f"{where}: there is no edge_index. A graph without edges has torch.empty(2, 0).long().")
    given, x = _get(data, "num_nodes"), _get(data, "x")
    if given is not None:
        return int(given)
    if x is None or x.dim() < 2:
        raise ShapeError(f"{where}: the number of nodes is not known. Give num_nodes, or x with one row per node.")
    return x.shape[-2]


def _get(data: Data, name: str) -> Any:
    return data.to_dict().get(name)


def _text(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {tensor.dtype}"
