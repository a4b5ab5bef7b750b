"""Kept: what inference computes of parameters once, and uses until they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Kept:
    """Values computed of a module's parameters (merged cores, spectra, a CSR form), kept while those stay as they are.

    Kept in ``eval`` mode alone, and where no gradient is wanted; otherwise computed at every call. A change in place, a
    new tensor, ``train()`` and ``to()`` all count as a change; writing through ``parameter.data`` in ``eval`` mode is
    the one that nobody can see. Copies and pickles start empty.
    """

    def __init__(self) -> None:
        self._values: dict[Any, tuple[list[tuple[Tensor, int, int]], Any]] = {}

    def get(self, module: nn.Module, key: Any, tensors: tuple[Tensor, ...], compute: Callable[[], T]) -> T:
        """``compute()``, or what it gave for the same tensors.

        Args:
            module: whose mode decides.
            key: what is computed, and for which options.
            tensors: what it is computed of.
        """
        if torch.compiler.is_compiling() or module.training or any(t.is_inference() for t in tensors):
            return compute()
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            return compute()
        entry = self._values.get(key)
        if entry is not None and len(entry[0]) == len(tensors):
            for (tensor, version, address), now in zip(entry[0], tensors, strict=True):
                if tensor is not now or now._version != version or now.data_ptr() != address:
                    break
            else:
                return entry[1]
        with torch.inference_mode(False), torch.no_grad():  # kept values must serve outside inference mode too
            value = compute()
        self._values[key] = [(t, t._version, t.data_ptr()) for t in tensors], value
        return value

    def clear(self) -> None:
        self._values.clear()

    def __deepcopy__(self, memo: dict) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple:
        return Kept, ()
