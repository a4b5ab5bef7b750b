"""A structured matrix to look into, and where the cases of a family come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from edgenet.structured import StructuredMatrix
from edgenet.testing.contract import fair, require

#: Wide, tall, square, of one row and of two columns; sizes that do not divide.
SHAPES = ((7, 11), (12, 8), (8, 8), (1, 13), (13, 2))


@dataclass(frozen=True)
class StructureCase:
    """A structured matrix: ``build`` makes a random (m, n) one, ``structure`` makes one of a dense weight.

    ``exact`` is False where no member equals every dense weight even at full rank (binary weights, say).
    ``dtype`` is that of its dense form and its signals, by default the default dtype. ``dtypes`` are those that its
    parameters may have. ``settled`` is False where a member may be another's projection: one of rounded factors, which
    are fitted anew.

    Example:
        >>> make = edgenet.structured.structure("low_rank", rank=2)
        >>> case = edgenet.testing.StructureCase("rank 2", lambda: make(torch.randn(8, 6)), 8, 6, make, exact=False)
    """

    name: str
    build: Callable[[], StructuredMatrix]
    m: int
    n: int
    structure: Callable[[Tensor], StructuredMatrix]
    exact: bool = True
    dtype: torch.dtype | None = None
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    settled: bool = True

    def weight(self) -> Tensor:
        """A random dense weight."""
        return torch.randn(self.m, self.n, dtype=self.dtype)

    def signals(self, *lead: int) -> Tensor:
        """(*lead, n) random signals."""
        return torch.randn(*lead, self.n, dtype=self.dtype)

    def __str__(self) -> str:
        return f"{self.name}-{self.m}x{self.n}"


def case_of(
    cls: type[StructuredMatrix], shape: tuple[int, int], options: dict[str, Any], full: dict[str, Any] | None = None
) -> StructureCase:
    """The member of a family with these options of ``from_dense``; ``full`` are those that meet every weight."""
    words = ", ".join(f"{key}={value}" for key, value in options.items())
    name, most = f"{cls.__name__}({words})" if words else cls.__name__, options if full is None else full
    build = partial(cls.random, shape, 0.5, **options)
    return StructureCase(name, build, *shape, partial(cls.from_dense, **most), exact=full is not None)


def cases_of(
    cls: type[StructuredMatrix],
    shapes: Sequence[tuple[int, int]] = SHAPES,
    options: dict[str, Any] | None = None,
    full: dict[str, Any] | None = None,
) -> Iterator[StructureCase]:
    """A case for every shape that the family fits. Without ``options``, for the smallest and the largest of its own
    sizes there (``ladder``).

    Raises:
        ContractError: if ``ladder`` does not give a list of options.
    """
    for shape in shapes:
        sizes = [options] if options is not None else ladder_of(cls, shape)
        for size in sizes[:1] + sizes[1:][-1:]:
            yield case_of(cls, shape, size, full)


def ladder_of(cls: type[StructuredMatrix], shape: tuple[int, int]) -> list[dict[str, Any]]:
    """``cls.ladder(shape)``, which must be a list of dicts."""
    with fair():
        sizes = cls.ladder(shape)
    fits = isinstance(sizes, list) and all(isinstance(size, dict) for size in sizes)
    require(fits, f"{cls.__name__}.ladder({shape}) is no list of options of from_dense, but {sizes!r}")
    return sizes
