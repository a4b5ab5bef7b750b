"""Sparse: a weight under a mask."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.ops import backend
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.csr import Csr
from edgenet.structured.density import largest, number_of
from edgenet.structured.given import checked
from edgenet.structured.parameters import own_copy, parameter, replace_, taken

_CHEAP = 0.12  # the density up to which compressed rows are faster than the dense product at every batch size
_LARGE = 1 << 16  # entries from which they are


class Sparse(StructuredMatrix):
    """W = weight * mask. Every entry has a number, of which the mask lets some through.

    The mask is a buffer: a schedule lowers the density with ``set_density_``, and a checkpoint carries it. Entries
    outside have no gradient, keep their numbers, and may come back. ``pack`` drops them: compressed rows are left. In
    ``eval`` mode large and sparse matrices multiply through those.

    Args:
        weight: (m, n).
        mask: (m, n) of bool.

    Raises:
        ShapeError: if the two differ in shape, or the mask is not of bool.

    Example:
        >>> matrix = edgenet.structured.Sparse.from_dense(torch.tensor([[1.0, 0.1], [0.2, 3.0]]), density=0.5)
        >>> matrix.to_dense().tolist()
        [[1.0, 0.0], [0.0, 3.0]]
    """

    def __init__(self, weight: Tensor, mask: Tensor) -> None:
        super().__init__()
        if weight.dim() != 2 or mask.shape != weight.shape or mask.dtype != torch.bool:
            raise ShapeError(
                f"a sparse matrix is an (m, n) weight and an (m, n) mask of bool, got {tuple(weight.shape)} and "
                f"{tuple(mask.shape)} of {mask.dtype}."
            )
        self.weight = parameter(weight)
        self.register_buffer("mask", own_copy(mask))
        self._number = mask.numel()  # what the mask lets through, where that cannot be counted

    @property
    def shape(self) -> tuple[int, int]:
        return tuple(self.weight.shape)

    @property
    def density(self) -> float:
        """The share of entries that the mask lets through."""
        return self.num_parameters() / max(1, self.mask.numel())

    @torch.no_grad()
    def set_density_(self, density: float) -> None:
        """Let the share of entries through that are largest by magnitude now, those outside the mask included.

        Raises:
            RankError: if the density is not in (0, 1].
        """
        self.mask.copy_(largest(self.weight, number_of(self.shape, density)))

    def matmul(self, x: Tensor) -> Tensor:
        large = self.mask.numel() >= _LARGE and self.mask.is_cpu
        if large and not self.training and not torch.is_grad_enabled() and backend.eager():
            rows, places = self.cache.get(self, "rows", (self.mask,), self._cheap_rows)
            if rows is not None:
                return rows.matmul_by(self.weight.reshape(-1).index_select(0, places), x)
        return ops.linear(x, self.to_dense())

    def _cheap_rows(self) -> tuple[Csr | None, Tensor | None]:
        """The rows to multiply by, and where their values are read: those are kept nowhere."""
        if self.density > _CHEAP:
            return None, None
        rows = self.pack().eval()
        return rows, rows.places()

    def to_dense(self) -> Tensor:
        return torch.where(self.mask, self.weight, 0)

    def rows(self, index: Tensor) -> Tensor:
        return self.weight.index_select(0, index) * self.mask.index_select(0, index)

    @classmethod
    def from_dense(cls, weight: Tensor, density: float) -> Self:
        """The nearest matrix with that share of entries: the largest by magnitude.

        Args:
            weight: (m, n).
            density: in (0, 1].
        """
        weight = checked(weight)
        mask = largest(weight, number_of(weight.shape, density))
        return cls(weight * mask, mask)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        number, mask = number_of((m, n), config["density"]), torch.zeros(m * n, dtype=torch.bool)
        mask[:number] = True
        matrix = cls(torch.zeros(m, n), mask.view(m, n))
        matrix._number = number
        return matrix

    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "density": self.density}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Entries of variance ``std``^2 over the density, as many as before, at places drawn anew."""
        number, entries = self.num_parameters(), self.mask.numel()
        self.mask.zero_()
        self.mask.view(-1)[torch.randperm(entries, device=self.mask.device)[:number]] = True
        self.weight.normal_(0, std * math.sqrt(entries / max(1, number)))
        self.weight.mul_(self.mask)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        shares = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
        return [{"density": share} for share in shares if share * math.prod(shape) >= 1]

    @torch.no_grad()
    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        weight, mask = taken(self.weight, rows, columns), own_copy(taken(self.mask, rows, columns))
        self._left_over(*mask.shape)
        if not mask.any():  # a density is more than 0
            weight, mask[0, 0] = torch.zeros_like(weight), True
        replace_(self, weight=weight)
        self.mask, self._number = mask, int(mask.sum())

    def num_parameters(self) -> int:
        return self._number if self.mask.is_meta else int(self.mask.sum())

    def multiply_adds(self, batch: int = 1) -> int:
        return batch * self.num_parameters()

    def pack(self) -> Csr:
        return Csr.of(self.weight.detach(), self.mask)
