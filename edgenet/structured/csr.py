"""Csr: the entries that are not 0, row by row."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import backend
from edgenet.structured.base import StructuredMatrix, row_numbers
from edgenet.structured.density import largest, number_of
from edgenet.structured.given import checked
from edgenet.structured.parameters import own_copy, parameter, replace_, taken

_FEW = 8  # rows of a batch up to which MKL's product beats the hop over a graph
_PIECE = 64  # rows of a batch that stay in the cache together


class Csr(StructuredMatrix):
    """Compressed sparse rows: the packed form of ``Sparse``. The values train, their places stay.

    W[i, columns[e]] = values[e] for pointers[i] <= e < pointers[i + 1].

    Args:
        values: (nnz,).
        columns: (nnz,) integers, ascending in every row. Stored in as few bytes as n allows.
        pointers: (m + 1,) integers, from 0 to nnz. Stored in as few bytes as nnz allows.
        width: n.

    Raises:
        ShapeError: if the three do not fit, or tell of a column or value that is not there. (Loading such tensors
            raises as well: kernels follow them without looking.)
    """

    def __init__(self, values: Tensor, columns: Tensor, pointers: Tensor, width: int) -> None:
        super().__init__()
        if values.dim() != 1 or columns.shape != values.shape or pointers.dim() != 1 or len(pointers) < 1:
            raise ShapeError(
                f"compressed rows are (nnz,) values and columns and (m + 1,) pointers, got {tuple(values.shape)}, "
                f"{tuple(columns.shape)} and {tuple(pointers.shape)}."
            )
        problem = misfit(columns, pointers, len(values), width)
        if problem:
            raise ShapeError(problem)
        self.values = parameter(values)
        self.register_buffer("columns", own_copy(columns.to(_narrow(width - 1))))
        self.register_buffer("pointers", own_copy(pointers.to(_narrow(len(values)))))
        self._width = int(width)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.pointers) - 1, self._width

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        columns, pointers = state_dict.get(prefix + "columns"), state_dict.get(prefix + "pointers")
        if columns is not None and pointers is not None and pointers.shape == self.pointers.shape:
            problem = misfit(columns, pointers, len(columns), self._width)
            if problem:
                args[-1].append(f"{prefix}: {problem}")
                return
        super()._load_from_state_dict(state_dict, prefix, *args)

    # ---------------------------------------------------------------- multiplying
    def matmul(self, x: Tensor) -> Tensor:
        return self.matmul_by(self.values, x)

    def matmul_by(self, values: Tensor, x: Tensor) -> Tensor:
        """``matmul`` with other (nnz,) values in the same places."""
        m, n = self.shape
        if x.shape[-1] != n:
            raise ShapeError(f"a ({m}, {n}) matrix multiplies rows of {n} numbers, got {tuple(x.shape)}.")
        if not backend.eager() or x.is_meta:  # which cannot sort edges
            return ops.linear(x, self._dense(values))
        flat = x.reshape(-1, n)
        if len(flat) <= _FEW and not self.training and _mkl_serves(values, x):
            pointers, columns = self.cache.get(self, "mkl", (self.columns, self.pointers), self._checked_places)
            rows = torch.sparse_csr_tensor(pointers, columns, values, (m, n), check_invariants=False)
            y = torch.mm(rows, flat.t()).t()
        else:
            graph = self.cache.get(self, "graph", (self.columns, self.pointers), self._graph)
            if torch.is_grad_enabled() or len(flat) <= _PIECE:
                y = _hop(graph, values, flat)
            else:
                y = flat.new_empty(len(flat), m)
                for part, out in zip(flat.split(_PIECE), y.split(_PIECE), strict=True):
                    out.copy_(_hop(graph, values, part))
        return y.reshape(*x.shape[:-1], m)

    def _checked_places(self) -> tuple[Tensor, Tensor]:
        """Pointers and columns as MKL takes them, which follows them without looking."""
        problem = misfit(self.columns, self.pointers, len(self.values), self._width)
        if problem:
            raise ShapeError(problem)
        return self.pointers.int(), self.columns.int()

    def _graph(self) -> Graph:
        return Graph(torch.stack([self.columns.long(), self._row()]), *self.shape)

    def _row(self) -> Tensor:
        """(nnz,) the row of every value."""
        return torch.repeat_interleave(self.pointers.long().diff(), output_size=len(self.values))

    def multiply_adds(self, batch: int = 1) -> int:
        return batch * len(self.values)

    # ---------------------------------------------------------------- reading
    def to_dense(self) -> Tensor:
        return self._dense(self.values)

    def _dense(self, values: Tensor) -> Tensor:
        m, n = self.shape
        return values.new_zeros(m * n).index_copy(0, self.places(), values).view(m, n)

    def places(self) -> Tensor:
        """(nnz,) where every value stands among all m n entries, row after row."""
        return self._row() * self._width + self.columns.long()

    def rows(self, index: Tensor) -> Tensor:
        index = row_numbers(index, self.shape[0])
        start = self.pointers.long()[index]
        length = self.pointers.long()[index + 1] - start
        row = torch.repeat_interleave(length)
        entry = torch.arange(len(row), device=row.device) + (start - length.cumsum(0) + length)[row]
        place = row * self._width + self.columns[entry].long()
        dense = self.values.new_zeros(len(index) * self._width)
        return dense.index_copy(0, place, self.values[entry]).view(len(index), self._width)

    # ---------------------------------------------------------------- making
    @classmethod
    def from_dense(cls, weight: Tensor, density: float) -> Self:
        """The nearest matrix with that share of entries: the largest by magnitude.

        Args:
            weight: (m, n).
            density: in (0, 1].
        """
        weight = checked(weight)
        return cls.of(weight, largest(weight, number_of(weight.shape, density)))

    @classmethod
    def of(cls, weight: Tensor, mask: Tensor) -> Self:
        """The entries of an (m, n) weight where the mask is True."""
        pointers = torch.zeros(len(mask) + 1, dtype=torch.long, device=mask.device)
        pointers[1:] = mask.sum(1).cumsum(0)
        return cls(weight[mask], mask.nonzero()[:, 1], pointers, weight.shape[1])

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        number = number_of((m, n), config["density"])
        columns = torch.arange(number) % max(1, n)  # the first entries
        return cls(torch.zeros(number), columns, (torch.arange(m + 1) * n).clamp_max(number), n)

    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "density": len(self.values) / max(1, math.prod(self.shape))}

    @torch.no_grad()
    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        mask = self._dense(torch.ones_like(self.values)) != 0
        weight, mask = (taken(whole, rows, columns) for whole in (self.to_dense(), mask))
        self._left_over(*mask.shape)
        if not mask.any():  # a density is more than 0
            mask[0, 0] = True
        other = type(self).of(weight, mask)
        replace_(self, values=other.values)
        self.columns, self.pointers, self._width = other.columns, other.pointers, other._width

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return []  # the packed form of Sparse, which is what a search tries

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Entries of variance ``std``^2 over the density, at places drawn anew."""
        m, n = self.shape
        number = len(self.values)
        place = torch.randperm(m * n, device=self.values.device)[:number].sort().values
        self.columns.copy_(place % n)
        self.pointers.copy_(torch.searchsorted(place, torch.arange(m + 1, device=place.device) * n))
        self.values.normal_(0, std * math.sqrt(m * n / number))


