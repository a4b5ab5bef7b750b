"""PyG's polynomials and recursions of one shift operator as EdgeNet layers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgenet.convert.converted import Converted
from edgenet.convert.laplacian import ScaledLaplacian
from edgenet.convert.source import Source
from edgenet.nn.lift import LinearLift
from edgenet.nn.taps import Chebyshev, InitialResidual, Linear, Stacks, Sum, Teleport
from edgenet.phi import ShiftOperator
from edgenet.structured import StructuredLinear


def gcn(source: Source) -> Converted:
    """``GCNConv``: one hop of the normalised adjacency."""
    layer = source.layer
    source.check_not_cached()
    phi = ShiftOperator(1, normalize="sym" if layer.normalize else None)
    fixed = () if layer.normalize else ("add_self_loops",)  # of which PyG's layer takes no notice then
    return _smoothed(source, phi, source.linear("lin"), layer.bias, 2.0 if layer.improved else 1.0, fixed)


def sgc(source: Source) -> Converted:
    """``SGConv``: the last of K hops of the normalised adjacency."""
    layer = source.layer
    source.check_not_cached()
    if layer.K < 1:
        raise source.refusal("K", layer.K, "It walks nowhere: put its linear map, lin, in its place.")
    lift = source.linear("lin", bias=False)  # its bias is added behind the walk, which would otherwise take it
    return _smoothed(source, ShiftOperator(layer.K, normalize="sym"), lift, layer.lin.bias, 1.0)


def appnp(source: Source) -> Converted:
    """``APPNP``: the walk of the normalised adjacency that returns to its first signal."""
    layer = source.layer
    source.check_not_cached()
    _check_walk(source)
    if layer.dropout > 0:
        raise source.refusal(
            "dropout", layer.dropout, "It drops normalised weights anew at every hop: set it to 0, or make a layer of "
            "ShiftOperator(edge_dropout=...), which drops edges of a pass before they are normalised.",
        )  # fmt: skip
    return source.converted(
        -1, -1, None, calling="weighted", phi=ShiftOperator(layer.K, normalize="sym" if layer.normalize else None),
        taps=Teleport(layer.alpha), self_tap=True, add_self_loops=layer.normalize and layer.add_self_loops,
        fixed=("add_self_loops",),
    )  # fmt: skip


def gcn2(source: Source) -> Converted:
    """``GCN2Conv``: one hop of the normalised adjacency, beside the signal that the network began with."""
    layer = source.layer
    source.check_not_cached()
    _check_walk(source)
    taps = InitialResidual(layer.alpha, layer.beta, layer.channels, shared=layer.weight2 is None)
    taps.mix = source.matrix(source.made("weight1", [layer.weight1], lambda w: w.t()))
    if layer.weight2 is not None:
        taps.mix_initial = source.matrix(source.made("weight2", [layer.weight2], lambda w: w.t()))
    return source.converted(
        layer.channels, layer.channels, None, calling="initial", options={"alpha": "taps.alpha", "beta": "taps.beta"},
        phi=ShiftOperator(1, normalize="sym" if layer.normalize else None), taps=taps, lift="identity",
        add_self_loops=layer.normalize and layer.add_self_loops, fixed=("add_self_loops",),
    )  # fmt: skip


def _smoothed(
    source: Source,
    phi: ShiftOperator,
    lift: StructuredLinear,
    bias: nn.Parameter | None,
    loop_weight: float,
    fixed: tuple[str, ...] = (),
) -> Converted:
    _check_walk(source)
    return source.converted(
        lift.weight.shape[1], source.layer.out_channels, bias, calling="weighted", phi=phi, lift=LinearLift(lift),
        taps=Sum(last=True), self_tap=False, add_self_loops=source.layer.add_self_loops, loop_weight=loop_weight,
        fixed=fixed,
    )  # fmt: skip


def tag(source: Source) -> Converted:
    """``TAGConv``: a polynomial of the adjacency, one matrix a power."""
    layer = source.layer
    _check_walk(source)
    taps = Linear(source.joined("lins"))
    phi = ShiftOperator(layer.K, normalize="sym" if layer.normalize else None)
    width = taps.linear.weight.shape[1] // (layer.K + 1)
    return source.converted(width, layer.out_channels, layer.bias, calling="weighted", phi=phi, taps=taps)


def cheb(source: Source) -> Converted:
    """``ChebConv``: Chebyshev polynomials of the scaled Laplacian, one matrix a polynomial."""
    layer, order = source.layer, len(source.layer.lins) - 1
    _check_walk(source)
    taps = Chebyshev(source.joined("lins"))
    return source.converted(
        taps.linear.weight.shape[1] // (order + 1), layer.out_channels, layer.bias, calling="spectral",
        options={"normalization": "operator.normalization"}, phi=ShiftOperator(order), taps=taps,
        operator=ScaledLaplacian(layer.normalization),
    )  # fmt: skip


def arma(source: Source) -> Converted:
    """``ARMAConv``: stacks of recursions that start again from the input, as taps."""
    layer = source.layer
    _check_walk(source)
    stacks, width = layer.num_stacks, layer.out_channels
    order, shared = layer.num_layers, layer.shared_weights
    inputs = -1 if is_lazy(layer.init_weight) else layer.init_weight.shape[1]
    taps = Stacks(inputs, width, order, stacks, shared, layer.act, layer.dropout, layer.bias is not None)

    def rows(t: int | None) -> Callable[[Tensor], Tensor]:
        return lambda w: (w if t is None else w[t]).transpose(-1, -2).flatten(0, 1)

    def matrix(name: str, t: int | None) -> nn.Module:
        parameter = getattr(layer, name)
        return source.matrix(source.made(name, [parameter], rows(t)), stacks * width)

    taps.mix[0] = matrix("init_weight", None)
    for t in range(1, len(taps.mix)):
        taps.mix[t] = matrix("weight", t - 1)
    source.unused(layer.weight)  # one layer mixes nothing further
    for t, root in enumerate(taps.root):
        root.weight = matrix("root_weight", t)
        if layer.bias is not None:
            root.bias = source.made("bias", [layer.bias], lambda b, t=t: b[t].flatten())
    if inputs == -1:
        source.wait(taps, "stacks", stacks=stacks, rounds=len(layer.weight) + 1)
    if isinstance(layer.act, nn.Module):
        source.whole(layer.act)
    return source.converted(
        inputs, width, None, calling="weighted", options={"dropout": "taps.dropout", "act": "taps.activation"},
        phi=ShiftOperator(order, normalize="sym"), taps=taps,
    )  # fmt: skip


def _check_walk(source: Source) -> None:
    source.aggregation("sum")
    source.check_node_dim(-2)
