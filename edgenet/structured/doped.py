"""Doped: a structured matrix and a sparse one, added."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.ops import backend
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.families import Structure, family, name_of, named, structure
from edgenet.structured.given import checked
from edgenet.structured.read import read, read_rows
from edgenet.structured.sparse import Sparse
from edgenet.structured.svd import double

_BASE = {"structure": "kronecker"}
_DENSITY = 0.02
_STALLED = 1e-7  # of the error, less than which a round must save to be followed by another


class Doped(StructuredMatrix):
    """W = base + dopant (Thakker et al. 2021): a few free entries mend what a structure cannot say.

    Args:
        base: any (m, n) structured matrix.
        dopant: an (m, n) matrix of few entries, ``Sparse`` or its packed form.

    Raises:
        ShapeError: if the two differ in shape.
    """

    iterates = True

    def __init__(self, base: StructuredMatrix, dopant: StructuredMatrix) -> None:
        super().__init__()
        if base.shape != dopant.shape:
            raise ShapeError(f"a base of shape {base.shape} cannot be doped with a matrix of shape {dopant.shape}.")
        self.base = base
        self.dopant = dopant

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    def matmul(self, x: Tensor) -> Tensor:
        y, z = self.base(x), self.dopant(x)
        return y.add_(z) if backend.eager() and not torch.is_grad_enabled() else y + z

    def to_dense(self) -> Tensor:
        return read(self.base) + read(self.dopant)

    def rows(self, index: Tensor) -> Tensor:
        return read_rows(self.base, index) + read_rows(self.dopant, index)

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        base: Mapping[str, Any] | Structure | None = None,
        density: float = _DENSITY,
        iterations: int = 20,
        dopant: str = "sparse",
    ) -> Self:
        """A good member, by an iteration: the base is fitted to what the dopant leaves, and the dopant to what the base
        leaves, in turn, until that brings nothing more. No round is taken that makes the error larger.

        Args:
            weight: (m, n).
            base: {"structure": name, **options}, or what makes a structured matrix of a weight. Default: Kronecker.
            density: of the dopant, in (0, 1].
            iterations: rounds at most.
            dopant: "sparse", or "csr" for the packed form.

        Raises:
            PlanError: if ``base`` names no structure.
        """
        weight = checked(weight)
        make, exact = _maker(base), double(weight)
        best, least, sparse = None, math.inf, torch.zeros_like(exact)
        if not isinstance(iterations, int) or iterations < 1:
            raise RankError(f"iterations of a doped fit are a whole number from 1, got {iterations!r}.")
        for _ in range(iterations):
            structured = make(exact - sparse)
            rest = exact - structured.to_dense().detach()
            added = family(dopant).from_dense(rest, density)
            sparse = added.to_dense().detach()
            error = float((rest - sparse).norm())
            if error >= least:
                break
            settled = least - error <= _STALLED * error
            best, least = (structured, added), error
            if settled or error == 0:
                break
        # not .to(): torch warns of complex modules
        return cls(*best)._apply(lambda t: t.to(weight.dtype) if t.dtype == exact.dtype else t)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        name, options = named(config.get("base") or _BASE, "a doped matrix")
        shape = {"shape": list(config["shape"])}
        base = family(name).from_config({**shape, **options})
        return cls(
            base,
            family(config.get("dopant", "sparse")).from_config({**shape, "density": config.get("density", _DENSITY)}),
        )

    def config(self) -> dict[str, Any]:
        base, dopant = self.base.config(), self.dopant.config()
        return {
            "shape": base.pop("shape"),
            "base": {"structure": name_of(self.base), **base},
            "density": dopant["density"],
            "dopant": name_of(self.dopant),
        }

    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Where base and dopant can."""
        trial = copy.deepcopy(self.dopant)
        trial.keep_(rows, columns)
        self.base.keep_(rows, columns)
        self.dopant = trial

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Base and dopant each with half of the variance."""
        self.base.draw_(std / math.sqrt(2))
        self.dopant.draw_(std / math.sqrt(2))

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        if not family(_BASE["structure"]).ladder(shape):
            return []
        return [{"base": _BASE, **options} for options in Sparse.ladder(shape)]

    def num_parameters(self) -> int:
        return self.base.num_parameters() + self.dopant.num_parameters()

    def multiply_adds(self, batch: int = 1) -> int:
        return self.base.multiply_adds(batch) + self.dopant.multiply_adds(batch)

    def pack(self) -> Doped:
        return Doped(self.base.pack(), self.dopant.pack())


def _maker(base: Mapping[str, Any] | Structure | None) -> Structure:
    if base is not None and not isinstance(base, Mapping):
        if not callable(base):
            raise PlanError(
                f"the base of a doped matrix is {{'structure': name, **options}}, or makes a matrix of a weight; got "
                f"{base!r}."
            )
        return base
    name, options = named(base or _BASE, "a doped matrix")
    return structure(name, **options)
