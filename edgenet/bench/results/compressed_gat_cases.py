"""What ``edgenet bench compressed_gat`` trains: families and sizes, and what the parts of its recipe are worth."""

from __future__ import annotations

from typing import Any

from edgenet.bench.results.compressed_gat_run import SLOTS, Case

ENTRIES = 64 * 1433
_HEADS = (8, 8)  # heads x channels


def _chain(terms: int) -> dict[str, Any]:
    return {"factors": [[4, 10], [4, 12], [4, 12]], "terms": terms}


def _sparse(*numbers: int) -> list[dict[str, Any]]:
    """Densities of so many entries."""
    return [{"density": number / ENTRIES} for number in numbers]


#: family: its sizes for the first lift, 64 x 1433. Chosen by the number of parameters alone: the whole model is to be
#: about 100, 50, 25, 10 and 5 times smaller where a family has such sizes
FAMILIES: dict[str, list[dict[str, Any]]] = {
    "low_rank": [{"rank": rank} for rank in (1, 2, 3, 5, 11)],
    "kronecker": [
        _chain(2),
        {"factor": [8, 36], "terms": 1},
        *({"factor": _HEADS, "terms": terms} for terms in (1, 2, 5, 11)),
    ],
    "tensor_train": [{"rank": rank, "out_modes": [4, 4, 4], "in_modes": [10, 12, 12]} for rank in (1, 2, 4, 7, 12, 18)],
    "block_term": [
        {"blocks": blocks, "rank": rank, "out_modes": [4, 4, 4], "in_modes": [10, 12, 12]}
        for blocks, rank in ((1, 1), (1, 6), (1, 11), (5, 8), (10, 8))
    ],
    "block_circulant": [{"block": block} for block in (64, 32, 16, 13, 6)],
    "row_split": [{"rows": rows, "blocks": blocks} for rows, blocks in ((0, 1), (0, 2), (1, 4), (3, 8))],
    "hashed": [{"parameters": number} for number in (607, 1177, 3025, 8568, 17806)],
    "sparse": _sparse(254, 1177, 3025, 8568, 17806),
    "doped": [
        {"base": {"structure": "kronecker", **base}, **density}
        for base, density in zip(
            [_chain(1), *4 * [{"factor": [8, 36]}]], _sparse(118, 569, 2417, 7960, 17198), strict=True
        )
    ],
}
#: what the parts of the recipe are worth: (text, case)
PARTS: list[tuple[str, Case]] = [
    (f"{text}{what}", Case({SLOTS[0]: spec, **more}, targets, refit))
    for text, spec in (
        ("Kronecker, 25x", {"structure": "kronecker", "factor": list(_HEADS), "terms": 2}),
        ("low rank, 25x", {"structure": "low_rank", "rank": 2}),
        ("low rank, 10x", {"structure": "low_rank", "rank": 5}),
    )
    for what, more, targets, refit in (
        ("", {}, "all", True),
        (", from the nearest matrix", {}, "all", False),
        (
            ", second lift a Kronecker product too",
            {SLOTS[1]: {"structure": "kronecker", "factor": [1, 8]}},
            "all",
            True,
        ),
        (", labels of the training nodes alone", {}, "labels", True),
    )
]


def cases() -> list[tuple[str, Case]]:
    """(family, case) of every row, in order."""
    return [
        (family, Case({SLOTS[0]: {"structure": family, **options}}))
        for family, sizes in FAMILIES.items()
        for options in sizes
    ]
