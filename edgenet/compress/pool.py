"""pool_: all weights of a model in one hash pool."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from edgenet.compress.compress import fill
from edgenet.compress.finding import slots
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.reading.patterns import matches
from edgenet.structured import Hashed, HashPool


def pool_(
    model: nn.Module,
    parameters: int | None = None,
    ratio: float | None = None,
    include: str = ".*",
    exclude: str | None = None,
    fit: bool = True,
    aligned: bool = False,
) -> HashPool:
    """Read the weights of many slots from one pool of numbers, in place: structured multi-hashing of a whole model.

    One size is chosen for all, and weights that need more of the pool take more. The trained numbers in these slots,
    one scale a slot included, are never more than asked for, and at most one fewer. Biases, norms and slots that do not
    match stay as they are and are not counted. Tied weights are one slot. Parameters are new: make the optimizer
    afterwards. Eban et al. 2020; they hash biases too.

    Args:
        model: any module; see ``edgenet.compress.slots`` for what its slots are.
        parameters: numbers to train in the slots.
        ratio: instead, how many times fewer than the slots have entries.
        include, exclude: patterns of the names of slots, for ``re.match``.
        fit: fit the pool to the weights, iteratively; else draw it at random, with the root mean square of each weight
            as the scale of the new one.
        aligned: lay the weights so that they multiply as pieces of low rank. See ``Hashed``.

    Returns:
        The pool. ``report(model)`` tells the sizes, counting it at its first slot.

    Raises:
        PlanError: if a pattern matches nothing, slots are partly frozen, or a slot takes no new matrix. Nothing is
            changed then, nor in the following cases.
        RankError: if the numbers asked for are too few for one hash and the scales; the text says how many it takes.
        ShapeError: if a weight is not finite, or the weights are of several dtypes or devices.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Linear(32, 4))
        >>> pool = edgenet.compress.pool_(model, ratio=20)
        >>> sum(p.numel() for p in pool.parameters())
        106
    """
    found = slots(model)
    made = views(found, parameters, ratio, include, exclude, fit, aligned)
    fill(found, made)
    return next(iter(made.values())).pool


def views(
    found: Mapping[str, Slot],
    parameters: int | None = None,
    ratio: float | None = None,
    include: str = ".*",
    exclude: str | None = None,
    fit: bool = True,
    aligned: bool = False,
) -> dict[str, Hashed]:
    """The matrices of one pool for slots, by their names, and not put in yet. Arguments and errors as of ``pool_``."""
    chosen = _matching(found, include, "include")
    if exclude is not None:
        unwanted = {slot.name for slot in _matching(found, exclude, "exclude")}
        chosen = [slot for slot in chosen if slot.name not in unwanted]
    if not chosen:
        raise PlanError(f"exclude={exclude!r} leaves nothing of what include={include!r} matches.")
    for slot in chosen:
        reason = slot.refusal()
        if reason is not None:
            raise PlanError(f"{reason} Leave it out with exclude=.")
    frozen = [slot.name for slot in chosen if not slot.trains]
    if frozen and len(frozen) < len(chosen):
        raise PlanError(f"{', '.join(frozen)} is frozen, and the numbers of a pool train together. Leave it out.")
    names = ", ".join(slot.name for slot in chosen)
    try:
        made = Hashed.together([slot.weight() for slot in chosen], parameters, ratio, aligned, fit)
    except (ShapeError, RankError) as error:
        raise type(error)(f"one pool for {names}: {error}") from error
    return {slot.name: view for slot, view in zip(chosen, made, strict=True)}


def _matching(found: Mapping[str, Slot], pattern: str, which: str) -> list[Slot]:
    try:
        matched = [slot for slot in found.values() if any(matches(pattern, name) for name in slot.names)]
    except (re.error, TypeError) as error:
        raise PlanError(f"{which}={pattern!r} is no regular expression: {error}.") from error
    if not matched:
        raise PlanError(f"{which}={pattern!r} matches no slot; there are {', '.join(found) or 'none'}.")
    return matched
