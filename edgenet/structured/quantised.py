"""Quantised: a structured matrix whose numbers take few values, trained straight through."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.codes import Coded
from edgenet.structured.convs import Steps, relayed
from edgenet.structured.families import Structure, family, named, structure
from edgenet.structured.given import checked, is_whole
from edgenet.structured.names import name_of
from edgenet.structured.read import read, read_rows
from edgenet.structured.substituted import prepare, substituted

_BASE = {"structure": "dense"}


class Quantised(StructuredMatrix):
    """A structure that holds a structure, and rounds each of its numbers to one of a few levels.

    The parameters of the base are the latents: they train as they are. Before they multiply, each becomes the value
    level[code] * scale, and the gradient of the value goes to the latent unchanged (straight through; Bengio, Leonard,
    Courville 2013), unless a family says otherwise. ``pack`` stores the codes.

    A family implements ``encode`` and ``levels``.

    Args:
        base: any structured matrix of real numbers. It is taken in its packed form, compressed rows for ``Sparse``:
            there every parameter is a number that is stored.
        bits: of a code; one number, or one for every parameter of the base, in the order of ``named_parameters``.
        per: "tensor" for one scale a parameter; "row" for one for every index of its first axis (a row of a dense
            matrix, a term of a Kronecker sum); "none", where a family has it, for no scale.

    Raises:
        PlanError: if the base is quantised already, wholly or in part, is lazy or complex, or has one parameter twice.
        RankError: if the bits are none that the family has.

    Example:
        >>> issubclass(edgenet.structured.Uniform, edgenet.structured.Quantised)
        True
    """

    rounds = True
    #: the least and the most bits of a code
    widest: ClassVar[tuple[int, int]] = (2, 8)
    #: what ``per`` may be
    scales: ClassVar[tuple[str, ...]] = ("tensor", "row")

    def __init__(self, base: StructuredMatrix, bits: int | Sequence[int] = 8, per: str = "tensor") -> None:
        super().__init__()
        kind = type(self).__name__
        quantised = any(isinstance(part, Quantised | Coded) for part in base.modules())
        if quantised or base.is_lazy or any(p.is_complex() for p in base.parameters()):
            raise PlanError(
                f"a {kind} holds a structured matrix of real numbers that has a size and is not quantised yet, in no "
                f"part of it, got {base!r}."
            )
        if per not in type(self).scales:
            raise PlanError(f"{kind} has a scale per {' or '.join(map(repr, type(self).scales))}, got {per!r}.")
        self.base = base.pack()
        self.per = per
        self.names = tuple(name for name, _ in self.base.named_parameters(remove_duplicate=False))
        if len(self.names) > len(list(self.base.parameters())):
            raise PlanError(
                f"a {kind} rounds every parameter by itself, and parts of this {type(base).__name__} share some: "
                f"quantise each part, or give each parameters of its own."
            )
        self.widths = self._checked_widths(bits)

    def _checked_widths(self, bits: int | Sequence[int]) -> tuple[int, ...]:
        least, most = self.widest
        each = list(bits) if isinstance(bits, Sequence) and not isinstance(bits, str) else [bits] * len(self.names)
        if len(each) != len(self.names) or not all(is_whole(width) and least <= width <= most for width in each):
            raise RankError(
                f"{type(self).__name__} has codes of {least} to {most} bits, one number for all or one for each of "
                f"{', '.join(self.names)}; got {bits!r}."
            )
        return tuple(map(int, each))

    # ---------------------------------------------------------------- what a family is
    @abstractmethod
    def encode(self, k: int, latent: Tensor, beside: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The int64 codes of parameter k, and its scale in the dtype of the latent, which broadcasts to it."""

    @abstractmethod
    def levels(self, k: int) -> Tensor:
        """(2^bits,) float64: the level that every code of parameter k stands for, at most 1 in magnitude for those that
        ``encode`` gives. With a last level of 1 a scale has the size of the largest number, and trains at the rates
        that numbers train at."""

    def decode(self, k: int, codes: Tensor, scale: Tensor) -> Tensor:
        """The values of codes."""
        return self.levels(k).to(scale.device, scale.dtype)[codes] * scale

    def value(self, k: int, latent: Tensor, beside: Tensor | None = None) -> Tensor:
        """What multiplies in the place of a latent, differentiable."""
        return straight(self.decode(k, *self.encode(k, latent, beside)), latent)

    def beside(self) -> tuple[Tensor | None, ...]:
        """The second latent of every parameter, for families that have two."""
        return (None,) * len(self.names)

    @property
    def follows_base(self) -> bool:
        """Whether the base's parameters, which are the latents, are numbers that it could multiply by itself."""
        return all(second is None for second in self.beside())

    def settle_(self) -> None:
        """Called once the base's parameters hold the numbers to start from: make latents of them."""

    def clip_(self) -> None:
        """Bring latents back to where rounding is not saturated, in place; for after an optimizer's step. Families
        whose scale follows the latents have nothing to do."""

    # ---------------------------------------------------------------- what all are
    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    def latents(self) -> tuple[Tensor, ...]:
        """The parameters of the base."""
        prepare(self.base)
        found = []
        for name in self.names:
            *way, last = name.split(".")
            owner: Any = self.base
            for part in way:
                owner = getattr(owner, part)
            found.append(getattr(owner, last))
        return tuple(found)

    def encoded(self) -> list[tuple[Tensor, Tensor]]:
        """Codes and scale of every parameter.

        Raises:
            ShapeError: if a latent is NaN or infinite.
        """
        both = list(zip(self.latents(), self.beside(), strict=True))  # what weight norms make of parameters included
        for name, latents in zip(self.names, both, strict=True):
            if not all(t is None or t.is_meta or t.isfinite().all() for t in latents):
                raise ShapeError(
                    f"latents in base.{name} are NaN or infinite, and have no code: the training diverged."
                )
        with torch.no_grad():
            return [self.encode(k, *latents) for k, latents in enumerate(both)]

    def effective(self) -> StructuredMatrix:
        """The base, with values in the place of latents."""
        tensors = (*self.parameters(), *self.buffers())
        return substituted(self.base, self.cache.get(self, "values", tensors, self._values))

    def _values(self) -> dict[str, Tensor]:
        latents = zip(self.names, self.latents(), self.beside(), strict=True)
        return {name: self.value(k, *both) for k, (name, *both) in enumerate(latents)}

    def matmul(self, x: Tensor) -> Tensor:
        return self.effective()(x)

    def to_dense(self) -> Tensor:
        return read(self.effective())

    def rows(self, index: Tensor) -> Tensor:
        return read_rows(self.effective(), index)

    def as_convs(self, places: int) -> list[Steps]:
        return relayed(self.base, self.effective, places)

    def multiply_adds(self, batch: int = 1) -> int:
        return self.base.multiply_adds(batch)

    def pack(self) -> Coded:
        return Coded(self)

    @classmethod
    def _of(cls, weight: Tensor, base: Mapping[str, Any] | Structure | None, **options: Any) -> Self:
        """Fit the base, then round its numbers."""
        weight = checked(weight)
        if callable(base):
            fitted = base(weight)
        else:
            name, own = named(base or _BASE, "a quantised matrix")
            fitted = structure(name, **own)(weight)
        matrix = cls(fitted, **options)
        with torch.no_grad():
            matrix.settle_()
        return matrix

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        options = dict(config)
        name, own = named(options.pop("base", None) or _BASE, "a quantised matrix")
        return cls(family(name).from_config({"shape": list(options.pop("shape")), **own}), **options)

    def config(self) -> dict[str, Any]:
        base = self.base.config()
        shape = base.pop("shape")
        return {"shape": shape, "base": {"structure": name_of(self.base), **base}, **self._options()}

    def _options(self) -> dict[str, Any]:
        one = len(set(self.widths)) == 1
        return {"bits": self.widths[0] if one else list(self.widths), "per": self.per}

    @torch.no_grad()
    def draw_(self, std: float) -> None:
        """Latents such that the entries of W have that variance when they are rounded: signs times a mean, say, are
        smaller than the numbers that they are of."""
        self.base.draw_(std)
        for k, (latent, second) in enumerate(zip(self.latents(), self.beside(), strict=True)):
            if second is None and latent.numel():
                size = latent.square().mean()
                rounded = self.decode(k, *self.encode(k, latent)).square().mean()
                latent.mul_(torch.where(rounded > 0, (size / rounded).sqrt(), 1.0))
        self.settle_()

    @torch.no_grad()
    def keep_(self, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
        """Where the base can. Latents follow, and are rounded anew: a scale that follows the latents is that of those
        which are left, so that values may move by up to a step."""
        self._left_over(*(s if k is None else len(k) for s, k in zip(self.shape, (rows, columns), strict=True)))
        self.base.keep_(rows, columns)
        left = [latent is not None for latent in self.latents()]  # of one kind of blocks, say, there may be none
        self.names, self.widths = tuple(compress(self.names, left)), tuple(compress(self.widths, left))

    def _kept(self, tensors: Iterable[Tensor], rows: Tensor | None, columns: Tensor | None) -> list[Tensor]:
        """What would be left of other tensors that stood in the place of the latents."""
        trial = copy.deepcopy(self.base)
        with torch.no_grad():
            for own, other in zip(trial.parameters(), tensors, strict=True):
                own.copy_(other)
        trial.keep_(rows, columns)
        return [own.detach() for own in trial.parameters()]

    @classmethod
    def ladder(cls, shape: tuple[int, int]) -> list[dict[str, Any]]:
        """Bits from the fewest to the most, of a dense matrix with a scale a row. There are as many parameters at every
        one, so that these are sizes for a search that counts bytes."""
        least, most = cls.widest
        return [{"bits": bits, "per": "row"} for bits in range(least, most + 1)] if least < most else [{}]

    def axes(self, latent: Tensor) -> tuple[int, ...]:
        """The axes that share a scale. A vector has one scale: one a number would be the number itself."""
        return tuple(range(1 if self.per == "row" and latent.dim() > 1 else 0, latent.dim()))


def straight(value: Tensor, latent: Tensor) -> Tensor:
    """A value with the gradient of its latent; NaN where the latent is not finite. Nothing is lost to rounding, as in
    latent + (value - latent)."""
    return value.detach() + (latent - latent.detach())


def largest(latent: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The largest magnitude along the axes, which stay with one entry, in float64."""
    magnitude = latent.detach().abs()
    if magnitude.numel() == 0:
        sizes = [1 if axis in axes else size for axis, size in enumerate(magnitude.shape)]
        return magnitude.new_zeros(sizes, dtype=torch.float64)
    return magnitude.amax(axes, keepdim=True).double()


def nearest_scale(
    latent: Tensor, axes: tuple[int, ...], scales: Sequence[Tensor], rounded: Callable[[Tensor], Tensor]
) -> Tensor:
    """Of some scales the one with the least squared error of rounding; the first of equal ones.

    It is looked for at every step of a training: what may be overwritten is, for memory that is new costs more than
    the arithmetic.

    Args:
        latent: the numbers to round.
        axes: that share a scale.
        scales: float64, which broadcast. They are cast to the dtype of the latent, in which they are stored.
        rounded: the nearest levels of numbers at scale 1, which it may overwrite.
    """
    best = scales[0].to(latent.dtype)
    if len(scales) == 1:
        return best
    most, least = largest(latent, axes), None
    # of numbers up to 1, whose squares no dtype loses; that choice needs no float64
    wide = torch.promote_types(latent.dtype, torch.float32)
    number = (latent.detach().to(wide) / torch.where(most > 0, most, 1.0).to(wide)).nan_to_num_()
    for scale in scales:
        scale = scale.to(latent.dtype)
        share = over(scale, most).to(number.dtype)
        lost = rounded(number / share.clamp_min(1e-30)).mul_(share).sub_(number)
        error = lost.mul_(lost).sum(axes, keepdim=True)
        if least is None:
            least = error
        else:
            best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


def over(number: Tensor, scale: Tensor) -> Tensor:
    """number / scale in float64: the number where the scale is 0, as of a row of zeros. Finite in any case, for codes
    are made of it; ``straight`` brings NaN back."""
    scale = scale.double()
    return (number.detach().double() / torch.where(scale > 0, scale, 1.0)).nan_to_num_()
