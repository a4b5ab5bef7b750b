"""Local activations: a non-linearity that mixes each node's number with the maximum or median around it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.nn.graph_signal.neighbours import Neighbourhoods, neighbourhoods
from edgenet.nn.graph_signal.ranking import Ranking
from edgenet.nn.graph_signal.signals import checked_flow, checked_hops, walked_graph
from edgenet.nn.options import checked


class LocalActivation(nn.Module, ABC):
    """y_i = w_0 x_i + sum over k = 1..K of w_k rho{x_j : j in N^k(i)}, feature by feature (Ruiz, Gama, Marques, Ribeiro
    2020, "Invariance-preserving localized activation functions for graph neural networks").

    N^k(i) holds the node i itself, and the nodes from which at most k edges lead to it. All features and nodes share
    the weights w. An edge counts whatever its weight.

    Args:
        hops: K, 1 or more.
        flow: "source_to_target", as in PyG. "target_to_source" goes along the edges: the nodes which i leads to.
            alegnn's neighbourhoods are these, for its S[i, j] is the edge from i to j; without directions they are the
            same.

    Raises:
        ConfigError: if an option is out of range.
        ShapeError: in ``forward``, if the signal is none, or the graph has another number of nodes.

    Example:
        >>> issubclass(edgenet.nn.graph_signal.MaxLocalActivation, edgenet.nn.graph_signal.LocalActivation)
        True
    """

    takes_graph = True

    @checked
    def __init__(self, hops: int = 1, flow: str = "source_to_target") -> None:
        super().__init__()
        self.hops, self.flow = checked_hops(hops), checked_flow(flow)
        self.weight = nn.Parameter(torch.empty(self.hops + 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights evenly from +-1 / sqrt(K)."""
        bound = 1 / math.sqrt(self.hops)
        nn.init.uniform_(self.weight, -bound, bound)

    @abstractmethod
    def around(self, ranking: Ranking, near: Neighbourhoods) -> Tensor:
        """(..., N, F) rho over every neighbourhood."""

    def forward(self, x: Tensor, edge_index: Any) -> Tensor:
        """(N, F), (B, N, F) or (B, T, N, F) -> the same shape.

        Args:
            edge_index: (2, E) edges, a ``Graph``, or whatever else a convolution takes.
        """
        graph, _ = walked_graph(x, edge_index, self.flow)
        ranking = Ranking(x)
        y = self.weight[0] * x
        for k in range(1, self.hops + 1):
            y = y + self.weight[k] * self.around(ranking, neighbourhoods(graph, k))
        return y

    def extra_repr(self) -> str:
        return f"hops={self.hops}" + ("" if self.flow == "source_to_target" else f", flow={self.flow!r}")


class MaxLocalActivation(LocalActivation):
    """A local activation with the maximum: y_i = w_0 x_i + sum over k of w_k max{x_j : j in N^k(i)}.

    Example:
        >>> edgenet.nn.graph_signal.MaxLocalActivation(hops=2)(x, edges).shape
        torch.Size([4, 3])
    """

    def around(self, ranking: Ranking, near: Neighbourhoods) -> Tensor:
        return ranking.largest(near)


class MedianLocalActivation(LocalActivation):
    """A local activation with the lower median, which is ``torch.median``: of an even number of nodes, the smaller one
    of the two in the middle.

    Example:
        >>> edgenet.nn.graph_signal.MedianLocalActivation(hops=2)(x, edges).shape
        torch.Size([4, 3])
    """

    def around(self, ranking: Ranking, near: Neighbourhoods) -> Tensor:
        return ranking.lower_median(near)
