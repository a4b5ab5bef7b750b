"""int8_linear: a product of int8 weights with signals that are rounded to int8 on the way.

It is no faster way to the same numbers: rounding the signal changes the result, by about 1 % of its size for signals of
one scale. So nothing takes it by itself; a caller asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgenet.errors import ShapeError

_MOST = 127  # levels on either side of 0
_LONGEST = 2**31 // 128**2  # rows whose sums of products an int32 holds, as oneDNN's do


@dataclass(frozen=True)
class Int8Weight:
    """A matrix of int8 codes, made for ``int8_linear`` by ``int8_weight``.

    Attributes:
        codes: (n, k) int8.
        scale: (n,) float32, of each row.
        packed: the codes in the layout of oneDNN, where torch has its int8 product and its sums are exact; else None.
    """

    codes: Tensor
    scale: Tensor
    packed: Tensor | None


def has_vnni() -> bool:
    """Whether torch's oneDNN multiplies int8 by the processor's VNNI instructions, so that int8 is quicker."""
    known = hasattr(torch.ops.onednn, "qlinear_prepack") and hasattr(torch.ops.onednn, "qlinear_pointwise")
    return known and torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()


def int8_weight(codes: Tensor, scale: Tensor) -> Int8Weight:
    """Bring codes into the form that ``int8_linear`` multiplies by, once.

    Args:
        codes: (n, k) int8.
        scale: (n,), or one for all.

    Raises:
        ShapeError: if the codes are no int8 matrix, or the scales do not fit.

    Example:
        >>> weight = edgenet.ops.int8_weight(torch.ones(3, 2, dtype=torch.int8), torch.ones(3))
        >>> edgenet.ops.int8_linear(torch.ones(1, 2), weight).shape
        torch.Size([1, 3])
    """
    if codes.dim() != 2 or codes.dtype != torch.int8 or scale.numel() not in (1, codes.shape[0]):
        raise ShapeError(
            f"int8 weights are codes (n, k) of int8 and a scale (n,) or (1,), got {codes.dtype} {tuple(codes.shape)} "
            f"and {tuple(scale.shape)}."
        )
    scale = scale.detach().to(torch.float32).reshape(-1).expand(codes.shape[0]).contiguous()
    fits = codes.is_cpu and codes.numel() > 0 and codes.shape[1] < _LONGEST and has_vnni()
    codes = codes.contiguous()  # oneDNN looks at no strides
    packed = torch.ops.onednn.qlinear_prepack(codes, [1, codes.shape[1]]) if fits else None
    return Int8Weight(codes, scale, packed)


def rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """Every row to int8: (rows, k) -> its codes, int8, and (rows, 1) scales, the largest magnitude over 127."""
    most = x.abs().amax(1, keepdim=True)
    scale = torch.where(most == 0, 1.0, most) / _MOST  # NaN stays
    return (x / scale).round_().clamp_(-_MOST, _MOST).to(torch.int8), scale


def product(codes: Tensor, weight: Int8Weight) -> Tensor:
    """(rows, k) int8 codes by a weight -> (rows, n) float32, whole numbers times the scales of the weight's rows."""
    if weight.packed is None or not codes.numel():
        return (codes.double() @ weight.codes.double().mT).to(torch.float32) * weight.scale
    shifted = codes.view(torch.uint8) ^ 128  # oneDNN takes uint8: the code plus 128
    zeros = torch.zeros(len(weight.scale), dtype=torch.int32)
    return torch.ops.onednn.qlinear_pointwise(
        shifted, 1.0, 128, weight.packed, weight.scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )


def int8_linear(x: Tensor, weight: Int8Weight) -> Tensor:
    """x W^T, with every row of x rounded to int8 by its own scale: s_x s_n <codes of x, codes of row n>, whole numbers
    summed exactly.

    torch's oneDNN multiplies, where the processor has VNNI; elsewhere float64 does, which is right and not quick.
    ``edgenet.bench.speed.packed_xnor`` times it beside float32.

    Args:
        x: (..., k) real numbers; they are taken in float32.
        weight: of ``int8_weight``.

    Returns:
        (..., n) float32. Without gradients.

    Raises:
        ShapeError: if ``x`` has another last axis, or numbers that are not finite, which no int8 stands for.

    Example:
        >>> weight = edgenet.ops.int8_weight(torch.tensor([[127, 0], [0, 127]], dtype=torch.int8), torch.ones(2) / 127)
        >>> edgenet.ops.int8_linear(torch.tensor([[1.0, -1.0]]), weight).round(decimals=2)
        tensor([[ 1., -1.]])
    """
    n, k = weight.codes.shape
    if x.dim() == 0 or x.shape[-1] != k or x.is_complex() or x.device != weight.codes.device:
        raise ShapeError(
            f"int8_linear takes (..., {k}) real numbers on {weight.codes.device}, got {x.dtype} {tuple(x.shape)} on "
            f"{x.device}."
        )
    rows = x.detach().reshape(-1, k).to(torch.float32)
    codes, scale = rounded(rows)
    if not scale.isfinite().all():
        raise ShapeError("int8_linear got numbers that are NaN or infinite, and have no code.")
    y = product(codes, weight)
    return (y * scale).reshape(*x.shape[:-1], n)
