"""Drawing and numbering in compiled code."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.errors import EdgeIndexError
from edgenet.ops import native
from edgenet.ops.native import gate

_DIRECT = 4  # a table with a place for every node may be so many times as long as one of the sampled nodes


def places(begin: Tensor, end: Tensor, ptr: Tensor, replace: bool, seed: int, weight: Tensor | None) -> Tensor:
    """See ``reference``."""
    nodes, draws = len(begin), int(ptr[-1])
    out = torch.empty(draws, dtype=torch.long, device="cpu")
    weights = None if weight is None else (gate.plain(weight), len(weight), torch.float64)
    gate.call(
        "edgenet_sample_neighbors", native.pool(), nodes, _longs(begin, nodes), _longs(end, nodes),
        _longs(ptr, nodes + 1), weights, int(replace), seed % 2**64, _longs(out, draws),
    )  # fmt: skip
    return out


class Table:
    """The numbers of known nodes in a hash table, or where that is no longer, in one with a place for every node."""

    def __init__(self, space: int) -> None:
        self._space, self._direct, self._used = space, False, 0
        self._slots = torch.empty(0, 2, dtype=torch.long, device="cpu")

    def number(self, nodes: Tensor, known: int, by_place: bool) -> tuple[Tensor, Tensor] | None:
        """See ``reference``."""
        self._grow(self._used + len(nodes))
        try:
            number, first = self._numbered(nodes, known, by_place)
        except EdgeIndexError:
            return None
        self._used += len(first)
        return number, first

    def _numbered(self, nodes: Tensor, known: int, by_place: bool) -> tuple[Tensor, Tensor]:
        count, made = len(nodes), torch.empty(1, dtype=torch.long, device="cpu")
        number, first = (torch.empty(count, dtype=torch.long, device="cpu") for _ in range(2))
        gate.call(
            "edgenet_number_nodes", _longs(self._slots, 2 * len(self._slots)), len(self._slots), int(self._direct),
            int(by_place), self._space, known, _longs(nodes, count), count, _longs(number, count),
            _longs(first, count), _longs(made, 1),
        )  # fmt: skip
        return number, first[: int(made)].clone()

    def _grow(self, most: int) -> None:
        """Make room for so many nodes."""
        most = min(most, self._space)
        if self._direct or 2 * most <= len(self._slots):
            return
        old = self._slots[self._slots[:, 0] >= 0]
        self._direct = self._space <= _DIRECT * 2 * most
        capacity = self._space if self._direct else 1 << (2 * most - 1).bit_length()
        self._slots = torch.full((max(1, capacity), 2), -1, dtype=torch.long, device="cpu")
        if self._direct:
            self._slots[old[:, 0]] = old
            return
        order = old[:, 1].argsort()
        self._numbered(old[order, 0].contiguous(), 0, by_place=False)
        taken = self._slots[:, 0] >= 0  # their numbers, which have gaps where seeds were there twice
        self._slots[taken, 1] = old[order, 1][self._slots[taken, 1]]


def _longs(tensor: Tensor, count: int) -> tuple[Tensor, int, torch.dtype]:
    return gate.plain(tensor), count, torch.long
