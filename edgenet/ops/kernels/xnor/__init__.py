"""xnor: products of vectors of signs that are packed 64 to a word."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.ops import backend
from edgenet.ops.kernels.xnor import reference
from edgenet.ops.transforms import looped

_MOST = 2**31  # signs of a row, whose product is an int32


def pack_signs(x: Tensor) -> Tensor:
    """Signs, 64 to a word: bit i of a row is 1 where x[..., i] >= 0, so that 0 and -0.0 count as +1.

    Args:
        x: (..., k) real numbers.

    Returns:
        (..., ceil(k / 64)) int64. Bit i stands in word i // 64 at place i % 64; bits past k are 0. Without gradients.

    Raises:
        ShapeError: if ``x`` has no axis, is complex, or holds NaN, which has no sign.

    Example:
        >>> edgenet.ops.pack_signs(torch.tensor([[0.5, -2.0, 0.0]])).tolist()  # 101 in bits
        [[5]]
    """
    if x.dim() == 0 or x.is_complex():
        raise ShapeError(f"signs are packed along the last axis of real numbers, got {x.dtype} {tuple(x.shape)}.")
    x = x.detach()
    return _of_rows(_signs if _directly(x) else _PACK_SIGNS, x)


def unpack_signs(words: Tensor, k: int, dtype: torch.dtype | None = None) -> Tensor:
    """The (..., k) signs, -1 and +1, that ``pack_signs`` has packed.

    Args:
        words: (..., ceil(k / 64)) int64.
        k: how many signs a row has.
        dtype: by default torch's default dtype.

    Raises:
        ShapeError: if the words are not of k signs.

    Example:
        >>> edgenet.ops.unpack_signs(torch.tensor([[5]]), 3).tolist()
        [[1.0, -1.0, 1.0]]
    """
    _check_words("unpack_signs", words, k)
    dtype = dtype or torch.get_default_dtype()
    return _of_rows(lambda rows: 2 * reference.unpacked(rows, k).to(dtype) - 1, words)


def pack_above(dots: Tensor, least: Tensor, flip: Tensor) -> Tensor:
    """Packed signs of whole numbers above thresholds: bit i of a row is (dots[..., i] >= least[i]) XOR bit i of flip.

    A batch norm and a sign after a product of signs are of this form, so that no float is made between the two.

    Args:
        dots: (..., n) int32.
        least: (n,) int32.
        flip: (ceil(n / 64),) int64, packed like signs; bits past n are 0.

    Returns:
        (..., ceil(n / 64)) int64.

    Raises:
        ShapeError: if shapes, dtypes or devices differ from these.

    Example:
        >>> dots = torch.tensor([[3, -1]], dtype=torch.int32)
        >>> words = edgenet.ops.pack_above(dots, torch.zeros(2, dtype=torch.int32), torch.zeros(1, dtype=torch.int64))
        >>> edgenet.ops.unpack_signs(words, 2).tolist()
        [[1.0, -1.0]]
    """
    _check_words("pack_above", flip, least.numel())
    alike = dots.dtype == least.dtype == torch.int32 and dots.device == least.device == flip.device
    if dots.dim() == 0 or least.dim() != 1 or flip.dim() != 1 or dots.shape[-1:] != least.shape or not alike:
        raise ShapeError(
            f"pack_above wants dots (..., n) and least (n,), int32 on one device with flip, got {dots.dtype} "
            f"{tuple(dots.shape)} on {dots.device}, {least.dtype} {tuple(least.shape)} on {least.device} and flip "
            f"{tuple(flip.shape)} on {flip.device}."
        )
    call = _above if _directly(dots, least, flip) else _PACK_ABOVE
    return _of_rows(lambda rows: call(rows, least, flip), dots)


def xnor(a: Tensor, w: Tensor, k: int) -> Tensor:
    """Products of packed signs: out[..., j] = <a[...], w[j]> = k - 2 popcount(a[...] XOR w[j]), exact.

    Args:
        a: (..., words) int64, as ``pack_signs`` makes them: bits that are no signs are 0.
        w: (n, words) int64, likewise.
        k: how many signs a row has, in ceil(k / 64) words, or in more where rows are several packed runs.

    Returns:
        (..., n) int32, from -k to k.

    Raises:
        ShapeError: if shapes, dtypes or devices differ from these.

    Example:
        >>> a = edgenet.ops.pack_signs(torch.tensor([[1.0, -1.0, 1.0]]))
        >>> edgenet.ops.xnor(a, a, 3).tolist()
        [[3]]
    """
    _check_count("xnor", k)
    alike = a.dtype == w.dtype == torch.int64 and a.device == w.device
    if not alike or a.dim() == 0 or w.dim() != 2 or a.shape[-1] != w.shape[1] or 64 * w.shape[1] < k:
        raise ShapeError(
            f"xnor of {k} signs a row takes words (..., W) and (n, W) of int64 on one device, W at least "
            f"{-(-k // 64)}, got {a.dtype} {tuple(a.shape)} on {a.device} and {w.dtype} {tuple(w.shape)} on {w.device}."
        )
    call = _products if _directly(a, w) else _XNOR
    return _of_rows(lambda rows: call(rows, w, k), a)


def _check_count(op: str, k: int) -> None:
    if not isinstance(k, int | torch.SymInt) or not 0 <= k < _MOST:
        raise ShapeError(f"{op} takes rows of 0 to {_MOST - 1} signs, got k = {k!r}.")


def _check_words(op: str, words: Tensor, k: int) -> None:
    _check_count(op, k)
    if words.dtype != torch.int64 or words.dim() == 0 or words.shape[-1] != -(-k // 64):
        raise ShapeError(
            f"{op} takes {k} signs a row as {-(-k // 64)} words of int64 (edgenet.ops.pack_signs makes them), got "
            f"{words.dtype} {tuple(words.shape)}."
        )


def _of_rows(call: Any, x: Tensor) -> Tensor:
    """``call`` on the rows of all leading axes."""
    if x.dim() == 2:
        return call(x)
    rows = x.reshape(x.shape[:-1].numel(), x.shape[-1])
    return call(rows).unflatten(0, x.shape[:-1]) if x.dim() > 1 else call(rows)[0]


# ---------------------------------------------------------------- the form that runs now
def _directly(*tensors: Tensor) -> bool:
    """Whether the form may be called past torch, which knows of no more than the registered ops."""
    return backend.eager() and backend.readable(*tensors) and not tensors[0].is_meta


def _form(tensor: Tensor) -> ModuleType:
    # words and numbers of all dtypes are served where float32 is
    return backend.kernels("xnor", tensor, dtype=torch.float32) or reference


def _signs(x: Tensor) -> Tensor:
    words, nan = _form(x).pack_signs(x)
    if nan:
        raise ShapeError("NaN has no sign to pack: look for it in what was computed before.")
    return words


def _above(dots: Tensor, least: Tensor, flip: Tensor) -> Tensor:
    return _form(dots).pack_above(dots, least, flip)


def _products(a: Tensor, w: Tensor, k: int) -> Tensor:
    return _form(a).xnor(a, w, k)


# registered, so that they can be compiled and exported
_PACK_SIGNS = torch.library.custom_op("edgenet::pack_signs", _signs, mutates_args=())
_PACK_ABOVE = torch.library.custom_op("edgenet::pack_above", _above, mutates_args=())
_XNOR = torch.library.custom_op("edgenet::xnor", _products, mutates_args=())


@_PACK_SIGNS.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], (x.shape[1] + 63) // 64, dtype=torch.int64)


@_PACK_ABOVE.register_fake
def _(dots: Tensor, least: Tensor, flip: Tensor) -> Tensor:
    return flip.new_empty(dots.shape[0], flip.shape[0])


@_XNOR.register_fake
def _(a: Tensor, w: Tensor, k: int) -> Tensor:
    return a.new_empty(a.shape[0], w.shape[0], dtype=torch.int32)


for _op in (_PACK_SIGNS, _PACK_ABOVE, _XNOR):
    _op.register_vmap(lambda info, in_dims, *arguments, _op=_op: looped(_op, info, in_dims, *arguments))
