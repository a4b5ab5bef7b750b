"""Unitary: the product of diagonal, reflection, permutation and Fourier factors of the unitary evolution RNN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.ops import backend
from edgenet.structured.base import StructuredMatrix, row_numbers
from edgenet.structured.given import checked
from edgenet.structured.parameters import own_copy, parameter

# where the two routes take the same time on a core of a server of today, complex64
_BUILD, _BUILD_NUMBERS, _BUILD_IN_TRAINING = 128, 1 << 21, 64
_PIECE = 32  # rows of a batch whose intermediates stay in the cache
_STARTS = 16  # of the fit, side by side
_SWEEPS = 60  # from every start
_POLISHED = 4  # starts that are followed to the end, at most
_MET = 1e-13  # relative error at which the fit stops looking


class Unitary(StructuredMatrix):
    """W = D3 R2 F^-1 D2 Pi R1 F D1, a complex (n, n) matrix with W W^H = I, in 7 n real numbers.

    D_j = diag(exp(i phase_j)), R_j = I - 2 v_j v_j^H / |v_j|^2, (Pi z)_i = z_permutation(i), F the unitary Fourier
    transform. Multiplying costs O(n log n) and never changes the norm of a signal. Signals may be real or complex; what
    comes out is complex. Arjovsky, Shah, Bengio 2016, eq. (6); their code writes exp(-i phase) and reflects about
    the conjugate of v, which are the same matrices.

    A recurrent net that multiplies many times between two steps of the optimizer takes ``to_dense()`` once and
    multiplies by that, up to a few hundred rows; ``matmul`` sees one product at a time.

    Parameters are real: change their precision to float32 or float64, or the complex types of these; half has no FFT.

    Args:
        phases: (3, n), in radians.
        reflections: (2, n, 2), real and imaginary parts of v_1 and v_2. A zero vector reflects nothing.
        permutation: (n,) indices; fixed, not trained. By default drawn of ``seed``.
        seed: of the permutation.

    Raises:
        ShapeError: if the sizes do not fit each other, or ``permutation`` is none.

    Example:
        >>> matrix = edgenet.structured.Unitary.random((8, 8))
        >>> z = torch.randn(5, 8, dtype=torch.complex64)
        >>> torch.allclose(matrix(z).norm(dim=1), z.norm(dim=1), atol=1e-5)  # lengths stay
        True
    """

    def __init__(self, phases: Tensor, reflections: Tensor, permutation: Tensor | None = None, seed: int = 0) -> None:
        super().__init__()
        n = phases.shape[-1]
        if phases.shape != (3, n) or reflections.shape != (2, n, 2):
            raise ShapeError(
                f"a unitary matrix has (3, n) phases and (2, n, 2) reflections, got {tuple(phases.shape)} and "
                f"{tuple(reflections.shape)}."
            )
        if permutation is None:
            generator = torch.Generator().manual_seed(seed)
            permutation = torch.randperm(n, generator=generator, device="cpu").to(phases.device)
        elif permutation.shape != (n,) or not torch.equal(permutation.sort().values.cpu(), torch.arange(n)):
            raise ShapeError(f"a permutation holds each of 0..{n - 1} once, got {permutation.tolist()}.")
        self.seed = int(seed)
        self.phases = parameter(phases)
        self.reflections = parameter(reflections)
        self.register_buffer("permutation", own_copy(permutation))

    @property
    def shape(self) -> tuple[int, int]:
        return (self.phases.shape[1],) * 2

    # ---------------------------------------------------------------- multiplying
    def matmul(self, x: Tensor) -> Tensor:
        """x W^T: (..., n) real or complex -> (..., n) complex."""
        self._check_precision()
        if torch.compiler.is_compiling() or not self._builds(math.prod(x.shape[:-1])):  # one trace serves every batch
            factors = self.factors()
            if torch.is_grad_enabled() or not backend.eager() or x.numel() <= _PIECE * self.shape[0]:
                return self.apply_factors(x, *factors)
            parts = x.reshape(-1, self.shape[0]).split(_PIECE)
            return torch.cat([self.apply_factors(part, *factors) for part in parts]).view(x.shape)
        weight = self.built()
        dtype = torch.promote_types(x.dtype, weight.dtype)
        return ops.linear(x.to(dtype), weight.to(dtype))

    def built(self) -> Tensor:
        """``to_dense()``, which inference keeps until a parameter changes."""
        return self.cache.get(self, "dense", (self.phases, self.reflections, self.permutation), self.to_dense)

    def _builds(self, rows: int) -> bool:
        """Whether one product with W is cheaper than three diagonals, two reflections and two FFTs."""
        n = self.shape[0]
        if self.training:  # then building W is paid at every call
            return n <= _BUILD_IN_TRAINING and rows >= 8 * n
        return n <= _BUILD or rows * n * n <= _BUILD_NUMBERS

    def adjoint(self, x: Tensor) -> Tensor:
        """x conj(W), which is the inverse: ``adjoint(matmul(x))`` is x. (..., n) -> (..., n)."""
        self._check_precision()
        return self.adjoint_factors(x, *self.factors())

    def factors(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """The diagonals (3, n) and the mirrors sqrt(2) v_j / |v_j| (2, n), complex: what ``apply_factors`` takes.

        Whoever multiplies many times by the same W takes them once.
        """
        dtype = dtype or self.phases.dtype
        return _turns(self.phases.to(dtype)), _mirrors(self.reflections.to(dtype))

    def apply_factors(self, x: Tensor, turns: Tensor, mirrors: Tensor) -> Tensor:
        """x W^T, factor by factor: (..., n) -> (..., n)."""
        z = _reflect(_fourier(x * turns[0]), mirrors[0])
        z = _fourier(z[..., self.permutation] * turns[1], inverse=True)
        return _reflect(z, mirrors[1]) * turns[2]

    def adjoint_factors(self, x: Tensor, turns: Tensor, mirrors: Tensor) -> Tensor:
        """x conj(W), factor by factor: (..., n) -> (..., n)."""
        turns = turns.conj()
        z = _reflect(x * turns[2], mirrors[1])
        z = _fourier(z) * turns[1]
        z = _reflect(torch.zeros_like(z).index_copy(-1, self.permutation, z), mirrors[0])
        return _fourier(z, inverse=True) * turns[0]

    def _check_precision(self) -> None:
        if self.phases.dtype not in (torch.float32, torch.float64):
            raise ShapeError(
                f"complex products and FFTs want parameters of float32 or float64, got {self.phases.dtype}. "
                f"Convert this matrix back, as in matrix.to(torch.float32)."
            )

    def to_dense(self) -> Tensor:
        """W as a complex (n, n) tensor."""
        self._check_precision()
        # rounded once, a float32 W keeps norms to 1e-6 over a thousand products; built in float32, to 1e-4
        eye = torch.eye(self.shape[0], device=self.phases.device, dtype=torch.float64)
        return self.apply_factors(eye, *self.factors(torch.float64)).mT.to(self.phases.dtype.to_complex())

    def rows(self, index: Tensor) -> Tensor:
        units = torch.nn.functional.one_hot(row_numbers(index, self.shape[0]), self.shape[0]).to(self.phases.dtype)
        return self.adjoint(units).conj()

    def multiply_adds(self, batch: int = 1) -> int:
        """Real ones, four for a complex one, of the factors."""
        n = self.shape[0]
        return 4 * batch * (7 * n + round(n * math.log2(max(n, 1))))

    # ---------------------------------------------------------------- making
    @classmethod
    def from_dense(cls, weight: Tensor, seed: int = 0) -> Self:
        """A good unitary matrix of this form for a weight; no closed form of the nearest one is known.

        An iterative fit, deterministic: from several starts, each factor in turn becomes the best one for the others
        (phases of a diagonal, an eigenvector for a reflection), and the best ends are followed by L-BFGS. A weight
        that is such a product for the same permutation is mostly found again to rounding; 7 n numbers are few beside
        the n^2 of all unitary matrices, and the distance to most of those is large.

        Args:
            weight: (n, n), real or complex.
            seed: of the permutation, which is not fitted.

        Raises:
            ShapeError: if the weight is not square.
        """
        weight = checked(weight)
        matrix = cls.from_config({"shape": list(weight.shape), "seed": seed})
        matrix = matrix.to(device=weight.device, dtype=torch.float64)
        with torch.enable_grad():
            _fit_(matrix, weight.to(torch.complex128))
        real = weight.real.dtype
        return matrix.to(real if real == torch.float64 else torch.float32)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        if m != n:
            raise ShapeError(f"a unitary matrix is square, got ({m}, {n}).")
        return cls(torch.zeros(3, n), torch.zeros(2, n, 2), seed=config.get("seed", 0))

    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "seed": self.seed}

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return []  # complex: nothing that a search could put in the place of a real weight

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Phases from U[-pi, pi] and reflections from U[-1, 1], as in the paper. ``std`` is of no account: the entries
        of a unitary matrix have the mean square 1 / n. The permutation stays."""
        self.phases.uniform_(-math.pi, math.pi)
        self.reflections.uniform_(-1, 1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def real(tensor: Tensor) -> Tensor:  # .to(torch.complex64) means a W of complex64, of real parameters
            moved = fn(tensor)
            return moved.real.clone() if moved.is_complex() else moved

        return super()._apply(real, recurse)


def _turns(phases: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(phases), phases)


def _mirrors(pairs: Tensor) -> Tensor:
    """sqrt(2) v / |v| of vectors v in real and imaginary parts; of a zero vector zeros."""
    square = pairs.square().sum((-2, -1), keepdim=True)
    pairs = pairs * (2 / square.clamp_min(torch.finfo(square.dtype).tiny)).sqrt()
    return torch.complex(pairs[..., 0], pairs[..., 1])  # a view wants parameters to begin at an even address


def _fourier(z: Tensor, inverse: bool = False) -> Tensor:
    """The unitary Fourier transform of rows."""
    if z.numel() == 0:  # MKL refuses a batch of no rows
        return z
    return torch.fft.ifft(z, norm="ortho") if inverse else torch.fft.fft(z, norm="ortho")


def _reflect(z: Tensor, mirror: Tensor) -> Tensor:
    """Rows z -> (I - u u^H) z, for a mirror u of square length 2."""
    return z - (z @ mirror.conj())[..., None] * mirror


def _fit_(matrix: Unitary, target: Tensor) -> None:
    """Fit phases and reflections, in float64, to a complex128 matrix."""
    scale = float(target.norm()) or 1.0
    best, least = None, math.inf
    phases, reflections = _alternate(target, matrix.permutation)
    errors = []
    for phase, reflection in zip(phases, reflections, strict=True):
        errors.append(_error(matrix, phase, reflection, target))
    for start in sorted(range(len(errors)), key=errors.__getitem__)[:_POLISHED]:
        _put_(matrix, phases[start], reflections[start])
        _polish_(matrix, target)
        error = float((matrix.to_dense().detach() - target).norm()) / scale
        if error < least:
            least, best = error, (matrix.phases.detach().clone(), matrix.reflections.detach().clone())
        if least <= _MET:
            break
    if best is not None:
        _put_(matrix, *best)


@torch.no_grad()
def _put_(matrix: Unitary, phases: Tensor, reflections: Tensor) -> None:
    matrix.phases.copy_(phases)
    matrix.reflections.copy_(reflections)


@torch.no_grad()
def _error(matrix: Unitary, phases: Tensor, reflections: Tensor, target: Tensor) -> float:
    _put_(matrix, phases, reflections)
    return float((matrix.to_dense() - target).norm())


def _polish_(matrix: Unitary, target: Tensor) -> None:
    optimizer = torch.optim.LBFGS(
        matrix.parameters(), max_iter=300, history_size=30, tolerance_grad=1e-14, tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.view_as_real(matrix.to_dense() - target).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    optimizer.zero_grad()


@torch.no_grad()
def _alternate(target: Tensor, permutation: Tensor) -> tuple[Tensor, Tensor]:
    """(starts, 3, n) phases and (starts, 2, n, 2) reflections: each factor in turn the best for the others.

    |W - T|^2 is least where Re tr(W^H T) is largest. For a factor X with W = L X R that is Re tr(X^H C) with
    C = L^H T R^H: a diagonal takes the phases of C's diagonal, a reflection the eigenvector of the least eigenvalue
    of C + C^H.
    """
    n, generator = len(target), torch.Generator().manual_seed(0)
    eye = torch.eye(n, dtype=target.dtype, device=target.device)
    fourier = torch.fft.fft(eye, norm="ortho")  # symmetric

    def random(*size: int) -> Tensor:
        return torch.rand(_STARTS, *size, generator=generator, dtype=torch.float64, device="cpu").to(target.device)

    def reflection(v: Tensor) -> Tensor:  # of unit vectors
        return eye - 2 * v[:, :, None] * v[:, None].conj()

    phases = (2 * random(3, n) - 1) * math.pi
    vectors = torch.view_as_complex(2 * random(2, n, 2) - 1)
    vectors = vectors / vectors.norm(dim=-1, keepdim=True)
    diagonal = {0: 2, 3: 1, 7: 0}  # place of a factor -> which phases or reflection it holds
    mirror = {1: 1, 5: 0}
    factors = [eye.expand(_STARTS, n, n)] * 8
    factors[2], factors[4], factors[6] = (x.expand(_STARTS, n, n) for x in (fourier.mH, eye[permutation], fourier))
    for place, k in diagonal.items():
        factors[place] = torch.diag_embed(torch.polar(torch.ones_like(phases[:, k]), phases[:, k]))
    for place, k in mirror.items():
        factors[place] = reflection(vectors[:, k])
    for _ in range(_SWEEPS):
        rest = factors[1]
        for factor in factors[2:]:
            rest = rest @ factor
        inner = target @ rest.mH
        for place in range(8):
            if place in diagonal:
                angle = inner.diagonal(dim1=1, dim2=2).angle()
                phases[:, diagonal[place]] = angle
                factors[place] = torch.diag_embed(torch.polar(torch.ones_like(angle), angle))
            elif place in mirror:
                vector = torch.linalg.eigh(inner + inner.mH)[1][:, :, 0]
                vectors[:, mirror[place]] = vector
                factors[place] = reflection(vector)
            if place < 7:
                inner = factors[place].mH @ inner @ factors[place + 1]
    return phases, torch.view_as_real(vectors)
