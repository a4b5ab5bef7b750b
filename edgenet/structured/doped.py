"""Doped: a structured matrix and a sparse one, added."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.ops import backend
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.families import Structure, family, named, structure
from edgenet.structured.given import checked
from edgenet.structured.names import name_of
from edgenet.structured.read import read, read_rows
from edgenet.structured.sparse import Sparse
from edgenet.structured.svd import double

_BASE = {"structure": "kronecker"}
_DENSITY = 0.02
_SHARE = 0.5
_STALLED = 1e-7  # of the error, less than which a round must save to be followed by another


class Doped(StructuredMatrix):
    """W = M + S, base and dopant (Thakker et al. 2021): a few free entries mend what a structure cannot say.

    While it trains, ``row_scale`` lets rows of either drop out, so that each learns to do without the other (co-matrix
    row dropout): y = diag(row_scale[0]) M x + diag(row_scale[1]) S x.

    Args:
        base: any (m, n) structured matrix.
        dopant: an (m, n) matrix of few entries, ``Sparse`` or its packed form.
        share: of the variance that ``draw_`` gives the dopant, in [0, 1); the base has the rest.

    Attributes:
        row_scale: (2, m) factors of the rows of base and dopant, in ``train`` mode; None: 1 for all. ``drop_rows_``
            draws it. It is a buffer that no file has: whoever trains draws it anew.

    Raises:
        ShapeError: if the two differ in shape.
        RankError: if the share is not in [0, 1).

    Example:
        >>> base, dopant = {"structure": "low_rank", "rank": 1}, {"density": 0.1}
        >>> matrix = edgenet.structured.structure("doped", base=base, **dopant)(torch.randn(16, 16))
        >>> matrix.num_parameters()  # 32 of the base, and 26 entries
        58
    """

    iterates = True
    row_scale: Tensor | None

    def __init__(self, base: StructuredMatrix, dopant: StructuredMatrix, share: float = _SHARE) -> None:
        super().__init__()
        if base.shape != dopant.shape:
            raise ShapeError(f"a base of shape {base.shape} cannot be doped with a matrix of shape {dopant.shape}.")
        if not _is_real(share) or not 0 <= share < 1:
            raise RankError(f"the share of a dopant in the variance is a number in [0, 1), got {share!r}.")
        self.base = base
        self.dopant = dopant
        self.share = float(share)
        self.register_buffer("row_scale", None, persistent=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    def matmul(self, x: Tensor) -> Tensor:
        y, z = self.base(x), self.dopant(x)
        scale = self._scale_now()
        if scale is not None:
            scale = scale.to(y.dtype)  # half precision, under autocast
            return y * scale[0] + z * scale[1]
        return y.add_(z) if backend.eager() and not torch.is_grad_enabled() else y + z

    def adder(self, signals: int) -> Callable[[Tensor, Tensor], Any] | None:
        base, dopant = self.base.adder(signals), self.dopant.adder(signals)
        if base is None or dopant is None or self._scale_now() is not None:
            return None
        return lambda y, x: (base(y, x), dopant(y, x))

    def to_dense(self) -> Tensor:
        scale = self._scale_now()
        if scale is not None:
            return read(self.base) * scale[0, :, None] + read(self.dopant) * scale[1, :, None]
        return read(self.base) + read(self.dopant)

    def rows(self, index: Tensor) -> Tensor:
        base, dopant, scale = read_rows(self.base, index), read_rows(self.dopant, index), self._scale_now()
        if scale is None:
            return base + dopant
        here = scale[:, index]
        return base * here[0, :, None] + dopant * here[1, :, None]

    def _scale_now(self) -> Tensor | None:
        """The factors of the rows, where there are any and the matrix trains."""
        return self.row_scale if self.training else None

    @torch.no_grad()
    def drop_rows_(self, base: float, dopant: float, random: torch.Generator | None = None) -> None:
        """Draw which rows of base and dopant drop out from now on, while the matrix trains, each row by itself:

        row_scale[k, i] = 0 with probability p_k, else 1 / (1 - p_k)

        so that W is what it was on average. All calls and reads use these factors until they are drawn anew: every
        step of a sequence, and every product that shares the matrix. Whoever reads W in ``train`` mode reads it with
        them. Rates of 0 for both take them away.

        Args:
            base, dopant: the rates p_M and p_S, in [0, 1).
            random: a generator of the CPU; None: torch's own. The numbers are the same on every device.

        Raises:
            RankError: if a rate is not in [0, 1).
        """
        for rate in (base, dopant):
            if not _is_real(rate) or not 0 <= rate < 1:
                raise RankError(f"a rate of row dropout is a number in [0, 1), got {rate!r}.")
        if not base and not dopant:
            self.row_scale = None
            return
        rates = torch.tensor([[base], [dopant]], dtype=torch.float64)
        drawn = torch.rand(2, self.shape[0], generator=random, dtype=torch.float64, device="cpu")
        scale, like = (drawn >= rates) / (1 - rates), next(self.parameters())
        scale = scale.to(like.device, like.dtype.to_real())
        if self.row_scale is None or self.row_scale.shape != scale.shape:
            self.row_scale = scale
        else:  # in the place that a compiled graph knows
            self.row_scale.copy_(scale)

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        base: Mapping[str, Any] | Structure | None = None,
        density: float = _DENSITY,
        iterations: int = 20,
        dopant: str = "sparse",
        share: float = _SHARE,
        random: bool = False,
    ) -> Self:
        """A good member, by an iteration: the base is fitted to what the dopant leaves, and the dopant to what the base
        leaves, in turn, until that brings nothing more. No round is taken that makes the error larger.

        Args:
            weight: (m, n).
            base: {"structure": name, **options}, or what makes a structured matrix of a weight. Default: Kronecker.
            density: of the dopant, in (0, 1].
            iterations: rounds at most.
            dopant: "sparse", or "csr" for the packed form.
            share: of the variance that ``draw_`` gives the dopant, in [0, 1).
            random: draw both parts instead, with the variance that the entries of the weight have: the start from which
                the paper trains, at density 1 or as ``Anneal`` begins.

        Raises:
            PlanError: if ``base`` names no structure, or ``random`` is no truth value.
            RankError: if another option is out of range.
        """
        weight = checked(weight)
        make, exact = _maker(base), double(weight)
        best, least, sparse = None, math.inf, torch.zeros_like(exact)
        if not isinstance(iterations, int) or isinstance(iterations, bool) or iterations < 1:
            raise RankError(f"iterations of a doped fit are a whole number from 1, got {iterations!r}.")
        if not isinstance(random, bool):
            raise PlanError(f"random of a doped matrix is true or false, got {random!r}.")
        if random:
            matrix = cls(make(weight), family(dopant).from_dense(weight, density), share)
            matrix.draw_(float(exact.norm()) / math.sqrt(exact.numel()))
            return matrix
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
        return cls(*best, share)._apply(lambda t: t.to(weight.dtype) if t.dtype == exact.dtype else t)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        name, options = named(config.get("base") or _BASE, "a doped matrix")
        shape = {"shape": list(config["shape"])}
        base = family(name).from_config({**shape, **options})
        return cls(
            base,
            family(config.get("dopant", "sparse")).from_config({**shape, "density": config.get("density", _DENSITY)}),
            config.get("share", _SHARE),
        )

    def config(self) -> dict[str, Any]:
        base, dopant = self.base.config(), self.dopant.config()
        return {
            "shape": base.pop("shape"),
            "base": {"structure": name_of(self.base), **base},
            "density": dopant["density"],
            "dopant": name_of(self.dopant),
            "share": self.share,
        }

    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Where base and dopant can."""
        trial = copy.deepcopy(self.dopant)
        trial.keep_(rows, columns)
        self.base.keep_(rows, columns)
        self.dopant = trial
        if self.row_scale is not None and rows is not None:
            self.row_scale = self.row_scale[:, rows.to(self.row_scale.device)]

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """The dopant with its ``share`` of the variance, the base with the rest."""
        self.base.draw_(std * math.sqrt(1 - self.share))
        self.dopant.draw_(std * math.sqrt(self.share))

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
        return Doped(self.base.pack(), self.dopant.pack(), self.share)


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
