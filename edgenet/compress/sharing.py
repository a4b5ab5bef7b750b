"""Sharing: when what stands in two places is one weight. A weight is its parameters, not the module that holds them."""

from __future__ import annotations

from collections.abc import Hashable

from torch import nn

from edgenet.shortcuts import HOOKS, STATE_HOOKS, hooked
from edgenet.structured import StructuredMatrix


def identity(content: StructuredMatrix | nn.Parameter) -> Hashable:
    """Equal for two contents of slots if, and only if, they are one weight: the same parameter, alone or in ``Dense``
    matrices, or structured matrices of one make of which all tensors are the same.

    Matrices that share some of their tensors only (a hash pool, one factor) are two. So is one with hooks or
    parametrizations, which belong to the module. Holds for as long as the contents live.
    """
    if isinstance(content, nn.Parameter):
        return id(content)
    if is_hooked(content):
        return "module", id(content)
    parameters = list(content.parameters())
    if content.is_dense and len(parameters) == 1:
        return id(parameters[0])
    tensors = tuple((name, id(t)) for name, t in (*content.named_parameters(), *content.named_buffers()))
    return (_make(content), tensors) if tensors else ("module", id(content))


def is_hooked(matrix: nn.Module) -> bool:
    """Whether hooks, parametrizations or adapters of the caller's are on a matrix, or on anything inside it."""
    return any(hooked(part, HOOKS + STATE_HOOKS) for part in matrix.modules())


def _make(matrix: StructuredMatrix) -> Hashable:
    """Classes and plain attributes (shapes, offsets, seeds) of a matrix and its parts."""
    return tuple(
        (type(part), *(f"{k}={v!r}" for k, v in vars(part).items() if k != "training" and isinstance(v, _PLAIN)))
        for part in matrix.modules()
    )


_PLAIN = (bool, int, float, str, tuple)
