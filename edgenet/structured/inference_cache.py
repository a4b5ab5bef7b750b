"""InferenceCache: what inference computes of parameters once, and uses until one of their numbers changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from edgenet import shortcuts
from edgenet.ops import backend
from edgenet.seen import same_numbers

T = TypeVar("T")


class _Read(NamedTuple):
    """A tensor as it was when something was computed of it."""

    held: Tensor  # the same memory: as long as it is held, no other numbers have its address
    layout: tuple[Any, ...]
    copy: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> _Read:
        tensor = tensor.detach()
        return cls(tensor, _layout(tensor), tensor.clone(memory_format=torch.contiguous_format))

    def is_still(self, now: Tensor) -> bool:
        """Whether a tensor is this one, to the last bit of its numbers."""
        return _layout(now) == self.layout and same_numbers(self.copy, now)


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.is_conj()


class InferenceCache:
    """Values computed of a module's tensors (merged cores, spectra, index arrays), used again while the tensors hold
    the same numbers.

    The numbers themselves are compared at every use, with a copy. Neither identity nor torch's count of changes tells
    of writes through ``parameter.data`` (averages of weights put in for an evaluation), through NumPy, by another
    process, or of tensors made in inference mode. A comparison reads the memory twice, at some 10 GB/s; so a family
    keeps only what is many times dearer than that, computed of few numbers.

    Kept in ``eval`` mode alone (what is of buffers that training leaves as they are, in training as well), where no
    gradient is wanted, on the CPU (elsewhere a comparison would make the host
    wait for the device), and while ``edgenet.kept`` allows it. Otherwise computed at every call. Copies and pickles
    start empty.
    """

    def __init__(self) -> None:
        self._values: dict[Any, tuple[list[_Read], Any]] = {}

    def get(
        self,
        module: nn.Module,
        key: Any,
        tensors: tuple[Tensor, ...],
        compute: Callable[[], T],
        in_training: bool = False,
    ) -> T:
        """``compute()``, or what it gave for the same numbers.

        Args:
            module: whose mode decides.
            key: what is computed, and for which options.
            tensors: all that it is computed of.
            in_training: whether it is kept while the module trains, too: the tensors seldom change.
        """
        if torch.compiler.is_compiling() or (module.training and not in_training) or not shortcuts.keeping:
            return compute()
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            return compute()
        if not backend.eager() or not all(t.is_cpu for t in tensors) or not backend.readable(*tensors):
            return compute()
        entry = self._values.get(key)
        if entry is not None and len(entry[0]) == len(tensors):
            for read, now in zip(entry[0], tensors, strict=True):
                if not read.is_still(now):
                    break
            else:
                return entry[1]
        # kept values must serve outside inference mode and autocast too
        full = torch.autocast("cpu", enabled=False) if torch.is_autocast_enabled("cpu") else nullcontext()
        with torch.inference_mode(False), torch.no_grad(), full:
            read = [_Read.of(t) for t in tensors]  # before, lest a change in between be missed
            value = compute()
        self._values[key] = read, value
        return value

    def clear(self) -> None:
        self._values.clear()

    def __deepcopy__(self, memo: dict) -> InferenceCache:
        return InferenceCache()

    def __reduce__(self) -> tuple:
        return InferenceCache, ()
