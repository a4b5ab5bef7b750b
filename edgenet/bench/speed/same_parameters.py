"""A peer's layer, its parameters made of ours, and its gradients told in ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class PeerLayer:
    """A layer of another library.

    Attributes:
        name: as the table has it.
        module: its parameters.
        call: (N, F) -> (N, F_out).
        mapping: all of its parameters made of ours, by names on both sides.
    """

    name: str
    module: nn.Module
    call: Callable[[Tensor], Tensor]
    mapping: Callable[[Parameters], dict[str, Tensor]]


def hold_(module: nn.Module, mapping: Callable[[Parameters], dict[str, Tensor]], ours: Parameters) -> None:
    """Fill the parameters of a peer from ours.

    Raises:
        KeyError: if it has parameters that the mapping does not make, or the other way round.
    """
    values, own = mapping(ours), dict(module.named_parameters())
    if set(values) != set(own):
        raise KeyError(f"parameters {sorted(set(values) ^ set(own))} are in one of mapping and {type(module).__name__}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(values[name].view(parameter.shape))


def as_ours(
    grads: Parameters, mapping: Callable[[Parameters], dict[str, Tensor]], ours: Parameters
) -> dict[str, Tensor]:
    """Gradients in a peer's parameters as gradients in ours, by the chain rule through the mapping."""
    leaves = {name: value.detach().requires_grad_() for name, value in ours.items()}
    values = mapping(leaves)
    outputs, directions = zip(*((values[name], grads[name].view(values[name].shape)) for name in values), strict=True)
    found = torch.autograd.grad(outputs, tuple(leaves.values()), directions)
    return dict(zip(leaves, found, strict=True))
