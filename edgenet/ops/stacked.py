"""Stacked tensors: an index that all members of an ensemble have is one index, though ``vmap`` brings one a member."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C._functorch import (
    get_unwrapped,
    is_batchedtensor,
    is_functorch_wrapped_tensor,
    maybe_get_bdim,
)

from edgenet.errors import SupportError


def is_stacked(*tensors: Tensor | None) -> bool:
    """Whether a transform of torch.func stands between us and the numbers of one of them."""
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return False
    return any(tensor is not None and is_functorch_wrapped_tensor(tensor) for tensor in tensors)


def unstacked(tensor: Tensor) -> Tensor:
    """The plain tensor, of which a buffer of ``torch.func.stack_module_state`` holds one copy a member.

    Raises:
        SupportError: if the members have different ones.
    """
    while is_stacked(tensor):
        inner = get_unwrapped(tensor)
        if is_batchedtensor(tensor):
            copies = inner.movedim(maybe_get_bdim(tensor), 0)
            if bool((copies != copies[:1]).any()):
                raise SupportError(
                    "the members of this ensemble have tables of different graphs or entries, and vmap needs one for "
                    "all: run them one by one, or make them of one graph."
                )
            inner = copies[0]
        tensor = inner
    return tensor
