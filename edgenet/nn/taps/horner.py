"""Horner: every hop has channels of its own, and a polynomial of one operator is walked by Horner's rule."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.nn.taps.base import Taps, Walk, check_merge
from edgenet.phi.base import LayerSpec


class Horner(Taps):
    """Every hop has channels of its own in the lifted signal, which then is K + 1 times as wide as the output.

    y = merge over heads of sum over k of Phi^k z_k,   z = (z_0, ..., z_K) in each head

    Behind a linear lift, z_k = x W_k: a matrix for every tap and head, all in one slot, and every hop is walked in the
    width of the output (Horner's rule). Every hop must have the same Phi.

    Args:
        merge: as in ``Sum``.

    Raises:
        ShapeError: in a walk, if hops differ, or some do not count, or their number does not divide the channels.

    Example:
        >>> edgenet.nn.specializations.gcat(3, 8, order=2, taps="matrix")(x, edges).shape  # whose taps are these
        torch.Size([4, 8])
    """

    def __init__(self, merge: str = "concat") -> None:
        super().__init__()
        self.merge: str = check_merge(merge)

    @classmethod
    def for_layer(cls, spec: LayerSpec, merge: str | None = None) -> Self:
        return cls(spec.merge if merge is None else merge)

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        blocks, channels = walk.order + 1, z.shape[-1]
        if walk.hops != tuple(range(blocks)) or not (walk.shares_hops or walk.order < 2):
            raise ShapeError("Horner's rule is for a polynomial of one operator, with all its powers: self_tap=True.")
        if channels % blocks:
            raise ShapeError(
                f"{blocks} hops with channels of their own divide those of a head, of which the lift gives {channels}."
            )
        *before, y = z.unflatten(-1, (blocks, -1)).unbind(-2)
        for k in reversed(range(walk.order)):
            y = walk.hop(k, y) + before[k]
        return walk.combine([y], walk.graph)

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}"
