"""What is drawn, and how nodes are numbered, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.ops.scrambled import scrambled


def places(begin: Tensor, end: Tensor, ptr: Tensor, replace: bool, seed: int, weight: Tensor | None) -> Tensor:
    """See ``sample_neighbors``; ptr[i + 1] - ptr[i] places of node i."""
    degree, count = end - begin, ptr.diff()
    node = torch.repeat_interleave(count)
    draw = torch.arange(len(node)) - ptr[node]
    signed = seed - (1 << 64) if seed >= 1 << 63 else seed
    key = scrambled(torch.tensor(signed), torch.arange(len(begin)))
    if weight is not None:
        place = _by_weight(key, begin, degree, count, replace, weight)
    elif replace:
        place = _below(key[node], draw, degree[node])
    else:
        place = _without_replacement(key, degree, count)[node, draw]
    whole = (count == degree)[node] if not replace else torch.zeros_like(node, dtype=torch.bool)
    return begin[node] + torch.where(whole, draw, place)


def _uniform(key: Tensor, draw: Tensor) -> Tensor:
    """In (0, 1)."""
    return (((scrambled(key, draw) >> 11) & ((1 << 53) - 1)).double() + 0.5) * 2.0**-53


def _below(key: Tensor, draw: Tensor, n: Tensor) -> Tensor:
    return torch.minimum(n - 1, (_uniform(key, draw) * n.double()).long())


def _without_replacement(key: Tensor, degree: Tensor, count: Tensor) -> Tensor:
    """Floyd's: every set of ``count`` of the numbers below ``degree`` is as likely as any other."""
    most = int(count.max()) if len(count) else 0
    chosen = torch.full((len(key), most), -1)
    for d in range(most):
        last = (degree - count + d).clamp_min(0)
        drawn = _below(key, torch.tensor(d), last + 1)
        chosen[:, d] = torch.where((chosen[:, :d] == drawn.unsqueeze(1)).any(1), last, drawn)
    return chosen


def _by_weight(
    key: Tensor, begin: Tensor, degree: Tensor, count: Tensor, replace: bool, weight: Tensor
) -> Tensor:
    found = []
    for i, (first, n, wanted) in enumerate(zip(begin.tolist(), degree.tolist(), count.tolist(), strict=True)):
        own = weight[first : first + n]
        if replace:
            sums = own.cumsum(0)
            u = _uniform(key[i], torch.arange(wanted))
            drawn = torch.searchsorted(sums, u * sums[-1:], right=True).clamp_max(n - 1)
        else:  # the smallest of -log(u) / weight
            drawn = (-_uniform(key[i], torch.arange(n)).log() / own).argsort(stable=True)[:wanted]
        found.append(drawn)
    return torch.cat(found) if found else begin.new_empty(0)


class Table:
    """The numbers of the nodes that are known; see ``Numbering``."""

    def __init__(self, space: int) -> None:
        self._space = space
        self._numbers: dict[int, int] = {}

    def number(self, nodes: Tensor, known: int, by_place: bool) -> tuple[Tensor, Tensor] | None:
        """Numbers of nodes, and the places of new ones; None if there is no such node."""
        number, first = [], []
        for place, node in enumerate(nodes.tolist()):
            if not 0 <= node < self._space:
                return None
            if node not in self._numbers:
                self._numbers[node] = known + (place if by_place else len(first))
                first.append(place)
            number.append(self._numbers[node])
        return torch.tensor(number, dtype=torch.long), torch.tensor(first, dtype=torch.long)
