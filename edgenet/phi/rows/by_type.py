"""ByType: a row for every edge type."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.errors import ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.phi.rows.base import RowFinder


class ByType(RowFinder):
    """A row for every edge type, given as (E,) integers in ``edge_attr``, and one for all nodes. Legal on any graph.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying", share="type", num_types=2)
        >>> layer(x, edges, edge_attr=torch.tensor([0, 1, 1, 0])).shape
        torch.Size([4, 8])
    """

    def __init__(self, num_types: int) -> None:
        super().__init__()
        self.num_types = self.edge_rows = num_types
        self.node_rows = 1

    def of_edges(self, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        if edge_attr is None or edge_attr.is_floating_point() or edge_attr.numel() != graph.num_edges:
            got = "none" if edge_attr is None else f"{tuple(edge_attr.shape)} {edge_attr.dtype}"
            raise ShapeError(f"weights shared by type need ({graph.num_edges},) integer types as edge_attr, got {got}.")
        kind = edge_attr.reshape(-1).long()
        tracing = torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack()  # stand-ins have no numbers
        if not tracing and kind.numel():
            low, high = (int(v) for v in kind.aminmax())
            if low < 0 or high >= self.edge_rows:
                raise SupportError(
                    f"edge type {low if low < 0 else high} is not among the {self.edge_rows} types "
                    f"0 to {self.edge_rows - 1}."
                )
        return kind

    def of_nodes(self, graph: Graph) -> Tensor:
        return torch.zeros(graph.num_nodes, dtype=torch.long, device=graph.edge_index.device)

    def extra_repr(self) -> str:
        return f"types={self.edge_rows}"
