"""Curves: what every slot may be filled with, each choice with its cost and its error."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from edgenet.compress.compress import fit
from edgenet.compress.places import Place
from edgenet.compress.plan import resolve
from edgenet.compress.positions import convolves
from edgenet.compress.sizes import numbers_of
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.structured import STRUCTURES, Dense, StructuredConv, StructuredMatrix, family, name_of, structured_conv

_LARGE = 1 << 16  # entries of a slot from which families whose fit iterates are tried where they are named only
_REFUSALS = (ShapeError, RankError, PlanError)


@dataclass(frozen=True)
class Choice:
    """One way to fill a slot.

    Attributes:
        spec: of a plan; "keep" leaves the slot as it is.
        cost: in the units of the budget.
        error: ||W - W'|| / ||W||.
        rung: of a ladder, or between two; what ``spec`` is the packed form of, where the two differ.
    """

    spec: dict[str, Any] | str
    cost: float
    error: float
    rung: dict[str, Any] | None = None


class Curves:
    """The choices of every slot: to leave it, then those that are smaller and that no other beats, small to large.

    Args:
        slots: dense ones, by name.
        families: names in ``STRUCTURES``; None for all that have sizes to try, of which those whose fit iterates are
            left out in large slots, and those with signs beside their parameters where parameters are counted.
        unit: of costs: "parameters", "bytes" or "latency".
        rows: of a batch, for latencies.
        seed: of torch's random numbers in every fit.
        progress: show bars on stderr.

    Raises:
        PlanError: if a family is unknown or none is given, or none makes any slot smaller.
    """

    def __init__(
        self,
        slots: Mapping[str, Slot],
        families: Sequence[str] | str | None,
        unit: str,
        rows: int,
        seed: int,
        progress: bool,
    ) -> None:
        self.slots, self.unit, self.rows, self.seed, self.progress = slots, unit, rows, seed, progress
        self.by_name = families is not None
        self.families = _named(families) if self.by_name else _fitting(slots.values())
        self.choices = {name: self._curve(slot) for name, slot in self.bar(slots.items(), "fit")}
        if all(len(choices) == 1 for choices in self.choices.values()):
            raise PlanError(f"none of the families {', '.join(self.families)} makes any of the slots smaller.")

    def bar(self, items: Any, what: str) -> Any:
        """The items, with a bar if there is to be one."""
        return tqdm(items, desc=what, disable=not self.progress, leave=False)

    def uncompressed(self) -> float:
        """What all slots cost together as they are."""
        return sum(choices[0].cost for choices in self.choices.values())

    def fitted(self, name: str, spec: Mapping[str, Any]) -> StructuredMatrix:
        """The matrix of a choice, made anew: the same as it was."""
        return self._fit(self.slots[name], spec)[0]

    def refine(self, picks: Iterable[int]) -> None:
        """Try sizes between the chosen rungs and their neighbours.

        Args:
            picks: of every slot, the place of what was chosen.
        """
        for name, pick in self.bar(list(zip(self.slots, picks, strict=True)), "refine"):
            rung = self.choices[name][pick].rung
            if rung is not None:
                tried = [choice for between in self._neighbours(name, rung) for choice in self._tried(name, between)]
                left, *others = self.choices[name]
                self.choices[name] = [left, *_unbeaten(left, [*others, *tried])]

    def _curve(self, slot: Slot) -> list[Choice]:
        left = Choice("keep", self._cost(slot, None), 0.0)
        found = []
        for name in self.families:
            if family(name).iterates and not self.by_name and math.prod(slot.shape) > _LARGE:
                continue
            if family(name).signs_beside and not self.by_name and self.unit == "parameters":
                continue
            for options in family(name).ladder(_part(slot)):
                found += self._tried(slot.name, {"structure": name, **options})
        return [left, *_unbeaten(left, found)]

    def _neighbours(self, name: str, rung: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Options between a rung of a ladder and the next ones on both sides."""
        kind, found = rung["structure"], []
        ladder = [{"structure": kind, **options} for options in family(kind).ladder(_part(self.slots[name]))]
        place = ladder.index(rung) if rung in ladder else 0
        for low, high in ((place - 1, place), (place, place + 1)):
            if low >= 0 and high < len(ladder):
                found += between(ladder[low], ladder[high])
        return found

    def _tried(self, name: str, rung: dict[str, Any]) -> list[Choice]:
        """The choice, or none where the family does not fit this shape or dtype."""
        slot = self.slots[name]
        try:
            matrix, error = self._fit(slot, rung)
        except _REFUSALS as refused:
            if refused.__cause__ is None or isinstance(refused.__cause__, _REFUSALS):
                return []
            raise  # a fault of the family's, which must be seen
        spec = rung
        if self.unit == "parameters" and numbers_of(matrix) < _entries(matrix):
            matrix = matrix.pack()  # what a mask hides is in memory all the same: compressed rows hold what is counted
            spec = {"structure": name_of(matrix), **{k: v for k, v in matrix.config().items() if k != "shape"}}
        return [Choice(spec, self._cost(slot, matrix), error, rung)]

    def _fit(self, slot: Slot, spec: Mapping[str, Any]) -> tuple[StructuredMatrix, float]:
        torch.manual_seed(self.seed)
        return fit(slot, slot.fitting(resolve(spec, slot.name)))

    def _cost(self, slot: Slot, matrix: StructuredMatrix | None) -> float:
        m, n = slot.shape
        if self.unit == "latency":
            return _seconds(slot, Dense.from_dense(slot.weight()) if matrix is None else matrix, self.rows)
        if matrix is None:
            return m * n * (slot.weight().element_size() if self.unit == "bytes" else 1)
        return matrix.bits() / 8 if self.unit == "bytes" else _entries(matrix)


