"""Kronecker: a sum of Kronecker products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from edgenet.errors import RankError
from edgenet.structured.given import checked, clipped, sizes_of
from edgenet.structured.mode_matrix import ModeMatrix
from edgenet.structured.padding import of_channels, padded, suggest_modes
from edgenet.structured.parameters import Factors
from edgenet.structured.svd import double, truncated_svd

_SWEEPS = 100  # of alternating least squares, for three factors and more


class Kronecker(ModeMatrix):
    """W = sum over terms t of A_t (x) B_t (x) ..., cropped to (m, n).

    (A (x) B) x = A X B^T with X = x reshaped to (n1, n2), so W is never built. The nearest sum of products of two
    factors is known: Van Loan and Pitsianis 1993. That of three and more is found by alternating least squares, which
    may end in a local minimum.

    Args:
        factors: two or more, (p_k, q_k), or (terms, p_k, q_k).
        shape: (m, n), at most the products of the p and of the q; those by default.

    Raises:
        RankError: if there are fewer than two factors, or their terms differ.

    Example:
        >>> matrix = edgenet.structured.Kronecker(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [5.0]]))
        >>> matrix.to_dense().tolist()
        [[3.0, 6.0], [5.0, 10.0]]
    """

    def __init__(self, *factors: Tensor, shape: tuple[int, int] | None = None) -> None:
        if len(factors) < 2:
            raise RankError(f"a Kronecker product has two factors or more, got {len(factors)}.")
        factors = tuple(f.unsqueeze(0) if f.dim() == 2 else f for f in factors)
        if any(f.dim() != 3 or f.shape[0] != factors[0].shape[0] for f in factors):
            raise RankError(
                f"Kronecker factors are (p, q), or (terms, p, q) with one number of terms, got "
                f"{[tuple(f.shape) for f in factors]}."
            )
        out_modes, in_modes = tuple(f.shape[1] for f in factors), tuple(f.shape[2] for f in factors)
        super().__init__(shape or (math.prod(out_modes), math.prod(in_modes)), out_modes, in_modes)
        self.factors = Factors(factors)

    @property
    def terms(self) -> tuple[int, ...]:
        return (self._tensors()[0].shape[0],) * (len(self.out_modes) - 1)

    def links(self, first: int, second: int) -> tuple[int, int, int]:
        return self.terms[0], 1, 1

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.factors()

    def pair(self, cut: int) -> tuple[Tensor, Tensor]:
        factors = self._tensors()
        return _merged(factors[:cut]), _merged(factors[cut:])

    def triple(self, first: int, second: int) -> tuple[Tensor, Tensor, Tensor]:
        factors = self._tensors()
        a, g, b = (_merged(part) for part in (factors[:first], factors[first:second], factors[second:]))
        return a.unsqueeze(1), g[:, None, None], b.unsqueeze(1)

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        factor: Sequence[int] | None = None,
        terms: int = 1,
        factors: Sequence[Sequence[int]] | None = None,
        places: int = 1,
    ) -> Self:
        """The nearest sum of ``terms`` products of two factors; a good one of three factors and more.

        Args:
            weight: (m, n), padded with zeros to a multiple of the factor.
            factor: (p, q) of the first of two factors. Default: one that makes the two alike.
            terms: at most p q of the smaller factor, where every matrix is met exactly.
            factors: (p_k, q_k) of all factors, instead of ``factor``.
            places: of a kernel, whose columns are channels by places: the second factor then holds the places whole,
                and q of the first splits the channels, so that there are two convolutions (``as_convs``). Plans
                tell it of convolutions. A q of more than all channels cuts through the places as it would elsewhere.
        """
        weight = checked(weight)
        matrix = cls._empty_like(weight, factor=factor, terms=terms, factors=factors, places=places)
        with torch.no_grad():
            for own, found in zip(matrix.factors, _nearest(double(weight), matrix), strict=True):
                own.copy_(found)
        return matrix

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        m, n = config["shape"]
        sizes = _sizes((m, n), config.get("factor"), config.get("factors"), config.get("places", 1))
        numbers = [p * q for p, q in sizes]
        terms = clipped(config.get("terms", 1), math.prod(numbers) // max(numbers), "the terms of a Kronecker sum")
        return cls(*(torch.zeros(terms, p, q) for p, q in sizes), shape=(m, n))

    def config(self) -> dict[str, Any]:
        sizes = [[p, q] for p, q in zip(self.out_modes, self.in_modes, strict=True)]
        return {"shape": list(self.shape), "factors": sizes, "terms": self.terms[0]}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        for factor in self.factors:
            factor.normal_()
        self._spread(std)

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        return cls.ladder_for(shape, 1)

    @classmethod
    def ladder_for(cls, shape: tuple[int, int], places: int) -> list[dict[str, Any]]:
        if min(shape[0], shape[1] // places) < 2:
            return []
        ((p, q), (r, s)), most = _sizes(shape, None, None, places), shape[0] * shape[1]
        kernel = {} if places == 1 else {"places": places}
        rungs, terms = [], 1
        while terms <= min(p * q, r * s) and terms * (p * q + r * s) < most and len(rungs) < 12:
            rungs.append({"factor": [p, q], "terms": terms, **kernel})
            terms *= 2
        return rungs


def _sizes(
    shape: tuple[int, int], factor: Sequence[int] | None, factors: Sequence[Sequence[int]] | None, places: int = 1
) -> list[tuple[int, int]]:
    """(p, q) of every factor."""
    m, n = shape
    channels = of_channels(n, places)
    if factors is not None:
        if isinstance(factors, str) or not isinstance(factors, Sequence):
            raise RankError(f"Kronecker factors are a list of (p, q), got {factors!r}.")
        sizes = [sizes_of(size, "the size of a Kronecker factor") for size in factors]
        if any(len(size) != 2 for size in sizes):
            raise RankError(f"Kronecker factors are a list of (p, q), got {factors!r}.")
        rows, columns = math.prod(p for p, _ in sizes), math.prod(q for _, q in sizes)
        if len(sizes) < 2 or rows < m or columns < n:
            raise RankError(
                f"Kronecker factors {sizes} make a ({rows}, {columns}) matrix; two factors or more that reach ({m}, "
                f"{n}) are wanted. Try factor=({suggest_modes(m, 2)[1]}, {suggest_modes(n, 2)[0]})."
            )
        return sizes
    if factor is None:
        factor = _alike(m, channels, places)
    factor = sizes_of(factor, "a Kronecker factor (p, q)")
    if len(factor) != 2 or not (factor[0] <= m and factor[1] <= n):
        raise RankError(f"a Kronecker factor is (p, q) with p from 1 to {m} and q from 1 to {n}, got {factor}.")
    p, q = factor
    return [(p, q), (-(-m // p), -(-channels // q) * places if q <= channels else -(-n // q))]


def _alike(m: int, channels: int, places: int) -> tuple[int, int]:
    """(p, q) of a first factor that is about as large as the second, which holds the places of a kernel."""
    if places == 1:  # rows split into large and small, columns into small and large: two factors of one size
        return suggest_modes(m, 2)[1], suggest_modes(channels, 2)[0]
    rows, columns = ([k for k in range(1, size + 1) if size % k == 0] for size in (m, channels))
    pairs = [(p, q) for p in rows for q in columns]
    # of pairs that are as good the one nearest to a square
    return min(pairs, key=lambda f: (f[0] * f[1] + m * channels * places // (f[0] * f[1]), abs(f[0] - f[1]), f[1]))


def _merged(factors: Sequence[Tensor]) -> Tensor:
    """(terms, P, Q) products of factors, term by term."""
    merged = factors[0]
    for factor in factors[1:]:
        (_, p, q), (_, r, s) = merged.shape, factor.shape
        merged = torch.einsum("tpq,trs->tprqs", merged, factor).reshape(-1, p * r, q * s)
    return merged


def _nearest(weight: Tensor, matrix: Kronecker) -> list[Tensor]:
    """The factors of the sum nearest to a weight: a decomposition of the (p_1 q_1) x (p_2 q_2) x ... tensor into as
    many terms of rank one."""
    sizes, terms = [tuple(f.shape[1:]) for f in matrix.factors], matrix.terms[0]
    tensor = rearranged(padded(weight, math.prod(p for p, _ in sizes), math.prod(q for _, q in sizes)), sizes)
    if len(sizes) == 2:
        u, s, vh = truncated_svd(tensor, terms)
        sides = [u * s.sqrt(), vh.mT * s.sqrt()]
    else:
        sides = _alternating(tensor, terms)
    return [side.mT.reshape(-1, *size) for side, size in zip(sides, sizes, strict=True)]


def rearranged(weight: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """(p_1 p_2 ..., q_1 q_2 ...) matrix -> (p_1 q_1, p_2 q_2, ...) tensor."""
    dims = len(sizes)
    split = weight.reshape(*(p for p, _ in sizes), *(q for _, q in sizes))
    paired = split.permute(*(axis for k in range(dims) for axis in (k, dims + k)))
    return paired.reshape([p * q for p, q in sizes])


def _alternating(tensor: Tensor, terms: int) -> list[Tensor]:
    """(size of an axis, terms) factors for every axis, by alternating least squares from the leading subspaces."""
    axes = range(tensor.dim())
    generator = torch.Generator().manual_seed(0)
    sides = []
    for axis in axes:
        unfolded = tensor.movedim(axis, 0).flatten(1)
        u = truncated_svd(unfolded, terms)[0]
        more = torch.randn(len(u), terms - u.shape[1], generator=generator, dtype=torch.float64).to(u)
        sides.append(torch.cat([u, more], 1))
    before = math.inf
    for _ in range(_SWEEPS):
        for axis in axes:
            others = [sides[k] for k in axes if k != axis]
            gram = torch.ones(terms, terms, dtype=tensor.dtype, device=tensor.device)
            for side in others:
                gram = gram * (side.mT @ side.conj())
            joint = others[0]
            for side in others[1:]:
                joint = (joint[:, None] * side[None]).flatten(0, 1)  # (product of the other axes, terms)
            right = tensor.movedim(axis, 0).flatten(1) @ joint.conj()
            ridge = 1e-12 * gram.diagonal().abs().max() * torch.eye(terms, dtype=gram.dtype, device=gram.device)
            sides[axis] = torch.linalg.solve((gram + ridge).mT, right.mT).mT
        joint = sides[0]
        for side in sides[1:]:
            joint = (joint[:, None] * side[None]).flatten(0, 1)
        error = float((tensor.flatten() - joint.sum(1)).norm())
        if before - error <= 1e-10 * before:
            break
        before = error
    sizes = [side.norm(dim=0).clamp_min(torch.finfo(tensor.real.dtype).tiny) for side in sides]
    even = math.prod(sizes).pow(1 / len(sizes))
    return [side / size * even for side, size in zip(sides, sizes, strict=True)]
