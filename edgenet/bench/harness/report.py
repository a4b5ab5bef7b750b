"""Numbers of results as tables show them, and what they were measured under."""

from __future__ import annotations

import os
from collections.abc import Sequence
from statistics import fmean, stdev

from edgenet.bench.pages.provenance import ALLOCATOR, command, processor, settings

__all__ = ["ALLOCATOR", "command", "load_average", "processor", "settings", "spread"]


def load_average() -> float | None:
    """How many processes wanted a core in the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def spread(values: Sequence[float], scale: float = 100, digits: int = 1) -> str:
    """Mean ± sample standard deviation, in percent by default."""
    mean = f"{scale * fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {scale * stdev(values):.{digits}f}"
