"""ScaledLaplacian: the operator whose Chebyshev polynomials PyG's ``ChebConv`` takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgenet import gso
from edgenet.errors import ShapeError
from edgenet.graph import Graph


class ScaledLaplacian(nn.Module):
    """2 L / lambda_max - I, as PyG computes it.

    PyG takes the degrees from the edges that leave a node, gives isolated nodes 1 on the diagonal of a normalised
    Laplacian, and guesses lambda_max as twice the largest entry.

    Args:
        normalization: None: L = D - A. "sym": I - D^(-1/2) A D^(-1/2). "rw": I - D^(-1) A, scaled at the sources.
    """

    def __init__(self, normalization: str | None) -> None:
        super().__init__()
        self.normalization = normalization

    def forward(
        self,
        edges: Any,
        x: Tensor,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        lambda_max: Tensor | float | None = None,
    ) -> tuple[Graph, Tensor]:
        """The graph with one self-loop a node, and its (E',) weights.

        Args:
            edges: as a layer takes them.
            x: (..., N, F) signal.
            edge_weight: (E,).
            batch: (N,) graph of every node, where ``lambda_max`` is (graphs,).
            lambda_max: the largest eigenvalue of L.
        """
        graph, _ = Graph.of(edges, x.shape[-2])
        looped, kept = graph.with_self_loops()
        if edge_weight is None and lambda_max is None:
            key = ("scaled laplacian", self.normalization, x.dtype)
            ones = gso.adjacency(graph, None, x.dtype)
            return looped, graph.memo(key, lambda: self._scaled(looped, ones[kept], x.dtype, None))
        weight = gso.adjacency(graph, edge_weight, x.dtype)[kept]
        if lambda_max is not None and not isinstance(lambda_max, Tensor):
            lambda_max = torch.tensor(lambda_max, dtype=x.dtype, device=x.device)
        if lambda_max is not None and lambda_max.numel() > 1:
            if batch is None:
                raise ShapeError(f"{lambda_max.numel()} values of lambda_max need batch, the graph of every node.")
            lambda_max = lambda_max[batch[looped.source]]
        return looped, self._scaled(looped, weight, x.dtype, lambda_max)

    def _scaled(self, looped: Graph, weight: Tensor, dtype: torch.dtype, largest: Tensor | None) -> Tensor:
        """Of a graph with its loops last, which count for nothing, and the weights of its other edges."""
        turned, edges = looped.transpose(), weight.shape[0]  # whose in-degrees count the edges that leave
        every = torch.cat([weight, weight.new_zeros(looped.num_nodes)])
        total = gso.degree(turned, every, dtype)
        diagonal = total if self.normalization is None else torch.ones_like(total)
        laplacian = torch.cat([-self._normalised(turned, every, dtype).narrow(0, 0, edges), diagonal])
        if largest is None:
            largest = 2 * laplacian.max()
        scaled = 2 * laplacian / largest
        scaled = scaled.masked_fill(scaled == torch.inf, 0)
        return torch.cat([scaled.narrow(0, 0, edges), scaled.narrow(0, edges, looped.num_nodes) - 1])

    def _normalised(self, turned: Graph, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
        return gso.NORMALISATIONS[self.normalization](turned, weight, dtype)

    def extra_repr(self) -> str:
        return f"normalization={self.normalization!r}"
