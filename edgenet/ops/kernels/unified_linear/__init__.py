"""unified_linear: a product with a matrix in blocks whose entries share one magnitude."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.errors import BackendError, ShapeError
from edgenet.ops import backend
from edgenet.ops.kernels.unified_linear import reference

backend.register("unified_linear", reference=reference.unified_linear)


def unified_linear(
    x: Tensor, magnitudes: Tensor, signs: Tensor, block: tuple[int, int], shape: tuple[int, int]
) -> Tensor:
    """x W^T with W[i, j] = sign[i, j] |magnitude of its block|, without W (Lin et al. 2021, arXiv 2106.08301).

    The kernels are for few signals and no gradients: for a processor there is one for blocks of one row and a multiple
    of 16 columns. All else builds W.

    Args:
        x: (..., n).
        magnitudes: one a block, block row after block row, in the dtype of ``x``.
        signs: uint8, a bit for every entry, block after block and row after row in it, the lowest bit of a byte first;
            1 for plus. Blocks that reach over the edge have bits there too.
        block: its rows and columns.
        shape: (m, n).

    Returns:
        (..., m).

    Raises:
        ShapeError: if the sizes do not fit, or signs are no bytes.
        BackendError: if the tensors are on several devices.

    Example:
        >>> magnitudes, signs = torch.tensor([2.0]), edgenet.ops.pack_signs(torch.tensor([[1.0, -1.0, 1.0, 1.0]]))
        >>> matrix = edgenet.structured.Unified.from_dense(torch.tensor([[2.0, -2.0]]), block=(1, 2))
        >>> matrix(torch.ones(1, 2)).tolist()  # which calls it, where kernels can run
        [[0.0]]
    """
    (rows, columns), (m, n) = block, shape
    if min(rows, columns) < 1 or x.dim() == 0 or x.shape[-1] != n:
        raise ShapeError(f"unified_linear wants signals (..., {n}) and a block of rows and columns, got "
                         f"{tuple(x.shape)} and {block}.")  # fmt: skip
    blocks = -(-m // rows) * -(-n // columns)
    size = -(-blocks * rows * columns // 8)
    if magnitudes.numel() != blocks or signs.shape != (size,) or signs.dtype != torch.uint8:
        raise ShapeError(
            f"a matrix {tuple(shape)} in blocks of {tuple(block)} has {blocks} magnitudes, and signs in {size} bytes, "
            f"torch.uint8; got {tuple(magnitudes.shape)}, and {tuple(signs.shape)} of {signs.dtype}."
        )
    for tensor in (magnitudes, signs):
        if tensor.device != x.device:
            raise BackendError(f"unified_linear got signals on {x.device} and a tensor on {tensor.device}; move one.")
    learns = torch.is_grad_enabled() and (x.requires_grad or magnitudes.requires_grad)
    if not learns and x.numel() and m and backend.eager():
        kernels = backend.kernels("unified_linear", x, magnitudes, signs)
        fits = kernels is not None and kernels.suits(x, magnitudes, block)
        if kernels is not None and fits and not torch.is_autocast_enabled(x.device.type):
            return kernels.forward(x.reshape(-1, n), magnitudes, signs, block, shape).view(*x.shape[:-1], m)
    return backend.choose("unified_linear")(x, magnitudes, signs, block, shape)
