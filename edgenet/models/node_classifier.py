"""NodeClassifier: EdgeNet layers that end in a score for every node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from edgenet.errors import ConfigError
from edgenet.models.stack import SHARED, Stack
from edgenet.nn.options import checked
from edgenet.structured import SparseSignal

_OWN = ("before", "input_dropout", "node_dropout")  # handed on to the stack, too
_MAPS = 1000  # before or after the layers, at most


class NodeClassifier(Stack):
    """Dropout, layer and activation, repeated; the last layer gives the scores (logits) of every node.

    With maps ``before`` and ``after`` the layers it is DAGNN, APPNP, GPR-GNN (a map, then one walk), GCNII (64 layers
    between two maps) and GRAND (dropped nodes, one walk, a map); the presets have them.

    Works on one graph, on PyG batches of graphs, on sampled pieces (``n_id``, ``e_id``), inside PyG's ``Sequential``
    and ``to_hetero``.

    Args:
        in_channels: features of a node; -1 reads it off the first input. A pair, for sources and targets, where
            ``to_hetero`` joins node types of different sizes: (-1, -1) reads both off.
        out_channels: classes or labels.
        layer: a name in ``edgenet.nn.SPECIALIZATIONS``.
        hidden_channels: width of the hidden layers; of each head, where heads stand side by side.
        num_layers: number of layers.
        dropout: probability in [0, 1) of dropping an input feature of each layer, in training.
        attention_dropout: the same for attention weights, where the layer has them.
        heads: heads of the hidden layers, side by side, where the layer has heads; averaged with ``concat=False``.
        out_heads: heads of the last layer, averaged. Default: 1.
        skip: add a linear map of each layer's input to its output.
        activation: "relu", "elu", "tanh" or "none", between layers; or "max_local" or "median_local", which learn to
            weigh each number and the maximum or median around it, a ``nn.graph_signal.LocalActivation`` a layer.
        activation_hops: how far local activations look.
        before: linear maps of the features to ``hidden_channels`` before the first layer, an activation after each.
        after: linear maps after the last layer, which is then a hidden one; the last of them gives the scores.
        input_dropout: as ``dropout``, of the features alone, wherever they first come to a map. Default: ``dropout``.
        node_dropout: probability in [0, 1) of dropping all features of a node, in training; after it features have
            their size times 1 - ``node_dropout``, dropped or not (Feng et al. 2020, GRAND).
        **layer_options: more options of the layer (order, nodes, bank, ...).

    Raises:
        ConfigError: if the layer or one of its options is unknown, of the wrong kind, or a number is out of range.

    Example:
        >>> model = edgenet.NodeClassifier(3, 7, layer="gat", heads=4)
        >>> model(x, edges).shape
        torch.Size([4, 7])
    """

    @checked
    def __init__(
        self,
        in_channels: int | Sequence[int],
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
        activation_hops: int = 1,
        before: int = 0,
        after: int = 0,
        input_dropout: float | None = None,
        node_dropout: float = 0.0,
        **layer_options: Any,
    ) -> None:
        shared: dict[str, Any] = {name: value for name, value in locals().items() if name in (*SHARED, *_OWN)}
        if not 0 <= before <= _MAPS or not 0 <= after <= _MAPS or (after and out_heads is not None):
            raise ConfigError(
                f"before and after count maps, 0 to {_MAPS}, and out_heads are of a last layer that no map follows; "
                f"got before={before}, after={after}, out_heads={out_heads}."
            )
        widths = [*[hidden_channels] * (after - 1), out_channels] if after else []
        last = None if after else (out_channels, out_heads)
        super().__init__(in_channels, **shared, after=widths, last=last, options=layer_options)
        own = {"in_channels": in_channels, "out_channels": out_channels, "out_heads": out_heads, "after": after}
        self._config = own | shared | layer_options

    def forward(
        self,
        x: Tensor | SparseSignal,
        edge_index: Any,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        n_id: Tensor | None = None,
        e_id: Tensor | None = None,
    ) -> Tensor:
        """(N, F_in), (B, N, F_in) or (B, T, N, F_in) -> the same with F_out scores; arguments as of
        ``EdgeNetConv.forward``. ``x`` may be sparse."""
        return self.walked(x, edge_index, drop=True, edge_weight=edge_weight, edge_attr=edge_attr, n_id=n_id, e_id=e_id)
