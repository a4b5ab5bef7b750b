"""Kept: what inference computes of parameters once, and uses until they change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from edgenet.ops import backend

T = TypeVar("T")

_steps = 0  # of all optimizers: fused ones write without leaving a trace on the tensors


def _count(*_: Any) -> None:
    global _steps
    _steps += 1


register_optimizer_step_post_hook(_count)


class Kept:
    """Values computed of a module's parameters (merged cores, spectra, a CSR form), kept while those stay as they are.

    Kept in ``eval`` mode alone, and where no gradient is wanted; otherwise computed at every call. A change in place, a
    new tensor, an optimizer's step, ``train()`` and ``to()`` all count as a change; writing past torch in ``eval`` mode
    (through ``parameter.data``, NumPy or another process) is what nobody can see. Copies and pickles start empty.
    """

    def __init__(self) -> None:
        self._values: dict[Any, tuple[list[tuple[Tensor, int, int, Tensor]], int, Any]] = {}

    def get(self, module: nn.Module, key: Any, tensors: tuple[Tensor, ...], compute: Callable[[], T]) -> T:
        """``compute()``, or what it gave for the same tensors.

        Args:
            module: whose mode decides.
            key: what is computed, and for which options.
            tensors: what it is computed of.
        """
        if torch.compiler.is_compiling() or module.training:
            return compute()
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            return compute()
        entry = self._values.get(key)
        if entry is not None and entry[1] == _steps and len(entry[0]) == len(tensors):
            for (tensor, version, address, _), now in zip(entry[0], tensors, strict=True):
                if tensor is not now or now._version != version or now.data_ptr() != address:
                    break
            else:
                return entry[2]
        if not backend.eager() or any(t.is_inference() for t in tensors):
            return compute()
        device = tensors[0].device.type
        # kept values must serve outside inference mode and autocast too
        full = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        with torch.inference_mode(False), torch.no_grad(), full:
            value = compute()
        # held memory cannot be given to other numbers, which would then have the same address
        self._values[key] = [(t, t._version, t.data_ptr(), t.detach()) for t in tensors], _steps, value
        return value

    def clear(self) -> None:
        self._values.clear()

    def __deepcopy__(self, memo: dict) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple:
        return Kept, ()
