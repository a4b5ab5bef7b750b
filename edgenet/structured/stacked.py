"""Stacked: matrices one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet.errors import RankError, ShapeError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.families import Structure, family, named, structure
from edgenet.structured.given import checked, clipped
from edgenet.structured.names import name_of
from edgenet.structured.read import read

_BASE = {"structure": "kronecker"}
_WHAT = "stacked matrices"


class Stacked(StructuredMatrix):
    """W = [W_1; W_2; ...]: matrices of one width, each with rows of its own. Grouped convolutions hold one a group.

    Args:
        parts: one or more (m_k, n) structured matrices.

    Raises:
        ShapeError: if there is none, or they differ in width.

    Example:
        >>> parts = [edgenet.structured.Dense(torch.randn(4, 3)), edgenet.structured.LowRank.random((6, 3), rank=1)]
        >>> edgenet.structured.Stacked(parts)(x).shape
        torch.Size([4, 10])
    """

    def __init__(self, parts: Sequence[StructuredMatrix]) -> None:
        super().__init__()
        if not parts or len({part.shape[1] for part in parts}) != 1:
            raise ShapeError(f"stacked matrices are of one width, got {[tuple(part.shape) for part in parts]}.")
        self.parts = nn.ModuleList(parts)

    @property
    def shape(self) -> tuple[int, int]:
        return sum(part.shape[0] for part in self.parts), self.parts[0].shape[1]

    def matmul(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], -1)

    def to_dense(self) -> Tensor:
        return torch.cat([read(part) for part in self.parts])

    @classmethod
    def from_dense(
        cls, weight: Tensor, parts: int = 2, base: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Structure = _BASE
    ) -> Self:
        """Every part is fitted to its rows alone.

        Args:
            weight: (m, n).
            parts: how many, at most m. Their rows differ by one at most; the larger come first.
            base: {"structure": name, **options}, one for every part, or what makes a structured matrix of a weight.

        Raises:
            PlanError: if ``base`` names no structure.
        """
        weight = checked(weight)
        makers = [_maker(make) for make in _each(base, _count(weight.shape[0], parts))]
        rows = weight.tensor_split(len(makers))
        return cls([make(part) for make, part in zip(makers, rows, strict=True)])

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        count = _count(m, config.get("parts", 2))
        made = []
        for number, base in enumerate(_each(config.get("base", _BASE), count)):
            name, options = named(base, _WHAT)
            rows = m // count + (number < m % count)
            made.append(family(name).from_config({"shape": [rows, n], **options}))
        return cls(made)

    def config(self) -> dict[str, Any]:
        told = [{"structure": name_of(part), **part.config()} for part in self.parts]
        bases = [{key: value for key, value in one.items() if key != "shape"} for one in told]
        alike = all(base == bases[0] for base in bases)
        return {"shape": list(self.shape), "parts": len(bases), "base": bases[0] if alike else bases}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        for part in self.parts:
            part.draw_(std)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return []  # a search tries what the parts can be, where a weight has parts

    def num_parameters(self) -> int:
        return sum(part.num_parameters() for part in self.parts)

    def multiply_adds(self, batch: int = 1) -> int:
        return sum(part.multiply_adds(batch) for part in self.parts)

    def pack(self) -> Stacked:
        return Stacked([part.pack() for part in self.parts])


def in_parts(make: Structure, parts: int) -> Structure:
    """What makes one matrix of every part of a weight; ``make`` itself where there is one part, or it does so.

    Example:
        >>> make = edgenet.structured.in_parts(edgenet.structured.structure("low_rank", rank=1), 2)
        >>> len(make(torch.randn(8, 3)).parts)
        2
    """
    kind = getattr(getattr(make, "func", None), "__self__", None)
    return make if parts == 1 or kind is Stacked else lambda weight: Stacked.from_dense(weight, parts, make)


def _count(rows: int, parts: int) -> int:
    return clipped(parts, max(1, rows), "the number of stacked matrices")


def _each(base: Any, count: int) -> list[Any]:
    each = list(base) if isinstance(base, list | tuple) else [base] * count
    if len(each) != count:
        raise RankError(f"{count} stacked matrices have one base or {count}, got {len(each)}.")
    return each


def _maker(base: Mapping[str, Any] | Structure) -> Structure:
    if callable(base):
        return base
    name, options = named(base, _WHAT)
    return structure(name, **options)
