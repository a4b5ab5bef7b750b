"""How the numbers of a training are computed: where, in which dtype, and in a fixed order."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from edgenet.errors import ConfigError

PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def device_of(model: nn.Module, name: str | None = None) -> torch.device:
    """The device of that name; without one, the device of the model's first parameter.

    Raises:
        ConfigError: if it is no CPU or CUDA device, or torch does not see it.
    """
    if name is None:
        first = next(chain(model.parameters(), model.buffers()), None)
        return torch.device("cpu") if first is None else first.device
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"training.device is a name such as cpu or cuda:0, got {name!r}.") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"training.device is cpu or cuda, got {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"training.device is {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices.")
    return device


def dtype_of(model: nn.Module, name: str | None = None) -> torch.dtype:
    """The dtype of that name; without one, that of the model's first parameter of floating point."""
    if name is not None:
        return getattr(torch, name)
    found = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(found, torch.get_default_dtype())


def seed_everything(seed: int) -> None:
    """Begin the random numbers of Python, numpy and torch anew."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """New tensors are of this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def fixed_order(cuda: bool = False) -> Iterator[None]:
    """Sums in a fixed order: parallel scatters would add in any. What has no fixed order
    warns; on the CPU, it raises for whoever has asked torch for that."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    filling: Any = torch.utils.deterministic
    fill = filling.fill_uninitialized_memory
    if cuda:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.use_deterministic_algorithms(True, warn_only=cuda or warn or not deterministic)
    filling.fill_uninitialized_memory = deterministic and fill  # costs time, and only tests want it
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn)
        filling.fill_uninitialized_memory = fill


@contextlib.contextmanager
def without_denormals() -> Iterator[None]:
    """Numbers too small for all their digits (below 1.2e-38 in float32) are 0, on this thread.

    Moments of an optimizer whose gradients have become 0 fall that far, and CPUs then compute them many times slower.
    """
    # torch has no way to ask; 5e-324 is the smallest number of float64
    kept = bool(torch.tensor(5e-324, dtype=torch.float64) * 1 != 0)
    can = torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if can and kept:
            torch.set_flush_denormal(False)


def lowered(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The context in which a model computes at a precision of ``[training]``."""
    if precision == "full":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])
