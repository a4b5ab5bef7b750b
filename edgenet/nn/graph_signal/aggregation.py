"""Aggregation: what chosen nodes learn of a signal as it diffuses, a sequence each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import ConfigError
from edgenet.nn.graph_signal.signals import check_within, checked_flow, checked_nodes, walked_graph
from edgenet.nn.options import checked
from edgenet.phi import ShiftOperator


class Aggregation(nn.Module):
    """s_p[q] = (S^q x) at node n_p, q = 0..Q-1: the signal as it arrives at each of P nodes, hop after hop (Gama,
    Marques, Leus, Ribeiro 2019, sec. IV).

    Numbers that are neighbours in the sequence come from neighbours in the graph, so that whatever reads sequences
    reads the graph: ``Conv1d``, or a recurrent network with ``batch_first``. If S has different eigenvalues and Q = N,
    one node's sequence says all of x.

    Args:
        nodes: numbers of the nodes, or how many of the first; see ``ORDERINGS``.
        length: Q, 1 or more.
        normalize: of S, as in ``ShiftOperator``.
        flow: "source_to_target", as in PyG, or "target_to_source", which walks the edges backwards.

    Raises:
        ConfigError: if an option is out of range, or a node is named twice.
        ShapeError: in ``forward``, if the graph has fewer nodes, or another number than the signal.

    Example:
        >>> edgenet.nn.graph_signal.Aggregation(nodes=[0, 2], length=5)(x, edges).shape  # nodes, hops, features
        torch.Size([2, 5, 3])
    """

    takes_graph = True
    index: Tensor

    @checked
    def __init__(self, nodes: Any, length: int, normalize: str | None = "sym", flow: str = "source_to_target") -> None:
        super().__init__()
        if length < 1:
            raise ConfigError(f"a sequence has a length of 1 or more, got {length}.")
        self.nodes, self.length, self.flow = checked_nodes(nodes), length, checked_flow(flow)
        self.normalize = normalize
        self.shift = ShiftOperator(1, normalize=normalize)
        self.register_buffer("index", torch.tensor(self.nodes), persistent=False)

    def arguments(self) -> dict[str, Any]:
        return {"nodes": list(self.nodes)}

    def forward(self, x: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """(..., N, F) -> (..., P, Q, F), any number of axes before the nodes'.

        Args:
            edge_index: (2, E) edges, a ``Graph``, or a sparse adjacency, whose values are the weights.
            edge_weight: (E,) the entries of S before they are normalised.
        """
        graph, values = walked_graph(x, edge_index, self.flow)
        check_within(self.nodes, graph.num_nodes)
        z = x.movedim(-2, 0).flatten(1).unsqueeze(1)  # all signals and features are channels of one walk
        weight = self.shift(z, z, graph, values if edge_weight is None else edge_weight)[0]
        seen = [z[self.index, 0]]
        for _ in range(self.length - 1):
            z = ops.spmm(graph, weight, z)
            seen.append(z[self.index, 0])
        sequence = torch.stack(seen, 1).unflatten(-1, (*x.shape[:-2], x.shape[-1]))  # (P, Q, ..., F)
        return sequence.movedim((0, 1), (-3, -2))

    def extra_repr(self) -> str:
        return f"{len(self.nodes)} nodes, length={self.length}"
