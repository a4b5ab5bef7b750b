"""Local pooling: some nodes are kept, and each sums up what is around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.nn.graph_signal.neighbours import Neighbourhoods, neighbourhoods
from edgenet.nn.graph_signal.ranking import Ranking
from edgenet.nn.graph_signal.signals import check_within, checked_flow, checked_hops, checked_nodes, walked_graph
from edgenet.nn.options import checked


class LocalPool(nn.Module, ABC):
    """y_p = rho{x_j : j in N^K(n_p)} at the nodes n_1, ..., n_P that are kept, feature by feature (Gama, Marques, Leus,
    Ribeiro 2019, "Convolutional neural network architectures for signals supported on graphs", sec. III-B).

    N^K(i) holds the node i itself, and the nodes from which at most K edges lead to it, whether they are kept or not.
    Later layers walk the whole graph: with ``keep_size`` the nodes that were not kept are 0, and the output is a signal
    on it again.

    Args:
        nodes: numbers of the nodes to keep, as an ordering has them (``designed_sampling(graph)[:P]``); or how many
            of the first.
        hops: K, 1 or more.
        keep_size: whether the output has a row for every node.
        flow: as of ``LocalActivation``.

    Raises:
        ConfigError: if an option is out of range, or a node is named twice.
        ShapeError: in ``forward``, if the graph has fewer nodes, or another number than the signal.

    Example:
        >>> issubclass(edgenet.nn.graph_signal.MaxPoolLocal, edgenet.nn.graph_signal.LocalPool)
        True
    """

    takes_graph = True
    index: Tensor

    @checked
    def __init__(self, nodes: Any, hops: int = 1, keep_size: bool = False, flow: str = "source_to_target") -> None:
        super().__init__()
        self.nodes, self.hops, self.flow = checked_nodes(nodes), checked_hops(hops), checked_flow(flow)
        self.keep_size = keep_size
        self.register_buffer("index", torch.tensor(self.nodes), persistent=False)

    def arguments(self) -> dict[str, Any]:
        return {"nodes": list(self.nodes)}

    @abstractmethod
    def around(self, x: Tensor, near: Neighbourhoods) -> Tensor:
        """(..., P, F) rho over the neighbourhoods of the nodes that are kept."""

    def forward(self, x: Tensor, edge_index: Any) -> Tensor:
        """(..., N, F) -> (..., P, F), or (..., N, F) with ``keep_size``; any number of axes before the nodes'."""
        graph, _ = walked_graph(x, edge_index, self.flow)
        check_within(self.nodes, graph.num_nodes)
        y = self.around(x, neighbourhoods(graph, self.hops).at(self.index))
        return spread(y, self.index, graph.num_nodes) if self.keep_size else y

    def extra_repr(self) -> str:
        return f"{len(self.nodes)} nodes, hops={self.hops}" + (", keep_size=True" if self.keep_size else "")


class MaxPoolLocal(LocalPool):
    """The maximum over the neighbourhood of each node that is kept.

    Example:
        >>> pool = edgenet.nn.graph_signal.MaxPoolLocal(nodes=[0, 2], hops=1)
        >>> pool(x, edges)[0].equal(torch.maximum(x[0], x[3]))  # node 3 sends to node 0
        True
    """

    def around(self, x: Tensor, near: Neighbourhoods) -> Tensor:
        return Ranking(x).largest(near)


class MedianPoolLocal(LocalPool):
    """The lower median over the neighbourhood of each node that is kept; see ``MedianLocalActivation``.

    Example:
        >>> edgenet.nn.graph_signal.MedianPoolLocal(nodes=[0, 2])(x, edges).shape
        torch.Size([2, 3])
    """

    def around(self, x: Tensor, near: Neighbourhoods) -> Tensor:
        return Ranking(x).lower_median(near)


class MeanPoolLocal(LocalPool):
    """The mean over the neighbourhood of each node that is kept.

    Example:
        >>> edgenet.nn.graph_signal.MeanPoolLocal(nodes=[0, 2])(x, edges).shape
        torch.Size([2, 3])
    """

    def around(self, x: Tensor, near: Neighbourhoods) -> Tensor:
        total = x.new_zeros(*x.shape[:-2], len(near.start) - 1, x.shape[-1])
        return total.index_add(-2, near.centre, x[..., near.node, :]) / near.size.unsqueeze(-1)


def spread(y: Tensor, index: Tensor, num_nodes: int) -> Tensor:
    """(..., P, F) numbers of some nodes -> (..., N, F), 0 at all others."""
    return y.new_zeros(*y.shape[:-2], num_nodes, y.shape[-1]).index_copy(-2, index, y)
