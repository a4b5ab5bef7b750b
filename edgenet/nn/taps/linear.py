"""Linear: a linear map of all hops, heads and channels at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, cast

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import PlanError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, Walk, all_hops
from edgenet.phi.base import LayerSpec
from edgenet.structured import SparseSignal, StructuredLinear, StructuredMatrix
from edgenet.structured.linear import is_plain_linear, take_
from edgenet.structured.read import read


class Linear(Taps):
    """A linear map of all hops, heads and channels at once: the taps of a graph convolutional filter (GCNN, TAG).

    y = sum over k, h of W_kh z^(k)[:, h]

    Where all hops share their weights and the output, or a factor of W, is narrower than the signal, mixing goes first
    and the walk follows Horner's rule in that width; the result is the same.

    Args:
        linear: T * H * C -> F_out, with T signals (those of the layer's ``hops``), hop-major, then head-major.
        pairs: which are read, as pairs (t, h) of the place of a signal and a head, rising; ``linear`` then has a block
            of C columns for each. None: all.

    Example:
        >>> taps = edgenet.nn.taps.Linear(edgenet.structured.StructuredLinear.dense(3 * 3, 8))  # 3 hops of 3 channels
        >>> edgenet.EdgeNetConv(3, 8, order=2, phi="shift", taps=taps)(x, edges).shape
        torch.Size([4, 8])
    """

    folds = True

    def __init__(self, linear: StructuredLinear, pairs: Sequence[tuple[int, int]] | None = None) -> None:
        super().__init__()
        self.linear = linear
        self.pairs = None if pairs is None else [(int(t), int(h)) for t, h in pairs]

    @classmethod
    def for_layer(cls, spec: LayerSpec) -> Self:
        walked = len(spec.hops) - spec.self_tap
        width = spec.heads * (walked * spec.in_channels + spec.self_tap * spec.target_channels)
        width = -1 if -1 in (spec.in_channels, spec.target_channels) else width
        return cls(StructuredLinear.dense(width, spec.out_channels))

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()

    def mixes_sparse(self, channels: int) -> bool:
        return self._has_matrix() and self.linear.weight.shape[0] < channels

    def walk(self, z: Tensor | SparseSignal, walk: Walk) -> Tensor:
        if not (walk.may_mix_first and walk.shares_hops):
            return all_hops(z, walk)
        matrix = self.linear.weight
        taps, (heads, channels) = len(walk.hops), heads_and_channels(z, walk)
        pairs = self.pairs_of(taps, heads)
        if matrix.is_lazy:
            matrix.materialise(matrix.shape[0], len(pairs) * channels)
        inner, outer = matrix.mix_first(len(pairs))
        if len(inner) >= channels:
            return all_hops(z, walk)
        mix = inner.unflatten(1, (-1, channels))
        if self.pairs is not None:
            place = torch.tensor([t * heads + h for t, h in pairs], device=mix.device)
            mix = mix.new_zeros(len(mix), taps * heads, channels).index_copy(1, place, mix)
        y = horner(z, mix.unflatten(1, (taps, heads)), walk)
        y = y if outer is None else ops.linear(y, outer)
        return y if self.linear.bias is None else y + self.linear.bias

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        if self.pairs is None:
            return self.linear(torch.cat([z.flatten(-2) for z in signals], dim=-1))
        return self.linear(torch.cat([signals[t].select(-2, h) for t, h in self.pairs], dim=-1))

    def pairs_of(self, taps: int, heads: int) -> list[tuple[int, int]]:
        return super().pairs_of(taps, heads) if self.pairs is None else self.pairs

    def in_width(self, blocks: int) -> int | None:
        width = self.linear.weight.shape[1] if self._has_matrix() else -1
        return None if width == -1 else width // blocks

    def keep_(self, pairs: Sequence[tuple[int, int]], taps: int, heads: int) -> None:
        own = self.pairs_of(taps, heads)
        self._check_linear()
        columns = torch.arange(self.linear.weight.shape[1]).view(len(own), -1)[[own.index(pair) for pair in pairs]]
        take_(self.linear, columns=columns.flatten())
        signals, kept_heads = (sorted({pair[axis] for pair in pairs}) for axis in (0, 1))
        renumbered = [(signals.index(t), kept_heads.index(h)) for t, h in pairs]
        self.pairs = None if len(pairs) == len(signals) * len(kept_heads) else renumbered

    def keep_inputs_(self, channels: Tensor, blocks: int) -> None:
        self._check_linear()
        columns = torch.arange(self.linear.weight.shape[1]).view(blocks, -1)
        take_(self.linear, columns=columns[:, channels].flatten())

    @torch.no_grad()
    def fold_(self, signal: int, taps: int, heads: int, into: int) -> None:
        self._check_linear()
        own, matrix = self.pairs_of(taps, heads), self.linear.weight
        if not matrix.is_dense:  # a sum of blocks may be no member of its family
            raise PlanError(f"the taps are compressed ({type(matrix).__name__}); remove first and compress then.")
        alike = [place for place, (t, _) in enumerate(own) if t == signal]
        kept = [place for place in range(len(own)) if place not in alike[1:]]
        if len(alike) > 1:  # the first block becomes their sum, and only those that stay are kept
            columns = torch.arange(matrix.shape[1]).view(len(own), -1)
            total = read(matrix).unflatten(1, (len(own), -1))[:, alike].sum(1)
            matrix.keep_(columns=columns[kept].flatten())
            weight, start = read(matrix).clone(), kept.index(alike[0]) * total.shape[1]
            weight[:, start : start + total.shape[1]] = total
            matrix.reset_parameters(weight)
        self.pairs = [own[place] if place != alike[0] else (signal, into) for place in kept]

    @torch.no_grad()
    def fill_(self, weight: Tensor) -> None:
        self._check_linear(sized=False)
        matrix = self.linear.weight
        if not matrix.is_dense:
            raise PlanError(f"the taps are compressed ({type(matrix).__name__}): fill first and compress then.")
        if matrix.is_lazy:
            matrix.materialise(matrix.shape[0], weight[0].numel())
        matrix.reset_parameters(weight.flatten(1).to(next(matrix.parameters())))
        if self.linear.bias is not None:
            self.linear.bias.zero_()

    def used(self, blocks: int) -> Tensor | None:
        if not is_plain_linear(self.linear):
            return None
        return (read(self.linear.weight).unflatten(1, (blocks, -1)) != 0).any(2).any(0)

    def _has_matrix(self) -> bool:
        """Whether a linear map with a matrix stands where one was put, and nothing around either."""
        own = isinstance(self.linear, StructuredLinear)
        return own and isinstance(self.linear.weight, StructuredMatrix)

    def _check_linear(self, sized: bool = True) -> None:
        """Refuse what stands around the matrix and would stay as it is, and a matrix without a size."""
        if not self._has_matrix():
            weight = getattr(self.linear, "weight", None)
            kinds = " with a ".join(type(part).__name__ for part in (self.linear, weight) if part is not None)
            raise PlanError(f"a {kinds} stands in the place of the taps' map; merge it, or take it out, first.")
        if sized and self.linear.weight.is_lazy:
            raise PlanError("the size of the taps is not known yet: run the model once first.")


def heads_and_channels(z: Tensor | SparseSignal, walk: Walk) -> tuple[int, int]:
    """H and C of the lifted signal, of which sparse features are a copy in every head."""
    if isinstance(z, SparseSignal):
        return cast(Tensor, walk.weights).shape[-1], z.shape[1]
    return z.shape[-2], z.shape[-1]


def horner(z: Tensor | SparseSignal, mix: Tensor, walk: Walk) -> Tensor:
    """sum over t, h of Phi^t (z[:, h] mix[:, t, h]^T), walked in the output's width.

    Args:
        z: (N, [B,] H, C), or (N, C) sparse features.
        mix: (F_out, T, H, C), for the T hops of the walk that are combined.
    """
    mixed = dict(zip(walk.hops, mixed_at_once(z, mix), strict=True))
    y = mixed[walk.order]
    for k in reversed(range(walk.order)):
        y = walk.hop(k, y)
        if k in mixed:
            y = y + mixed[k]
    return y.sum(-2)


def mixed_at_once(z: Tensor | SparseSignal, mix: Tensor) -> tuple[Tensor, ...]:
    """(N, [B,] H, F_out) mixed signals for each of T hops: one product with all of (F_out, T, H, C) ``mix``, where one
    for every hop would read ``z`` T times."""
    if isinstance(z, SparseSignal):
        wide = z.times(mix.permute(1, 2, 0, 3).flatten(0, 2))
        return wide.unflatten(-1, (mix.shape[1], mix.shape[2], -1)).unbind(-3)
    if mix.shape[2] == 1:
        wide = ops.linear(z.squeeze(-2), mix[:, :, 0].transpose(0, 1).flatten(0, 1))
        return wide.unflatten(-1, (mix.shape[1], 1, -1)).unbind(-3)
    return torch.einsum("...hc,othc->...tho", z, mix).unbind(-3)
