"""Slots that a search must fill alike: matrices that share an input share its transform only in blocks of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgenet.compress.finding import matching
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError

Group = tuple[str, ...]  # names of slots that take one choice


def grouped(slots: Mapping[str, Slot], together: Sequence[str] = ()) -> list[Group]:
    """The slots in groups that take the same family with the same options, every other slot by itself.

    Args:
        slots: by name.
        together: patterns for ``re.match``, each of a group. Groups that share a slot are one.

    Raises:
        PlanError: if a pattern matches fewer than two slots, or is none.
    """
    if isinstance(together, str) or not isinstance(together, Sequence):
        raise PlanError(f"together is a list of patterns, one for every group of slots, got {together!r}.")
    first = {name: name for name in slots}  # of the group of every slot
    for pattern in together:
        matched = [slot.name for slot in matching(slots, pattern)]
        if len(matched) < 2:
            raise PlanError(f"the pattern {pattern!r} of together matches {matched[0]} alone, and binds it to nothing.")
        joined = {first[name] for name in matched}
        head = next(name for name in slots if first[name] in joined)
        first = {name: head if one in joined else one for name, one in first.items()}
    return [tuple(name for name in slots if first[name] == head) for head in dict.fromkeys(first.values())]
