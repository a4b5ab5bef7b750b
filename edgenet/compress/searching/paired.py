"""Paired intervals: how far two models' mean scores on the same examples may be apart."""

from __future__ import annotations

import math
from statistics import NormalDist

from torch import Tensor

from edgenet.errors import PlanError


def paired_interval(before: Tensor, after: Tensor, confidence: float = 0.95) -> tuple[float, float]:
    """The interval for mean(after) - mean(before) over all examples of the kind, from scores on n of them.

    It is the normal interval of the paired differences, mean +- z sd / sqrt(n). Where every example is right or wrong,
    half a pair is added to each of the four cells of the table of pairs (Agresti and Min 2005, "Simple improved
    confidence intervals for comparing matched proportions"): a plain interval would have no width where no example
    changes.

    Args:
        before, after: (n,) scores of two models on the same examples, higher is better.
        confidence: of the interval, two-sided.

    Raises:
        PlanError: if the two are not as many, fewer than two, or not finite.
    """
    before, after = before.detach().double().cpu(), after.detach().double().cpu()
    if before.dim() != 1 or before.shape != after.shape or len(before) < 2:
        raise PlanError(
            f"a paired interval wants the scores of two models on the same examples, two at least, got "
            f"{tuple(before.shape)} and {tuple(after.shape)}."
        )
    difference = after - before
    if not difference.isfinite().all():
        raise PlanError("a paired interval wants finite scores, and some are not.")
    if all(bool(((scores == 0) | (scores == 1)).all()) for scores in (before, after)):
        n = len(difference) + 2.0
        mean = float(difference.sum()) / n
        square = (float(difference.square().sum()) + 1.0) / n  # one pair more that changes: half each way
        spread = math.sqrt(max(0.0, square - mean**2) / n)
    else:
        mean, spread = float(difference.mean()), float(difference.std(correction=1)) / math.sqrt(len(difference))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * spread
    return mean - reach, mean + reach
