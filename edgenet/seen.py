"""Seen: a tensor as it was, by which to tell whether it has changed since."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

try:
    #: C's, which compares memory at 10 GB/s and more, four times as fast as ``torch.equal``. None where it is hidden.
    memcmp: Any = ctypes.CDLL(None).memcmp
    memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
except (TypeError, OSError, AttributeError):  # a system that does not hand out its C library
    memcmp = None


class Seen:
    """What is remembered of a tensor of integers, to say later whether it is still the same.

    Torch counts the changes that it makes itself. It does not see those of NumPy, through memory that the two share,
    nor those through ``tensor.data``, and tensors made in inference mode count none. So tensors that may change unseen
    are compared by value at every look, and all others where one looks closely.

    Args:
        tensor: what to remember.
        own: nobody else writes into it. Then no copy of it is held while torch counts its changes.
    """

    def __init__(self, tensor: Tensor, own: bool = False) -> None:
        self._mark = _mark(tensor)
        self.value: Tensor | None = None
        if not own or not _counts_changes(tensor):
            with torch.inference_mode(False):
                self.value = tensor.detach().clone(memory_format=torch.contiguous_format)

    def at_a_glance(self, tensor: Tensor) -> bool:
        """Whether the tensor is the same as far as torch knows, without reading it."""
        if tensor.is_inference() or not tensor.untyped_storage().resizable():  # as below, in one call
            return False
        return self._mark == (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor._version)

    def unmoved(self, tensor: Tensor) -> bool:
        """Whether the tensor stands where it stood, and torch has counted no change; others may have written there."""
        return self._mark == _mark(tensor)

    def still(self, tensor: Tensor, closely: bool = False) -> bool:
        """Whether the tensor holds the numbers that it held.

        Args:
            closely: compare the numbers even where torch has counted no change. One pass over the tensor.
        """
        same, value = self.at_a_glance(tensor), self.value
        if value is None or (same and not closely):
            return same
        if tensor.is_cuda and torch.cuda.is_current_stream_capturing():  # which cannot wait for an answer
            return same
        if value.shape != tensor.shape or value.device != tensor.device or value.dtype != tensor.dtype:
            return False
        if not same_numbers(value, tensor):
            return False
        if not same:
            self._mark = _mark(tensor)
        return True


def same_numbers(seen: Tensor, tensor: Tensor) -> bool:
    """Whether a tensor holds the numbers of a contiguous one of its shape, dtype and device: on the CPU, to the last
    bit. It does not where its memory was freed or made smaller."""
    if not is_whole(tensor):
        return False
    if memcmp is None or not (tensor.is_cpu and tensor.is_contiguous()):
        return torch.equal(seen, tensor)
    return memcmp(seen.data_ptr(), tensor.data_ptr(), seen.nbytes) == 0


def is_whole(tensor: Tensor) -> bool:
    """Whether the storage still has all numbers of a strided tensor: ``untyped_storage().resize_`` asks no tensor."""
    last = tensor.storage_offset()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        last += (size - 1) * stride
    return not tensor.numel() or tensor.untyped_storage().nbytes() >= (last + 1) * tensor.element_size()


def _counts_changes(tensor: Tensor) -> bool:
    """Whether torch counts all changes but those through ``data``: NumPy's memory, or memory it was given, is fixed."""
    return not tensor.is_inference() and tensor.untyped_storage().resizable()


def _mark(tensor: Tensor) -> tuple:
    version = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, version
