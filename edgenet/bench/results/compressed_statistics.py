"""Means of differences that belong together, with intervals, and McNemar's test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import binomtest, t


@dataclass(frozen=True)
class Interval:
    """A mean and half of its 95 % interval; None of a single value."""

    mean: float
    half: float | None

    @property
    def is_above(self) -> bool:
        """Whether all of it is above 0."""
        return self.half is not None and self.mean - self.half > 0

    def __str__(self) -> str:
        return f"{self.mean:+.2f}" if self.half is None else f"{self.mean:+.2f} ± {self.half:.2f}"


def interval(values: Sequence[float]) -> Interval:
    """mean ± t_(n - 1) s / sqrt(n), Student's interval of the mean."""
    number = len(values)
    if number < 2:
        return Interval(fmean(values), None)
    return Interval(fmean(values), float(t.ppf(0.975, number - 1)) * stdev(values) / number**0.5)


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p of McNemar's test, of cases that one of two is right on alone. 1 where there are none."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
