"""What a forward pass saw, and the backward pass must find again: compiled code reads as many numbers as there were."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.graph import Graph


class Pinned(NamedTuple):
    """The edges, and the shapes and dtypes of tensors, as forward had them.

    Example:
        >>> seen = edgenet.ops.pinned.Pinned.of(graph, x)
        >>> seen.check("spmm", graph, x)  # raises if x.data has another shape by now
    """

    edges: Any
    tensors: tuple[tuple[torch.Size, torch.dtype] | None, ...]

    @classmethod
    def of(cls, graph: Graph, *tensors: Tensor | None) -> Pinned:
        return cls(graph.pin(), tuple([None if t is None else (t.shape, t.dtype) for t in tensors]))

    def check(self, op: str, graph: Graph, *tensors: Tensor | None) -> None:
        """
        Raises:
            ShapeError: if a tensor has another shape or dtype than forward saw.
            EdgeIndexError: if the edges are others.
        """
        graph.unpin(self.edges)
        for t, seen in zip(tensors, self.tensors, strict=True):
            if t is not None and (t.shape, t.dtype) != seen:
                raise ShapeError(
                    f"{op} had a tensor {tuple(seen[0])} of {seen[1]} in forward, and in backward it is "
                    f"{tuple(t.shape)} of {t.dtype}: it was replaced through tensor.data. Replace it after backward."
                )
