"""Gates: how much of a filtered signal passes, at a time, at a node or over an edge."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.nn.graph_recurrent.edges import Edges
from edgenet.nn.graph_recurrent.maps import GraphMap
from edgenet.nn.graph_recurrent.walk import walk
from edgenet.nn.recurrent import Cell, State
from edgenet.phi import Attention
from edgenet.structured import StructuredLinear


class Gate(nn.Module):
    """q_t = read(g_t) in (0, 1), of a hidden state of its own: g_t = tanh(A x_t + B g_{t-1}).

    Ruiz, Gama, Ribeiro 2020, sec. IV. The gate sees the inputs up to now, and not the state that it gates.

    Args:
        cell: that gives the g_t, over graph maps.
        read: ``TimeRead``, ``NodeRead`` or ``EdgeRead``.

    Example:
        >>> model = edgenet.models.GraphRecurrent(3, 1, gate="node")  # which makes two of them
        >>> isinstance(model.layers[0].input_gate, edgenet.nn.graph_recurrent.Gate)
        True
    """

    def __init__(self, cell: Cell, read: nn.Module) -> None:
        super().__init__()
        self.cell, self.read = cell, read

    def forward(
        self, x: Tensor, edges: Edges, state: State | None = None, active: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """(T, B, N, F) -> (T, B, 1, 1), (T, B, N, 1) or (T, B, E) gates, and the last g."""
        hidden, state = walk(self.cell, x, state, edges, active=active)
        return self.read(hidden, edges), state


class TimeRead(nn.Module):
    """One gate for all nodes: sigmoid(w . vec(g) + b), from (N, H) numbers.

    Args:
        num_nodes, channels: N, H.

    Raises:
        ShapeError: in ``forward``, on a graph of another size.

    Example:
        >>> edgenet.nn.graph_recurrent.TimeRead(num_nodes=4, channels=8).channels
        8
    """

    def __init__(self, num_nodes: int, channels: int) -> None:
        super().__init__()
        self.num_nodes, self.channels = num_nodes, channels
        self.linear = StructuredLinear.dense(num_nodes * channels, 1, bias=True)

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()

    def forward(self, hidden: Tensor, edges: Edges) -> Tensor:
        """(..., N, H) -> (..., 1, 1)."""
        if hidden.shape[-2] != self.num_nodes:
            raise ShapeError(
                f"this time gate was made for num_nodes={self.num_nodes}, and the graph has {hidden.shape[-2]} nodes."
            )
        return self.linear(hidden.flatten(-2)).sigmoid().unsqueeze(-1)


class NodeRead(nn.Module):
    """A gate for every node: sigmoid(C(S) g), by a graph filter with one output.

    Args:
        map: (..., N, H) -> (..., N, 1).

    Example:
        >>> nets, part = edgenet.nn.specializations, edgenet.nn.graph_recurrent
        >>> read = part.NodeRead(part.GraphMap(nets.gcnn(8, 1)))
    """

    def __init__(self, map: GraphMap) -> None:
        super().__init__()
        self.map = map

    def reset_parameters(self) -> None:
        self.map.reset_parameters()

    def forward(self, hidden: Tensor, edges: Edges) -> Tensor:
        """(..., N, H) -> (..., N, 1)."""
        return self.map(hidden, edges).sigmoid()


class EdgeRead(nn.Module):
    """A gate for every edge: the attention of its receiver to its sender, softmax over the receiver's in-edges and a
    self-loop of

    LeakyReLU(a_1 w . g_i + a_2 w . g_j),   e = (j -> i).

    alegnn's softmax runs over the out-edges of each sender instead.

    Args:
        channels: H.

    Example:
        >>> edgenet.nn.graph_recurrent.EdgeRead(channels=8).channels
        8
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.lift = StructuredLinear.dense(channels, 1)
        self.phi = Attention()

    def reset_parameters(self) -> None:
        self.lift.reset_parameters()
        self.phi.reset_parameters()

    def forward(self, hidden: Tensor, edges: Edges) -> Tensor:
        """(..., N, H) -> (..., E)."""
        lead = hidden.shape[:-2]
        x = hidden.flatten(0, -3).transpose(0, 1)  # (N, B, H): nodes first, as phis have signals
        graph, column = _with_loops(edges.graph)
        gate = self.phi(x, self.lift(x).unsqueeze(-1), graph)[0]
        return gate[column].t().unflatten(0, lead)


def _with_loops(graph: Graph) -> tuple[Graph, Tensor]:
    """The graph with one self-loop a node, and (E,) the column there of every edge of the graph."""

    def build() -> tuple[Graph, Tensor]:
        whole, kept = graph.with_self_loops()
        column = len(kept) + graph.source  # of loops
        return whole, column.index_put((kept,), torch.arange(len(kept), device=kept.device))

    return graph.memo("columns with self-loops", build)
