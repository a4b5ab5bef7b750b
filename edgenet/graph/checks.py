"""What edges must be: integers of shape (2, E) that name nodes which there are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgenet.errors import EdgeIndexError, SupportError
from edgenet.seen import is_whole


def checked_shape(edge_index: Any) -> Tensor:
    if not isinstance(edge_index, Tensor) or edge_index.dim() != 2 or edge_index.shape[0] != 2:
        shape = tuple(edge_index.shape) if isinstance(edge_index, Tensor) else type(edge_index).__name__
        raise EdgeIndexError(f"edge_index must be a (2, E) tensor (row 0 source, row 1 target), got {shape}.")
    # PyG's EdgeIndex re-checks itself in every op it meets
    plain = edge_index.as_tensor() if hasattr(edge_index, "as_tensor") else edge_index
    return checked_integers("edge_index", plain)


def checked_integers(name: str, value: Tensor) -> Tensor:
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise EdgeIndexError(
            f"{name} holds node or edge numbers and must be an integer tensor, got {value.dtype}. "
            f"Use {name}.long(), after checking that no index was rounded."
        )
    return value if value.dtype == torch.long else value.long()


def check_memory(name: str, value: Tensor | None) -> None:
    """
    Raises:
        EdgeIndexError: if the storage has not all of the numbers any more.
    """
    if value is not None and not is_whole(value):
        raise EdgeIndexError(
            f"the storage of {name} {tuple(value.shape)} has {value.untyped_storage().nbytes()} bytes: it was freed or "
            f"made smaller. Make a new Graph of edges that are there."
        )


def check_range(edge_index: Tensor, num_nodes: int, num_sources: int) -> None:
    if edge_index.numel() == 0 or torch._C._len_torch_dispatch_stack():  # a mode is no place to look at numbers
        return
    for row, name, count in ((0, "source", num_sources), (1, "target", num_nodes)):
        low, high = (int(v) for v in edge_index[row].aminmax())
        if low < 0 or high >= count:
            bad = low if low < 0 else high
            column = int((edge_index[row] == bad).nonzero()[0])
            raise EdgeIndexError(
                f"edge {column} has {name} {bad}, but valid indices are 0 to {count - 1} ({count} nodes). "
                f"Raise num_nodes, or drop or renumber the edge."
            )


def check_edge_id(edge_id: Tensor | None) -> None:
    """
    Raises:
        SupportError: if an id is below -1, which stands for an added loop.
    """
    if edge_id is None or edge_id.is_meta or not edge_id.numel() or torch._C._len_torch_dispatch_stack():
        return
    low = int(edge_id.min())
    if low < -1:
        raise SupportError(f"e_id holds {low}: numbers of edges are 0 or more, or -1 for an added self-loop.")


def check_sparse_size(shape: tuple[int, ...], num_nodes: int, num_sources: int) -> None:
    if shape != (num_nodes, num_sources):
        raise EdgeIndexError(
            f"the sparse adjacency is {shape[0]} x {shape[1]}, but the signal wants {num_nodes} targets x "
            f"{num_sources} "
            f"sources. Pass the transposed adjacency (PyG's adj_t: rows are targets)."
        )
