"""DelayedConv: a graph filter whose signals take a step of time for every hop."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.nn.graph_signal.signals import walked_graph
from edgenet.nn.options import checked
from edgenet.phi import ShiftOperator
from edgenet.structured import StructuredLinear


class DelayedConv(nn.Module):
    """y_t = b + sum over k = 0..K of S_t S_(t-1) ... S_(t-k+1) x_(t-k) W_k: what a node hears from k hops away left k
    steps ago, over the edges of those steps (Tolstaya et al. 2020, "Learning decentralized controllers for robot swarms
    with graph neural networks", sec. 3; the ``_DB`` layers of alegnn).

    Signals are 0 before the first step. S may change with time, by its entries; its edges are those of one graph, of
    which any may have weight 0.

    Args:
        in_channels: F_in.
        out_channels: F_out.
        order: K, 0 or more.
        normalize: of S, as in ``ShiftOperator``; None where S changes with time.
        bias: whether to learn an additive bias.

    Raises:
        ConfigError: if a number is out of range.
        ShapeError: in ``forward``, if something does not fit the layer, or each other.

    Example:
        >>> edgenet.nn.graph_signal.DelayedConv(3, 8, order=2)(torch.randn(2, 10, 4, 3), edges).shape  # 10 steps
        torch.Size([2, 10, 4, 8])
    """

    takes_graph = True
    needs_edge_attr = False
    add_self_loops = False

    @checked
    def __init__(
        self, in_channels: int, out_channels: int, order: int = 2, normalize: str | None = "sym", bias: bool = True
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1 or order < 0:
            raise ConfigError(
                f"in_channels >= 1, out_channels >= 1, order >= 0 are wanted, got {in_channels}, {out_channels}, "
                f"{order}."
            )
        self.in_channels, self.out_channels, self.order, self.normalize = in_channels, out_channels, order, normalize
        self.shift = ShiftOperator(1, normalize=normalize)
        self.linear = StructuredLinear.dense((order + 1) * in_channels, out_channels, bias)

    def arguments(self) -> dict[str, Any]:
        """Of the constructor's, those that are no attribute of the same name."""
        return {"bias": self.linear.bias is not None}

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.linear.reset_parameters()

    def forward(self, x: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """(T, N, F_in) or (B, T, N, F_in) -> the same with F_out.

        Args:
            edge_weight: (E,) entries of S; (T, E) of every step; (B, T, E) of every step of every signal.
        """
        graph, values = walked_graph(x, edge_index, "source_to_target")
        if x.dim() not in (3, 4) or x.shape[-1] != self.in_channels:
            raise ShapeError(
                f"a delayed filter was made for (time, nodes, {self.in_channels}) or (batch, time, nodes, "
                f"{self.in_channels}), got {tuple(x.shape)}."
            )
        z = (x if x.dim() == 4 else x.unsqueeze(0)).permute(2, 1, 0, 3)  # (N, T, B, F)
        weight = self._weights(z, graph, values if edge_weight is None else edge_weight)
        heads = weight.shape[1]
        walked = (len(z), heads, math.prod(z.shape[1:]) // max(1, heads))  # no heads where there are no signals
        hops = [z]
        for _ in range(self.order):
            z = torch.cat([torch.zeros_like(z[:, :1]), z[:, :-1]], 1)  # a step later
            z = ops.spmm(graph, weight, z.reshape(walked)).reshape(z.shape)
            hops.append(z)
        y = self.linear(torch.cat(hops, -1)).permute(2, 1, 0, 3)
        return y if x.dim() == 4 else y.squeeze(0)

    def _weights(self, z: Tensor, graph: Graph, given: Tensor | None) -> Tensor:
        """(E, 1), (E, T) or (E, T * B) weights: steps, or steps of signals, are heads of one walk."""
        steps, batch = z.shape[1:3]
        if given is not None and given.is_complex():
            raise ShapeError(f"the entries of a delayed filter's operator are real, got edge weights {given.dtype}.")
        if given is None or given.dim() == 1:
            return self.shift(z, z, graph, given)[0].to(z.dtype)
        if given.shape not in ((steps, graph.num_edges), (batch, steps, graph.num_edges)):
            raise ShapeError(
                f"edge weights are ({graph.num_edges},), ({steps}, {graph.num_edges}) or ({batch}, {steps}, "
                f"{graph.num_edges}) for {steps} steps of {batch} signals, got {tuple(given.shape)}."
            )
        if self.normalize not in (None, "none"):
            raise ShapeError(
                f"normalize={self.normalize!r} is for one operator; normalise those of the steps beforehand, and set "
                f"normalize=None."
            )
        weight = given.to(z.dtype)
        return weight.T if weight.dim() == 2 else weight.permute(2, 1, 0).flatten(1)
