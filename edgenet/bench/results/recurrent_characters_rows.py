"""The rows of the character models: one LSTM, whose stacked map of gates is compressed by every family alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: iterations of a training: of the rows that are compared at full length, of the others, and of those that try a rate
LENGTHS = {"long": 10_000, "short": 4_000, "tried": 1_000}
RATES = (0.004, 0.008, 0.016, 0.032, 0.064)  # tried for every family, on the validation slice
HIDDEN, EMBEDDING = 128, 64
SHAPE = (4 * HIDDEN, EMBEDDING + HIDDEN)  # of the stacked map: its rows are the gates, its columns input and state
RATIOS = (20, 10)

_MODES = {"out_modes": [8, 8, 8], "in_modes": [4, 6, 8]}
_FACTOR = {"structure": "kronecker", "factor": [32, 12]}
_FALL = {"kind": "anneal", "start": 0.1, "end": 0.6}
#: {family: {times fewer parameters: options of the structure}}, as near to the entries of the map over that number as
#: the family allows, and at most 0.3 % above it
OPTIONS: dict[str, dict[int, dict[str, Any]]] = {
    "kronecker": {20: {"terms": 7}, 10: {"terms": 15}},
    "low_rank": {20: {"rank": 7}, 10: {"rank": 14}},
    "row_split": {20: {"rows": 15, "blocks": 8}, 10: {"rows": 40, "blocks": 8}},
    "tensor_train": {20: {"rank": 9}, 10: {"rank": 13}},
    "block_term": {20: {"blocks": 2, "rank": 10}, 10: {"blocks": 2, "rank": 14}},
    "block_circulant": {20: {"block": 22}, 10: {"block": 11}},
}
SMALLER = {20: 24, 10: 35}  # numbers of the state, and of a character's vector, of a smaller dense LSTM
LONG = ("kronecker", "doped", "doped, rows dropped", "pruned", "low_rank")  # of 20 times


@dataclass(frozen=True)
class Row:
    """What is trained; all of it JSON-able.

    Attributes:
        family: whose rate is tried once; what the page calls the row.
        ratio: how many times fewer parameters the map has, about.
        spec: {"structure": name, **options} of the map; None: dense.
        callbacks: tables, as of ``[[callback]]``.
        hidden, embedding: numbers of the state, and of a character's vector.
        length: a key of ``LENGTHS``.
        note: what stands beside the family's name.
    """

    family: str
    ratio: int
    spec: Mapping[str, Any] | None = None
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    hidden: int = HIDDEN
    embedding: int = EMBEDDING
    length: str = "short"
    note: str = ""

    @property
    def tried_as(self) -> str:
        """The family whose rate this row takes."""
        return self.family.partition(",")[0]

    @property
    def file(self) -> str:
        """For the names of its files."""
        return f"{self.family}-{self.ratio}".replace(", ", "-").replace(" ", "-")


def rows() -> list[Row]:
    """Every row of the page, those that matter most first."""
    made = [row for ratio in RATIOS for row in _of_ratio(ratio)]
    made.append(Row("dense", 1, note="the whole map"))
    return sorted(made, key=lambda row: row.length != "long")  # which leaves those of one length in their order


def _of_ratio(ratio: int) -> list[Row]:
    def row(family: str, spec: dict[str, Any] | None, note: str, *callbacks: dict[str, Any], **sizes: int) -> Row:
        length = "long" if ratio == max(RATIOS) and family in LONG else "short"
        return Row(family, ratio, spec, list(callbacks), length=length, note=note, **sizes)

    options = {family: by_ratio[ratio] for family, by_ratio in OPTIONS.items()}
    fall = {**_FALL, "ratio": float(ratio)}
    doped = {"structure": "doped", "base": {**_FACTOR, "terms": 4}, "density": 1.0}
    terms = options["kronecker"]["terms"]
    kronecker = {**_FACTOR, "terms": terms}
    eighth = {"structure": "uniform", "base": kronecker, "bits": 8}
    split, block = options["row_split"], options["block_term"]
    size = SMALLER[ratio]
    return [
        row("doped", doped, "Kronecker, 4 terms", {**fall, "initial": 0.2}),
        row("doped, rows dropped", doped, "p 0.1, annealed", {**fall, "initial": 0.2}, {"kind": "row_dropout"}),
        row("kronecker", kronecker, f"{terms} terms of 32 x 12 and 16 x 16"),
        row("pruned", {"structure": "sparse", "density": 1.0}, "magnitudes", {**fall, "initial": 1.0}),
        row("low_rank", {"structure": "low_rank", **options["low_rank"]}, f"rank {options['low_rank']['rank']}"),
        row("dense", None, f"a state of {size}", hidden=size, embedding=size),
        row("row_split", {"structure": "row_split", **split}, f"{split['rows']} rows, {split['blocks']} blocks"),
        row(
            "tensor_train", {"structure": "tensor_train", **options["tensor_train"], **_MODES},
            f"3 cores, rank {options['tensor_train']['rank']}",
        ),
        row("block_term", {"structure": "block_term", **block, **_MODES}, f"2 blocks, rank {block['rank']}"),
        row(
            "block_circulant", {"structure": "block_circulant", **options["block_circulant"]},
            f"blocks of {options['block_circulant']['block']}",
        ),
        row("kronecker, 8 bits", eighth, f"{terms} terms"),
    ]  # fmt: skip
