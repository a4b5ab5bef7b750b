"""Curves: what every slot may be filled with, each choice with its cost and its error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from edgenet.compress.compress import fit
from edgenet.compress.plan import resolve
from edgenet.compress.searching.seconds import seconds
from edgenet.compress.searching.together import Group, grouped
from edgenet.compress.sizes import numbers_of
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.structured import (
    STRUCTURES,
    Dense,
    Quantised,
    StructuredMatrix,
    Uniform,
    family,
    name_of,
)
from edgenet.structured.given import is_whole

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


Row = tuple[Choice, ...]  # one for every slot of a group


class Curves:
    """The choices of every slot: to leave it, then those that are smaller and that no other beats, small to large.
    Slots of one group have as many choices, one beside the other of the same family and options.

    Args:
        slots: dense ones, by name.
        families: names in ``STRUCTURES``; None for all that have sizes to try, of which those whose fit iterates are
            left out in large slots, and those with signs beside their parameters where parameters are counted.
        unit: of costs: "parameters", "bytes" or "latency".
        rows: of a batch, for latencies.
        seed: of torch's random numbers in every fit.
        progress: show bars on stderr.
        bits: at which every size of every family is tried as well, beside that with floats.
        together: patterns of slots that take one choice, as of ``grouped``.
        ladders: {family: options of each size}, in place of its own.

    Raises:
        PlanError: if a family is unknown or none is given, or none makes any slot smaller; if bits are none that codes
            have, or are not what costs are of; if no size of any family fits all slots of a group; if ladders are of
            other families, or no options, or have a size that no slot takes.
    """

    def __init__(
        self,
        slots: Mapping[str, Slot],
        families: Sequence[str] | str | None,
        unit: str,
        rows: int,
        seed: int,
        progress: bool,
        bits: Sequence[int] | int = (),
        together: Sequence[str] = (),
        ladders: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        self.slots, self.unit, self.rows, self.seed, self.progress = slots, unit, rows, seed, progress
        self.by_name = families is not None
        self.families = _named(families) if self.by_name else _fitting(slots.values(), unit)
        self.bits = _widths(bits)
        self._refuse_bits_unless_counted()
        self.ladders = _ladders(ladders or {}, self.families)
        self.groups = grouped(slots, together)
        self.choices: dict[str, list[Choice]] = {}
        self._taken: dict[str, Exception | None] = {}  # of every rung why no slot takes it, None where one does
        for group in self.bar(self.groups, "fit"):
            self._begin(group)
        self._refuse_rungs_for_nobody()
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

    def together(self, group: Group) -> list[Row]:
        """The choices of a group, each with one for every slot."""
        return list(zip(*(self.choices[name] for name in group), strict=True))

    def refine(self, picks: Iterable[int]) -> None:
        """Try sizes between the chosen rungs and their neighbours.

        Args:
            picks: of every group, the place of what was chosen.
        """
        for group, pick in self.bar(list(zip(self.groups, picks, strict=True)), "refine"):
            rung = self.choices[group[0]][pick].rung
            if rung is not None:
                left, *others = self.together(group)
                self._put(group, left, [*others, *self._tried(group, self._neighbours(group, rung))])

    def _begin(self, group: Group) -> None:
        left = tuple(Choice("keep", self._cost(self.slots[name], None), 0.0) for name in group)
        rungs = []
        for name in self.families:
            if family(name).iterates and not self.by_name and max(map(self._entries, group)) > _LARGE:
                continue
            if family(name).signs_beside and not self.by_name and self.unit == "parameters":
                continue
            for rung in self._ladder(group, name):
                rungs += [rung, *({**rung, "bits": width} for width in (() if rounds(name) else self.bits))]
        found = self._tried(group, rungs)
        if not found and len(group) > 1:
            raise PlanError(
                f"no size of {', '.join(self.families)} fits {' and '.join(group)} alike, which belong together. Name "
                f"other families, or let them choose apart."
            )
        self._put(group, left, found)

    def _put(self, group: Group, left: Row, found: list[Row]) -> None:
        columns = zip(left, *_unbeaten(left, found), strict=True)
        self.choices.update({name: list(column) for name, column in zip(group, columns, strict=True)})

    def _ladder(self, group: Group, kind: str) -> list[dict[str, Any]]:
        """The rungs that the ladders of all slots have."""
        first, *others = (self._options(kind, slot) for slot in self._of(group))
        return [{"structure": kind, **options} for options in first if all(options in one for one in others)]

    def _options(self, kind: str, slot: Slot) -> list[dict[str, Any]]:
        return self.ladders[kind] if kind in self.ladders else family(kind).ladder_for(_part(slot), slot.kernel)

    def _of(self, group: Group) -> list[Slot]:
        return [self.slots[name] for name in group]

    def _entries(self, name: str) -> int:
        return math.prod(self.slots[name].shape)

    def _refuse_bits_unless_counted(self) -> None:
        """
        Raises:
            PlanError: if parameters are counted, and all that can be chosen has as many, of fewer bits.
        """
        asked = [f"bits={self.bits}"] if self.bits else []
        asked += [name for name in self.families if rounds(name)] if self.by_name else []
        if self.unit == "parameters" and asked:
            raise PlanError(
                f"{' and '.join(asked)} is of bits, and leaves as many parameters as there were: search with "
                f"Budget(bytes=...), which counts what is on disk."
            )

    def _refuse_rungs_for_nobody(self) -> None:
        """
        Raises:
            PlanError: if a size was named that no slot takes: it would be missed silently.
        """
        for kind, rungs in self.ladders.items():
            for options in rungs:
                why = self._taken.get(repr({"structure": kind, **options}))
                if why is not None:
                    raise PlanError(f"no slot takes {options!r}, which ladders has for {kind!r}: {why}") from why

    def _neighbours(self, group: Group, rung: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Options between a rung of a ladder and the next ones on both sides."""
        kind, found = rung["structure"], list[dict[str, Any]]()
        if kind in self.ladders:
            return found  # those that were named, and no others
        ladder = self._ladder(group, kind)
        if not rounds(kind) and "bits" in rung:
            ladder = [{**options, "bits": rung["bits"]} for options in ladder]
        place = ladder.index(rung) if rung in ladder else 0
        for low, high in ((place - 1, place), (place, place + 1)):
            if low >= 0 and high < len(ladder):
                found += between(ladder[low], ladder[high])
        return found

    def _tried(self, group: Group, rungs: Iterable[dict[str, Any]]) -> list[Row]:
        """The choices, without those where the family does not fit the shape or dtype of a slot."""
        found = []
        for rung in rungs:
            row = [self._choice(slot, rung) for slot in self._of(group)]
            if None not in row:
                found.append(tuple(row))
        return found

    def _choice(self, slot: Slot, rung: dict[str, Any]) -> Choice | None:
        try:
            matrix, error = self._fit(slot, rung)
        except _REFUSALS as refused:
            if refused.__cause__ is None or isinstance(refused.__cause__, _REFUSALS):
                self._taken.setdefault(repr(rung), refused)
                return None
            raise  # a fault of the family's, which must be seen
        self._taken[repr(rung)] = None
        spec = rung
        if self.unit == "parameters" and numbers_of(matrix) < _entries(matrix):
            matrix = matrix.pack()  # what a mask hides is in memory all the same: compressed rows hold what is counted
            spec = {"structure": name_of(matrix), **{k: v for k, v in matrix.config().items() if k != "shape"}}
        return Choice(spec, self._cost(slot, matrix), error, rung)

    def _fit(self, slot: Slot, spec: Mapping[str, Any]) -> tuple[StructuredMatrix, float]:
        torch.manual_seed(self.seed)
        return fit(slot, slot.fitting(resolve(spec, slot.name)))

    def _cost(self, slot: Slot, matrix: StructuredMatrix | None) -> float:
        m, n = slot.shape
        if self.unit == "latency":
            return seconds(slot, Dense.from_dense(slot.weight()) if matrix is None else matrix, self.rows)
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


