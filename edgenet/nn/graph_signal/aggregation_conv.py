"""AggregationConv: filters over the sequences that a diffusing signal makes at chosen nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.nn.graph_signal.aggregation import Aggregation
from edgenet.nn.options import checked


class AggregationConv(nn.Module):
    """An ``Aggregation``, then Conv1d, ReLU and MaxPool1d along each node's sequence, once for each number in
    ``channels`` (Gama, Marques, Leus, Ribeiro 2019, sec. IV). All nodes share the filters.

    What is left of a sequence, L numbers in the last of ``channels``, stands side by side, channel by channel.

    Args:
        in_channels: F.
        channels: numbers of filters, of each convolution.
        nodes, length, normalize, flow: of ``Aggregation``.
        kernel_size: numbers of the sequence that a filter reads; there is no padding.
        pool_size: numbers of a sequence of which the maximum is kept after each convolution; 1 keeps all.
        bias: whether filters learn an additive bias.

    Raises:
        ConfigError: if an option is out of range, or the sequence is too short for so many convolutions.
        ShapeError: in ``forward``, if the signal has other features, or does not fit the graph.

    Example:
        >>> layer = edgenet.nn.graph_signal.AggregationConv(3, [8], nodes=[0, 2], length=8)
        >>> layer(x, edges).shape[0]
        2
    """

    takes_graph = True
    needs_edge_attr = False
    add_self_loops = False

    @checked
    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        nodes: Any,
        length: int,
        kernel_size: int = 3,
        pool_size: int = 2,
        normalize: str | None = "sym",
        flow: str = "source_to_target",
        bias: bool = True,
    ) -> None:
        super().__init__()
        for name, number in (("in_channels", in_channels), ("kernel_size", kernel_size), ("pool_size", pool_size)):
            if number < 1:
                raise ConfigError(f"{name} is 1 or more, got {number}.")
        if not channels or min(channels) < 1:
            raise ConfigError(f"channels are numbers of filters, 1 or more each, got {list(channels)}.")
        self.in_channels, self.channels, self.length = in_channels, tuple(channels), length
        self.kernel_size, self.pool_size, self.normalize, self.flow = kernel_size, pool_size, normalize, flow
        self.aggregation = Aggregation(nodes, length, normalize, flow)
        self.nodes = self.aggregation.nodes
        self.convs, width, left = nn.ModuleList(), in_channels, length
        for depth, count in enumerate(self.channels):
            before, left = left, (left - kernel_size + 1) // pool_size
            if left < 1:
                raise ConfigError(
                    f"a sequence of length {length} is too short: {before} numbers are left for convolution {depth}, "
                    f"which wants {kernel_size + pool_size - 1} for its kernel_size={kernel_size} and "
                    f"pool_size={pool_size}. Take a larger length, or fewer channels."
                )
            self.convs.append(nn.Conv1d(width, count, kernel_size, bias=bias))
            width = count
        self.activation, self.pool = nn.ReLU(), nn.MaxPool1d(pool_size)
        #: L * channels[-1], features of a node
        self.out_width = left * width

    def arguments(self) -> dict[str, Any]:
        """Of the constructor's, those that are no attribute of the same name."""
        return {"nodes": list(self.nodes), "channels": list(self.channels), "bias": self.convs[0].bias is not None}

    def reset_parameters(self) -> None:
        """Draw all filters anew."""
        for conv in self.convs:
            conv.reset_parameters()

    def forward(self, x: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """(..., N, F) -> (..., P, out_width); arguments as of ``Aggregation.forward``."""
        if x.shape[-1] != self.in_channels:
            raise ShapeError(
                f"this layer was made for {self.in_channels} input channels and got {x.shape[-1]} "
                f"(x is {tuple(x.shape)})."
            )
        sequence = self.aggregation(x, edge_index, edge_weight)  # (..., P, Q, F)
        z = sequence.flatten(0, -3).transpose(1, 2)
        for conv in self.convs:
            z = self.pool(self.activation(conv(z)))
        return z.flatten(1).unflatten(0, sequence.shape[:-2])
