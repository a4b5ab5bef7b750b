"""Tensors of equal contents that are one: every table of a graph reads the same index."""

from __future__ import annotations

from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
from torch.utils.weak import WeakTensorKeyDictionary

_SHARED: WeakValueDictionary[tuple, Tensor] = WeakValueDictionary()
_ON_META = WeakTensorKeyDictionary()


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


def meta_of(tensor: Tensor, moved: Tensor) -> Tensor:
    """The one stand-in on the meta device of a shared tensor, which ``moved`` becomes if it is the first: a skeleton
    for ``torch.func.functional_call`` has the ties of the module that it stands for."""
    return _ON_META.setdefault(tensor, moved)


def narrow(numbers: Tensor, largest: int) -> Tensor:
    """Whole numbers up to ``largest``, and -1, as int32 where that holds them, or int64. ``torch.distributed`` sends no
    int16."""
    return numbers.to(torch.int32 if largest <= torch.iinfo(torch.int32).max else torch.long)


def stored(numbers: Tensor) -> Tensor:
    """What ``narrow`` gave, for files: int16 where that is enough."""
    if numbers.dtype != torch.int32 or numbers.is_meta or is_fake(numbers) or torch.compiler.is_compiling():
        return numbers
    fits = not numbers.numel() or int(numbers.max()) <= torch.iinfo(torch.int16).max
    return shared(numbers.to(torch.int16)) if fits else numbers


def read(numbers: Tensor) -> Tensor:
    """What ``stored`` gave, for work."""
    return numbers.int() if numbers.dtype == torch.int16 else numbers


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same numbers, in the same dtype; tensors without numbers are equal to none."""
    if a.shape != b.shape or a.dtype != b.dtype or a.is_meta or b.is_meta:
        return False
    return a is b or torch.equal(a, b.to(a.device))
