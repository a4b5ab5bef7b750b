"""Hashed: a matrix whose entries are read from a pool that it may share with other matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.shortcuts import untouched
from edgenet.structured.base import StructuredMatrix, row_numbers
from edgenet.structured.given import checked
from edgenet.structured.hash_pool import HashPool, budget, lay_out

_DEARER = 20  # times, to compare a number of the pool, than a multiply-add where the matrix is built


class Hashed(StructuredMatrix):
    """W[i, j] = scale * tile[offset + i n + j], the tile of a ``HashPool`` counted row by row.

    A pool is a module like any other: views that share one have one set of parameters, ``deepcopy`` of a model keeps
    them together, and the number of parameters of the model counts them once. ``num_parameters`` of one view is what it
    reads from, its whole pool and its scale; sums over views count a shared pool too often.

    Multiplying builds W from the pool (kept in ``eval`` mode), which saves nothing in time. In an aligned pool W is
    made of pieces of low rank, and is multiplied so where that is cheaper: row i of W is columns (i mod k) n and
    following of tile row i // k, with k = width // n; a row longer than the tile is wide takes several tile rows.

    Args:
        pool: to read from.
        offset: of the first entry in the tile; of an aligned pool a multiple of its width.
        shape: (m, n).
        scale: learnable; what the tile, of mean square 1, is multiplied by.

    Raises:
        ShapeError: if the matrix does not lie in the pool.

    Example:
        >>> pool = edgenet.structured.HashPool(200, parameters=40)
        >>> edgenet.structured.Hashed(pool, offset=0, shape=(10, 20))(torch.randn(5, 20)).shape
        torch.Size([5, 10])
    """

    def __init__(self, pool: HashPool, offset: int, shape: tuple[int, int], scale: float = 1.0) -> None:
        super().__init__()
        self._shape = (int(shape[0]), int(shape[1]))
        self.pool, self.offset = pool, int(offset)
        (m, n), width = self._shape, pool.width
        if min(m, n) < 1:
            raise ShapeError(f"a hashed matrix has a row and a column at least, got ({m}, {n}).")
        # in a pool that is not aligned, some matrices are so by chance
        whole = self.offset % width == 0 and (width % n == 0 or n % width == 0)
        self._low_rank = pool.aligned or whole
        self._beside, self._pieces = max(1, width // n), -(-n // width)  # rows of W in a tile row, and the reverse
        cells = lay_out([self._shape], False)[0]
        if pool.aligned:
            cells = width * (-(-m // self._beside) if n <= width else m * self._pieces)
        if self.offset < 0 or self.offset + cells > pool.size or (pool.aligned and self.offset % width):
            raise ShapeError(
                f"a ({m}, {n}) matrix at offset {self.offset} takes {cells} numbers of a pool that has {pool.size}"
                + (f", in rows of {width} that it begins with." if pool.aligned else ".")
            )
        self._first, self._last = self.offset // width, -(-(self.offset + cells) // width)
        self.scale = nn.Parameter(torch.full((1,), scale, dtype=pool.left.real.dtype, device=pool.left.device))

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def owns_pool(self) -> bool:
        """Whether the pool is just what this one matrix needs, so that its config can say so in short."""
        size, width, _ = lay_out([self._shape], self.pool.aligned)
        return self.pool.size == size and (width is None or self.pool.width == width)

    # ---------------------------------------------------------------- multiplying
    def matmul(self, x: Tensor) -> Tensor:
        m, n = self._shape
        apart, built = self._cost(), m * n
        if self._low_rank and torch.compiler.is_compiling():  # one trace serves every batch
            by_rank = apart < built
        elif self._low_rank:
            rows = math.prod(x.shape[:-1])
            by_rank = rows * apart < rows * built + (self.pool.hashes * built if self.training else 0)
        else:
            by_rank = False
        if not by_rank:
            return ops.linear(x, self._built())
        p, q = self._factors()
        if self._pieces == 1:
            z = ops.linear(x, q).unflatten(-1, (-1, self._beside)) * self.scale  # (..., hashes, k)
            return ops.linear(z.transpose(-1, -2), p).transpose(-1, -2).flatten(-2)[..., :m]
        z = F.pad(x, (0, self._pieces * self.pool.width - n)).unflatten(-1, (self._pieces, self.pool.width))
        return ops.linear(ops.linear(z, q).flatten(-2) * self.scale, p)

    def _factors(self) -> tuple[Tensor, Tensor]:
        """The two factors, but for the scale, that W has in an aligned pool: (tile rows, hashes) and (hashes k, n); or
        (m, pieces hashes) and (hashes, width) of one piece."""
        (m, n), (p, q) = self._shape, self.pool()
        p = p[:, self._first : self._last]
        if self._pieces == 1:
            return p.mT, q[:, : self._beside * n].reshape(-1, n)
        return p.unflatten(1, (m, self._pieces)).permute(1, 2, 0).flatten(1), q

    def mix_first(self, blocks: int) -> tuple[Tensor, Tensor | None]:
        """One signal for every hash and piece of a row."""
        (m, n), narrow = self._shape, self.pool.hashes * max(self._beside, self._pieces)
        if not self._low_rank or narrow >= m:
            return self.to_dense(), None
        p, q = self._factors()
        if self._pieces == 1:
            one = torch.eye(self._beside, dtype=p.dtype, device=p.device)
            return q, torch.einsum("rh,ab->rahb", p * self.scale, one).flatten(2).flatten(0, 1)[:m]
        one = torch.eye(self._pieces, dtype=q.dtype, device=q.device)
        return torch.kron(one, q)[:, :n], p * self.scale

    def _built(self) -> Tensor:
        """``to_dense``, kept where to compare the whole pool is cheaper than to build the matrix.

        Hooks by which others prepare the pool run when it is read; then it must be.
        """
        (m, n), pool = self._shape, self.pool
        if _DEARER * (pool.height + pool.width) > m * n or not untouched(pool):
            return self.to_dense()
        return self.cache.get(self, "dense", (pool.left, pool.right, self.scale), self.to_dense)

    def _cost(self) -> int:
        """Multiply-adds of a row of the batch, by pieces of low rank."""
        if self._pieces == 1:
            rows = self._last - self._first
            return self.pool.hashes * self._beside * (self._shape[1] + rows)
        return self.pool.hashes * self._pieces * (self.pool.width + self._shape[0])

    def to_dense(self) -> Tensor:
        return self._read(self.pool.tile(self._first, self._last, self.scale))

    def _read(self, tile: Tensor) -> Tensor:
        """(m, n), of the rows of a tile that it lies in."""
        (m, n), width = self._shape, self.pool.width
        if not self.pool.aligned:
            start = self.offset - self._first * width
            return tile.flatten()[start : start + m * n].view(m, n)
        if self._pieces == 1:
            return tile[:, : self._beside * n].reshape(-1, n)[:m]
        return tile.reshape(m, -1)[:, :n]

    def rows(self, index: Tensor) -> Tensor:
        m, n = self._shape
        if 4 * index.numel() >= m or not self.training:
            return self._built()[index]
        width = self.pool.width
        index = row_numbers(index, m)[:, None]
        column = torch.arange(n, device=index.device)
        if not self.pool.aligned:
            cell = self.offset + index * n + column
        elif self._pieces == 1:
            cell = self.offset + index // self._beside * width + index % self._beside * n + column
        else:
            cell = self.offset + index * self._pieces * width + column
        p, q = self.pool()
        return (p[:, cell // width] * q[:, cell % width]).sum(0) * self.scale

    def multiply_adds(self, batch: int = 1) -> int:
        """Of a matrix that is kept, or by pieces of low rank where these are fewer."""
        built = self._shape[0] * self._shape[1]
        return batch * (min(built, self._cost()) if self._low_rank else built)

    # ---------------------------------------------------------------- making
    @classmethod
    def together(
        cls,
        weights: Sequence[Tensor],
        parameters: int | None = None,
        ratio: float | None = None,
        aligned: bool = False,
        fit: bool = True,
    ) -> list[Self]:
        """Matrices for several weights, read from one pool, in the order given.

        Each weight is divided by its root mean square, which becomes its scale, so that all count alike in the fit.

        Args:
            weights: (m, n) each, of one dtype and device.
            parameters: trainable numbers of all, the scales included; never exceeded.
            ratio: instead, how many times fewer than the weights have entries.
            aligned: whether they lie in the pool so that they multiply as pieces of low rank.
            fit: fit the pool to the weights (a stated iterative fit, see ``HashPool.fit_``), or draw it at random.

        Raises:
            ShapeError: if there is no weight, or their dtypes or devices differ.
            RankError: if the parameters are too few for the scales and one hash.
        """
        weights = [checked(weight) for weight in weights]
        if len({(w.dtype, w.device) for w in weights}) != 1 or any(w.numel() == 0 for w in weights):
            raise ShapeError(
                f"weights of one pool share a dtype and a device and have entries, got "
                f"{[(tuple(w.shape), w.dtype, str(w.device)) for w in weights]}."
            )
        shapes = [(w.shape[0], w.shape[1]) for w in weights]
        size, width, offsets = lay_out(shapes, aligned)
        numbers = budget(sum(m * n for m, n in shapes), parameters, ratio)
        try:
            pool = HashPool(size, numbers - len(weights), width=width, device=weights[0].device, dtype=weights[0].dtype)
        except RankError as error:
            raise RankError(f"{numbers} parameters with {len(weights)} for the scales are too few: {error}") from None
        views = [
            cls(pool, offset, shape, _mean_square(weight).sqrt().item() or 1.0)
            for offset, shape, weight in zip(offsets, shapes, weights, strict=True)
        ]
        if fit:
            fit_(pool, views, weights)
        return views

    @classmethod
    def from_dense(
        cls, weight: Tensor, parameters: int | None = None, ratio: float | None = None, aligned: bool = False
    ) -> Self:
        """A matrix with a pool of its own. Good, not nearest, where the pool is not a whole tile of whole hashes; exact
        at (height + width) min(height, width) + 1 parameters.

        Args:
            weight: (m, n).
            parameters: trainable numbers, the scale included; never exceeded.
            ratio: instead, how many times fewer than the weight has entries.
            aligned: whether it multiplies as pieces of low rank.
        """
        return cls.together([weight], parameters, ratio, aligned)[0]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """With a pool of its own, also where the config tells of a shared one: see ``attach_``."""
        shape = tuple(config["shape"])
        if "pool" in config:
            return cls(HashPool.from_config(config["pool"]), config["offset"], shape)
        size, width, _ = lay_out([shape], config.get("aligned", False))
        numbers = budget(shape[0] * shape[1], config.get("parameters"), config.get("ratio"))
        return cls(HashPool(size, numbers - 1, width=width), 0, shape)

    def config(self) -> dict[str, Any]:
        """The options of ``from_dense`` where the pool is its own; else ``offset``, and ``pool``, that of the pool."""
        if self.owns_pool:
            options = {"parameters": self.num_parameters(), "aligned": self.pool.aligned}
            return {"shape": list(self._shape), **options}
        return {"shape": list(self._shape), "offset": self.offset, "pool": self.pool.config()}

    def attach_(self, pool: HashPool) -> None:
        """Read from another pool of the same make from now on.

        Raises:
            ShapeError: if it is of another make.
        """
        if pool.config() != self.pool.config():
            raise ShapeError(f"this matrix reads from a pool of {self.pool.config()}, got one of {pool.config()}.")
        self.pool = pool
        self.cache.clear()

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Draws the whole pool anew, also for the other matrices that read from it."""
        self.pool.draw_()
        self.scale.fill_(std)

    def reset_parameters(self, dense: Tensor | None = None) -> None:
        if dense is not None and not self.owns_pool:
            raise PlanError(
                "a matrix that shares its hash pool cannot be fitted alone: the others would change. Fit all of them "
                "with edgenet.structured.hashed.fit_(pool, views, weights)."
            )
        super().reset_parameters(dense)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        size = shape[0] * shape[1]
        width = math.isqrt(size - 1) + 1
        hash_size = width + -(-size // width)
        return [{"parameters": (hash_size << k) + 1} for k in range(12) if (hash_size << k) + 1 < size]


def _mean_square(weight: Tensor) -> Tensor:
    return weight.abs().double().square().mean()


@torch.no_grad()
def fit_(pool: HashPool, views: Sequence[Hashed], weights: Sequence[Tensor]) -> None:
    """Fit a pool and the scales of all its matrices to dense weights, jointly.

    Raises:
        ShapeError: if a weight has another shape than its view, or a view reads from another pool.
    """
    target = torch.zeros(pool.height, pool.width, dtype=torch.promote_types(pool.left.dtype, torch.float64))
    used = torch.zeros(pool.height, pool.width, dtype=torch.bool)
    number = torch.arange(target.numel()).view_as(target)
    for view, weight in zip(views, weights, strict=True):
        weight = checked(weight).cpu()
        if view.pool is not pool or tuple(weight.shape) != view.shape:
            raise ShapeError(
                f"a {view.shape} view of this pool is to be fitted to a weight of shape {tuple(weight.shape)}"
                + ("." if view.pool is pool else ", but reads from another pool.")
            )
        scale = float(_mean_square(weight).sqrt()) or 1.0
        view.scale.fill_(scale)
        cells = view._read(number[view._first : view._last])
        target.view(-1)[cells] = weight.to(target.dtype) / scale
        used.view(-1)[cells] = True
    pool.fit_(target, used)


def shared_pools(module: nn.Module) -> list[HashPool]:
    """The pools of a model that several matrices may read from, each once, in the order of its modules.

    After ``from_config``, every matrix has a pool of its own; ``attach_`` brings them together again.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.Linear(20, 20))
        >>> pool = edgenet.compress.pool_(model, ratio=4)
        >>> edgenet.structured.shared_pools(model) == [pool]
        True
    """
    pools = (m.pool for m in module.modules() if isinstance(m, Hashed) and not m.owns_pool)
    return list(dict.fromkeys(pools))
