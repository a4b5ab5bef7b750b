"""Taps: what combines the signals of a walk. Walk: the means to take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from edgenet.errors import ConfigError, PlanError, ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.phi.base import LayerSpec


@dataclass(frozen=True)
class Walk:
    """A walk over a graph that taps may take.

    Attributes:
        graph: the graph.
        weights: (K, E, H) edge weights, with a K axis of stride 0 where all hops share them; None where the hops make
            them on the way, which is only for taps that do not read them.
        hop: ``hop(k, z)`` is Phi^(k + 1) z, for k from 0; it keeps every axis of z, and C may be any number. With (E,)
            ``edges`` as a third argument, where there are ``weights``, edges count that often, and diagonals not.
        order: K.
        hops: which z^(k) are the signals to combine, rising and ending at K.
        shares_hops: whether Phi^(1) = ... = Phi^(K), which lets some taps walk in the narrower width.
        combine: the module that stands in the layer, called with the signals and the graph at last: the taps
            themselves, or what somebody put around them.
        may_mix_first: whether nobody would notice if ``combine`` were not called, and its numbers used otherwise.
        initial: (N, [B,] F) the signal that a network began with, for taps that take one; None if none came.

    Example:
        >>> class Counting(edgenet.nn.taps.Taps):
        ...     def walk(self, z, walk):  # ``walk.hop(k, z)`` takes one hop
        ...         for k in range(walk.order):
        ...             z = walk.hop(k, z)
        ...         return z.flatten(-2)
        >>> edgenet.EdgeNetConv(3, 8, order=2, phi="attention", taps=Counting())(x, edges).shape
        torch.Size([4, 8])
    """

    graph: Graph
    weights: Tensor | None
    hop: Callable[..., Tensor]
    order: int
    hops: tuple[int, ...]
    shares_hops: bool
    combine: Callable[[list[Tensor], Graph], Tensor]
    may_mix_first: bool
    initial: Tensor | None = None


class Taps(nn.Module):
    """Walks and combines. Signals are (N, H, C), or (N, B, H, C) for a batch of B signals on one graph.

    A subclass writes ``forward``, what becomes of the signals of a plain walk; or ``walk``, a walk of its own; or both.

    Attributes:
        reads_weights: whether it looks at the edge weights of the walk.
        own_signals: whether it combines other signals than z^(k) = Phi^(k) z^(k-1), of a walk of its own; so do those
            that write ``walk`` alone. Bipartite graphs, which are walked once, are refused then.
        commutes_with_lift: whether a linear lift of one head could as well be applied to the result.
        folds: whether the taps of a signal that is the same for all heads can become one (``fold_``).
        takes_initial: whether it reads the initial signal of a walk. Layers of other taps refuse one.
        takes_first: whether a walk of its own begins with z^(0), in taps that settle this themselves: the layer's
            ``hops`` and ``self_tap`` can then say nothing else. None where the layer says it.
        keeps_width: whether each head comes out in the width in which it walked.
        merge: what becomes of the heads, where they stay apart: "concat" puts them side by side.

    Raises:
        ConfigError: if a subclass has neither ``forward`` nor ``walk``.

    Example:
        >>> class Last(edgenet.nn.taps.Taps):
        ...     def forward(self, signals, graph):
        ...         return signals[-1].flatten(-2)
        >>> edgenet.EdgeNetConv(3, 8, order=2, phi="attention", taps=Last())(x, edges).shape
        torch.Size([4, 8])
    """

    takes_initial: bool = False
    takes_first: bool | None = None
    keeps_width: bool = False
    reads_weights: bool = False
    own_signals: bool = False
    commutes_with_lift: bool = False
    folds: bool = False
    merge: str | None = None

    def __init__(self) -> None:
        super().__init__()
        kind = type(self)
        if kind.forward is Taps.forward:
            if kind.walk is Taps.walk:
                raise ConfigError(
                    f"{kind.__name__} taps do not say how signals are combined: write forward(signals, graph), or "
                    f"walk(z, walk) for a walk of their own."
                )
            self.own_signals = True

    @classmethod
    def for_layer(cls, spec: LayerSpec, *args: Any, **options: Any) -> Self:
        """The taps of a layer of these sizes; by default what the constructor makes of the options."""
        return cls(*args, **options)

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        """Take all hops from z^(0) = ``z``, and combine: what ends in ``walk.combine(signals, graph)``."""
        return all_hops(z, walk)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        """(N, [B,] H, C) signals of the hops that count -> (N, [B,] F_out): here the last one, its heads merged."""
        return merged(signals[-1], self.merge or "concat")

    def mixes_sparse(self, channels: int) -> bool:
        """Whether its walk mixes channels before it moves them, where all hops have the same weights, and so takes
        (N, ``channels``) sparse features as they are: a ``SparseSignal``, which stands for a copy in every head."""
        return False

    def bind(self, graph: Graph, channels: int | None = None) -> None:
        """Learn the graph, where taps belong to nodes.

        Args:
            channels: H * C, where it is known before the first signal.
        """

    def pairs_of(self, taps: int, heads: int) -> list[tuple[int, int]]:
        """Which signals are read, as pairs (t, h) of the place of a signal and a head: by default all."""
        return [(t, h) for t in range(taps) for h in range(heads)]

    def in_width(self, blocks: int) -> int | None:
        """Channels of each of so many (hop, head) signals, where the parameters tell; else None."""
        return None

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""

    def fold_(self, signal: int, taps: int, heads: int, into: int) -> None:
        """Give a signal that is the same for all heads one tap, the sum of its own, in place; it goes by head ``into``.

        Args:
            signal: its place.
            taps, heads: how many signals and heads there are.

        Raises:
            PlanError: if these taps cannot, or are compressed.
        """
        raise PlanError(f"{type(self).__name__} taps have no taps of single heads.")

    def fill_(self, weight: Tensor) -> None:
        """Take over (F_out, P, C) coefficients of the P signals of ``pairs_of``.

        Raises:
            PlanError: if these taps are not linear in signals, or compressed.
        """
        raise PlanError(f"coefficients are linear taps, and this layer has {type(self).__name__} taps.")

    def used(self, blocks: int) -> Tensor | None:
        """(P,) which of so many signals have coefficients other than 0; None if these taps have none."""
        return None

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        """Keep what reads these signals, in place: others, and heads that nothing reads, will not come any more.

        Args:
            pairs: (t, h), the place of a signal among those combined so far and its head, rising.
            taps: how many signals there were.
            heads: H, so far.

        Raises:
            PlanError: if these taps cannot do without the rest, or are compressed.
        """
        raise PlanError(f"{type(self).__name__} taps need all their signals; nothing can be removed from them.")

    def keep_inputs_(self, channels: Tensor, blocks: int) -> None:
        """Keep some channels of each of so many (hop, head) signals, in place.

        Raises:
            PlanError: if these taps have no matrix from which they could be taken.
        """
        raise PlanError(f"no input channels can be taken from {type(self).__name__} taps.")


def walker(taps: nn.Module) -> nn.Module:
    """Who takes the walk: the taps, or those that an adapter stands around which tells of no walk."""
    if hasattr(taps, "walk"):
        return taps
    inside = [part for part in taps.modules() if isinstance(part, Taps)]
    return inside[0] if len(inside) == 1 else taps


def all_hops(z: Tensor, walk: Walk) -> Tensor:
    """The plain walk: z^(k) = Phi^(k) z^(k-1), and the signals that count combined."""
    signals = [z] if walk.hops[0] == 0 else []
    for k in range(walk.order):
        z = walk.hop(k, z)
        if k + 1 in walk.hops:
            signals.append(z)
    return walk.combine(signals, walk.graph)


def summed(z: Tensor, walk: Walk, weight: Tensor | None = None) -> Tensor:
    """sum over t of weight[t] z^(hops[t]), added up on the way: no hop stays in memory unless a gradient wants it.

    Args:
        z: (N, [B,] H, C).
        weight: (T,), one number for each of the hops that count; None: all 1.
    """
    total, place, eager = None, 0, backend.eager()
    for k in range(walk.order + 1):
        z = walk.hop(k - 1, z) if k else z
        if k not in walk.hops:
            continue
        term = z if weight is None else weight[place] * z
        if total is None:
            total = term
        elif eager and place > 1 and total.dtype == term.dtype:
            total.add_(term)  # a sum of two or more, which nobody else holds
        else:
            total = total + term
        place += 1
    assert total is not None  # a layer combines one hop at least
    return total


def grid(pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The signals and the heads of pairs (t, h) that are all pairs of the two.

    Raises:
        PlanError: if some are missing.
    """
    signals, heads = (sorted({pair[axis] for pair in pairs}) for axis in (0, 1))
    if len(set(pairs)) != len(signals) * len(heads):
        raise PlanError(
            f"these taps treat all heads alike, so that a hop goes for all of them or for none; of {len(signals)} hops "
            f"and {len(heads)} heads, {len(set(pairs))} pairs were to stay."
        )
    return signals, heads


def check_merge(merge: str) -> str:
    """A way to merge heads.

    Raises:
        ShapeError: if there is no such.
    """
    if merge not in ("concat", "mean", "sum"):
        raise ShapeError(f"merge is one of 'concat', 'mean', 'sum', got {merge!r}.")
    return merge


def merged(z: Tensor, merge: str) -> Tensor:
    """(..., H, C) heads side by side ("concat"), averaged ("mean") or summed ("sum")."""
    if merge == "concat":
        return z.flatten(-2)
    return z.mean(-2) if merge == "mean" else z.sum(-2)
