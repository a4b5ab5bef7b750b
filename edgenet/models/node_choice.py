"""NodeChoice: EdgeNet layers that choose one node of the graph for every signal on it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from edgenet.errors import ConfigError, ShapeError
from edgenet.models.stack import SHARED, Stack, linear, reset_
from edgenet.nn.options import checked


class NodeChoice(Stack):
    """Layers and activations, then one score for every node, by a linear map that all nodes share.

    The classes are the nodes: where did a diffusion start, which sensor failed, whom does a message reach. What differs
    from node to node is in the layers' weights alone. For signals on one graph, x (B, N, F).

    Args:
        in_channels: features of a node; -1 reads it off the first input.
        out_channels: N, the nodes to choose from.
        layer: a name in ``edgenet.nn.SPECIALIZATIONS``.
        hidden_channels: width of every layer; of each head, where heads stand side by side.
        num_layers: number of layers.
        dropout: probability in [0, 1) of dropping an input feature of each layer, in training.
        attention_dropout, heads, skip: of every layer, as of ``NodeClassifier``.
        activation: "relu", "elu", "tanh" or "none", or "max_local" or "median_local", after every layer.
        activation_hops: how far local activations look.
        **layer_options: options of the layer (order, normalize, nodes, ...).

    Raises:
        ConfigError: if the layer or one of its options is unknown, of the wrong kind, or a number is out of range.

    Example:
        >>> model = edgenet.models.NodeChoice(1, 4)
        >>> model(torch.randn(5, 4, 1), edges).shape  # 5 signals, a score for each of 4 nodes
        torch.Size([5, 4])
    """

    @checked
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        layer: str = "edge_varying",
        hidden_channels: int = 5,
        num_layers: int = 1,
        dropout: float = 0.0,
        attention_dropout: float | None = None,
        heads: int | None = None,
        skip: bool = False,
        activation: str = "relu",
        activation_hops: int = 1,
        **layer_options: Any,
    ) -> None:
        shared: dict[str, Any] = {name: value for name, value in locals().items() if name in SHARED}
        super().__init__(in_channels, **shared, last=None, options=layer_options)
        if out_channels < 2:
            raise ConfigError(f"out_channels is the number of nodes to choose from, 2 or more, got {out_channels}.")
        self.num_nodes = out_channels
        self.head = linear(self.width, 1)
        self._config = {"in_channels": in_channels, "out_channels": out_channels} | shared | layer_options

    def reset_parameters(self) -> None:
        super().reset_parameters()
        reset_(self.head)

    def readers(self, depth: int) -> list[str] | None:
        return super().readers(depth) if depth + 1 < self.num_layers else ["head"]

    def forward(
        self,
        x: Tensor,
        edge_index: Any,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """The scores of the nodes: (N, F) -> (N,), (B, N, F) -> (B, N) or (B, T, N, F) -> (B, T, N).

        Args:
            x: signals.
            edge_index, edge_weight, edge_attr: as of ``EdgeNetConv.forward``.

        Raises:
            ShapeError: if the signals live on another number of nodes.
        """
        if x.shape[-2] != self.num_nodes:
            raise ShapeError(
                f"this model chooses among {self.num_nodes} nodes, and the signals {tuple(x.shape)} have "
                f"{x.shape[-2]}: make it with out_channels={x.shape[-2]}."
            )
        x = self.walked(x, edge_index, drop=True, edge_weight=edge_weight, edge_attr=edge_attr)
        return self.head(self.activated(self.num_layers - 1, x, edge_index)).squeeze(-1)
