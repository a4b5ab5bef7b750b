"""Reading the entries of a matrix that others may have wrapped, hooked, pruned or parametrised."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgenet.shortcuts import untouched


def read(matrix: nn.Module) -> Tensor:
    """W (m, n), as a call would use it: ``to_dense()`` of an untouched matrix, else W^T = matrix(I).

    Calling the module is the meaning: adapters in a slot, forward hooks, backward hooks and parametrisations count. So
    do forward pre-hooks, by which torch's pruning and its old weight norm compute the weight before each call.
    """
    return matrix.to_dense() if _ready(matrix) else _called(matrix)


def read_rows(matrix: nn.Module, index: Tensor) -> Tensor:
    """W[index] (I, n) likewise: ``rows`` of an untouched matrix."""
    return matrix.rows(index) if _ready(matrix) else _called(matrix).index_select(0, index)


def _ready(matrix: nn.Module) -> bool:
    """Whether the entries may be read past the module's call. Runs pre-hooks that only prepare the weight."""
    if untouched(matrix):
        return True
    hooks = matrix._forward_pre_hooks
    if not hooks or matrix._forward_pre_hooks_with_kwargs or not untouched(*matrix.children()):
        return False
    if matrix._forward_hooks or matrix._backward_hooks or matrix._backward_pre_hooks or "forward" in vars(matrix):
        return False
    if not hasattr(type(matrix), "to_dense"):
        return False
    signal = _identity(matrix)
    return all([hook(matrix, (signal,)) is None for hook in list(hooks.values())])  # all of them, in their order


def _called(matrix: nn.Module) -> Tensor:
    return matrix(_identity(matrix)).mT


def _identity(matrix: Any) -> Tensor:
    """(n, n), in the dtype and on the device of the matrix."""
    like = next(matrix.parameters(), torch.empty(0))
    return torch.eye(matrix.shape[1], dtype=like.dtype, device=like.device)
