"""InitialResidual: the walked signal beside the one that a deep network began with."""

from __future__ import annotations

import math
from typing import Any, Self

from torch import Tensor

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.nn.taps.base import Taps, Walk, check_merge, merged
from edgenet.nn.taps.teleport import check_chance
from edgenet.phi.base import LayerSpec
from edgenet.structured import Dense, StructuredMatrix


class InitialResidual(Taps):
    """The walked signal beside the one that the network began with, nearly as they are: GCNII
    (Chen et al. 2020, eq. 5).

    u = (1 - alpha) z^(K) + alpha h,   y = (1 - beta) u + beta u W^T

    h is the ``initial`` signal that the layer is called with; of a layer that is called without one, z^(0). GCNII lets
    beta fall with the depth l, log(theta / l + 1).

    Args:
        alpha: the share of the initial signal, in [0, 1].
        beta: the share of what W makes, 0 or more.
        channels: F, width of the merged signals; -1 reads it off the first.
        merge: as in ``Sum``.
        shared: whether W serves both signals. If not, the initial one has a matrix V of its own (GCNII*):
            y = (1 - alpha) ((1 - beta) z + beta z W^T) + alpha ((1 - beta) h + beta h V^T),   z = z^(K)

    Raises:
        ShapeError: in a walk, if the initial signal has not the shape of the walked one.

    Example:
        >>> layer = edgenet.nn.specializations.gcnii(8, 8, alpha=0.1)  # whose taps are these
        >>> layer(torch.randn(4, 8), edges, initial=torch.randn(4, 8)).shape
        torch.Size([4, 8])
    """

    own_signals = True
    takes_initial = True
    takes_first = False
    keeps_width = True

    def __init__(
        self, alpha: float = 0.1, beta: float = 1.0, channels: int = -1, merge: str = "concat", shared: bool = True
    ) -> None:
        super().__init__()
        if not 0 <= beta < math.inf:
            raise ConfigError(f"beta, the share of what the matrix makes, is a number, 0 or more, got {beta}.")
        if channels == 0 or channels < -1:
            raise ShapeError(f"signals to be mixed have channels >= 1, or -1 for those of the first, got {channels}.")
        self.alpha, self.beta, self.merge = check_chance(alpha), beta, check_merge(merge)
        self.shared = shared
        self.mix: StructuredMatrix = Dense.lazy(channels, channels)  # W
        self.mix_initial: StructuredMatrix | None = None if shared else Dense.lazy(channels, channels)  # V

    @classmethod
    def for_layer(
        cls,
        spec: LayerSpec,
        alpha: float = 0.1,
        beta: float = 1.0,
        channels: int = -1,
        merge: str | None = None,
        shared: bool = True,
    ) -> Self:
        return cls(alpha, beta, channels, spec.merge if merge is None else merge, shared)

    def arguments(self) -> dict[str, Any]:
        return {"channels": self.mix.shape[1]}

    def reset_parameters(self) -> None:
        for matrix in (self.mix, self.mix_initial):
            if matrix is not None:
                matrix.reset_parameters()

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        first = z if walk.initial is None else walk.initial.unsqueeze(-2)
        for k in range(walk.order):
            z = walk.hop(k, z)
        return walk.combine([z, first], walk.graph)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        """(N, [B,] H, C) walked and (N, [B,] H, C) or (N, [B,] 1, F) initial signal -> (N, [B,] F)."""
        walked, first = (merged(z, self.merge) for z in signals)
        if walked.shape != first.shape:
            raise ShapeError(
                f"the initial signal has {first.shape[-1]} channels, and is to be added to a walked one of "
                f"{walked.shape[-1]}: lift it to that width first."
            )
        for matrix in (self.mix, self.mix_initial):
            if getattr(matrix, "is_lazy", False):  # which an adapter need not tell
                matrix.materialise(walked.shape[-1], walked.shape[-1])
        u, h = (1 - self.alpha) * walked, self.alpha * first
        if self.mix_initial is None:
            u = u + h
            return (1 - self.beta) * u + self.beta * self.mix(u)
        return (1 - self.beta) * (u + h) + self.beta * (self.mix(u) + self.mix_initial(h))

    def extra_repr(self) -> str:
        shared = "" if self.shared else ", shared=False"
        return f"alpha={self.alpha:g}, beta={self.beta:g}, merge={self.merge!r}{shared}"
