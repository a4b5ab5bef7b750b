"""Teleport: a walk that returns to the first signal at every hop, personalised PageRank."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from edgenet.errors import ConfigError
from edgenet.nn.taps.base import Taps, Walk, check_merge
from edgenet.phi.base import LayerSpec


class Teleport(Taps):
    """A walk that returns to the first signal at every hop: personalised PageRank, as APPNP has it
    (Klicpera, Bojchevski, Guennemann 2019, eq. 4).

    h^(0) = z^(0),   h^(k) = (1 - alpha) Phi^(k) h^(k-1) + alpha z^(0),   y = merge over heads of h^(K)

    Args:
        alpha: the chance of a return, in [0, 1].
        merge: as in ``Sum``.

    Example:
        >>> edgenet.nn.specializations.appnp(3, 8, order=4, alpha=0.1)(x, edges).shape  # whose taps are these
        torch.Size([4, 8])
    """

    takes_first = True
    keeps_width = True

    def __init__(self, alpha: float = 0.1, merge: str = "concat") -> None:
        super().__init__()
        self.alpha, self.merge = check_chance(alpha), check_merge(merge)

    @classmethod
    def for_layer(cls, spec: LayerSpec, alpha: float = 0.1, merge: str | None = None) -> Self:
        return cls(alpha, spec.merge if merge is None else merge)

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        back, h = self.alpha * z, z
        for k in range(walk.order):
            h = (1 - self.alpha) * walk.hop(k, h) + back
        return walk.combine([h], walk.graph)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}, merge={self.merge!r}"


def pagerank_weights(order: int, alpha: float) -> list[float]:
    """The K + 1 weights of the hops by which ``Teleport`` is a sum of powers of one Phi: where ``Scaled`` taps start
    that learn them (Chien et al. 2021, sec. 3: GPR-GNN).

    alpha (1 - alpha)^k for k < K, and (1 - alpha)^K.

    Example:
        >>> [round(weight, 3) for weight in edgenet.nn.taps.pagerank_weights(2, alpha=0.1)]
        [0.1, 0.09, 0.81]
    """
    check_chance(alpha)
    return [alpha * (1 - alpha) ** k for k in range(order)] + [(1 - alpha) ** order]


def check_chance(alpha: float) -> float:
    """A chance to return to the first signal.

    Raises:
        ConfigError: if it is none.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha, the share of the first signal, is in [0, 1], got {alpha}.")
    return alpha
