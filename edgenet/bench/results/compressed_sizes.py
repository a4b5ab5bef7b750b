"""Which member of a family a row has: the largest with which the whole model is so many times smaller on disk."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from edgenet.compress import quantise_, slots, stored
from edgenet.structured import StructuredMatrix, family
from edgenet.structured.quantised import Quantised

Options = dict[str, Any]
#: of all numbers but large weights and factors, where those have one or two
FEW = {"half_step": True, "step": "normal"}
#: bits: (of large factors and dense lifts, of small factors, of all else)
WIDTHS = {8: (8, 8, 8), 4: (4, 4, 4), 2: (2, 6, 4), 1: (1, 4, 2)}


def rounding(bits: int, pattern: str, quantiser: str = "uniform") -> dict[str, Options]:
    """What ``quantise_`` takes: a rule for the large weights, and one for all else."""
    large, small, rest = WIDTHS[bits]
    rule: Options = {"quantiser": quantiser, "per": "row"}
    if quantiser != "binary":
        rule |= {"bits": large, "small_bits": small}
    if quantiser == "uniform":
        rule |= FEW if large <= 4 else {}
    return {pattern: rule, ".*": {"bits": rest, **(FEW if rest <= 4 else {})}}


def tensor_bytes(model: nn.Module) -> int:
    """Bytes of the tensors of a model as they go to disk."""
    return sum(t.numel() * t.element_size() for t in stored(model).values())


def members(name: str, shape: tuple[int, int]) -> list[Options]:
    """Options of a family for a weight, from the smallest to the largest."""
    m, n = shape
    most = min(m, n)
    plain: dict[str, Callable[[], Sequence[Options]]] = {
        "low_rank": lambda: [{"rank": rank} for rank in range(1, most)],
        "kronecker": lambda: [{"factor": _factor(shape), "terms": terms} for terms in range(1, _terms(shape) + 1)],
        "tensor_train": lambda: [{"dims": 3, "rank": rank} for rank in range(1, 25)],
        "block_term": lambda: [
            *({"dims": 3, "blocks": 1, "rank": rank} for rank in range(1, 9)),
            *({"dims": 3, "blocks": blocks, "rank": 8} for blocks in range(2, 13)),
        ],
        "block_circulant": lambda: [{"block": block} for block in range(min(m, n, 64), 1, -1)],
        "row_split": lambda: [{"rows": blocks // 3, "blocks": blocks} for blocks in range(1, 13) if blocks // 3 < m],
        "hashed": lambda: [{"parameters": k * math.isqrt(m * n) // 2} for k in range(6, 200)],
        "sparse": lambda: [{"density": k / 2000} for k in range(1, 600)],
        "doped": lambda: [
            {"base": {"structure": "kronecker", "factor": _factor(shape)}, "density": k / 2000} for k in range(1, 600)
        ],
    }
    return list(plain[name]())


def _factor(shape: tuple[int, int]) -> list[int]:
    """The first of two Kronecker factors: eight rows or so, and a first axis that splits the columns in eight."""
    m, n = shape
    return [min(8, m), min(8, n)] if n > m else [min(16, m), min(8, n)]


def _terms(shape: tuple[int, int]) -> int:
    """Of a Kronecker sum, at which it is any matrix; 32 at most."""
    (m, n), (p, q) = shape, _factor(shape)
    return min(32, p * q, -(-m // p) * -(-n // q))


def largest(
    model: nn.Module,
    large: Mapping[str, tuple[int, int]],
    name: str,
    bits: int,
    ratio: float,
    quantiser: str = "uniform",
) -> dict[str, Options] | None:
    """For every large weight the largest member of a family, all of one share of their sizes; None where even the
    smallest are too large.

    Args:
        model: the teacher.
        large: its large weights.
        name: of the family.
        bits: as of a ``Case``.
        ratio: bytes of the teacher's tensors over those of the small model, at least.
    """
    whole = tensor_bytes(model)
    rest = copy.deepcopy(model)
    if bits < 32:
        quantise_(rest, {".*": rounding(bits, ".*")[".*"]})
    found = slots(rest)
    outside = tensor_bytes(rest) - sum(matrix.bits() // 8 if (matrix := found[key].matrix) else 0 for key in large)
    total = sum(m * n for m, n in large.values())
    chosen: dict[str, Options] = {}
    for key, shape in large.items():
        budget = (whole / ratio - outside) * shape[0] * shape[1] / total
        known = members(name, shape)
        low, high = 0, len(known)  # of those before low all fit, of those from high on none
        while low < high:
            middle = (low + high) // 2
            if _bytes(name, shape, known[middle], bits, quantiser) <= budget:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return None
        chosen[key] = known[low - 1]
    return chosen


def _bytes(name: str, shape: tuple[int, int], options: Options, bits: int, quantiser: str) -> float:
    matrix: StructuredMatrix = family(name).from_config({"shape": list(shape), **options})
    if bits < 32:
        holder = nn.Module()
        holder.weight = matrix
        quantise_(holder, rounding(bits, "weight", quantiser)["weight"])
        assert isinstance(holder.weight, Quantised)
        matrix = holder.weight
    return matrix.bits() / 8


def width_of(model_of: Callable[[int], nn.Module], whole: float, ratio: float, most: int) -> int | None:
    """The largest width, up to ``most``, whose model is so many times smaller than ``whole`` bytes; None where there is
    none."""
    fits = [width for width in range(1, most + 1) if tensor_bytes(model_of(width)) <= whole / ratio]
    return max(fits, default=None)
