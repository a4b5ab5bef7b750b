"""The edge weights of a layer inside a model, as it uses them on given inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.nn import EdgeNetConv


@dataclass(frozen=True)
class EdgeWeights:
    """The edge weights of one layer on one graph.

    Attributes:
        edge_index: (2, E).
        values: (K, E, H) by hop and head.
        layer: the layer's number among the model's EdgeNet layers, from 0.
        learned: whether the layer has weights to learn on edges; a shift operator has not.

    Example:
        >>> model = edgenet.NodeClassifier(3, 2, layer="gat", heads=4)
        >>> weights = edgenet.plots.edge_weights(model, x, edges)
        >>> weights.picked(hop=0, head=0).shape  # with the loops that attention adds
        (8,)
    """

    edge_index: Tensor
    values: Tensor
    layer: int
    learned: bool

    def picked(self, hop: int = 0, head: int | None = None) -> np.ndarray:
        """(E,) weights of one hop and head; without a head, of the one whose weights differ most from edge to edge."""
        values = self.values[hop]
        if head is None:
            spread = values.sub(values.mean(0)).abs().mean(0) / values.abs().mean(0).clamp_min(1e-12)
            head = int(spread.nan_to_num().argmax())
        return values[:, head].double().cpu().numpy()


def edge_weights(model: nn.Module, *inputs: Any, layer: int = 0) -> EdgeWeights:
    """The edge weights of one ``EdgeNetConv`` inside a model, on the inputs of the model.

    Args:
        model: any module with an ``EdgeNetConv`` in it. Run once in evaluation mode.
        inputs: arguments of the model; a signal comes without a batch.
        layer: which of the layers, in the order in which the model calls them; -1 is the last.

    Raises:
        ShapeError: if the model has no such layer.

    Example:
        >>> found = edgenet.plots.edge_weights(edgenet.NodeClassifier(3, 2, heads=4), x, edges, layer=0)
        >>> found.values.shape  # hops, edges and loops, heads
        torch.Size([1, 8, 4])
    """
    calls: list[tuple[EdgeNetConv, tuple, dict]] = []
    hooks = [
        module.register_forward_pre_hook(lambda m, args, kwargs: calls.append((m, args, kwargs)), with_kwargs=True)
        for module in model.modules()
        if isinstance(module, EdgeNetConv)
    ]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    if not -len(calls) <= layer < len(calls):
        raise ShapeError(f"the model calls {len(calls)} EdgeNetConv layers; there is no layer {layer} to look into.")
    conv, args, kwargs = calls[layer]
    was_training = conv.training
    with torch.no_grad():
        _, (edge_index, values) = conv.eval()(*args, **{**kwargs, "return_attention_weights": True})
    conv.train(was_training)
    values = values if values.dim() == 3 else values.unsqueeze(0)
    return EdgeWeights(edge_index, values, layer % len(calls), any(p.numel() for p in conv.phi.parameters()))
