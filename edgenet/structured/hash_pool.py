"""HashPool: the few numbers that all weights of a model are read from, in structured multi-hashing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import RankError
from edgenet.structured.given import clipped
from edgenet.structured.svd import double, truncated_svd

_SWEEPS = 50  # of alternating least squares
_STEADY = 1e-7  # relative change of the error at which the sweeps end
_SAFE = 1e-4  # least over largest diagonal of a Cholesky factor from which half of the digits are left


class HashPool(nn.Module):
    """A tile P Q of (height, width) numbers, stored in P (height, hashes) and Q (hashes, width).

    Weights lie one after another in the tile, row by row, and number g of them is

        w[g] = sum over t of P[g // width, t] Q[t, g % width]:

    a sum of ``hashes`` products, each of two numbers that g hashes to. What reads a matrix from it is ``Hashed``. Eban,
    Movshovitz-Attias, Wu, Sandler, Poon, Idelbayev, Carreira-Perpinan 2020, eq. (2)-(4).

    The number of parameters is exactly what is asked for, where the paper rounds to whole hashes of height + width
    numbers: the last hash may be partial, and then covers the upper left block of the tile that so many numbers cover
    best. (One number alone covers nothing, and is not made.) The tile is as high as its numbers need, where the
    paper's is square.

    Args:
        size: numbers that are laid out, N.
        parameters: trainable numbers, from one hash, height + width, to as many hashes as reach every tile.
        ratio: instead, how many times fewer parameters than numbers.
        width: of an aligned tile, in which every matrix begins with a row and whose rows hold whole rows of it, or
            the reverse, so that it multiplies as a matrix of low rank. Default: ceil(sqrt(N)), not aligned.
        device, dtype: of the parameters.

    Raises:
        RankError: if the parameters do not make one hash, or none or both of ``parameters`` and ``ratio`` are given.

    Warns:
        RankWarning: if there are more parameters than reach every tile.

    Example:
        >>> pool = edgenet.structured.HashPool(10_000, ratio=20)
        >>> sum(p.numel() for p in pool.parameters())
        500
    """

    def __init__(
        self,
        size: int,
        parameters: int | None = None,
        ratio: float | None = None,
        width: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if isinstance(size, bool) or not isinstance(size, int) or size < 1 or (width is not None and width < 1):
            raise RankError(f"a hash pool lays out 1 number at least in rows of 1 at least, got {size} and {width}.")
        self.size, self.aligned = size, width is not None
        self.width = math.isqrt(size - 1) + 1 if width is None else int(width)
        self.height = -(-size // self.width)
        hash_size = self.height + self.width
        parameters = budget(size, parameters, ratio)
        if parameters < hash_size:
            raise RankError(
                f"a hash pool of {size} numbers in {self.height} rows of {self.width} takes {hash_size} parameters at "
                f"least, one hash, got {parameters}. Ask for that many or a ratio of at most {size / hash_size:.4g}; "
                f"a pool for more matrices at once can be relatively smaller."
            )
        parameters = clipped(parameters, hash_size * min(self.height, self.width), "the parameters of a hash pool")
        self._full, rest = divmod(parameters, hash_size)
        # of all blocks with so many rows and columns together the squarest is the largest
        rows = min(max(rest // 2, rest - self.width), self.height)
        self._block = (rows, rest - rows) if rows > 0 else (0, 0)
        factory = {"device": device, "dtype": dtype}
        self.left = nn.Parameter(torch.empty(self._full * self.height + self._block[0], **factory))
        self.right = nn.Parameter(torch.empty(self._full * self.width + self._block[1], **factory))
        self.draw_()

    @property
    def hashes(self) -> int:
        """Products in the sum, a partial one included."""
        return self._full + (self._block[0] > 0)

    def num_parameters(self) -> int:
        """Trainable numbers."""
        return self.left.numel() + self.right.numel()

    def forward(self) -> tuple[Tensor, Tensor]:
        """P^T (hashes, height) and Q (hashes, width). A partial hash is filled up with zeros."""
        return _lines(self.left, self.height), _lines(self.right, self.width)

    def tile(self, first: int = 0, last: int | None = None, scale: Tensor | float = 1.0) -> Tensor:
        """Rows ``first`` to ``last`` of P Q, times ``scale``."""
        p, q = self()
        return ops.linear((p[:, first:last] * scale).mT, q.mT)  # scaling the tile would keep it for the gradient

    @torch.no_grad()
    def draw_(self) -> None:
        """Draw all numbers anew, so that those of the tile have mean 0 and mean square 1."""
        covered = self._full + self._block[0] * self._block[1] / (self.height * self.width)
        for side in (self.left, self.right):
            side.normal_().mul_(covered**-0.25)

    @torch.no_grad()
    def fit_(self, target: Tensor, used: Tensor) -> None:
        """Make the tile near to a given one: singular vectors with zeros where the tile is not used, then least squares
        by turns over what is used alone. Iterative, deterministic; never worse than the singular vectors.

        Args:
            target: (height, width).
            used: (height, width), bool.
        """
        target, used = double(target).cpu(), used.cpu()
        target = target.where(used, 0)
        p, q = _start(target, self._full, self._block)
        if self._block[0] or not used.all():
            p, q = _alternate(target, used, p, q, self._full, self._block)
        level = (q.norm(dim=1) / p.norm(dim=0).clamp_min(1e-300)).sqrt().clamp(1e-150, 1e150)
        p, q = p * level, q / level[:, None]  # both sides of a hash alike, for steps of one size
        self.left.copy_(p.mT.flatten()[: self.left.numel()])
        self.right.copy_(q.flatten()[: self.right.numel()])

    def config(self) -> dict[str, Any]:
        """JSON-able: ``from_config`` makes of it an equal pool with other numbers."""
        width = self.width if self.aligned else None
        return {"size": self.size, "parameters": self.num_parameters(), "width": width}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.config().items())


def budget(size: int, parameters: int | None, ratio: float | None) -> int:
    """The parameters that are asked for, of a matrix or model of so many numbers.

    Raises:
        RankError: if none or both are given, or they are no such numbers.
    """
    if (parameters is None) == (ratio is None):
        raise RankError(f"say either parameters= or ratio=, got parameters={parameters} and ratio={ratio}.")
    if ratio is not None:
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < math.inf:
            raise RankError(f"a ratio says how many times fewer parameters are wanted, got {ratio!r}. Try 10.")
        return math.floor(size / ratio)
    if isinstance(parameters, bool) or not isinstance(parameters, int):
        raise RankError(f"parameters is a whole number, got {parameters!r}.")
    return parameters


def lay_out(shapes: Sequence[tuple[int, int]], aligned: bool) -> tuple[int, int | None, list[int]]:
    """How matrices lie in a tile: (size, width, the offset of each), ``size`` and ``width`` as of a ``HashPool``.

    Aligned ones leave parts of rows unused; the width is the one that makes a hash smallest.
    """
    width = min(_widths(shapes), key=lambda w: (w + sum(_rows(s, w) for s in shapes), w)) if aligned else None
    sizes = [m * n if width is None else width * _rows((m, n), width) for m, n in shapes]
    offsets = [sum(sizes[:k]) for k in range(len(sizes))]
    return sum(sizes), width, offsets


def _widths(shapes: Sequence[tuple[int, int]]) -> Iterator[int]:
    most = 2 * math.isqrt(sum(m * n for m, n in shapes)) + 1
    for n in {n for _, n in shapes}:
        yield from range(n, max(n, most) + 1, n)
        yield from {-(-n // pieces) for pieces in range(1, min(n, 64) + 1)}


def _rows(shape: tuple[int, int], width: int) -> int:
    """Rows of an aligned tile that an (m, n) matrix takes."""
    m, n = shape
    return -(-m // (width // n)) if n <= width else m * -(-n // width)


def _lines(flat: Tensor, width: int) -> Tensor:
    missing = -flat.numel() % width
    return (F.pad(flat, (0, missing)) if missing else flat).view(-1, width)


def _start(target: Tensor, full: int, block: tuple[int, int]) -> tuple[Tensor, Tensor]:
    u, s, vh = truncated_svd(target, full)
    p, q = u * s.sqrt(), vh * s.sqrt()[:, None]
    if block[0]:
        rest = (target - p @ q)[: block[0], : block[1]]
        u, s, vh = truncated_svd(rest, 1)
        p = torch.cat([p, F.pad(u * s.sqrt(), (0, 0, 0, len(target) - block[0]))], 1)
        q = torch.cat([q, F.pad(vh * s.sqrt()[:, None], (0, target.shape[1] - block[1]))])
    return p, q


def _alternate(
    target: Tensor, used: Tensor, p: Tensor, q: Tensor, full: int, block: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Q the best for P, then P the best for Q, and again."""
    rows, columns = _alike(used, block[0]), _alike(used.mT, block[1])
    before = float((target - p @ q)[used].norm())
    for _ in range(_SWEEPS):
        q_new = _solve(target, p, q, columns, full)
        p_new = _solve(target.mT, q_new.mT, p.mT, rows, full).mT
        error = float((target - p_new @ q_new)[used].norm())
        if error > before:  # by rounding
            break
        p, q = p_new, q_new
        if before - error <= _STEADY * before:
            break
        before = error
    return p, q


def _alike(used: Tensor, covered: int) -> list[tuple[Tensor, Tensor, bool]]:
    """Lines of a tile with the same used places, and with or without the partial hash: (lines, places, with?)."""
    patterns, kind = torch.unique(used, dim=0, return_inverse=True)
    partial = torch.arange(len(used)) < covered
    groups = []
    for k, pattern in enumerate(patterns):
        for with_partial in (False, True):
            lines = ((kind == k) & (partial == with_partial)).nonzero().flatten()
            if len(lines) and pattern.any():
                groups.append((lines, pattern.nonzero().flatten(), with_partial))
    return groups


def _solve(target: Tensor, p: Tensor, q: Tensor, columns: list[tuple[Tensor, Tensor, bool]], full: int) -> Tensor:
    """q with every column the least-squares solution of p q = target over its used places."""
    q = q.clone()
    for lines, places, with_partial in columns:
        terms = p.shape[1] if with_partial else full
        q[:terms, lines] = _least_squares(p[places, :terms], target[places][:, lines])
    return q


def _least_squares(a: Tensor, b: Tensor) -> Tensor:
    """The x with a x nearest to b: by the normal equations, many times faster, where these are well conditioned."""
    root, failed = torch.linalg.cholesky_ex(a.mH @ a)
    diagonal = root.diagonal().real
    if int(failed) or float(diagonal.min()) < _SAFE * float(diagonal.max()):
        return torch.linalg.lstsq(a, b, driver="gelsd").solution
    return torch.cholesky_solve(a.mH @ b, root)
