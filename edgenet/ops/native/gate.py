"""The gate: every call of a compiled function, and what must hold of the tensors whose memory it is given.

Compiled code follows addresses and asks nobody. So a tensor goes in together with how many numbers the function will
read or write there, and of which dtype, as the graph and the other arguments say it, not as the tensor does: a tensor
that was replaced meanwhile (``tensor.data = other``) does not fit any more, and is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from edgenet.errors import BackendError, EdgeIndexError, ShapeError
from edgenet.ops import native

_NOBODY = torch._C._disabled_torch_dispatch_impl
_PLAIN, _STRIDED = (Tensor, torch.nn.Parameter), torch.strided
_NO_NODE, _NO_MEMORY = -1, -2  # of what the functions return, as native/status.h has it


def call(function: str, *arguments: Any) -> int:
    """Run a compiled function.

    Args:
        function: its name.
        arguments: numbers, and addresses that are known to be good (``Order.pointers``), as they are. Memory as
            ``(tensor, count, dtype)``, where the tensor may be None.

    Returns:
        What the function says, 0 or more.

    Raises:
        ShapeError: if a tensor holds another count of numbers, or another dtype, or does not stand in one piece.
        BackendError: if a tensor has no memory of its own on the processor, or the function fails.
        EdgeIndexError: if it finds an edge that names no node.
        MemoryError: if it finds no memory to work in.
    """
    passed: list[Any] = []
    for a in arguments:
        if type(a) is tuple:
            t, count, dtype = a
            if t is None:
                passed.append(None)
                continue
            # what ``address`` asks, in one expression: on small graphs calls of functions are most of the time
            at_a_glance = (
                type(t) in _PLAIN and t.is_cpu and t.layout is _STRIDED and t.dtype is dtype and t.numel() == count
                and t.is_contiguous() and not t.is_neg() and not t._is_zerotensor()
                and not is_functorch_wrapped_tensor(t) and count > 0
                and t.untyped_storage().nbytes() >= (t.storage_offset() + count) * t.element_size()
            )  # fmt: skip
            passed.append((at_a_glance and t.data_ptr()) or address(function, t, count, dtype))
        else:
            passed.append(a)
    status: int = getattr(native.library(), function)(*passed)
    if status < 0:
        raise _error(function, status)
    return status


def address(function: str, tensor: Tensor | None, count: int, dtype: torch.dtype) -> int | None:
    """Where ``count`` numbers of the dtype stand, one after the other; None for None. Raises as ``call``."""
    if tensor is None:
        return None
    if not (readable(tensor) and tensor.is_cpu):
        raise BackendError(
            f"{function} reads memory, and a tensor {tuple(tensor.shape)} has none of its own there: it is "
            f"{_kind(tensor)}. Pass a plain tensor on the CPU, or choose ops.use('reference')."
        )
    if tensor.numel() != count or tensor.dtype != dtype or not tensor.is_contiguous():
        raise ShapeError(
            f"{function} wants {count} numbers of {dtype} in one piece, got {tuple(tensor.shape)} of {tensor.dtype}. "
            f"If the shapes of the call fit, the tensor was replaced after it, through tensor.data or set_."
        )
    first, storage = tensor.data_ptr(), tensor.untyped_storage()
    if count and (not first or storage.nbytes() < (tensor.storage_offset() + count) * tensor.element_size()):
        raise BackendError(
            f"{function} wants {count} numbers, and the storage of a tensor {tuple(tensor.shape)} has "
            f"{storage.nbytes()} bytes: it was freed or made smaller. Keep it until the backward pass is done."
        )
    return first


def readable(*tensors: Tensor | None) -> bool:
    """Whether the numbers of all of them stand in memory as torch tells, so that kernels may follow pointers: none is
    sparse, the negative of what is stored, zeros that are stored nowhere, behind a transform, or of a class that
    answers for torch's operations itself."""
    for t in tensors:
        if t is not None and (
            type(t).__torch_dispatch__ is not _NOBODY or t.layout != torch.strided or t.is_neg()
            or t._is_zerotensor() or is_functorch_wrapped_tensor(t)
        ):  # fmt: skip
            return False
    return True


def plain(tensor: Tensor) -> Tensor:
    """The same numbers one after the other in memory, where a tensor is a view, or the negative of what is stored."""
    return (tensor.resolve_neg() if tensor.is_neg() else tensor).contiguous()


def _kind(tensor: Tensor) -> str:
    if type(tensor).__torch_dispatch__ is not _NOBODY:
        return f"a {type(tensor).__name__}"
    if is_functorch_wrapped_tensor(tensor):
        return "behind a transform of torch.func"
    if tensor.layout != torch.strided or not tensor.is_cpu:
        return f"{tensor.layout} on {tensor.device}"
    return "the negative of what is stored" if tensor.is_neg() else "zeros that are stored nowhere"


def _error(function: str, status: int) -> Exception:
    if status == _NO_MEMORY:
        return MemoryError(f"{function} found no memory to work in: take smaller graphs, or fewer heads or channels.")
    if status == _NO_NODE:
        return EdgeIndexError(
            "the edges were changed behind torch's back (through a shared array, or .data), and name nodes that the "
            "graph has not. Make a new Graph of changed edges."
        )
    return BackendError(f"{function} failed ({status}); ops.use('reference') runs without compiled code.")
