"""codes_linear: a product with a matrix that is stored as codes of a few bits."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.errors import BackendError, RankError, ShapeError
from edgenet.ops import backend
from edgenet.ops.kernels.codes_linear import reference

backend.register("codes_linear", reference=reference.codes_linear)


def codes_linear(
    x: Tensor, codes: Tensor, bits: int, levels: Tensor, scale: Tensor, rows: int, bias: Tensor | None = None
) -> Tensor:
    """x W^T + bias with W[i, j] = levels[code[i, j]] scale[i], without W.

    Without gradients the kernels read the codes as they are stored, so nothing is made of them beforehand, and nothing
    kept: what the memory gives is 8 times less than float32 at 4 bits. They are for few signals; at many W is built
    once, for less, by who calls. Where gradients are wanted, or for other dtypes, the reference decodes W.

    Args:
        x: (..., n).
        codes: uint8, the m n codes row after row and bit after bit, the lowest first, as ``Coded`` stores them.
        bits: of a code, 1 to 8.
        levels: (2^bits,) finite numbers.
        scale: one number, or one a row, in the dtype of ``x``.
        rows: m.
        bias: (m,).

    Returns:
        (..., m).

    Raises:
        RankError: if the bits are none of these.
        ShapeError: if the sizes do not fit, or codes are no bytes.
        BackendError: if the tensors are on several devices.

    Example:
        >>> levels, scale = torch.tensor([-1.0, 1.0]), torch.tensor([2.0])
        >>> codes = torch.tensor([0b0101], dtype=torch.uint8)  # one row, of 1 bit each: the lowest bit first
        >>> edgenet.ops.codes_linear(torch.eye(4), codes, 1, levels, scale, rows=1).flatten().tolist()
        [2.0, -2.0, 2.0, -2.0]
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
        raise RankError(f"codes_linear takes codes of 1 to 8 bits, got {bits!r}.")
    columns = x.shape[-1] if x.dim() else 0
    wanted = -(-rows * columns * bits // 8)
    if codes.dtype != torch.uint8 or codes.shape != (wanted,) or x.dim() == 0 or rows < 0:
        raise ShapeError(
            f"codes_linear wants {rows} x {columns} codes of {bits} bits in {wanted} bytes, torch.uint8, got "
            f"{tuple(codes.shape)} of {codes.dtype} for signals {tuple(x.shape)}."
        )
    if levels.shape != (1 << bits,) or scale.numel() not in (1, rows):
        raise ShapeError(
            f"codes_linear wants {1 << bits} levels, and one scale or {rows}, got {tuple(levels.shape)} and "
            f"{tuple(scale.shape)}."
        )
    for tensor in (codes, scale, bias):
        if tensor is not None and tensor.device != x.device:
            raise BackendError(f"codes_linear got signals on {x.device} and a tensor on {tensor.device}; move one.")
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in (x, levels, scale))
    if not learns and x.numel() and rows and backend.eager():
        kernels = backend.kernels("codes_linear", x, codes, scale)
        fits = kernels is not None and kernels.suits(x, bits, levels, scale)
        if kernels is not None and fits and not torch.is_autocast_enabled(x.device.type):
            y = kernels.forward(x.reshape(-1, columns), codes, bits, levels, scale, rows).view(*x.shape[:-1], rows)
            return y if bias is None else y + bias
    y = backend.choose("codes_linear")(x, codes, bits, levels, scale, rows)
    return y if bias is None else y + bias
