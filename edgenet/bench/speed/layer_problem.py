"""A layer to be timed: ours and those of the peers with the same parameters, on one graph and signal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgenet.bench.harness.timing import BOTH, FORWARD, Implementation, Results, forward, forward_backward
from edgenet.bench.speed.peer_edges import Edges
from edgenet.bench.speed.peer_layers import peer_layers
from edgenet.bench.speed.reference import LayerShape, reference
from edgenet.bench.speed.same_parameters import Parameters, PeerLayer, as_ours, hold_
from edgenet.graph import Graph


class LayerProblem:
    """A layer of ours with random parameters, a signal and a direction of the gradient, from a fixed seed; float32.

    Args:
        shape: of the layer.
        graph: what it walks.
        parts: how many parts of the output the check covers; None: all. See ``reference``.
    """

    def __init__(self, shape: LayerShape, graph: Graph, parts: int | None = None) -> None:
        draw = torch.Generator().manual_seed(0)
        self.shape, self.graph, self.parts = shape, graph, parts
        self.layer = shape.build().float()
        fill_(self.layer, draw)
        self.parameters = {name: value.detach().clone() for name, value in self.layer.named_parameters()}
        nodes = graph.num_nodes
        x = torch.randn(nodes, shape.in_channels, generator=draw, dtype=torch.float32)
        self.x = x.mul_(16).round_().div_(16).requires_grad_()  # see fill_
        self.direction = torch.randn(nodes, shape.width, generator=draw, dtype=torch.float32)

    def implementations(self, peers: list[str]) -> list[Implementation]:
        """Ours first, then the peers'."""
        return [self.ours(), *map(self.peer, peer_layers(self.shape, Edges(self.graph), peers))]

    def ours(self) -> Implementation:
        edge_index = self.graph.edge_index
        call = lambda x: self.layer(x, edge_index)  # noqa: E731
        name = f"edgenet `{self.shape.layer}`"
        return implementation(name, self.layer, call, self.x, self.direction, columns=self._columns())

    def peer(self, layer: PeerLayer) -> Implementation:
        return peer_implementation(layer, self.parameters, self.x, self.direction, self._columns())

    def _columns(self) -> int | None:
        return None if self.parts is None else self.parts * self.shape.part(self.graph.num_edges).width

    def reference(self) -> Results:
        return reference(self.shape, self.parameters, self.graph, self.x, self.direction, self.parts)


def implementation(
    name: str,
    module: nn.Module,
    call: Callable[[Tensor], Tensor],
    x: Tensor,
    direction: Tensor,
    to_ours: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
    columns: int | None = None,
) -> Implementation:
    """A layer, timed forward, and with the gradients in x and all of its parameters.

    Args:
        to_ours: makes gradients in our parameters of those in the module's.
        columns: of the output, how many from the first to check; None: all.
    """
    own = dict(module.named_parameters())
    leaves = (x, *own.values())

    def results() -> Results:
        towards = direction
        if columns is not None:  # of the others nothing is known: their gradients must not count
            towards = direction.clone()
            towards[..., columns:] = 0
        y, (grad_x, *grads) = forward_backward(call, (x,), leaves, towards)()
        if columns is not None:
            y[..., columns:] = 0
        found = {"x": grad_x} | to_ours(dict(zip(own, grads, strict=True)))
        return {"value": y} | {f"gradient in {name}": grad for name, grad in found.items()}

    calls = {FORWARD: forward(call, x), BOTH: forward_backward(call, (x,), leaves, direction)}
    return Implementation(name, calls, results)


def peer_implementation(
    layer: PeerLayer, ours: Parameters, x: Tensor, direction: Tensor, columns: int | None = None
) -> Implementation:
    """A peer's layer, with our parameters; its gradients are told in ours."""
    module = layer.module.float()
    hold_(module, layer.mapping, ours)
    to_ours = lambda grads: as_ours(grads, layer.mapping, ours)  # noqa: E731
    return implementation(layer.name, module, layer.call, x, direction, to_ours, columns)


@torch.no_grad()
def fill_(module: nn.Module, draw: torch.Generator) -> None:
    """Draw all parameters from a generator; biases too, which start as zeros and would hide a wrong one.

    They are multiples of 2^-7, biases of 2^-11, and the signals of a ``LayerProblem`` multiples of 2^-4: lifted signals
    are then exact in float32. Otherwise some of 10^8 arguments of GATv2's LeakyReLU would round to the other side of
    its kink, and gradients differ there by more than by rounding. None is 0: one of the biases has half a step more.
    """
    for name, value in module.named_parameters():
        bias = name.endswith("bias")
        bound, step = (0.1, 2**-11) if bias else ((6 / sum(value.shape[-2:])) ** 0.5, 2**-7)
        value.copy_((2 * torch.rand(value.shape, generator=draw, dtype=value.dtype) - 1) * bound)
        value.div_(step).round_().mul_(step)
        if name.endswith("phi.target.bias"):
            value.add_(step / 2)
