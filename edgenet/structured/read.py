"""Reading the entries of a matrix that others may have wrapped, hooked, pruned or parametrised."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from edgenet.errors import PlanError, ShapeError
from edgenet.shortcuts import untouched


def read(matrix: nn.Module) -> Tensor:
    """W (m, n), as a call would use it: ``to_dense()`` of an untouched matrix, else W^T = matrix(I).

    Calling the module is the meaning: adapters in a slot, forward hooks, backward hooks and parametrisations count. So
    do forward pre-hooks, by which torch's pruning and its old weight norm compute the weight before each call.

    Raises:
        PlanError: if what stands in the slot does not tell its shape.
        ShapeError: if the matrix has no size yet.
    """
    called = _by_call(matrix)
    return matrix.to_dense() if called is None else called


def read_settled(matrix: nn.Module) -> Tensor:
    """``read`` in evaluation mode, whatever the mode is: what a conversion keeps. Rows that drop out of a doped matrix
    while it trains, and numbers that an adapter drops, are all there.

    Raises:
        PlanError, ShapeError: as ``read``.
    """
    modes = {part: part.training for part in matrix.modules()}
    try:
        matrix.eval()
        return read(matrix)
    finally:
        for part, mode in modes.items():
            part.training = mode


def read_plain(*matrices: nn.Module) -> list[Tensor]:
    """``read`` of each, where ``shortcuts.plain`` was asked about them, or about what they are parts of: nothing is put
    on them. What stands in a slot may still be a module of torch's, which has no ``to_dense``."""
    found = []
    for matrix in matrices:
        found.append(matrix.to_dense() if hasattr(type(matrix), "to_dense") else read(matrix))
    return found


def read_rows(matrix: nn.Module, index: Tensor) -> Tensor:
    """W[index] (I, n) likewise: ``rows`` of an untouched matrix.

    Raises:
        IndexError: if there is no such row.
        PlanError, ShapeError: as ``read``.
    """
    called = _by_call(matrix)
    return matrix.rows(index) if called is None else called[index]


def _by_call(matrix: nn.Module) -> Tensor | None:
    """W by calling the matrix; None where it may be read by methods of its own.

    Forward pre-hooks run here, once. Where there is nothing else and they leave the signal as it is, they have prepared
    the weight, and the matrix is read: that keeps a large table from being multiplied by the identity.
    """
    if getattr(matrix, "is_lazy", False):
        raise ShapeError(f"a {type(matrix).__name__} has no size yet, and no entries: run the model once first.")
    if not (hasattr(type(matrix), "to_dense") and untouched(matrix, but_for_pre_hooks_of=matrix)):
        return matrix(_identity(matrix)).mT
    if not matrix._forward_pre_hooks:
        return None
    signal = _identity(matrix)
    inputs, options = (signal,), {}
    for key, hook in list(matrix._forward_pre_hooks.items()):
        if key in matrix._forward_pre_hooks_with_kwargs:
            inputs, options = hook(matrix, inputs, options) or (inputs, options)
        else:
            changed = hook(matrix, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
    if len(inputs) == 1 and inputs[0] is signal and not options:
        return None
    return matrix.forward(*inputs, **options).mT


def _identity(matrix: nn.Module) -> Tensor:
    """(n, n), in the dtype and on the device of the matrix. It wants a gradient where the parameters do: else torch
    warns that backward hooks see none."""
    try:
        columns = matrix.shape[1]
    except AttributeError:
        raise PlanError(
            f"a {type(matrix).__name__} stands where entries of a matrix are read, and does not tell its shape. Give "
            f"it a property `shape`, (m, n), as the matrix that it wraps has."
        ) from None
    tensors = [t for t in chain(matrix.parameters(), matrix.buffers()) if t.is_floating_point() or t.is_complex()]
    like = tensors[0] if tensors else next(matrix.buffers(), torch.empty(0))
    dtype = like.dtype if tensors else torch.get_default_dtype()
    trains = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return torch.eye(columns, dtype=dtype, device=like.device).requires_grad_(trains)
