"""The rows of ``edgenet bench compressed``: structures and bits at every size, and what a library of them must beat."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: times smaller than the teacher, in bytes of tensors, that a row is made for
RATIOS = (10, 25, 65, 100, 180, 250)
GRID = (10, 25, 65, 100)
FAMILIES = (
    "low_rank", "kronecker", "tensor_train", "block_term", "block_circulant", "row_split", "hashed", "sparse", "doped",
)  # fmt: skip
#: seeds of the teacher by which the settings were chosen, by its validation nodes alone. It is in no row
CHOSEN_ON = 100


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        kind: how the small model is made, a key of ``compressed_make.MAKERS``.
        ratio: the largest model is taken that is so many times smaller than the teacher; None: it has its own size.
        family: of its first lift, or lifts.
        bits: of every number. 2 and 1 are those of large factors and dense lifts: small factors then have 8 and 4, and
            all else 4.
        headline: whether it is made of all teachers.
    """

    kind: str
    ratio: int | None = None
    family: str = "dense"
    bits: int = 32
    headline: bool = False

    @property
    def name(self) -> str:
        """For a file."""
        size = "" if self.ratio is None else f"-{self.ratio}x"
        return f"{self.kind}-{self.family}-{self.bits}{size}"

    def as_job(self) -> dict[str, Any]:
        return asdict(self)


def cases(problem: str) -> list[Case]:
    """The rows of a problem, the most telling first."""
    if problem == "ppi":
        return _few_rows()
    best = [Case("structure", ratio, "kronecker", 2, True) for ratio in RATIOS[2:]]
    best += [Case("structure", ratio, "kronecker", 1, True) for ratio in (250,)]
    rivals = [Case("small_gat", ratio, bits=bits, headline=True) for ratio in RATIOS[2:] for bits in (2, 1)]
    plain = [Case(kind, headline=True) for kind in ("classes", "most_frequent", "labels_spread", "classes_spread")]
    plain += [Case("rounding", bits=bits, headline=True) for bits in (8, 4)]
    plain += [Case("rounding_tuned", bits=bits, headline=True) for bits in (2, 1)]
    plain += [Case("small_gat_labels", ratio, bits=8, headline=ratio == 25) for ratio in (10, 25, 65)]
    plain += [Case("small_gat", ratio, bits=8) for ratio in GRID]
    plain += [Case("pruning", ratio, "sparse") for ratio in (10, 25)]
    plain += [Case("features", ratio, bits=4) for ratio in (10, 25, 65)]
    others = [Case("structure", ratio, "kronecker", 2) for ratio in RATIOS[:2]]
    others += [Case("structure", ratio, family, 2) for ratio in (100,) for family in FAMILIES if family != "kronecker"]
    others += [Case("power_of_two", ratio, "kronecker", 4) for ratio in (65, 100)]
    others += [Case("binary", ratio, "kronecker", 1) for ratio in (100, 250)] + [Case("binary", None, "dense", 1)]
    grid = [Case("structure", ratio, family, bits) for bits in (4, 8, 32) for ratio in GRID for family in FAMILIES]
    return best + rivals + plain + others + grid


def _few_rows() -> list[Case]:
    """Where a row takes minutes."""
    structures = [Case("structure", ratio, "kronecker", bits) for ratio, bits in ((25, 4), (100, 2), (250, 2))]
    return [*structures, *(Case("small_gat", ratio, bits=2) for ratio in (100, 250)), Case("rounding", bits=8),
            Case("rounding", bits=4)]  # fmt: skip
