"""Positions: how often a convolution applies its kernel to one image."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgenet.structured import StructuredConv

Positions = Counter[nn.Module]


@torch.no_grad()
def positions(model: nn.Module, inputs: Any) -> Positions:
    """Positions of the output of every convolution of a model, of one image of a batch; several calls are added.

    Args:
        model: runs once, in ``eval`` mode; modes are as before afterwards.
        inputs: arguments of the model, a tuple or list; or its only one.
    """
    found: Positions = Counter()

    def count(module: nn.Module, given: Any, output: Any) -> None:
        while isinstance(output, tuple | list):  # a subclass may give more; what is convolved comes first
            output = output[0]
        found[module] += output.shape[-len(module.kernel_size) :].numel()

    modes = {module: module.training for module in model.modules()}
    handles = [module.register_forward_hook(count) for module in modes if convolves(module)]
    try:
        model.eval()
        model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return found


def convolves(module: nn.Module) -> bool:
    """Whether it has a kernel with a row for every output, applied at every position."""
    return isinstance(module, _ConvNd | StructuredConv) and not isinstance(module, _ConvTransposeNd)
