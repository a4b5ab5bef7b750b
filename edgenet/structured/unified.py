"""Unified: blocks whose entries share one magnitude, each entry with a sign of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import PlanError, ShapeError
from edgenet.ops import backend, native
from edgenet.shortcuts import untouched
from edgenet.structured.base import StructuredMatrix, row_numbers
from edgenet.structured.block_choice import (
    ENTRIES,
    KEEP,
    PRUNE,
    UNIFY,
    Block,
    Costs,
    Counts,
    block_of,
    tiled,
    untiled,
    whole,
)
from edgenet.structured.codes import from_bytes, to_bytes
from edgenet.structured.given import checked
from edgenet.structured.parameters import own_copy, parameter, replace_

_FEW = 8  # signals up to which the kernel is the fastest way
_LARGE = 1 << 17  # entries from which it is


class Unified(StructuredMatrix):
    """W in blocks of (rows, columns). In a unified block W[i, j] = sign[i, j] |magnitude|, one magnitude for the block;
    a pruned block is zero; a kept one has numbers of its own (Lin et al. 2021, arXiv 2106.08301).

    Magnitudes and the numbers of kept blocks train. Signs and the kinds of the blocks are fixed, and stored in bits:
    at ratio 1 a block of K entries takes K bits and one number. |m| has the gradient 1 at 0, so that a block whose
    magnitude is 0 may come back. The last blocks reach over the edge of a matrix that they do not divide.

    A product builds W; in ``eval`` mode W is kept. There a few signals are multiplied by a large matrix straight from
    its signs, if all blocks are unified, one row high and a multiple of 16 wide.

    Several US patents concern weight unification: see docs/structures.md.

    Args:
        magnitudes: (unified,), in the order of the blocks, block row after block row.
        signs: (unified, rows * columns) of bool, True for +1.
        free: (kept, rows * columns), the numbers of kept blocks.
        kinds: (blocks,) whole numbers: ``KEEP``, ``UNIFY`` or ``PRUNE`` of ``block_choice``.
        shape: (m, n).
        block: (rows, columns), at most (m, n).

    Raises:
        ShapeError: if these do not fit one another.

    Example:
        >>> matrix = edgenet.structured.Unified.from_dense(torch.tensor([[1.0, -3.0, 2.0, 2.0]]), block=(1, 2))
        >>> matrix.to_dense().tolist()  # two blocks, a magnitude each
        [[2.0, -2.0, 2.0, 2.0]]
    """

    signs_beside = True
    magnitudes: Tensor
    free: Tensor
    signs: Tensor
    kinds: Tensor

    def __init__(
        self, magnitudes: Tensor, signs: Tensor, free: Tensor, kinds: Tensor, shape: tuple[int, int], block: Block
    ) -> None:
        super().__init__()
        self._shape, self.block = (int(shape[0]), int(shape[1])), (int(block[0]), int(block[1]))
        self.counts = Counts(len(free), len(magnitudes), len(kinds) - len(free) - len(magnitudes))
        size = math.prod(self.block)
        wanted = [
            (self.counts.unified,),
            (self.counts.unified, size),
            (self.counts.kept, size),
            (math.prod(self._grid),),
        ]
        got = [tuple(t.shape) for t in (magnitudes, signs, free, kinds)]
        if got != wanted or signs.dtype != torch.bool or self.counts.kinds in ([], [PRUNE]):
            raise ShapeError(
                f"a unified matrix of shape {self._shape} in blocks of {self.block} has magnitudes, signs of bool, "
                f"free numbers and kinds of shapes {wanted}, and numbers in some block; got {got}, signs of "
                f"{signs.dtype}."
            )
        codes = kinds.long()
        problem = self.counts.misfit(codes)
        if problem:
            raise ShapeError(problem)
        self.register_parameter("magnitudes", parameter(magnitudes) if len(magnitudes) else None)
        self.register_parameter("free", parameter(free) if len(free) else None)
        self.register_buffer("signs", to_bytes(signs, 1))
        self.register_buffer("kinds", self._coded(codes))

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def _grid(self) -> tuple[int, int]:
        """Blocks one below the other, and side by side."""
        (m, n), (rows, columns) = self._shape, self.block
        return -(-m // rows), -(-n // columns)

    # ---------------------------------------------------------------- kinds and signs
    def _coded(self, kinds: Tensor) -> Tensor:
        """Kinds in bits: the place of each among those that there are."""
        if self.counts.width == 0:
            return torch.zeros(0, dtype=torch.uint8, device=kinds.device)
        place = torch.zeros_like(kinds)
        for kind in self.counts.kinds[1:]:
            place += kinds >= kind
        return to_bytes(place, self.counts.width)

    def block_kinds(self) -> Tensor:
        """(blocks,) int64: the kind of every block, as the constructor takes them."""
        return self._decoded(self.kinds)

    def _decoded(self, stored: Tensor) -> Tensor:
        blocks, width = math.prod(self._grid), self.counts.width
        names = torch.tensor([*self.counts.kinds, -1, -1], device=stored.device)  # two bits may name no kind
        return names[from_bytes(stored, width, blocks) if width else stored.new_zeros(blocks).long()]

    def _order(self) -> Tensor:
        """(blocks,) the blocks that are kept, then those that are unified, then those that are pruned."""
        # of the stored places, so that any bytes whatever name each block once
        blocks = math.prod(self._grid)
        return from_bytes(self.kinds, self.counts.width, blocks).argsort(stable=True)

    def _sign(self, dtype: torch.dtype) -> Tensor:
        """(unified, entries) of +1 and -1."""
        size, device = math.prod(self.block), self.signs.device
        bit = torch.arange(8, device=device)
        of_byte = (((torch.arange(256, device=device)[:, None] >> bit) & 1) * 2 - 1).to(dtype)
        return of_byte.index_select(0, self.signs.int()).view(-1)[: self.counts.unified * size].view(-1, size)

    def packed_buffers(self) -> dict[str, Tensor]:
        """Signs and kinds, which are packed already."""
        return {"signs": self.signs, "kinds": self.kinds}

    def unpacked_buffers(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same.

        Raises:
            ShapeError: if they are no bits, or tell of other blocks. (Where torch compiles or traces, kinds are not
                looked at.)
        """
        for name, bits in stored.items():
            if bits.dtype != torch.uint8:
                raise ShapeError(f"{name}: bits are stored in bytes, torch.uint8, got {bits.dtype}.")
        looks = backend.eager() and not stored["kinds"].is_meta
        problem = self.counts.misfit(self._decoded(stored["kinds"])) if looks else None
        if problem:
            raise ShapeError(f"kinds: {problem}")
        return dict(stored)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        stored = {name: state_dict.get(prefix + name) for name in self.packed_buffers()}
        if all(t is not None and t.shape == getattr(self, name).shape for name, t in stored.items()):
            try:
                self.unpacked_buffers(stored)
            except ShapeError as error:
                args[-1].append(f"{prefix}{error}")
                return
        super()._load_from_state_dict(state_dict, prefix, *args)

    # ---------------------------------------------------------------- multiplying and reading
    def matmul(self, x: Tensor) -> Tensor:
        if x.dim() == 0 or x.shape[-1] != self._shape[1]:
            raise ShapeError(f"a {self._shape} matrix multiplies rows of {self._shape[1]} numbers, got {(*x.shape,)}.")
        if self._is_for_kernel(x):
            return ops.unified_linear(x, self.magnitudes, self.signs, self.block, self._shape)
        tensors = (*self.parameters(), *self.buffers())
        return ops.linear(x, self.cache.get(self, "dense", tensors, self.to_dense))

    def _is_for_kernel(self, x: Tensor) -> bool:
        """Whether signs multiply as they are stored, which for a few signals is faster than W: in ``eval`` mode without
        gradients, where every block is unified."""
        m, n = self._shape
        if self.training or self.counts.unified != math.prod(self._grid) or m * n < _LARGE:
            return False
        if not (x.is_cpu and self.signs.is_cpu and 0 < x.numel() <= _FEW * n and backend.eager()):
            return False
        if (torch.is_grad_enabled() and (x.requires_grad or self.magnitudes.requires_grad)) or not native.vectorised():
            return False
        if torch.is_autocast_enabled("cpu") or not untouched(self):  # a class of somebody else may have other entries
            return False
        kernels = backend.kernels("unified_linear", x, self.magnitudes, self.signs)
        return kernels is not None and kernels.suits(x, self.magnitudes, self.block)

    def to_dense(self) -> Tensor:
        return untiled(self._blocks(), self.block, self._shape)

    def _blocks(self) -> Tensor:
        """(blocks, entries)."""
        kept, unified = self.counts.kept, self.counts.unified
        shared = None
        if unified:
            size = _size(self.magnitudes)[:, None]
            shared = size * self._sign(size.dtype)  # of which autograd is ten times as fast as of torch.where
        if self.counts.width == 0:
            return self.free if shared is None else shared
        like = self.free if shared is None else shared
        blocks, order = like.new_zeros(math.prod(self._grid), math.prod(self.block)), self._order()
        if shared is not None:
            blocks = blocks.index_copy(0, order[kept : kept + unified], shared)
        return blocks.index_copy(0, order[:kept], self.free) if kept else blocks

    def rows(self, index: Tensor) -> Tensor:
        """Only the blocks in which these rows are."""
        index = row_numbers(index, self._shape[0])
        (rows, columns), wide = self.block, self._grid[1]
        column = torch.arange(self._shape[1], device=index.device)
        block = (index // rows)[:, None] * wide + column // columns  # (I, n)
        entry = (index % rows)[:, None] * columns + column % columns
        place = block
        if self.counts.width:
            place = torch.empty_like(order := self._order()).index_copy(0, order, torch.arange(len(order)).to(order))[
                block
            ]
        kept, unified = self.counts.kept, self.counts.unified
        y = None
        if unified:
            own = (place - kept).clamp(0, unified - 1)
            bit = own * (rows * columns) + entry
            positive = (self.signs[bit >> 3] >> (bit & 7).to(torch.uint8)) & 1
            y = _size(self.magnitudes)[own]
            y = y * (positive.to(y.dtype) * 2 - 1)
            y = torch.where(place < kept + unified, y, 0) if self.counts.pruned else y
        if kept:
            own_numbers = self.free[place.clamp_max(kept - 1), entry]
            y = torch.where(place < kept, own_numbers, own_numbers.new_zeros(()) if y is None else y)
        assert y is not None  # a matrix has numbers in some block
        return y

    # ---------------------------------------------------------------- making
    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        block: Sequence[int] | str = "auto",
        ratio: float = 1.0,
        prune: float = 0.0,
        entries: int = ENTRIES,
    ) -> Self:
        """The nearest matrix with so many blocks unified and pruned: those at which least is lost together. The
        magnitude of a block is mean |w|; sign(0) = +1.

        Args:
            weight: (m, n), real.
            block: (rows, columns), at most (m, n); or "auto" for the best of a piece of a row, a piece of a column and
                the squarest block. Where inputs are unrelated features, pieces of columns lose least.
            ratio: the share of blocks whose entries share a magnitude, in (0, 1], rounded up to whole blocks.
            prune: the share of blocks whose magnitude is 0, which are part of ``ratio``, in [0, 1).
            entries: of the blocks that "auto" chooses from.

        Raises:
            RankError: if an option is out of its range.
        """
        weight = checked(weight)
        if weight.is_complex():
            raise ShapeError(f"entries of a unified block have signs, and a weight of {weight.dtype} has none.")
        block = block_of(weight.shape, block, entries, ratio, prune, weight)
        costs = Costs.of(weight, block)
        counts = Counts.of(len(costs.unify), ratio, prune)
        kinds = costs.choice(counts)
        blocks = tiled(weight, block)
        unified = kinds == UNIFY
        magnitudes = costs.magnitude[unified].to(weight.dtype)
        return cls(magnitudes, blocks[unified] >= 0, blocks[kinds == KEEP], kinds, weight.shape, block)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        ratio, prune = config.get("ratio", 1.0), config.get("prune", 0.0)
        rows, columns = block_of((m, n), config.get("block", "auto"), config.get("entries", ENTRIES), ratio, prune)
        blocks = -(-m // rows) * -(-n // columns)
        # ``keep_`` may leave kept blocks alone
        counts = Counts(blocks, 0, 0) if ratio == prune == 0 else Counts.of(blocks, ratio, prune)
        kinds = torch.cat(
            [torch.full((number,), kind) for kind, number in enumerate((counts.kept, counts.unified, counts.pruned))]
        )
        signs = torch.ones(counts.unified, rows * columns, dtype=torch.bool)
        return cls(
            torch.zeros(counts.unified), signs, torch.zeros(counts.kept, rows * columns), kinds, (m, n), (rows, columns)
        )

    def config(self) -> dict[str, Any]:
        blocks = math.prod(self._grid)
        restricted = self.counts.unified + self.counts.pruned
        shares = {"ratio": restricted / blocks, "prune": self.counts.pruned / blocks}
        return {"shape": list(self._shape), "block": list(self.block), **shares}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Normal numbers, and their magnitudes with signs drawn anew, in blocks drawn anew; of a variance that makes up
        for the blocks that are pruned."""
        blocks = math.prod(self._grid)
        std *= math.sqrt(blocks / (blocks - self.counts.pruned))
        if self.free is not None:
            self.free.normal_(0, std)
        if self.magnitudes is not None:
            self.magnitudes.normal_(0, std).abs_()
            self.signs.copy_(to_bytes(torch.rand_like(self._sign(self.magnitudes.dtype)) < 0.5, 1))
        if self.counts.width:
            kinds = self.block_kinds().sort().values  # whatever the order was
            self.kinds.copy_(self._coded(kinds[torch.randperm(blocks, device=kinds.device)]))

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return [{"entries": size} for size in (64, 32, 16, 8, 4, 2) if size <= max(shape)]

    @torch.no_grad()
    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Where whole blocks are left: single rows of blocks that are one row high, say."""
        places = []
        for index, size, block in zip((rows, columns), self._shape, self.block, strict=True):
            index = torch.arange(size) if index is None else torch.arange(size)[index.cpu()]
            places.append((whole(index, size, block), len(index)))
        (down, m), (across, n) = places
        self._left_over(m, n)
        which = torch.arange(math.prod(self._grid)).view(self._grid)[down][:, across].flatten().to(self.kinds.device)
        kinds = self.block_kinds()
        numbers = torch.empty_like(kinds)  # of every block among its kind
        for kind in self.counts.kinds:
            numbers[kinds == kind] = torch.arange(int((kinds == kind).sum()), device=kinds.device)
        kept, unified = (numbers[which[kinds[which] == kind]] for kind in (KEEP, UNIFY))
        if len(kept) + len(unified) == 0:
            raise PlanError("of a Unified matrix only pruned blocks would be left, and a zero matrix has no numbers.")
        positive = self._sign(torch.int8)[unified] > 0
        left = {"free": kept, "magnitudes": unified}
        own = {name: getattr(self, name)[index] for name, index in left.items() if self._parameters[name] is not None}
        replace_(self, **own)
        for name, index in left.items():
            if len(index) == 0:
                self.register_parameter(name, None)
        self.counts = Counts(len(kept), len(unified), len(which) - len(kept) - len(unified))
        self._shape = (m, n)
        self.signs, self.kinds = own_copy(to_bytes(positive, 1)), own_copy(self._coded(kinds[which]))


def _size(magnitudes: Tensor) -> Tensor:
    """|m|, with the gradient 1 at 0, where that of torch's abs is 0 for ever."""
    return torch.where(magnitudes < 0, -magnitudes, magnitudes)
