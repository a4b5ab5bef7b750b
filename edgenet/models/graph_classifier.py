"""GraphClassifier: EdgeNet layers that end in a score for every graph, or for every signal on one graph."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.hub import Pretrained
from edgenet.models.layers import activation as named_activation
from edgenet.models.layers import make_layer
from edgenet.text import did_you_mean

READOUTS = ("mean", "flatten", "node")


class GraphClassifier(nn.Module, Pretrained):
    """Layers and activations, then a readout over the nodes and a linear map to scores.

    For batches of PyG graphs (x (N, F) with ``batch``), and for batches of signals on one graph (x (B, N, F)).

    Args:
        in_channels: features of a node.
        out_channels: classes, or 1 for a value.
        layer: a name in ``edgenet.nn.SPECIALIZATIONS``.
        hidden_channels: width of every layer.
        num_layers: number of layers.
        num_nodes: N, needed by the "flatten" readout.
        readout: "mean" over the nodes; "flatten" puts the features of all N nodes side by side (one fixed graph alone);
            "node" reads one node.
        target_node: which, for "node".
        dropout: probability in [0, 1) of dropping a feature before the readout, in training.
        activation: "relu", "elu", "tanh" or "none", after every layer.
        **layer_options: options of the layer (order, normalize, nodes, ...).

    Raises:
        ConfigError: if the layer, one of its options or the readout is unknown or incomplete.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        layer: str = "gcnn",
        hidden_channels: int = 32,
        num_layers: int = 1,
        num_nodes: int | None = None,
        readout: str = "mean",
        target_node: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        **layer_options: Any,
    ) -> None:
        super().__init__()
        if readout not in READOUTS:
            raise ConfigError(
                f"readout is one of {', '.join(READOUTS)}, got {readout!r}.{did_you_mean(readout, READOUTS)}"
            )
        if readout == "flatten" and num_nodes is None:
            raise ConfigError("the 'flatten' readout needs num_nodes, the size of the one graph it is for.")
        if readout == "node" and target_node is None:
            raise ConfigError("the 'node' readout needs target_node, the node it reads.")
        if num_layers < 1 or hidden_channels < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"num_layers >= 1, hidden_channels >= 1 and dropout in [0, 1) are wanted, got {num_layers}, "
                f"{hidden_channels}, {dropout}."
            )
        self._config = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "layer": layer,
            "hidden_channels": hidden_channels,
            "num_layers": num_layers,
            "num_nodes": num_nodes,
            "readout": readout,
            "target_node": target_node,
            "dropout": dropout,
            "activation": activation,
            **layer_options,
        }
        self.readout, self.target_node, self.num_nodes = readout, target_node, num_nodes
        self.dropout = nn.Dropout(dropout)
        widths = [in_channels] + [hidden_channels] * num_layers
        self.convs = nn.ModuleList(make_layer(layer, a, b, dict(layer_options)) for a, b in pairwise(widths))
        self.activation = named_activation(activation)
        self.head = nn.Linear(hidden_channels * (num_nodes if readout == "flatten" else 1), out_channels)

    def config(self) -> dict[str, Any]:
        """JSON-able arguments that rebuild the model."""
        return dict(self._config)

    def bind(self, edges: Any, num_nodes: int | None = None) -> Self:
        """Give tables of edge weights and node taps their graph; see ``EdgeNetConv.bind``."""
        for conv in self.convs:
            conv.bind(edges, num_nodes)
        return self

    def arguments(self) -> dict[str, Any]:
        """All of the constructor's; saved models are made by them."""
        return self.config()

    def reset_parameters(self) -> None:
        for part in (*self.convs, self.head):
            part.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Any,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        edge_attr: Tensor | None = None,
        n_id: Tensor | None = None,
        e_id: Tensor | None = None,
    ) -> Tensor:
        """Scores of every graph or signal.

        Args:
            x: (B, N, F) signals on one graph, or (N, F) features of the nodes of one or more graphs.
            edge_index, edge_weight, edge_attr, n_id, e_id: as of ``EdgeNetConv.forward``.
            batch: (N,) graph of every node; None for a single graph.
            num_graphs: B, where the last graphs may have no nodes.

        Returns:
            (B, F_out); B = 1 for (N, F) without ``batch``.

        Raises:
            ShapeError: if the readout needs one graph and several came, or a graph of another size.
        """
        if batch is not None and (self.readout != "mean" or x.dim() != 2):
            raise ShapeError(
                f"batches of several graphs are read by 'mean' from (N, F) features; got {self.readout!r}, "
                f"{tuple(x.shape)}."
            )
        given = {"edge_weight": edge_weight, "edge_attr": edge_attr, "n_id": n_id, "e_id": e_id}
        given = {name: value for name, value in given.items() if value is not None}
        for conv in self.convs:
            x = self.activation(conv(x, edge_index, **given))
        x = self.dropout(x)
        return self.head(self._read(x if x.dim() == 3 or batch is not None else x.unsqueeze(0), batch, num_graphs))

    def _read(self, x: Tensor, batch: Tensor | None, num_graphs: int | None) -> Tensor:
        if batch is not None:
            count = num_graphs if num_graphs is not None else (int(batch.max()) + 1 if len(batch) else 0)
            total = x.new_zeros(count, x.shape[1]).index_add(0, batch, x)
            return total / torch.bincount(batch, minlength=count).clamp_min(1).unsqueeze(1)
        if self.readout == "mean":
            return x.mean(1)
        if self.readout == "node":
            if not 0 <= self.target_node < x.shape[1]:
                raise ShapeError(
                    f"the 'node' readout reads node {self.target_node}, and the graph has {x.shape[1]} nodes."
                )
            return x[:, self.target_node]
        if x.shape[1] != self.num_nodes:
            raise ShapeError(f"the 'flatten' readout was made for {self.num_nodes} nodes and got {x.shape[1]}.")
        return x.flatten(1)
