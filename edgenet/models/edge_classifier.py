"""EdgeClassifier: EdgeNet layers that end in a score for every pair of nodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.models.stack import SHARED, Stack, check_ranges, linear, reset_
from edgenet.nn.options import checked


class EdgeClassifier(Stack):
    """Layers and activations over the nodes, then a map of the two ends of a pair, and of its features, to scores.

    With z the signal after the layers, and a the features of the pair (i, j), the scores are

        W2 activation(W1 [z_i, z_j, a] + b1) + b2

    or, where the order of the ends means nothing, W1 [z_i + z_j, |z_i - z_j|, a].

    Args:
        in_channels: features of a node; -1 reads it off the first input.
        out_channels: classes, labels or values of a pair.
        layer: a name in ``edgenet.nn.SPECIALIZATIONS``.
        hidden_channels: width of every layer, of each head where heads stand side by side, and of the last map.
        num_layers, dropout, attention_dropout, heads, skip, activation, activation_hops: as of ``NodeClassifier``, the
            activation being one of "relu", "elu", "tanh" and "none".
        edge_features: D, features of a pair.
        ordered: whether (i, j) and (j, i) may have different scores.
        **layer_options: options of the layer.

    Raises:
        ConfigError: if the layer or one of its options is unknown, of the wrong kind, or a number is out of range.

    Example:
        >>> model = edgenet.EdgeClassifier(3, 2, layer="gat")
        >>> pairs = torch.tensor([[0, 1, 3], [2, 3, 0]])
        >>> model(x, edges, pairs).shape
        torch.Size([3, 2])
    """

    @checked
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        layer: str = "gat",
        hidden_channels: int = 32,
        num_layers: int = 2,
        dropout: float = 0.0,
        attention_dropout: float | None = None,
        heads: int | None = None,
        skip: bool = False,
        activation: str = "relu",
        activation_hops: int = 1,
        edge_features: int = 0,
        ordered: bool = True,
        **layer_options: Any,
    ) -> None:
        shared: dict[str, Any] = {name: value for name, value in locals().items() if name in SHARED}
        super().__init__(in_channels, **shared, last=None, options=layer_options)
        check_ranges(out_channels=out_channels)
        if edge_features < 0:
            raise ConfigError(f"edge_features is 0 or more, got {edge_features}.")
        if isinstance(self.activation, nn.ModuleList) or getattr(self.activation, "takes_graph", False):
            raise ConfigError(f"activation {activation!r} looks at neighbours of nodes, and the last map is of pairs.")
        self.edge_features, self.ordered = edge_features, ordered
        self.pair = linear(-1 if self.width == -1 else 2 * self.width + edge_features, hidden_channels)
        self.head = nn.Linear(hidden_channels, out_channels)
        own = {"in_channels": in_channels, "out_channels": out_channels}
        self._config = own | shared | {"edge_features": edge_features, "ordered": ordered} | layer_options

    def reset_parameters(self) -> None:
        super().reset_parameters()
        reset_(self.pair, self.head)

    def readers(self, depth: int) -> list[str] | None:
        return super().readers(depth) if depth + 1 < self.num_layers else None  # the pair's map reads both ends

    def forward(  # type: ignore[override]  # pairs come third
        self,
        x: Tensor,
        edge_index: Any,
        edge_label_index: Tensor,
        edge_label_attr: Tensor | None = None,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        n_id: Tensor | None = None,
        e_id: Tensor | None = None,
    ) -> Tensor:
        """Scores of every pair.

        Args:
            x: (N, F).
            edge_index, edge_weight, edge_attr, n_id, e_id: as of ``EdgeNetConv.forward``; what the layers walk.
            edge_label_index: (2, L) pairs to score, edges or not.
            edge_label_attr: (L, D) their features.

        Returns:
            (L, F_out).

        Raises:
            ShapeError: if the pairs are no (2, L) of whole numbers of nodes, or their features have another width.
        """
        if edge_label_index.dim() != 2 or len(edge_label_index) != 2 or edge_label_index.is_floating_point():
            raise ShapeError(
                f"pairs are (2, L) whole numbers, got {tuple(edge_label_index.shape)} {edge_label_index.dtype}."
            )
        given = 0 if edge_label_attr is None else edge_label_attr.shape[-1]
        if given != self.edge_features:
            raise ShapeError(
                f"pairs have {given} features, and the model was made for edge_features={self.edge_features}."
            )
        x = self.walked(x, edge_index, drop=True, edge_weight=edge_weight, edge_attr=edge_attr, n_id=n_id, e_id=e_id)
        x = self.activated(self.num_layers - 1, x, edge_index)
        try:
            first, second = x[edge_label_index[0]], x[edge_label_index[1]]
        except IndexError as error:
            raise ShapeError(f"a pair names a node that is not there: there are {len(x)} ({error}).") from error
        ends = [first, second] if self.ordered else [first + second, (first - second).abs()]
        pair = torch.cat([*ends, *([] if edge_label_attr is None else [edge_label_attr.to(x)])], dim=-1)
        return self.head(self.dropout(self.activation(self.pair(pair))))
