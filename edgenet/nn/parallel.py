"""Parallel: the sum of several convolutions of the same input."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.nn.conv import EdgeNetConv


class Parallel(nn.Module):
    """y = conv_1(x) + ... + conv_n(x): hybrid edge-varying filters, ARMA filters with their polynomial part.

    Args:
        convs: layers with inputs and outputs of the same widths.

    Example:
        >>> nets = edgenet.nn.specializations
        >>> edgenet.nn.Parallel(nets.gcn(3, 8), nets.gat(3, 8))(x, edges).shape
        torch.Size([4, 8])
    """

    takes_graph = True

    def __init__(self, *convs: EdgeNetConv) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.in_channels, self.out_channels = convs[0].in_channels, convs[0].out_channels
        self.add_self_loops = any(conv.add_self_loops for conv in convs)

    @property
    def out_width(self) -> int:
        """F_out of its output, which is that of every layer."""
        return self.convs[0].out_width

    @property
    def order(self) -> int:
        """K of the layer that walks farthest."""
        return max(conv.order for conv in self.convs)

    @property
    def reach(self) -> int:
        """How many hops away edges may be that a node's output depends on."""
        return max(conv.reach for conv in self.convs)

    @property
    def needs_edge_attr(self) -> bool:
        """Whether a layer was made for edge features."""
        return any(conv.needs_edge_attr for conv in self.convs)

    def bind(self, edges: Any, num_nodes: int | None = None) -> Parallel:
        """As ``EdgeNetConv.bind``, for every layer."""
        for conv in self.convs:
            conv.bind(edges, num_nodes)
        return self

    def reset_parameters(self) -> None:
        for conv in self.convs:
            conv.reset_parameters()

    def forward(self, x: Any, edge_index: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Arguments as of ``EdgeNetConv.forward``, but for ``return_attention_weights``."""
        if kwargs.get("return_attention_weights"):
            raise ShapeError("a sum of layers has several sets of edge weights: ask one of its convs for them.")
        y = self.convs[0](x, edge_index, *args, **kwargs)
        for conv in list(self.convs)[1:]:
            y = y + conv(x, edge_index, *args, **kwargs)
        return y
