"""Rungs: the families and sizes that a search tries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgenet.compress.slot import Slot
from edgenet.errors import PlanError
from edgenet.structured import STRUCTURES, Quantised, StructuredMatrix, Uniform, family
from edgenet.structured.given import is_whole

Rung = dict[str, Any]  # {"structure": name, **options}

_DEFAULT_BITS = (8, 4, 2)
_FEW = 3  # bits up to which levels stand half a step off zero: all of them count there
_LONG = 64  # numbers a row from which a scale for every row costs half a bit a number at most


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


def coded(rung: Rung, width: int, per_row: bool) -> Rung:
    """A size of a family in codes of so many bits, with a scale for every row of its tensors or one for each tensor."""
    return {
        **rung,
        "bits": width,
        **({"per": "row"} if per_row else {}),
        **({"half_step": True} if width <= _FEW else {}),
    }


def has_long_rows(matrix: StructuredMatrix) -> bool:
    """Whether a scale for every row of its tensors is little beside their numbers."""
    tensors = [p for p in matrix.parameters() if p.dim() > 1]
    return _LONG * sum(len(p) for p in tensors) <= sum(p.numel() for p in tensors)


def named_families(names: Sequence[str] | str) -> tuple[str, ...]:
    """Those names, which are of families.

    Raises:
        PlanError: if there is none, or one is unknown.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        family(name)
    if not names:
        raise PlanError(f"a search wants families to choose from: {', '.join(STRUCTURES)}.")
    return names


def given_ladders(
    given: Mapping[str, Sequence[Mapping[str, Any]]], families: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """The options of each size of families that take these in place of their own ladder.

    Raises:
        PlanError: if they are none, or of a family that is not searched.
    """
    if not isinstance(given, Mapping):
        raise PlanError(f"ladders are {{family: list of options}}, got {given!r}.")
    for name, rungs in given.items():
        if name not in families:
            raise PlanError(f"ladders has sizes of {name!r}, which is not searched; there are {', '.join(families)}.")
        listed = isinstance(rungs, Sequence) and not isinstance(rungs, str) and len(rungs) > 0
        if not listed or not all(isinstance(rung, Mapping) and "structure" not in rung for rung in rungs):
            raise PlanError(f"a ladder of {name!r} is a list of options such as {{'rank': 4}}, got {rungs!r}.")
    return {name: [dict(rung) for rung in rungs] for name, rungs in given.items()}


def fitting_families(slots: Iterable[Slot], unit: str) -> tuple[str, ...]:
    """The families that have sizes to try for one of the slots, whoever registered them; quantisers where bytes are
    counted."""
    shapes = {(part_of(slot), slot.kernel) for slot in slots}
    kinds = {name: kind for name, kind in STRUCTURES.items() if unit == "bytes" or not rounds(name)}
    return tuple(name for name, kind in kinds.items() if any(kind.ladder_for(*shape) for shape in shapes))


def rounds(name: str) -> bool:
    """Whether the sizes of a family are bits of its numbers, and not how many there are."""
    return issubclass(family(name), Quantised)


def widths_of(bits: Sequence[int] | int | None, unit: str, by_name: bool) -> tuple[int, ...]:
    """The widths of codes in which sizes are tried as well; by default some where bytes are counted and nobody named
    the families.

    Raises:
        PlanError: if they are none that codes have.
    """
    if bits is None:
        return _DEFAULT_BITS if unit == "bytes" and not by_name else ()
    least, most = Uniform.widest
    widths = (bits,) if is_whole(bits) or not isinstance(bits, Sequence) else tuple(bits)
    if not all(is_whole(width) and least <= width <= most for width in widths):
        raise PlanError(f"bits to try are whole numbers from {least} to {most}, got {bits!r}.")
    return tuple(sorted(map(int, widths), reverse=True))


def part_of(slot: Slot) -> tuple[int, int]:
    """The shape of the matrix of one group; elsewhere of the whole weight."""
    return slot.shape[0] // slot.groups, slot.shape[1]