def _hop(graph: Graph, values: Tensor, x: Tensor) -> Tensor:
    return ops.spmm(graph, values[:, None], x.t().unsqueeze(1)).squeeze(1).t()


def _mkl_serves(values: Tensor, x: Tensor) -> bool:
    dtype = values.dtype
    suits = dtype in (torch.float32, torch.float64) and x.dtype == dtype and x.is_cpu and values.is_cpu
    plain = not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
    return suits and plain and torch.backends.mkl.is_available()


def misfit(columns: Tensor, pointers: Tensor, number: int, width: int) -> str | None:
    """What is wrong with the places of so many values, if anything is."""
    if columns.is_meta or pointers.is_meta:
        return None
    columns, pointers = columns.long(), pointers.long()
    if len(columns) and not (int(columns.min()) >= 0 and int(columns.max()) < width):
        return (
            f"columns run from {int(columns.min())} to {int(columns.max())}; a matrix of {width} has 0 to {width - 1}."
        )
    if int(pointers[0]) != 0 or int(pointers[-1]) != number or bool((pointers.diff() < 0).any()):
        return f"pointers ascend from 0 to the {number} values, got {int(pointers[0])} to {int(pointers[-1])}."
    return None


def _narrow(largest: int) -> torch.dtype:
    """The smallest integers that count to ``largest``."""
    for dtype in (torch.uint8, torch.int16, torch.int32):
        if largest <= torch.iinfo(dtype).max:
            return dtype
    return torch.int64
