"""Tensors of equal contents that are one: every table of a graph reads the same index."""

from __future__ import annotations

from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

_SHARED: WeakValueDictionary[tuple, Tensor] = WeakValueDictionary()


def shared(tensor: Tensor) -> Tensor:
    """The one tensor of these contents, dtype and device that this process has: this one, if it is the first.

    Nobody may write into it. It goes when the last who holds it goes.
    """
    if tensor.numel() == 0 or tensor.is_meta or is_fake(tensor) or torch.compiler.is_compiling():
        return tensor
    key = tensor.device, tensor.dtype, tensor.shape, int(tensor.sum(dtype=torch.long))
    known = _SHARED.get(key)
    if known is not None and torch.equal(known, tensor):
        return known
    if tensor.is_inference() or not tensor.untyped_storage().resizable():  # NumPy, or a file, may write into it
        with torch.inference_mode(False):
            tensor = tensor.clone()
    _SHARED[key] = tensor
    return tensor


def narrow(numbers: Tensor, largest: int) -> Tensor:
    """Whole numbers up to ``largest``, and -1, in as few bytes as hold them: int16, int32 or int64."""
    for dtype in (torch.int16, torch.int32):
        if largest <= torch.iinfo(dtype).max:
            return numbers.to(dtype)
    return numbers.to(torch.long)


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same numbers, in the same dtype; tensors without numbers are equal to none."""
    if a.shape != b.shape or a.dtype != b.dtype or a.is_meta or b.is_meta:
        return False
    return a is b or torch.equal(a, b.to(a.device))
