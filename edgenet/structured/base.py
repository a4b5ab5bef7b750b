"""StructuredMatrix: a matrix that multiplies, and a family that a dense weight can be projected onto."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from edgenet.errors import PlanError, ShapeError
from edgenet.structured import plan_in_state
from edgenet.structured.convs import Steps
from edgenet.structured.inference_cache import InferenceCache


class StructuredMatrix(nn.Module, ABC):
    """An (m, n) matrix W stored in its own way. It acts on row vectors: x -> x W^T.

    A plain module: optimizers, ``state_dict``, ``deepcopy``, ``torch.compile`` and ``weights_only`` loading need
    nothing from here. A family implements ``shape``, ``matmul``, ``to_dense``, ``from_dense`` and ``draw_``, and
    ``config`` and ``from_config`` where ``from_dense`` takes options.

    Example:
        >>> class Diagonal(edgenet.structured.StructuredMatrix):
        ...     def __init__(self, entries):
        ...         super().__init__()
        ...         self.entries = torch.nn.Parameter(entries)
        ...     @property
        ...     def shape(self):
        ...         return len(self.entries), len(self.entries)
        ...     def draw_(self, std):
        ...         self.entries.data.normal_(std=std)
        ...     def matmul(self, x):
        ...         return x * self.entries
        ...     def to_dense(self):
        ...         return self.entries.diag()
        ...     @classmethod
        ...     def from_dense(cls, weight):
        ...         return cls(weight.diagonal().clone())
        >>> Diagonal.from_dense(torch.eye(3))(x).equal(x)
        True
    """

    #: whether ``from_dense`` iterates, and takes seconds for large weights: a search then waits to be asked
    iterates: ClassVar[bool] = False
    #: whether parameters are rounded before they multiply, so that a small step may change nothing
    rounds: ClassVar[bool] = False
    #: whether each entry takes a bit beside the parameters, so that these alone say too little of its size: a search
    #: for fewer parameters then waits to be asked
    signs_beside: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.cache = InferenceCache()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(m, n)."""

    @abstractmethod
    def matmul(self, x: Tensor) -> Tensor:
        """x W^T: (..., n) -> (..., m), by the cheapest contraction for this batch."""

    def adder(self, signals: int) -> Callable[[Tensor, Tensor], Any] | None:
        """What adds W x to y in place, for so many signals side by side: called with y (m, B) and x (n, B), both
        contiguous.

        It serves until a parameter changes; without gradients, in ``eval`` mode. A matrix that multiplies at every
        step of a sequence is asked once. None for a family that is no faster in this layout than in ``matmul``.
        """
        return None

    @abstractmethod
    def to_dense(self) -> Tensor:
        """W as an (m, n) tensor, differentiable in the parameters."""

    @classmethod
    @abstractmethod
    def from_dense(cls, weight: Tensor, *args: Any, **config: Any) -> Self:
        """The nearest (or, where that is hard, a good) member of the family to an (m, n) weight; exact at full rank.

        A family names its own options in place of ``args`` and ``config``.

        Raises:
            ShapeError: if the weight is no matrix of finite numbers.
            RankError: if an option does not fit the shape.
        """

    @abstractmethod
    def draw_(self, std: float) -> None:
        """Draw the parameters anew, so that the entries of W have mean 0 and variance ``std``^2."""

    def config(self) -> dict[str, Any]:
        """JSON-able: ``from_config`` makes of it an empty matrix of the same make, for a ``state_dict`` to fill."""
        return {"shape": list(self.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A matrix of the make that ``config()`` tells, with any numbers in it.

        ``config`` is the ``shape`` and options of ``from_dense``, of which those with defaults may be missing.
        """
        options = dict(config)
        return cls.from_dense(torch.zeros(options.pop("shape")), **options)

    @classmethod
    def _empty_like(cls, weight: Tensor, **options: Any) -> Self:
        """``from_config`` for the shape, dtype and device of a weight."""
        matrix = cls.from_config({"shape": list(weight.shape), **options})
        # not Module.to, which warns of complex dtypes
        return matrix._apply(lambda t: t.to(weight.device, weight.dtype if t.is_floating_point() else t.dtype))

    @classmethod
    def random(cls, shape: tuple[int, int], std: float | None = None, **options: Any) -> Self:
        """A random (m, n) matrix. ``options`` are those of ``from_dense``; for ``std`` see ``draw_``, by default
        Glorot's sqrt(2 / (m + n))."""
        matrix = cls.from_config({"shape": list(shape), **options})
        with torch.no_grad():
            matrix.draw_(glorot(matrix.shape) if std is None else std)
        return matrix

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        """Options of ``from_dense`` for an (m, n) weight, a dozen at most, from the fewest parameters to the most (of
        quantisers, from the fewest bits): the sizes that a search tries. ``[{}]`` for a family of one size; empty where
        it does not fit the shape."""
        return [{}]

    @classmethod
    def ladder_for(cls, shape: tuple[int, int], places: int) -> list[dict[str, Any]]:
        """``ladder`` for the kernel of a convolution, whose columns are channels by so many places: a family that can
        keep the places apart does, so that what is chosen has two convolutions (``as_convs``)."""
        return cls.ladder(shape)

    @property
    def is_lazy(self) -> bool:
        """Whether its size, or part of it, is not known yet: ``materialise`` gives it one. Most are never lazy."""
        return False

    @property
    def is_dense(self) -> bool:
        """Whether every entry is a number of its own, so that W can be any matrix: nothing is compressed."""
        return False

    def materialise(self, rows: int, columns: int) -> None:
        """Give a lazy matrix its size, and its start.

        Raises:
            ShapeError: if it was declared to have another.
        """
        raise ShapeError(f"a {type(self).__name__} has a size, {self.shape}, and is asked to be {rows, columns}.")

    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Keep these rows and columns, in this order, in place. Parameters are new ones.

        Raises:
            PlanError: if the family has no form for what is left, or there is no size yet. The matrix is as before.
            IndexError: if there is no such row or column.
        """
        raise PlanError(
            f"of a {type(self).__name__} matrix no rows or columns can be taken; remove first and compress then, or "
            f"call edgenet.compress.decompress_."
        )

    def _left_over(self, rows: int, columns: int) -> tuple[int, int]:
        """A size that ``keep_`` may leave."""
        if min(rows, columns) < 1:
            raise PlanError(f"of a {type(self).__name__} matrix a part must be left, and {rows, columns} is asked for.")
        return rows, columns

    def mix_first(self, blocks: int) -> tuple[Tensor, Tensor | None]:
        """(r, n) inner and (m, r) outer with W = outer inner and r < m; outer None where inner is W itself.

        For walks that mix before they move (Horner's rule): the columns are ``blocks`` blocks of equal width, each of
        which multiplies alone, and the walk then takes r numbers a node. The matrix is read past its call, so the
        caller asks ``shortcuts.plain`` first. A family that cannot make the walk narrower leaves this as it is:
        products of Kronecker factors and cores are of full rank, and cheap to build beside a walk.
        """
        return self.to_dense(), None

    def as_convs(self, places: int) -> list[Steps]:
        """The ways to convolve by W in steps, without building it; none for most families.

        Args:
            places: of the kernel; the columns are channels by so many places. The matrix is read past its call, as by
                ``mix_first``.
        """
        return []

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]  # overloads
        """As of any module; in the state of a module around it, with what it is (``plan_in_state``)."""
        state = super().state_dict(*args, **options)
        prefix = options.get("prefix", "")
        for path, part in self.named_modules():
            if path and isinstance(part, StructuredMatrix):  # the outermost tells of all
                state.pop(f"{prefix}{path}.{plan_in_state.KEY}", None)
        if options.get("destination") is not None and not self.is_dense:
            plan_in_state.tell(self, state, prefix)
        return state

    def set_extra_state(self, state: Any) -> None:
        """For loaders that hand over, one by one, what a state has beside its tensors.

        Raises:
            CheckpointError: if it tells of a matrix of another family.
        """
        plan_in_state.check_family(self, state)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        key = prefix + plan_in_state.KEY
        super()._load_from_state_dict(state_dict, prefix, *args)
        if key in args[2]:  # missing keys: a state that tells of no plan is as good, if its tensors fit
            args[2].remove(key)

    def forward(self, x: Tensor) -> Tensor:
        """Same as ``matmul``."""
        return self.matmul(x)

    def train(self, mode: bool = True) -> Self:
        self.cache.clear()
        return super().train(mode)

    def rows(self, index: Tensor) -> Tensor:
        """W[index]: (I,) -> (I, n). Tables of edge weights are read through this.

        Raises:
            IndexError: if there is no such row.
        """
        return self.to_dense()[index]

    def num_parameters(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.parameters())

    def multiply_adds(self, batch: int = 1) -> int:
        """Multiply-adds of ``matmul`` for a batch of so many rows."""
        return batch * self.shape[0] * self.shape[1]

    def bits(self) -> int:
        """Bits at rest: what the tensors of ``pack()`` take on disk, indices and codebooks included."""
        return 8 * sum(t.numel() * t.element_size() for t in self.pack().state_dict().values())

    def pack(self) -> StructuredMatrix:
        """The form for storage and inference. Most families are their own."""
        return self

    @torch.no_grad()
    def reset_parameters(self, dense: Tensor | None = None) -> None:
        """Start again from the projection of ``dense``; by default from a random matrix of Glorot's variance."""
        if dense is None:
            self.draw_(glorot(self.shape))
            return
        options = {key: value for key, value in self.config().items() if key != "shape"}
        self.load_state_dict(type(self).from_dense(dense, **options).state_dict())

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.config().items())


def row_numbers(index: Tensor, rows: int) -> Tensor:
    """The index, counted from the front. Where a matrix is padded, a row that it has not is one of the padding's.

    Raises:
        IndexError: if it names none of so many rows.
    """
    nothing = index.new_zeros(1).expand(rows)[index]  # torch's own check, of no memory
    return index.remainder(max(1, rows)) + nothing


def glorot(shape: tuple[int, int]) -> float:
    """sqrt(2 / (m + n)), the standard deviation of Glorot and Bengio 2010."""
    return math.sqrt(2 / max(1, sum(shape)))
