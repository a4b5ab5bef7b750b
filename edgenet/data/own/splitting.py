"""Splits of a user's own data: those that a file has, or shares that a seed draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from edgenet.data.own.answers import Answers
from edgenet.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")
SHARES = (0.6, 0.2, 0.2)
_SPELLED = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
Masks = dict[str, np.ndarray]


def shares_of(split: object) -> tuple[float, float, float] | None:
    """Three shares, of a text "0.6,0.2,0.2" or of three numbers; None where it is something else.

    Raises:
        ConfigError: if they are not positive, or more than the whole.
    """
    parts: Sequence[object] = split.split(",") if isinstance(split, str) else split if isinstance(split, list) else ()
    if len(parts) != 3:
        return None
    try:
        first, second, third = (float(str(part)) for part in parts)
    except ValueError:
        return None
    shares = first, second, third
    if not all(0 < share < 1 for share in shares) or sum(shares) > 1 + 1e-9 or not math.isfinite(sum(shares)):
        raise ConfigError(f"split: three shares above 0, together at most 1, are wanted, got {split!r}.")
    return shares


def drawn(answers: Answers, shares: tuple[float, float, float], seed: int, where: str) -> Masks:
    """Shares of the rows that have an answer, drawn by a seed: of classes, the same share of each.

    Raises:
        DataError: if a part would be empty.
    """
    rng, known = np.random.default_rng(seed), np.flatnonzero(answers.known)
    groups = [known]
    if answers.kind == "class":
        y = answers.y.numpy()[known]
        groups = [known[y == number] for number in range(len(answers.names))]
    chosen: list[list[np.ndarray]] = [[], [], []]
    carried = np.zeros(3)
    for group in groups:
        order = rng.permutation(group)
        wanted = np.array(shares) * len(group) + carried  # of many small classes, each part gets its share in the end
        sizes = np.floor(wanted + 1e-9).astype(int)
        if sum(shares) > 1 - 1e-9:  # nothing is left over
            for place in np.argsort(sizes - wanted, kind="stable")[: max(0, len(group) - int(sizes.sum()))]:
                sizes[place] += 1
        sizes = np.minimum(sizes, np.maximum(0, len(group) - np.concatenate([[0], sizes.cumsum()[:-1]])))
        carried = wanted - sizes
        ends = [0, *sizes.cumsum()]
        for part in range(3):
            chosen[part].append(order[ends[part] : ends[part + 1]])
    masks = {name: _mask(np.concatenate(chosen[part]), len(answers.known)) for part, name in enumerate(SPLITS)}
    return checked(masks, answers, where)


def of_column(cells: Sequence[str], answers: Answers, where: str) -> Masks:
    """What a column says: train, val or test; anything else is in no part."""
    places = np.array([_SPELLED.get(cell.lower(), -1) for cell in cells])
    return checked({name: (places == part) & answers.known for part, name in enumerate(SPLITS)}, answers, where)


def of_masks(masks: Mapping[str, np.ndarray], choice: object, answers: Answers, where: str) -> Masks:
    """Masks of a file, (R,) each or (R, S) of S splits, of which one is chosen by its number.

    Raises:
        ConfigError: if there are several splits and none is chosen, or there is no such one.
        DataError: if a mask is missing or of another shape.
    """
    missing = [name for name in SPLITS if name not in masks]
    if missing:
        raise DataError(
            f"{where}: has masks, and no {missing[0]}_mask. Give all three, or none and --split 0.6,0.2,0.2."
        )
    found, rows = {}, len(answers.known)
    for name in SPLITS:
        mask = np.asarray(masks[name])
        if mask.shape[:1] != (rows,) or mask.ndim > 2 or not bool(np.isin(mask, (0, 1)).all()):
            raise DataError(f"{where}: {name}_mask is ({rows},) of truths, or ({rows}, splits); got {mask.shape}.")
        if mask.ndim == 2:
            number = 0 if choice is None and mask.shape[1] == 1 else choice
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < mask.shape[1]:
                last = mask.shape[1] - 1
                raise ConfigError(
                    f"{where}: {name}_mask has {mask.shape[1]} columns, one a split. Choose one: --split 0 to --split "
                    f"{last}{'' if choice is None else f'; got {choice!r}'}."
                )
            mask = mask[:, number]
        elif isinstance(choice, int) and choice != 0:
            raise ConfigError(f"{where}: {name}_mask has one column, so there is no split {choice}.")
        found[name] = mask.astype(bool) & answers.known
    return checked(found, answers, where)


def checked(masks: Masks, answers: Answers, where: str) -> Masks:
    """The masks, no row in two of them, each with one at least.

    Raises:
        DataError: else.
    """
    for name in SPLITS:
        if not masks[name].any():
            raise DataError(
                f"{where}: no row is for {name}: {int(answers.known.sum())} of {len(answers.known)} rows have an "
                f"answer. Say train, val or test in a column, or draw shares: --split 0.6,0.2,0.2."
            )
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        both = masks[one] & masks[other]
        if both.any():
            raise DataError(
                f"{where}: {int(both.sum())} rows are for {one} and for {other}, row {both.argmax()} is one."
            )
    return masks


def _mask(rows: np.ndarray, length: int) -> np.ndarray:
    mask = np.zeros(length, dtype=bool)
    mask[rows] = True
    return mask