def _part(slot: Slot) -> tuple[int, int]:
    """The shape of the matrix of one group; elsewhere of the whole weight."""
    return slot.shape[0] // slot.groups, slot.shape[1]


def _entries(matrix: StructuredMatrix) -> int:
    return sum(p.numel() for p in matrix.parameters())


def between(low: Mapping[str, Any], high: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Up to three options between two rungs that differ in one number."""
    keys = [key for key in low if low[key] != high.get(key)]
    if len(keys) != 1 or low.keys() != high.keys():
        return []
    a, b = low[keys[0]], high[keys[0]]
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in (a, b)):
        return []
    values = [a + (b - a) * share / 4 for share in (1, 2, 3)]
    if isinstance(a, int) and isinstance(b, int):
        values = sorted({round(value) for value in values} - {a, b})
    return [{**low, keys[0]: value} for value in values]


def _named(names: Sequence[str] | str) -> tuple[str, ...]:
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        family(name)
    if not names:
        raise PlanError(f"a search wants families to choose from: {', '.join(STRUCTURES)}.")
    return names


def _fitting(slots: Iterable[Slot]) -> tuple[str, ...]:
    """The families that have sizes to try for one of the slots, whoever registered them."""
    shapes = {_part(slot) for slot in slots}
    return tuple(name for name, kind in STRUCTURES.items() if any(kind.ladder(shape) for shape in shapes))


def _unbeaten(left: Choice, found: list[Choice]) -> list[Choice]:
    """Those smaller than the slot as it is that no other beats in both cost and error, from small to large."""
    best: list[Choice] = []
    for choice in sorted(found, key=lambda c: (c.cost, c.error)):  # stable: of equal ones the first family's
        if choice.cost < left.cost and (not best or choice.error < best[-1].error):
            best.append(choice)
    return best


@torch.no_grad()
def _seconds(slot: Slot, matrix: StructuredMatrix, rows: int) -> float:
    """What a slot does with a batch in all its places, each by the best of several timings. A row is one position of a
    convolution's output."""
    matrix = matrix.eval()
    weight = slot.weight()
    x = torch.zeros(rows, weight.shape[1], dtype=weight.dtype, device=weight.device)
    index = torch.zeros(rows, dtype=torch.long, device=weight.device)
    calls = {
        "rows": lambda: matrix.rows(index),
        "tensor": lambda: F.linear(x, matrix.to_dense()),
        "product": lambda: matrix(x),
    }
    images = [_image(place.reader, matrix, x) for place in slot.holders if _convolves(place)]
    uses = Counter(place.use for place in slot.holders if not _convolves(place))
    others = sum(count * _best_time(calls[use], weight) for use, count in uses.items())
    return others + sum(_best_time(call, weight) for call in images)


def _convolves(place: Place) -> bool:
    return place.use == "product" and convolves(place.reader)


def _image(reader: nn.Module, matrix: StructuredMatrix, x: Tensor) -> Callable[[], Tensor]:
    """The convolution of an image whose output has as many positions as x has rows, or a few more."""
    conv = structured_conv(cast(StructuredConv, reader), matrix).eval()
    conv.padding = (0,) * conv.dims
    side = math.ceil(len(x) ** (1 / conv.dims))
    sizes = zip(conv.kernel_size, conv.stride, conv.dilation, strict=True)
    image = x.new_zeros(1, conv.in_channels, *((side - 1) * step + d * (k - 1) + 1 for k, step, d in sizes))
    return lambda: conv(image)


def _best_time(call: Any, weight: Tensor) -> float:
    best = math.inf
    for _ in range(7):  # the first fills caches
        start = time.perf_counter()
        call()
        if weight.is_cuda:
            torch.cuda.synchronize(weight.device)
        best = min(best, time.perf_counter() - start)
    return best
