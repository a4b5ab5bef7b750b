"""Buffers at rest: places, signs and kinds of blocks in fewer bytes than they take in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class PacksBuffers(Protocol):
    """A structured matrix whose own buffers (places, signs, kinds of blocks) are stored in fewer bytes than they take
    while it trains. ``Coded``, the packed form of whatever quantises it, holds them so."""

    def packed_buffers(self) -> dict[str, Tensor]:
        """What is stored in the place of the buffers, by names without dots; sizes depend on ``config()`` alone."""
        ...

    def unpacked_buffers(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The buffers, by name.

        Raises:
            ShapeError: if what is stored is not of this matrix. Files are checked by it before they are loaded.
        """
        ...


def stored_buffers(module: nn.Module) -> dict[str, Tensor]:
    """All buffers of a module as they are stored, by their paths; without those that no file has."""
    found: dict[str, Tensor] = {}
    for path, part in module.named_modules():
        own = part.packed_buffers() if isinstance(part, PacksBuffers) else part._buffers
        stored = {name: tensor for name, tensor in own.items() if name not in part._non_persistent_buffers_set}
        found.update({f"{path}.{name}".lstrip("."): tensor for name, tensor in stored.items() if tensor is not None})
    return found


def restored_buffers(module: nn.Module, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The buffers that ``stored_buffers`` tells of, by their paths in the module.

    Raises:
        ShapeError: if what is stored is not of this module.
    """
    found: dict[str, Tensor] = {}
    for path, part in module.named_modules():
        inside = {name[len(path) :].lstrip("."): t for name, t in stored.items() if name.rpartition(".")[0] == path}
        own = part.unpacked_buffers(inside) if isinstance(part, PacksBuffers) else inside
        found.update({f"{path}.{name}".lstrip("."): tensor for name, tensor in own.items()})
    return found
