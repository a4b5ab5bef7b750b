"""Our layers in float64 on the reference backend, a part of the output at a time: whole, they would not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.bench.harness.timing import Results
from edgenet.graph import Graph
from edgenet.nn import SPECIALIZATIONS

SLICE = 40_000_000  # messages of a part, in float64, that are held several times over


@dataclass(frozen=True)
class LayerShape:
    """A layer of ours, by name and sizes.

    Attributes:
        layer: a name in ``SPECIALIZATIONS``.
        in_channels: F.
        channels: C, of each head.
        heads: H; None for layers without heads.
    """

    layer: str
    in_channels: int
    channels: int
    heads: int | None = None

    @property
    def width(self) -> int:
        """Channels of the output."""
        return self.channels * (self.heads or 1)

    def __str__(self) -> str:
        out = str(self.channels) if self.heads is None else f"{self.heads} x {self.channels}"
        return f"{self.in_channels} -> {out}"

    def build(self) -> nn.Module:
        options: dict[str, Any] = {} if self.heads is None else {"heads": self.heads}
        return SPECIALIZATIONS[self.layer](self.in_channels, self.channels, **options)

    def part(self, edges: int) -> LayerShape:
        """A layer that makes a part of this one's output: one head, or as many channels as are held at a time."""
        if self.heads is not None:
            return LayerShape(self.layer, self.in_channels, self.channels, 1)
        width = self.channels
        while width * edges > SLICE and width % 2 == 0:
            width //= 2
        return LayerShape(self.layer, self.in_channels, width)


def reference(
    shape: LayerShape, parameters: Mapping[str, Tensor], graph: Graph, x: Tensor, direction: Tensor, parts: int | None
) -> Results:
    """The output, and the gradients of its inner product with ``direction`` in x and all parameters.

    Args:
        parameters: of the layer of this shape, by name.
        direction: (N, F_out).
        parts: how many parts to compute; None: all. Of others, the output is 0 and the direction is taken as 0.
    """
    part = shape.part(graph.num_edges)
    x = x.detach().double()
    y = torch.zeros(graph.num_nodes, shape.width, dtype=torch.float64)
    grads = {"x": torch.zeros_like(x)}
    grads |= {name: torch.zeros_like(value, dtype=torch.float64) for name, value in parameters.items()}
    total = shape.width // part.width
    with ops.use("reference"):
        for number in range(total if parts is None else min(parts, total)):
            layer = part.build().double()
            own = dict(layer.named_parameters())
            with torch.no_grad():
                for name, value in own.items():
                    value.copy_(_share(parameters[name], value.shape, number))
            columns = slice(number * part.width, (number + 1) * part.width)
            leaf = x.clone().requires_grad_()
            out = layer(leaf, graph)
            found = torch.autograd.grad(out, (leaf, *own.values()), direction[:, columns].double())
            y[:, columns] = out.detach()
            grads["x"] += found[0]
            for (name, value), grad in zip(own.items(), found[1:], strict=True):
                _share(grads[name], value.shape, number).add_(grad)
    return {"value": y} | {f"gradient in {name}": grad for name, grad in grads.items()}


def _share(whole: Tensor, shape: torch.Size, number: int) -> Tensor:
    """The part ``number`` of a parameter: along the axis in which it is longer than that of the part's layer."""
    for axis, (long, short) in enumerate(zip(whole.shape, shape, strict=True)):
        if long != short:
            return whole.narrow(axis, number * short, short)
    return whole
