"""Lazy PyG layers (-1 channels): what is drawn when the first input tells the sizes, and how PyG draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch_geometric.nn import inits
from torch_geometric.nn.dense.linear import reset_bias_, reset_weight_

#: A part without a size: ``{"place": its dotted name, "reads": "source" | "target" | "edges", "how": a key of
#: ``_DRAWS``, ...}``. Plain values, which copies and files can hold.
Start = dict[str, Any]


def begin(layer: nn.Module, starts: list[Start], widths: Mapping[str, int | None]) -> list[Start]:
    """Give the parts their sizes and the numbers that PyG's layer would have drawn, in its order.

    Args:
        starts: in the order in which PyG's layer calls the parts.
        widths: of the sources' signal, of the targets', and of edge features; None for what did not come.

    Returns:
        Those that still wait, for what did not come.
    """
    waiting = []
    for start in starts:
        width, part = widths[start["reads"]], layer.get_submodule(start["place"])
        if width is None:
            waiting.append(start)
        else:
            with torch.no_grad():
                _DRAWS[start["how"]](layer, part, width, **start["options"])
    return waiting


def _draw_linear(
    layer: nn.Module, part: nn.Module, width: int, blocks: int, has_bias: bool, weight: str | None, bias: str | None
) -> None:
    """A ``StructuredLinear``, of one linear map of PyG or of several side by side; or its bias is the layer's."""
    if not part.weight.is_lazy:  # shared, and drawn where it came first
        return
    parameter, rows = part.weight.weight, part.weight.shape[0]
    drawn = [reset_weight_(_empty_like(parameter, rows, width), width, weight) for _ in range(blocks)]
    _fill(parameter, torch.cat(drawn, dim=1))
    reset_bias_(part.bias if has_bias else layer.bias, width, bias)


def _draw_stacks(layer: nn.Module, part: nn.Module, width: int, stacks: int, rounds: int) -> None:
    """The ``Stacks`` of ARMA: PyG has a tensor for all that enters, and one for all that starts again."""
    if not part.mix[0].is_lazy:
        return
    parameter, channels = part.mix[0].weight, part.mix[0].shape[0] // stacks
    first = _empty_like(parameter, stacks, width, channels)
    again = _empty_like(parameter, rounds, stacks, width, channels)
    inits.glorot(first)
    inits.glorot(again)
    _fill(parameter, first.mT.flatten(0, 1))
    for root, drawn in zip(part.root, again, strict=False):  # PyG draws one more than it uses of a single layer
        _fill(root.weight.weight, drawn.mT.flatten(0, 1))


def _empty_like(parameter: UninitializedParameter, *shape: int) -> Tensor:
    """PyG draws in the parameter's own dtype, on its device."""
    return torch.empty(shape, dtype=parameter.dtype, device=parameter.device)


def _fill(parameter: UninitializedParameter, weight: Tensor) -> None:
    parameter.materialize(weight.shape)
    parameter.copy_(weight)


_DRAWS = {"linear": _draw_linear, "stacks": _draw_stacks}
