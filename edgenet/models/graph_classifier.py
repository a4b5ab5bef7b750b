"""GraphClassifier: EdgeNet layers that end in a score for every graph, or for every signal on one graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.models.foreign_readout import is_named, make_readout
from edgenet.models.stack import SHARED, Stack, check_ranges, linear, reset_
from edgenet.nn.batches import folded
from edgenet.nn.options import checked


class GraphClassifier(Stack):
    """Layers and activations, then a readout over the nodes and a linear map to scores.

    For batches of PyG graphs (x (N, F) with ``batch``), and for batches of signals on one graph (x (B, N, F)), also
    with a time axis (x (B, T, N, F)).

    Args:
        in_channels: features of a node; -1 reads it off the first input.
        out_channels: classes, or 1 for a value.
        layer: a name in ``edgenet.nn.SPECIALIZATIONS``.
        hidden_channels: width of every layer; of each head, where heads stand side by side.
        num_layers: number of layers.
        num_nodes: N, needed by the "flatten" readout.
        readout: "mean", "sum" or "max" over the nodes; "attention", a mean with learned weights; "flatten" puts the
            features of all N nodes side by side (graphs of one size alone); "node" reads one node. Or an
            ``Aggregation`` of PyG, or its name ("median", "std", ...); a function (x, batch, size), PyG's
            ``global_add_pool`` say; a ``models.Readout``; or a list of such, whose results stand side by side.
        target_node: which, for "node".
        dropout: probability in [0, 1) of dropping a feature before the readout, in training.
        attention_dropout, heads, skip: of every layer, as of ``NodeClassifier``.
        activation: "relu", "elu", "tanh" or "none", or "max_local" or "median_local", after every layer.
        activation_hops: how far local activations look.
        **layer_options: options of the layer (order, normalize, nodes, ...).

    Raises:
        ConfigError: if the layer, one of its options or the readout is unknown, incomplete, or of the wrong kind.

    Example:
        >>> model = edgenet.GraphClassifier(3, 2, layer="gat", heads=2, readout="mean")
        >>> model(x, edges, torch.tensor([0, 0, 0, 0])).shape  # one graph, two scores
        torch.Size([1, 2])
    """

    @checked
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        layer: str = "gcnn",
        hidden_channels: int = 32,
        num_layers: int = 1,
        num_nodes: int | None = None,
        readout: str | Sequence[Any] | nn.Module | Callable[..., Tensor] = "mean",
        target_node: int | None = None,
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
        check_ranges(out_channels=out_channels, num_nodes=num_nodes)
        if target_node is not None and target_node < 0:
            raise ConfigError(f"target_node is 0 or more, got {target_node}.")
        self.readout = make_readout(readout, self.width, num_nodes, target_node)
        self.head = linear(self.readout.out_width(self.width), out_channels)
        own = {"in_channels": in_channels, "out_channels": out_channels}
        self._named = is_named(readout)
        read = {"num_nodes": num_nodes, "readout": readout if self._named else None, "target_node": target_node}
        self._config = own | shared | read | layer_options

    def config(self) -> dict[str, Any]:
        """JSON-able arguments that rebuild the model.

        Raises:
            ConfigError: if the readout is no name.
        """
        if not self._named:
            raise ConfigError(
                "the readout was handed in, and has no name that a configuration could hold; save_pretrained writes "
                "aggregations of PyG, too."
            )
        return super().config()

    def arguments(self) -> dict[str, Any]:
        """All of the constructor's; saved models are made by them."""
        return self._config if self._named else {**self._config, "readout": self.readout}

    def reset_parameters(self) -> None:
        super().reset_parameters()
        reset_(self.readout, self.head)

    def readers(self, depth: int) -> list[str] | None:
        if depth + 1 < self.num_layers:
            return super().readers(depth)
        return ["head"] if self.readout.keeps_channels else None

    def forward(
        self,
        x: Tensor,
        edge_index: Any,
        edge_values: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        edge_attr: Tensor | None = None,
        n_id: Tensor | None = None,
        e_id: Tensor | None = None,
        *,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """Scores of every graph or signal.

        ``model(x, edge_index, batch)`` is how graph classifiers are called in PyG, and ``model(x, edge_index,
        edge_weight)`` how layers are: a third argument of whole numbers is ``batch``, one of floats goes to the layers.
        Edge weights that are whole numbers come by name.

        Args:
            x: (B, N, F) or (B, T, N, F) signals on one graph, or (N, F) features of the nodes of one or more graphs.
            edge_index, edge_weight, edge_attr, n_id, e_id: as of ``EdgeNetConv.forward``.
            edge_values: (N,) ``batch`` if it holds whole numbers; else as of ``EdgeNetConv.forward``.
            batch: (N,) graph of every node, in any order; None for a single graph.
            num_graphs: B, where the last graphs may have no nodes.

        Returns:
            (B, F_out); B = 1 for (N, F) without ``batch``; (B, T, F_out) with a time axis.

        Raises:
            ShapeError: if ``batch`` does not fit, or the readout needs graphs of another size.
        """
        if edge_values is not None and not (edge_values.is_floating_point() or edge_values.is_complex()):
            batch, edge_values = _third(x, edge_values, batch), None
        lead = x.shape[:2] if x.dim() == 4 else None
        x = folded(x)
        batch, size = _graphs(x, batch, num_graphs)
        values = () if edge_values is None else (edge_values,)
        x = self.walked(
            x, edge_index, *values, drop=False, edge_weight=edge_weight, edge_attr=edge_attr, n_id=n_id, e_id=e_id
        )
        x = self.dropout(self.activated(self.num_layers - 1, x, edge_index))
        y = self.head(self.readout(x if x.dim() == 3 or batch is not None else x.unsqueeze(0), batch, size))
        return y if lead is None else y.unflatten(0, lead)


def _third(x: Tensor, third: Tensor, batch: Tensor | None) -> Tensor:
    """The batch that came as a third argument of whole numbers."""
    if batch is not None:
        raise ShapeError(
            "the third argument holds whole numbers, which say the graph of every node, and batch came too; pass "
            "edge weights that are whole numbers by name: edge_weight=."
        )
    if third.dtype == torch.bool or x.dim() != 2 or third.shape != x.shape[:1]:
        raise ShapeError(
            f"the third argument is the graph of every node, ({x.shape[-2]},) whole numbers for nodes (N, F), or holds "
            f"numbers of edges, as floats; got {tuple(third.shape)} {third.dtype} with x {tuple(x.shape)}. Pass others "
            f"by name: batch=, edge_weight=, edge_attr=."
        )
    return third


def _graphs(x: Tensor, batch: Tensor | None, num_graphs: int | None) -> tuple[Tensor | None, int]:
    """The graph of every node, checked; and how many graphs or signals there are."""
    if batch is None:
        size = x.shape[0] if x.dim() == 3 else 1
        if num_graphs not in (None, size):
            raise ShapeError(f"num_graphs={num_graphs} graphs are in a batch: pass batch, the graph of every node.")
        return None, size
    if x.dim() != 2 or batch.shape != x.shape[:1] or batch.dtype not in _WHOLE:
        raise ShapeError(
            f"batch is the graph of every node, (N,) whole numbers for (N, F) features; got {tuple(batch.shape)} "
            f"{batch.dtype} with x {tuple(x.shape)}."
        )
    batch = batch.long()
    if torch.compiler.is_compiling() and num_graphs is not None:
        return batch, num_graphs
    if torch.compiler.is_exporting():  # a trace has no numbers to look at
        return batch, _last(batch) + 1
    low, high = (int(end) for end in batch.aminmax()) if len(batch) else (0, -1)
    if low < 0 or (num_graphs is not None and high >= num_graphs):
        raise ShapeError(
            f"batch holds graph {low if low < 0 else high}, and there are "
            f"{'graphs from 0 on' if num_graphs is None else f'{num_graphs} graphs, from 0 on'}."
        )
    return batch, high + 1 if num_graphs is None else num_graphs


def _last(batch: Tensor) -> Any:
    """The number of the last graph, which a trace is to know for a size."""
    last = batch.max().item()
    torch._check(last >= 0)
    return last


_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