def _ladders(
    given: Mapping[str, Sequence[Mapping[str, Any]]], families: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    if not isinstance(given, Mapping):
        raise PlanError(f"ladders are {{family: list of options}}, got {given!r}.")
    for name, rungs in given.items():
        if name not in families:
            raise PlanError(f"ladders has sizes of {name!r}, which is not searched; there are {', '.join(families)}.")
        listed = isinstance(rungs, Sequence) and not isinstance(rungs, str) and len(rungs) > 0
        if not listed or not all(isinstance(rung, Mapping) and "structure" not in rung for rung in rungs):
            raise PlanError(f"a ladder of {name!r} is a list of options such as {{'rank': 4}}, got {rungs!r}.")
    return {name: [dict(rung) for rung in rungs] for name, rungs in given.items()}


def _fitting(slots: Iterable[Slot], unit: str) -> tuple[str, ...]:
    """The families that have sizes to try for one of the slots, whoever registered them; quantisers where bytes are
    counted."""
    shapes = {(_part(slot), slot.kernel) for slot in slots}
    kinds = {name: kind for name, kind in STRUCTURES.items() if unit == "bytes" or not rounds(name)}
    return tuple(name for name, kind in kinds.items() if any(kind.ladder_for(*shape) for shape in shapes))


def rounds(name: str) -> bool:
    """Whether the sizes of a family are bits of its numbers, and not how many there are."""
    return issubclass(family(name), Quantised)


def _widths(bits: Sequence[int] | int) -> tuple[int, ...]:
    least, most = Uniform.widest
    widths = (bits,) if is_whole(bits) or not isinstance(bits, Sequence) else tuple(bits)
    if not all(is_whole(width) and least <= width <= most for width in widths):
        raise PlanError(f"bits to try are whole numbers from {least} to {most}, got {bits!r}.")
    return tuple(map(int, widths))


def _unbeaten(left: Row, found: list[Row]) -> list[Row]:
    """Those smaller than the slots as they are that no other beats in both cost and all errors, from small to large."""
    best: list[Row] = []
    for row in sorted(found, key=lambda row: (_cost(row), *(c.error for c in row))):  # of equal ones the first family's
        beaten = any(all(a.error <= b.error for a, b in zip(one, row, strict=True)) for one in best)
        if _cost(row) < _cost(left) and not beaten:
            best.append(row)
    return best


def _cost(row: Row) -> float:
    return sum(choice.cost for choice in row)
