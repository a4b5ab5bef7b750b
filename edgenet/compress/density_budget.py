"""How many entries sparse matrices may keep, told by densities or by the size of the whole, and which ones they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from edgenet.errors import PlanError
from edgenet.structured import Doped, Sparse, StructuredMatrix


def bases(model: nn.Module) -> dict[int, StructuredMatrix]:
    """The base beside every dopant, by the identity of the dopant."""
    return {id(doped.dopant): doped.base for doped in model.modules() if isinstance(doped, Doped)}


def entries_for_ratio(matrices: Sequence[tuple[str, Sparse]], model: nn.Module, ratio: float) -> list[int]:
    """Entries with which each matrix has ``ratio`` times fewer numbers than entries, its base counted along:

    entries = floor(m n / ratio) - parameters of the base

    It is 0 or less where the base alone has more.

    Raises:
        PlanError: if a base has sparse parts of its own, whose size changes as well.
    """
    beside, found = bases(model), []
    for path, matrix in matrices:
        base = beside.get(id(matrix))
        if base is not None and any(isinstance(part, Sparse) for part in base.modules()):
            raise PlanError(f"the base beside {path} has sparse parts of its own: give densities, not a ratio.")
        found.append(math.floor(math.prod(matrix.shape) / ratio) - (0 if base is None else base.num_parameters()))
    return found


def check_entries(rule: str, matrices: Sequence[tuple[str, Sparse]], model: nn.Module, ratio: float) -> list[int]:
    """``entries_for_ratio``, of which every matrix has one at least.

    Raises:
        PlanError: if a base leaves none.
    """
    found, beside = entries_for_ratio(matrices, model, ratio), bases(model)
    for (path, matrix), number in zip(matrices, found, strict=True):
        if number < 1:
            base = beside.get(id(matrix))
            of_base = 0 if base is None else base.num_parameters()
            raise PlanError(
                f"{rule}: {path} has {math.prod(matrix.shape)} entries, of which a ratio of {ratio:g} leaves "
                f"{math.prod(matrix.shape) / ratio:.0f} numbers, and the base beside it has {of_base}. Take a smaller "
                f"ratio or base, or together=True, where others pay for it."
            )
    return found


@torch.no_grad()
def keep_largest_(matrices: Sequence[Sparse], number: int, relative: bool = True) -> None:
    """Let exactly ``number`` entries of all matrices together through: the largest by magnitude, one threshold for all.
    Every matrix keeps its largest one in any case.

    Args:
        matrices: at most ``number``.
        relative: measure every matrix in its own root mean square, that of all its numbers, outside the mask too: else
            matrices that started with small numbers, for they have many columns, would lose most.
    """
    sizes = []
    for matrix in matrices:
        size = matrix.weight.detach().abs().flatten().double()
        scale = size.square().mean().sqrt()
        sizes.append(size / scale if relative and scale > 0 else size)
    where = sizes[0].device
    for size in sizes:
        size[size.argmax()] = math.inf
    joined = torch.cat([size.to(where) for size in sizes])
    kept = torch.zeros_like(joined, dtype=torch.bool)
    kept[joined.topk(number, sorted=False).indices] = True
    for matrix, mask in zip(matrices, kept.split([size.numel() for size in sizes]), strict=True):
        matrix.mask.copy_(mask.view(matrix.mask.shape))
