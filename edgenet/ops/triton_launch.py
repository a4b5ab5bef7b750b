"""Where Triton kernels can run, how they are launched, and what one program covers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from edgenet.errors import BackendError

try:
    import triton
    import triton.language as tl
except Exception:  # absent, or built for another machine; reported when a kernel is asked for
    triton = tl = None

#: Of the compiler. Triton warns where fused multiply-adds are neither asked for nor forbidden.
OPTIONS = {"enable_fp_fusion": True}


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``triton.jit``; without triton the plain function, so that modules with kernels can be imported."""
    if function is None:
        return lambda later: jit(later, **options)
    return function if triton is None else triton.jit(function, **options)


@jit
def _nothing():
    pass


@cache
def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter: TRITON_INTERPRET=1 was set when triton and edgenet were imported."""
    # the library of triton.language is made of kernels too, and both must be of one kind
    return triton is not None and not any(isinstance(kernel, triton.JITFunction) for kernel in (tl.sum, _nothing))


@cache
def available() -> bool:
    """Whether a kernel can run: triton imports, and there is a GPU or the interpreter."""
    return triton is not None and (interpreted() or torch.cuda.is_available())


def check_device(device: torch.device) -> None:
    """Refuse a device on which no kernel can run.

    Raises:
        BackendError: with what is missing.
    """
    if triton is not None and (device.type == "cuda" or interpreted()):
        return
    reason = "triton does not import (`pip install triton`)" if triton is None else f"the graph is on {device}"
    raise BackendError(
        f"the triton kernels cannot run: {reason}. They need a GPU, or TRITON_INTERPRET=1 in the environment "
        f"before Python starts."
    )


def launch(kernel: Any, grid: tuple[int, int], *arguments: Any, **constants: Any) -> None:
    """Run one program for every point of the grid, on the device of the first argument, a tensor."""
    if 0 in grid:
        return
    device = arguments[0].device
    if device.type != "cuda":
        kernel[grid](*arguments, **constants)
        return
    with torch.cuda.device(device):  # triton launches on the current one
        kernel[grid](*arguments, **OPTIONS, **constants)


def cdiv(count: int, size: int) -> int:
    """How many blocks of a size hold ``count``."""
    return -(-count // size)


def next_power_of_2(count: int) -> int:
    """The smallest power of two that is at least ``count``."""
    return 1 << max(count - 1, 0).bit_length()


@cache
def tile(heads: int, channels: int, dtype: torch.dtype, tensors: int = 1) -> tuple[dict[str, Any], int]:
    """How one program covers (edges, heads, channels), so that its accumulators and one step stay in registers.

    Args:
        heads, channels: H and C of the signal.
        dtype: its dtype, which decides the dtype of sums.
        tensors: how many (edges, heads, channels) tiles the program holds at a time.

    Returns:
        The constants of the kernel (H, C; HB heads, CB channels and EB edges a step, powers of two; ACC the dtype of
        sums; warps), and the number of blocks of heads. Heads do not mix, so blocks of them are programs of their own.
    """
    channel_block = next_power_of_2(channels)
    head_block = min(next_power_of_2(heads), max(1, 1024 // channel_block))
    width = head_block * channel_block
    warps = 1 if width <= 128 else 2 if width <= 256 else 4 if width <= 1024 else 8
    numbers = 1024 * warps // tensors // (2 if dtype == torch.float64 else 1)  # 32 registers a thread
    if channels * dtype.itemsize % 16:  # loads are not of 128 bits, and every number has an address of its own
        numbers //= 2
    constants = {
        "H": heads,
        "C": channels,
        "HB": head_block,
        "CB": channel_block,
        "EB": min(32, max(1, numbers // width)),
        "ACC": tl.float64 if dtype == torch.float64 else tl.float32,
        "num_warps": warps,
    }
    return constants, cdiv(heads, head_block)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums: float32 for half precision."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
