"""Drawing and numbering in compiled code."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops import native

_DIRECT = 4  # a table with a place for every node may be so many times as long as one of the sampled nodes


def places(begin: Tensor, end: Tensor, ptr: Tensor, replace: bool, seed: int, weight: Tensor | None) -> Tensor:
    """See ``reference``."""
    out = torch.empty(int(ptr[-1]), dtype=torch.long, device="cpu")
    status = native.library().edgenet_sample_neighbors(
        native.pool(), len(begin), begin.data_ptr(), end.data_ptr(), ptr.data_ptr(), native.pointer(weight),
        int(replace), seed % 2**64, out.data_ptr(),
    )  # fmt: skip
    if status:
        raise MemoryError("the sampler found no memory for the neighbours of one node.")
    return out


class Table:
    """The numbers of known nodes in a hash table, or where that is no longer, in one with a place for every node."""

    def __init__(self, space: int) -> None:
        self._space, self._direct, self._used = space, False, 0
        self._slots = torch.empty(0, 2, dtype=torch.long, device="cpu")

    def number(self, nodes: Tensor, known: int, by_place: bool) -> tuple[Tensor, Tensor] | None:
        """See ``reference``."""
        self._grow(self._used + len(nodes))
        number, first = torch.empty_like(nodes), torch.empty_like(nodes)
        made = native.library().edgenet_number_nodes(
            self._slots.data_ptr(), len(self._slots), int(self._direct), int(by_place), self._space, known,
            nodes.data_ptr(), len(nodes), number.data_ptr(), first.data_ptr(),
        )  # fmt: skip
        if made < 0:
            return None
        self._used += made
        return number, first[:made].clone()

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
        scratch = torch.empty(2, len(old), dtype=torch.long, device="cpu")
        order = old[:, 1].argsort()
        keys = old[order, 0].contiguous()
        native.library().edgenet_number_nodes(
            self._slots.data_ptr(), len(self._slots), 0, 0, self._space, 0, keys.data_ptr(), len(keys),
            scratch[0].data_ptr(), scratch[1].data_ptr(),
        )  # fmt: skip
        taken = self._slots[:, 0] >= 0  # their numbers, which have gaps where seeds were there twice
        self._slots[taken, 1] = old[order, 1][self._slots[taken, 1]]
