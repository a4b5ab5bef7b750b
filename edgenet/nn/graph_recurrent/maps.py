"""GraphMap: a graph convolution as one of the two maps of a recurrent cell."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from edgenet.errors import ConfigError
from edgenet.nn.conv import EdgeNetConv
from edgenet.nn.graph_recurrent.edges import Edges
from edgenet.nn.parallel import Parallel
from edgenet.phi.edge_gated import EdgeGated


class GraphMap(nn.Module):
    """y = gate * A(S) x for signals (..., N, F), all of them in one call of the convolution.

    Gates of time and of nodes multiply the filtered signal, its bias too. Gates of edges multiply every edge's weight
    at every hop: A(G * S) x (Ruiz, Gama, Ribeiro 2020).

    Args:
        conv: a layer of edgenet, (B, N, F) -> (B, N, F_out).
        gates_edges: whether the gates that come are those of edges, of a layer that was made ready by ``gate_edges_``.

    Example:
        >>> layer = edgenet.nn.graph_recurrent.GraphMap(edgenet.nn.specializations.gcnn(3, 8))
        >>> layer.out_width
        8
    """

    takes_graph = True

    def __init__(self, conv: nn.Module, gates_edges: bool = False) -> None:
        super().__init__()
        self.conv, self.gates_edges = conv, gates_edges

    @property
    def out_width(self) -> Any:
        """Numbers of a node in the result, as its layer says."""
        return self.conv.out_width

    def bind(self, edges: Any, num_nodes: int | None = None) -> None:
        """Give tables of edge weights and node taps their graph."""
        bind: Any = getattr(self.conv, "bind", None)
        if bind is not None:
            bind(edges, num_nodes)

    def reset_parameters(self) -> None:
        reset: Any = self.conv.reset_parameters
        reset()

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """(..., N, F) -> (..., N, F_out).

        Raises:
            ConfigError: if gates of edges come to a map of other gates, or the reverse.
        """
        if edges.gate is not None and (edges.gate.dim() < x.dim()) != self.gates_edges:
            came, wanted = ("nodes or time", "edges") if self.gates_edges else ("edges", "nodes or time")
            raise ConfigError(
                f"gates of {came} came to a map for those of {wanted}. For gates of edges call gate_edges_(conv), and "
                f"make GraphMap(conv, gates_edges=True)."
            )
        given = {"edge_weight": edges.weight, "edge_attr": edges.attr}
        if self.gates_edges and edges.gate is not None:
            given["edge_attr"] = edges.gate.flatten(0, -2).t()
        known = {name: value for name, value in given.items() if value is not None}
        lead = x.shape[:-2]
        y = self.conv(x.flatten(0, -3), edges.graph, **known).unflatten(0, lead)
        return y if edges.gate is None or self.gates_edges else edges.gate * y


def gate_edges_(conv: nn.Module) -> None:
    """Let edges of a layer be gated, in place: its phi is put into ``EdgeGated``. Loops that it adds stay as they are.

    Raises:
        ConfigError: if it has no scalar weights of edges.

    Example:
        >>> layer = edgenet.nn.specializations.gcnn(3, 8)
        >>> edgenet.nn.graph_recurrent.gate_edges_(layer)
        >>> type(layer.phi).__name__
        'EdgeGated'
    """
    if isinstance(conv, Parallel):
        for part in conv.convs:
            gate_edges_(part)
    elif isinstance(conv, EdgeNetConv):
        if getattr(conv.taps, "reads_weights", False):
            raise ConfigError(
                f"{type(conv.taps).__name__} taps read the weights of one operator: no edge gate can vary it."
            )
        conv.phi = EdgeGated(conv.phi)
        conv.fill_value = 1.0
    else:
        raise ConfigError(f"an edge gate scales the weights of edges, and a {type(conv).__name__} has none.")
