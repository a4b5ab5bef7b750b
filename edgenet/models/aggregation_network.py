"""AggregationNetwork: a convolutional network over what some nodes learn of a signal as it diffuses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from edgenet.errors import ConfigError
from edgenet.hub import Pretrained
from edgenet.nn.graph_signal import AggregationConv
from edgenet.nn.graph_signal.local_pool import spread
from edgenet.nn.options import checked, is_whole

READOUTS = ("mean", "flatten", "nodes")


class AggregationNetwork(nn.Module, Pretrained):
    """Aggregation at some nodes, convolutions along their sequences, and a perceptron (Gama, Marques, Leus, Ribeiro
    2019, "Convolutional neural network architectures for signals supported on graphs", sec. IV).

    With several lists of ``nodes``, one ``AggregationConv`` follows another: what the nodes of the first know is a
    signal on the graph that is 0 elsewhere, and diffuses again to those of the second (sec. IV-B, multinode).

    Args:
        in_channels: features of a node.
        out_channels: classes, or 1 for a value.
        nodes: numbers of the nodes, or how many of the first; or a list of lists, one for each round.
        length: Q, hops that are waited for, and one; or a list of as many as there are rounds.
        channels: numbers of filters of the convolutions of each round.
        kernel_size, pool_size, normalize, bias: as of ``AggregationConv``.
        hidden_channels: widths of the perceptron's hidden layers.
        readout: "mean" averages the scores of the nodes; "flatten" puts their features side by side before the
            perceptron; "nodes" gives the scores of every node.

    Raises:
        ConfigError: if an option is out of range, or a sequence is too short for its convolutions.

    Example:
        >>> model = edgenet.models.AggregationNetwork(3, 2, nodes=[0, 2], length=8, channels=(8,))
        >>> model(x, edges).shape
        torch.Size([1, 2])
    """

    @checked
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        nodes: Any,
        length: int | Sequence[int],
        channels: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool_size: int = 2,
        hidden_channels: Sequence[int] = (),
        readout: str = "mean",
        normalize: str | None = "sym",
        bias: bool = True,
    ) -> None:
        super().__init__()
        if readout not in READOUTS:
            raise ConfigError(f"readout is one of {', '.join(READOUTS)}, got {readout!r}.")
        if out_channels < 1 or (hidden_channels and min(hidden_channels) < 1):
            raise ConfigError(
                f"out_channels and hidden_channels are 1 or more, got {out_channels} and {list(hidden_channels)}."
            )
        rounds = _rounds(nodes)
        lengths = [int(length)] * len(rounds) if isinstance(length, int) else [int(one) for one in length]
        if len(lengths) != len(rounds):
            raise ConfigError(f"there are {len(rounds)} lists of nodes, and {len(lengths)} lengths: {lengths}.")
        convs: list[AggregationConv] = []
        width = in_channels
        for some, hops in zip(rounds, lengths, strict=True):
            conv = AggregationConv(width, channels, some, hops, kernel_size, pool_size, normalize, bias=bias)
            convs.append(conv)
            width = conv.out_width
        self.convs, self.readout = nn.ModuleList(convs), readout
        widths = [width * len(convs[-1].nodes) if readout == "flatten" else width, *hidden_channels, out_channels]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after, bias=bias), nn.ReLU()]
        self.head = nn.Sequential(*layers[:-1])
        self._config = {
            "in_channels": in_channels, "out_channels": out_channels, "nodes": [list(conv.nodes) for conv in convs],
            "length": lengths, "channels": list(channels), "kernel_size": kernel_size, "pool_size": pool_size,
            "hidden_channels": list(hidden_channels), "readout": readout, "normalize": normalize, "bias": bias,
        }  # fmt: skip

    def config(self) -> dict[str, Any]:
        """JSON-able arguments that rebuild the model."""
        return dict(self._config)

    def arguments(self) -> dict[str, Any]:
        """All of the constructor's; saved models are made by them."""
        return self.config()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for part in (*self.convs, *self.head):
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()

    def forward(self, x: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """Scores of every signal on the graph.

        Args:
            x: (N, F), (B, N, F) or (B, T, N, F).
            edge_index, edge_weight: as of ``Aggregation.forward``.

        Returns:
            (1, F_out), (B, F_out) or (B, T, F_out); with the readout "nodes", (P, F_out), (B, P, F_out) or (B, T, P,
            F_out) for the P nodes of the last round.
        """
        num_nodes = x.shape[-2] if x.dim() > 1 else 0
        for depth, conv in enumerate(self.convs):
            x = conv(x, edge_index, edge_weight)
            if depth + 1 < len(self.convs):
                x = spread(x, conv.aggregation.index, num_nodes)
        if self.readout == "nodes":
            return self.head(x)
        x = x if x.dim() > 2 else x.unsqueeze(0)
        return self.head(x.flatten(-2)) if self.readout == "flatten" else self.head(x).mean(-2)


def _rounds(nodes: Any) -> list[Any]:
    """The nodes of every round."""
    listed = isinstance(nodes, list | tuple)
    several = listed and len(nodes) > 0 and not any(is_whole(one) for one in nodes)
    return list(nodes) if several else [nodes]
