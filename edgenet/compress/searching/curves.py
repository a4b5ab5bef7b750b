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
from edgenet.compress.searching import rungs
from edgenet.compress.searching.rungs import Rung
from edgenet.compress.searching.seconds import seconds
from edgenet.compress.searching.together import Group, grouped
from edgenet.compress.sizes import numbers_of
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.structured import Dense, StructuredMatrix, family, name_of
from edgenet.structured.svd import shared_svd

_LARGE = 1 << 16  # entries of a slot from which families whose fit iterates are tried where they are named only
_KEPT = 1 << 26  # numbers in matrices that are kept between two models that take them
_REFUSALS = (ShapeError, RankError, PlanError)


@dataclass(frozen=True)
class Choice:
    """One way to fill a slot.

    Attributes:
        spec: of a plan; "keep" leaves the slot as it is.
        cost: in the units of the budget.
        error: ||W - W'|| / ||W||.
        rung: of a ladder, or between two; what ``spec`` is the packed form of, where the two differ.
        per_row: whether codes of it are to have a scale for every row of its tensors.
        numbers: that are stored, and would be codes.
    """

    spec: Rung | str
    cost: float
    error: float
    rung: Rung | None = None
    per_row: bool = False
    numbers: int = 0


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
        bits: at which sizes are tried as well, beside those with floats; None: see ``rungs.widths_of``.
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
        bits: Sequence[int] | int | None = None,
        together: Sequence[str] = (),
        ladders: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        self.slots, self.unit, self.rows, self.seed, self.progress = slots, unit, rows, seed, progress
        self.by_name = families is not None
        self.families = (
            rungs.fitting_families(slots.values(), unit) if families is None else rungs.named_families(families)
        )
        self.bits = rungs.widths_of(bits, unit, self.by_name)
        self._refuse_bits_unless_counted()
        self.ladders = rungs.given_ladders(ladders or {}, self.families)
        self.groups = grouped(slots, together)
        self.choices: dict[str, list[Choice]] = {}
        self.left_out: dict[str, None] = {}  # families that were not tried in some slots
        self._fitted: dict[tuple[str, str], StructuredMatrix] = {}
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

    def fitted(self, name: str, spec: Rung) -> StructuredMatrix:
        """The matrix of a choice, the same as it was. Many models of one search take the same ones."""
        key = name, repr(spec)
        if key not in self._fitted:
            matrix = self._fit(self.slots[name], spec)[0]
            if _entries(matrix) + sum(map(_entries, self._fitted.values())) > _KEPT:
                return matrix
            self._fitted[key] = matrix
        return self._fitted[key]

    def together(self, group: Group) -> list[Row]:
        """The choices of a group, each with one for every slot."""
        return list(zip(*(self.choices[name] for name in group), strict=True))

    def _begin(self, group: Group) -> None:
        left = tuple(Choice("keep", self._cost(self.slots[name], None), 0.0) for name in group)
        with shared_svd():
            found = self._tried(group, [rung for name in self._kinds(group) for rung in self._ladder(group, name)])
            if not found and len(group) > 1:
                raise PlanError(
                    f"no size of {', '.join(self.families)} fits {' and '.join(group)} alike, which belong together. "
                    f"Name other families, or let them choose apart."
                )
            found += self._in_codes(group, found)
            best = [row[0].rung for row in _unbeaten(left, found) if row[0].rung is not None]
            more = {repr(rung): rung for one in best for rung in self._neighbours(group, one)}
            found += self._tried(group, more.values())
        self._put(group, left, found)

    def _kinds(self, group: Group) -> list[str]:
        """The families to try, without those that wait to be named."""
        large = max(map(self._size, group)) > _LARGE
        found = []
        for name in self.families:
            kind = family(name)
            slow, signed = large and kind.iterates, self.unit == "parameters" and kind.signs_beside
            if self.by_name or not (slow or signed):
                found.append(name)
            elif slow:
                self.left_out[name] = None
        return found

    def _in_codes(self, group: Group, found: list[Row]) -> list[Row]:
        """The sizes of floats that were found, in codes. Where bytes are counted, those are left out that another beats
        even if nothing were lost by rounding; and families whose fit iterates, unless they were named."""
        made: list[Row] = []
        full = 8 * self.slots[group[0]].weight().element_size()
        for width in self.bits:
            for row in found:
                rung = row[0].rung
                if (
                    rung is None
                    or rungs.rounds(rung["structure"])
                    or (family(rung["structure"]).iterates and not self.by_name)
                ):
                    continue
                least = [Choice("", c.cost - c.numbers * (full - width) / 8, c.error) for c in row]
                if self.unit != "bytes" or not any(_beats(one, least) for one in (*found, *made)):
                    made += self._tried(group, [rungs.coded(rung, width, row[0].per_row)])
        return made

    def _put(self, group: Group, left: Row, found: list[Row]) -> None:
        columns = zip(left, *_unbeaten(left, found), strict=True)
        self.choices.update({name: list(column) for name, column in zip(group, columns, strict=True)})

    def _ladder(self, group: Group, kind: str) -> list[Rung]:
        """The rungs that the ladders of all slots have."""
        first, *others = (self._options(kind, slot) for slot in self._of(group))
        return [{"structure": kind, **options} for options in first if all(options in one for one in others)]

    def _options(self, kind: str, slot: Slot) -> list[Rung]:
        return self.ladders[kind] if kind in self.ladders else family(kind).ladder_for(rungs.part_of(slot), slot.kernel)

    def _of(self, group: Group) -> list[Slot]:
        return [self.slots[name] for name in group]

    def _size(self, name: str) -> int:
        return math.prod(self.slots[name].shape)

    def _refuse_bits_unless_counted(self) -> None:
        """
        Raises:
            PlanError: if parameters are counted, and all that can be chosen has as many, of fewer bits.
        """
        asked = [f"bits={self.bits}"] if self.bits else []
        asked += [name for name in self.families if rungs.rounds(name)] if self.by_name else []
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
        for kind, sizes in self.ladders.items():
            for options in sizes:
                why = self._taken.get(repr({"structure": kind, **options}))
                if why is not None:
                    raise PlanError(f"no slot takes {options!r}, which ladders has for {kind!r}: {why}") from why

    def _neighbours(self, group: Group, rung: Rung) -> list[Rung]:
        """Options between a rung of a ladder and the next ones on both sides, in as many bits."""
        kind, found = rung["structure"], list[Rung]()
        if kind in self.ladders:
            return found  # those that were named, and no others
        ladder = self._ladder(group, kind)
        if not rungs.rounds(kind) and "bits" in rung:
            codes = {key: rung[key] for key in ("bits", "per", "half_step") if key in rung}
            ladder = [{**options, **codes} for options in ladder]
        place = ladder.index(rung) if rung in ladder else 0
        for low, high in ((place - 1, place), (place, place + 1)):
            if low >= 0 and high < len(ladder):
                found += rungs.between(ladder[low], ladder[high])
        return found

    def _tried(self, group: Group, sizes: Iterable[Rung]) -> list[Row]:
        """The choices, without those where the family does not fit the shape or dtype of a slot."""
        found = []
        for rung in sizes:
            row = [self._choice(slot, rung) for slot in self._of(group)]
            if None not in row:
                found.append(tuple(row))
        return found

    def _choice(self, slot: Slot, rung: Rung) -> Choice | None:
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
        return Choice(spec, self._cost(slot, matrix), error, rung, rungs.has_long_rows(matrix), numbers_of(matrix))

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


def _entries(matrix: StructuredMatrix) -> int:
    return sum(p.numel() for p in matrix.parameters())


def _unbeaten(left: Row, found: list[Row]) -> list[Row]:
    """Those smaller than the slots as they are that no other beats in both cost and all errors, from small to large."""
    best: list[Row] = []
    for row in sorted(found, key=lambda row: (_cost(row), *(c.error for c in row))):  # of equal ones the first family's
        if _cost(row) < _cost(left) and not any(_beats(one, row) for one in best):
            best.append(row)
    return best


def _beats(one: Row, other: Sequence[Choice]) -> bool:
    """Whether a row is as small as another, with errors as small."""
    return _cost(one) <= _cost(other) and all(a.error <= b.error for a, b in zip(one, other, strict=True))


def _cost(row: Sequence[Choice]) -> float:
    return sum(choice.cost for choice in row)
