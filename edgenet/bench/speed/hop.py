"""One hop to be timed: a graph with weights and signals, its reference, and the bytes that it must move."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edgenet import ops
from edgenet.bench.harness.timing import BOTH, FORWARD, Implementation, Results, forward, forward_backward
from edgenet.graph import Graph

CHECKED = 200_000_000  # messages that the reference sums: those of all heads, or of as many as stay within this
SLICE = 40_000_000  # of them that it holds at a time, in float64, several times over

Function = Callable[[Tensor, Tensor], Tensor]  # (E, H) weights, (N, H, C) signals -> (N, H, C)


class Problem:
    """A graph with weights, signals and a direction of the gradient, drawn from a fixed seed; float32."""

    def __init__(self, edge_index: Tensor, num_nodes: int, heads: int, channels: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.graph = Graph(edge_index, num_nodes)
        signal = (num_nodes, heads, channels)
        self.weight = torch.rand(edge_index.shape[1], heads, generator=draw, dtype=torch.float32).requires_grad_()
        self.x = torch.randn(signal, generator=draw, dtype=torch.float32).requires_grad_()
        self.direction = torch.randn(signal, generator=draw, dtype=torch.float32)
        self.checked = max(1, min(heads, CHECKED // max(1, edge_index.shape[1] * channels)))

    def implementation(self, name: str, function: Function, differentiable: bool = True) -> Implementation:
        """What is timed of a function, and its results in the heads that are checked."""
        inputs = (self.weight, self.x)
        both = forward_backward(function, inputs, inputs, self.direction)
        one = forward(function, *inputs)

        def results() -> Results:
            if not differentiable:
                return {"value": one()[:, : self.checked]}
            y, (grad_weight, grad_x) = both()
            of = {"value": y, "gradient in w": grad_weight, "gradient in x": grad_x}
            return {name: value[:, : self.checked] for name, value in of.items()}

        return Implementation(name, {FORWARD: one, BOTH: both} if differentiable else {FORWARD: one}, results)

    def reference(self) -> Results:
        """``ops.spmm`` in float64 on its reference backend, a head and some channels at a time: more would not fit."""
        width = max(1, SLICE // max(1, self.graph.num_edges))
        y, grad_x = (torch.empty_like(self.x[:, : self.checked], dtype=torch.float64) for _ in range(2))
        grad_weight = torch.zeros_like(self.weight[:, : self.checked], dtype=torch.float64)
        with ops.use("reference"):
            for h in range(self.checked):
                weight = self.weight.detach()[:, h : h + 1].double().requires_grad_()
                for first in range(0, self.x.shape[2], width):
                    at = (slice(None), slice(h, h + 1), slice(first, first + width))
                    x = self.x.detach()[at].double().requires_grad_()
                    part = ops.spmm(self.graph, weight, x)
                    grads = torch.autograd.grad(part, (weight, x), self.direction[at].double())
                    y[at], grad_x[at] = part.detach(), grads[1]
                    grad_weight[:, h : h + 1] += grads[0]
        return {"value": y, "gradient in w": grad_weight, "gradient in x": grad_x}

    def compulsory_bytes(self) -> dict[str, int]:
        """Bytes that must move: every array once, indices as int32.

        Forward: w, x, out, the sources, and where rows begin. Backward: w, x, dout, dw, dx, and two arrays of indices.
        """
        edges, nodes, size = self.graph.num_edges, self.graph.num_nodes, 4
        weight, signal = self.weight.numel(), self.x.numel()
        return {
            FORWARD: size * (weight + 2 * signal + edges + nodes + 1),
            "backward": size * (2 * weight + 3 * signal + 2 * edges),
        }
