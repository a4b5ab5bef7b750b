"""The published networks that walk far, or are deep: choices of lift, phi and taps, listed in ``specializations``."""

from __future__ import annotations

import math

from edgenet.errors import ShapeError
from edgenet.nn import lift as lifts
from edgenet.nn import taps as tapping
from edgenet.nn.conv import EdgeNetConv
from edgenet.nn.options import checked
from edgenet.phi import EdgeVarying, ShiftOperator
from edgenet.structured import StructuredLinear


@checked
def dagnn(in_channels: int, out_channels: int, order: int = 10, bias: bool = True) -> EdgeNetConv:
    """Deep adaptive graph network (Liu, Gao, Ji 2020): every node weighs the hops of x W + b by what they hold.

    Example:
        >>> edgenet.nn.specializations.dagnn(3, 8, order=10)(x, edges).shape
        torch.Size([4, 8])
    """
    return _walked(in_channels, out_channels, order, tapping.Adaptive(out_channels), bias)


@checked
def appnp(in_channels: int, out_channels: int, order: int = 10, alpha: float = 0.1, bias: bool = True) -> EdgeNetConv:
    """Personalised PageRank of x W + b (Klicpera, Bojchevski, Guennemann 2019), which returns with chance ``alpha``.

    Example:
        >>> edgenet.nn.specializations.appnp(3, 8, order=10, alpha=0.1)(x, edges).shape
        torch.Size([4, 8])
    """
    return _walked(in_channels, out_channels, order, tapping.Teleport(alpha), bias)


@checked
def gpr(in_channels: int, out_channels: int, order: int = 10, alpha: float = 0.1, bias: bool = True) -> EdgeNetConv:
    """Generalised PageRank of x W + b (Chien et al. 2021): one learned number a hop, which starts as ``appnp``.

    Example:
        >>> edgenet.nn.specializations.gpr(3, 8, order=10)(x, edges).shape
        torch.Size([4, 8])
    """
    taps = tapping.Scaled(order + 1, start=tapping.pagerank_weights(order, alpha))
    return _walked(in_channels, out_channels, order, taps, bias)


def _walked(in_channels: int, out_channels: int, order: int, taps: tapping.Taps, bias: bool) -> EdgeNetConv:
    """A linear map, with its bias, and then a walk of the normalised adjacency with loops."""
    lift = lifts.LinearLift(StructuredLinear.dense(in_channels, out_channels, bias=bias))
    phi = ShiftOperator(order, normalize="sym")
    return EdgeNetConv(
        in_channels, out_channels, phi=phi, lift=lift, taps=taps, self_tap=True, add_self_loops=True, bias=False
    )


@checked
def gcnii(
    in_channels: int,
    out_channels: int,
    alpha: float = 0.1,
    theta: float = 0.5,
    depth: int = 1,
    bias: bool = False,
) -> EdgeNetConv:
    """One layer of the deep network of Chen et al. 2020 (eq. 5), as PyG's ``GCN2Conv``; see ``taps.InitialResidual``.

    y = (1 - beta) u + beta u W^T,   u = (1 - alpha) D^(-1/2) (A + I) D^(-1/2) x + alpha h

    beta is log(theta / depth + 1), and h the ``initial`` signal that the layer is called with; without one, x. Where
    the widths differ, a linear map to ``out_channels`` goes first.

    Args:
        depth: the number of the layer in its network, from 1.

    Example:
        >>> layer = edgenet.nn.specializations.gcnii(8, 8)
        >>> layer(torch.randn(4, 8), edges, initial=torch.randn(4, 8)).shape
        torch.Size([4, 8])
    """
    if theta < 0 or depth < 1:
        raise ShapeError(f"a layer of a deep network has theta >= 0 and depth >= 1, got {theta} and {depth}.")
    taps = tapping.InitialResidual(alpha, math.log(theta / depth + 1), out_channels)
    alike = in_channels == out_channels
    lift = lifts.Identity() if alike else lifts.LinearLift(StructuredLinear.dense(in_channels, out_channels))
    phi = ShiftOperator(1, normalize="sym")
    return EdgeNetConv(
        in_channels, out_channels, phi=phi, lift=lift, taps=taps, self_tap=False, add_self_loops=True, bias=bias
    )


@checked
def grand(
    in_channels: int, out_channels: int, order: int = 8, lift: bool = True, bias: bool = True, learned: bool = False
) -> EdgeNetConv:
    """The mean of the hops (Feng et al. 2020, GRAND): y = 1 / (K + 1) sum over k of S^k x W + b.

    S is the normalised adjacency with loops. ``models.NodeClassifier`` drops nodes before it.

    Args:
        lift: whether there is a W, and a b if ``bias``. Without, x walks as it is.
        learned: whether every edge and loop has a weight of its own at every hop, which starts as that of S
            (``EdgeVarying``): an edge-varying network that begins as GRAND.

    Example:
        >>> edgenet.nn.specializations.grand(3, 8, order=8)(x, edges).shape
        torch.Size([4, 8])
    """
    if not lift and in_channels != out_channels:
        raise ShapeError(f"without a lift the {in_channels} channels stay, and out_channels are {out_channels}.")
    part = lifts.LinearLift(StructuredLinear.dense(in_channels, out_channels)) if lift else lifts.Identity()
    phi = EdgeVarying(order, self_loops=False, start="shift") if learned else ShiftOperator(order, normalize="sym")
    return EdgeNetConv(
        in_channels, out_channels, phi=phi, lift=part, taps=tapping.Mean(),
        self_tap=True, add_self_loops=True, bias=bias and lift,
    )  # fmt: skip
