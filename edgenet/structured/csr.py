"""Csr: the entries that are not 0, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
from edgenet.structured.packed_index import packed, unpacked
from edgenet.structured.parameters import parameter, replace_, taken

_FEW = 8  # rows of a batch up to which MKL's product beats the hop over a graph
_PIECE = 64  # rows of a batch that stay in the cache together


class Csr(StructuredMatrix):
    """Compressed sparse rows: the packed form of ``Sparse``. The values train, their places stay.

    W[i, columns[e]] = values[e] for pointers[i] <= e < pointers[i + 1].

    The places are one buffer, ``index``, packed into few bits each (see ``packed_index``). What multiplies is read from
    it once, and again when it changes.

    Args:
        values: (nnz,).
        columns: (nnz,) integers, ascending in every row.
        pointers: (m + 1,) integers, from 0 to nnz.
        width: n.

    Raises:
        ShapeError: if the three do not fit, or tell of a column or value that is not there. (Loading such tensors
            raises as well: kernels follow them without looking.)

    Example:
        >>> matrix = edgenet.structured.Csr.from_dense(torch.eye(4), density=0.25)
        >>> matrix.to_dense().equal(torch.eye(4)), matrix.num_parameters()
        (True, 4)
    """

    def __init__(self, values: Tensor, columns: Tensor, pointers: Tensor, width: int) -> None:
        super().__init__()
        if values.dim() != 1 or columns.shape != values.shape or pointers.dim() != 1 or len(pointers) < 1:
            raise ShapeError(
                f"compressed rows are (nnz,) values and columns and (m + 1,) pointers, got {tuple(values.shape)}, "
                f"{tuple(columns.shape)} and {tuple(pointers.shape)}."
            )
        _check(columns, pointers, len(values), width)
        self._size = len(pointers) - 1, int(width)
        row = torch.repeat_interleave(pointers.long().diff(), output_size=len(values))
        self.values = parameter(values)
        self.register_buffer("index", packed(row * self._size[1] + columns.long(), math.prod(self._size)))

    @property
    def shape(self) -> tuple[int, int]:
        return self._size

    def packed_buffers(self) -> dict[str, Tensor]:
        """The index, which is packed already."""
        return {"index": self.index}

    def unpacked_buffers(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same.

        Raises:
            ShapeError: if it is not the index of so many entries.
        """
        if not stored["index"].is_meta:
            unpacked(stored["index"], len(self.values), math.prod(self._size))
        return dict(stored)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        index = state_dict.get(prefix + "index")
        if index is not None and index.shape == self.index.shape:
            try:
                self.unpacked_buffers({"index": index})
            except ShapeError as error:
                args[-1].append(f"{prefix}: {error}")
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
            y = torch.mm(self._for_mkl(values), flat.t()).t()
        else:
            graph = self._kept_graph()
            if torch.is_grad_enabled() or len(flat) <= _PIECE:
                y = _hop(graph, values, flat)
            else:
                y = flat.new_empty(len(flat), m)
                for part, out in zip(flat.split(_PIECE), y.split(_PIECE), strict=True):
                    out.copy_(_hop(graph, values, part))
        return y.reshape(*x.shape[:-1], m)

    def adder(self, signals: int) -> Callable[[Tensor, Tensor], Any]:
        values = self.values.detach()
        if _mkl_serves(values, values):
            rows = self._for_mkl(values)
            return lambda y, x: y.addmm_(rows, x)
        graph = self._kept_graph()
        return lambda y, x: y.add_(_hop(graph, values, x.t()).t())

    def _kept_graph(self) -> Graph:
        return self.cache.get(self, "graph", (self.index,), self._graph, in_training=True)

    def _for_mkl(self, values: Tensor) -> Tensor:
        """A sparse tensor over these very values."""
        pointers, columns = self.cache.get(self, "mkl", (self.index,), self._narrow_places)
        return torch.sparse_csr_tensor(pointers, columns, values, self.shape, check_invariants=False)

    def _narrow_places(self) -> tuple[Tensor, Tensor]:
        """Pointers and columns as MKL takes them, which follows them unasked.

        Raises:
            ShapeError: if what ``pointers`` or ``places`` handed out was overwritten with what is none.
        """
        pointers, columns = self.pointers, self.columns
        _check(columns, pointers, len(self.values), self.shape[1])
        return pointers.int(), columns.int()

    def _graph(self) -> Graph:
        return Graph(torch.stack([self.columns, self._row()]), *self.shape)

    def _row(self) -> Tensor:
        """(nnz,) the row of every value."""
        return self.places() // max(1, self.shape[1])

    @property
    def columns(self) -> Tensor:
        """(nnz,) the column of every value, int64."""
        return self.places() % max(1, self.shape[1])

    @property
    def pointers(self) -> Tensor:
        """(m + 1,) where every row begins among the values, and the last one ends, int64."""
        return self.cache.get(self, "pointers", (self.index,), self._pointers, in_training=True)

    def _pointers(self) -> Tensor:
        m, n = self.shape
        return torch.searchsorted(self.places(), torch.arange(m + 1, device=self.index.device) * n)

    def multiply_adds(self, batch: int = 1) -> int:
        return batch * len(self.values)

    # ---------------------------------------------------------------- reading
    def to_dense(self) -> Tensor:
        return self._dense(self.values)

    def _dense(self, values: Tensor) -> Tensor:
        m, n = self.shape
        return values.new_zeros(m * n).index_copy(0, self.places(), values).view(m, n)

    def places(self) -> Tensor:
        """(nnz,) where every value stands among all m n entries, row after row.

        Raises:
            ShapeError: if the index has been overwritten with what is none.
        """
        return self.cache.get(self, "places", (self.index,), self._unpacked, in_training=True)

    def _unpacked(self) -> Tensor:
        return unpacked(self.index, len(self.values), math.prod(self.shape))

    def rows(self, index: Tensor) -> Tensor:
        index = row_numbers(index, self.shape[0])
        n, pointers = self.shape[1], self.pointers
        start = pointers[index]
        length = pointers[index + 1] - start
        row = torch.repeat_interleave(length)
        entry = torch.arange(len(row), device=row.device) + (start - length.cumsum(0) + length)[row]
        place = row * n + self.places()[entry] % max(1, n)
        dense = self.values.new_zeros(len(index) * n)
        return dense.index_copy(0, place, self.values[entry]).view(len(index), n)

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
        self.index, self._size = other.index, other._size

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return []  # the packed form of Sparse, which is what a search tries

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Entries of variance ``std``^2 over the density, at places drawn anew."""
        m, n = self.shape
        number = len(self.values)
        place = torch.randperm(m * n, device=self.values.device)[:number].sort().values
        self.index.copy_(packed(place, m * n))
        self.values.normal_(0, std * math.sqrt(m * n / number))


def _hop(graph: Graph, values: Tensor, x: Tensor) -> Tensor:
    return ops.spmm(graph, values[:, None], x.t().unsqueeze(1)).squeeze(1).t()


def _mkl_serves(values: Tensor, x: Tensor) -> bool:
    dtype = values.dtype
    suits = dtype in (torch.float32, torch.float64) and x.dtype == dtype and x.is_cpu and values.is_cpu
    plain = not (torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
    return suits and plain and torch.backends.mkl.is_available()


def _check(columns: Tensor, pointers: Tensor, number: int, width: int) -> None:
    """
    Raises:
        ShapeError: if the places of so many values tell of a column or value that is not there.
    """
    if columns.is_meta or pointers.is_meta:
        return
    columns, pointers = columns.long(), pointers.long()
    if len(columns) and not (int(columns.min()) >= 0 and int(columns.max()) < width):
        raise ShapeError(
            f"columns run from {int(columns.min())} to {int(columns.max())}; a matrix of {width} has 0 to {width - 1}."
        )
    if int(pointers[0]) != 0 or int(pointers[-1]) != number or bool((pointers.diff() < 0).any()):
        raise ShapeError(
            f"pointers ascend from 0 to the {number} values, got {int(pointers[0])} to {int(pointers[-1])}."
        )
