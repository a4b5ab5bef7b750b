"""NodeClassifier: EdgeNet layers that end in a score for every node."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgenet.errors import ConfigError
from edgenet.hub import Pretrained
from edgenet.models.layers import activation as named_activation
from edgenet.models.layers import layer_options, make_layer
from edgenet.nn import SPECIALIZATIONS
from edgenet.structured import SparseSignal


class NodeClassifier(nn.Module, Pretrained):
    """Dropout, layer and activation, repeated; the last layer gives the scores (logits) of every node.

    Works on one graph, on PyG batches of graphs, on sampled pieces (``n_id``, ``e_id``), inside PyG's ``Sequential``
    and ``to_hetero``.

    Args:
        in_channels: features of a node; -1 reads it off the first input. A pair, for sources and targets, where
            ``to_hetero`` joins node types of different sizes.
        out_channels: classes or labels.
        layer: a name in ``edgenet.nn.SPECIALIZATIONS``.
        hidden_channels: width of the hidden layers; of each head, where the layer has heads.
        num_layers: number of layers.
        dropout: probability in [0, 1) of dropping an input feature of each layer, in training.
        attention_dropout: the same for attention weights, where the layer has them.
        heads: heads of the hidden layers, side by side, where the layer has heads.
        out_heads: heads of the last layer, averaged. Default: 1.
        skip: add a linear map of each layer's input to its output.
        activation: "relu", "elu", "tanh" or "none", between layers.
        **layer_options: more options of the layer (order, nodes, bank, ...).

    Raises:
        ConfigError: if the layer or one of its options is unknown, or a number is out of range.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        *,
        layer: str = "gat",
        hidden_channels: int = 64,
        num_layers: int = 2,
        dropout: float = 0.5,
        attention_dropout: float | None = None,
        heads: int | None = None,
        out_heads: int | None = None,
        skip: bool = False,
        activation: str = "relu",
        **layer_options: Any,
    ) -> None:
        super().__init__()
        if num_layers < 1 or hidden_channels < 1:
            raise ConfigError(
                f"a model needs layers and channels, got num_layers={num_layers}, hidden_channels={hidden_channels}."
            )
        for name, share in (("dropout", dropout), ("attention_dropout", attention_dropout)):
            if share is not None and not 0 <= share < 1:
                raise ConfigError(f"{name} is a probability in [0, 1), got {share}.")
        self._config = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "layer": layer,
            "hidden_channels": hidden_channels,
            "num_layers": num_layers,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "heads": heads,
            "out_heads": out_heads,
            "skip": skip,
            "activation": activation,
            **layer_options,
        }
        self.dropout, self.num_layers = nn.Dropout(dropout), num_layers
        self.convs, self.skips = nn.ModuleList(), nn.ModuleList()
        width = tuple(in_channels) if isinstance(in_channels, list | tuple) else in_channels
        for depth in range(num_layers):
            last = depth == num_layers - 1
            channels = out_channels if last else hidden_channels
            options = dict(layer_options)
            if attention_dropout is not None:
                options["dropout"] = attention_dropout
            wide = self._headed(layer, options, heads, out_heads, last)
            self.convs.append(make_layer(layer, width, channels, options))
            if skip:
                own = width[1] if isinstance(width, tuple) else width
                self.skips.append(nn.LazyLinear(channels * wide) if own == -1 else nn.Linear(own, channels * wide))
            width = channels * wide
        self.activation = named_activation(activation)

    @staticmethod
    def _headed(layer: str, options: dict[str, Any], heads: int | None, out_heads: int | None, last: bool) -> int:
        """Set the heads of a layer among its options; how many times the channels it gives."""
        count = out_heads if last else heads
        if count is None:
            return 1
        if layer in SPECIALIZATIONS and "heads" not in layer_options(layer):
            raise ConfigError(f"layer {layer!r} has no heads; leave out heads and out_heads.")
        options["heads"] = count
        if layer == "hybrid":
            return 1
        if last:
            if "concat" in layer_options(layer):
                options["concat"] = False
            elif count > 1:
                raise ConfigError(f"layer {layer!r} cannot average its heads; out_heads must be 1, got {count}.")
            return 1
        return count

    def config(self) -> dict[str, Any]:
        """JSON-able arguments that rebuild the model."""
        return dict(self._config)

    def arguments(self) -> dict[str, Any]:
        """All of the constructor's; saved models are made by them."""
        return self.config()

    def bind(self, edges: Any, num_nodes: int | None = None) -> Self:
        """Give tables of edge weights and node taps their graph; see ``EdgeNetConv.bind``."""
        for conv in self.convs:
            conv.bind(edges, num_nodes)
        return self

    def reset_parameters(self) -> None:
        for part in (*self.convs, *self.skips):
            part.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Any,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        n_id: Tensor | None = None,
        e_id: Tensor | None = None,
    ) -> Tensor:
        """(N, F_in) -> (N, F_out) scores; arguments as of ``EdgeNetConv.forward``. ``x`` may be sparse."""
        given = {"edge_weight": edge_weight, "edge_attr": edge_attr, "n_id": n_id, "e_id": e_id}
        given = {name: value for name, value in given.items() if value is not None}
        if isinstance(x, Tensor) and x.layout != torch.strided:
            x = SparseSignal.of(x)
        for depth in range(self.num_layers):
            if isinstance(x, SparseSignal):
                x = x.dropout(self.dropout.p, self.training)
            else:
                x = self.dropout(x)
            y = self.convs[depth](x, edge_index, **given)
            if len(self.skips):
                y = y + self._skipped(depth, x)
            x = y if depth == self.num_layers - 1 else self.activation(y)
        return x

    def _skipped(self, depth: int, x: Tensor | SparseSignal) -> Tensor:
        skip = self.skips[depth]
        if not isinstance(x, SparseSignal):
            return skip(x)
        return skip(x.to_dense()) if is_lazy(skip.weight) else x.times(skip.weight) + skip.bias
