"""sample_neighbors: neighbours drawn for many nodes, and the numbering of the nodes that were drawn.

All draws are hashes of a seed, of a node's place among those that draw, and of the draw: the numbers are the same in
every backend, on any number of threads and in any process. There is nothing to differentiate, and no registered op.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgenet.errors import EdgeIndexError, ShapeError
from edgenet.ops import backend
from edgenet.ops.kernels.sample_neighbors import reference

_LIKE = torch.empty(0)
_MOST = 2**40  # draws at once; their places are counted in 64 bits


def sample_neighbors(
    begin: Tensor, end: Tensor, count: int, replace: bool, seed: int, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """For each of F nodes, so many places among its own.

    Args:
        begin, end: (F,) the places of node i are begin[i] to end[i] - 1, none where these are equal.
        count: how many of them; all where there are no more, or it is negative. With ``replace`` as many draws.
        replace: whether a place may be drawn again.
        seed: of 64 bits.
        weight: (P,) positive numbers, float64: places are drawn in proportion. Without ``replace`` one after the other,
            from those that are left (Efraimidis and Spirakis 2006). None: all alike.

    Returns:
        ptr (F + 1,): where the places of each node begin in the other; and these places.

    Raises:
        ShapeError: if the ranges do not fit each other, go beyond ``weight``, or more than 2^40 draws are wanted.
    """
    begin, end = begin.long().contiguous(), end.long().contiguous()
    degree = end - begin
    beyond = weight is not None and len(end) and (int(end.max()) > len(weight) or int(begin.min()) < 0)
    if begin.dim() != 1 or begin.shape != end.shape or bool((degree < 0).any()) or beyond:
        raise ShapeError(
            f"places of nodes are ranges begin[i] <= end[i] of two vectors, inside the weights; got "
            f"{tuple(begin.shape)} and {tuple(end.shape)}."
        )
    if weight is not None:
        weight = weight.double().contiguous()
    if replace and count * len(begin) > _MOST:
        raise ShapeError(f"{count} draws for each of {len(begin)} nodes are too many; -1 takes all neighbours once.")
    if count < 0:
        wanted, replace = degree, False
    else:
        wanted = torch.where(degree > 0, count, 0) if replace else degree.clamp_max(min(count, _MOST))
    ptr = torch.cat([wanted.new_zeros(1), wanted.cumsum(0)])
    return ptr, _form().places(begin, end, ptr, replace, seed, weight)


class Numbering:
    """Local numbers of nodes in the order in which they appear.

    Args:
        seeds: (S,) numbers of nodes, which get 0 to S - 1; one that is there twice is known by the first.
        space: nodes are numbered 0 to ``space`` - 1.

    Raises:
        EdgeIndexError: if a node is not.
    """

    def __init__(self, seeds: Tensor, space: int) -> None:
        self.known = 0
        self._table = _form().Table(space)
        self._space = space
        self._numbered(seeds, True)
        self.known = len(seeds)

    def add(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers (I,) of nodes, and which of the I are the first of those that are new, in order."""
        number, first = self._numbered(nodes, False)
        self.known += len(first)
        return number, first

    def _numbered(self, nodes: Tensor, by_place: bool) -> tuple[Tensor, Tensor]:
        nodes = nodes.long().contiguous()
        found = self._table.number(nodes, self.known, by_place)
        if found is None:
            bad = int(nodes[(nodes < 0) | (nodes >= self._space)][0])
            raise EdgeIndexError(f"node {bad} is to be sampled, but valid indices are 0 to {self._space - 1}.")
        return found


def _form() -> Any:
    """One of two modules of the same functions."""
    return backend.kernels("sample_neighbors", _LIKE) or reference
