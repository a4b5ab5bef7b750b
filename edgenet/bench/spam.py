"""``edgenet bench spam``: how often sparse additive models find the relevant features, and how long a path takes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgenet.bench import report
from edgenet.bench.estimates import write_estimate
from edgenet.estimators import SpAM

RELEVANT = [0, 1, 2, 3]
SIZES = (40, 60, 80, 100, 120, 140, 160)


def draw(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The simulation of Ravikumar et al. 2009, 6.1, on an interval where all four functions show.

    Returns:
        (n, p) features, uniform on (-2.5, 2.5), and (n,) sums of four functions of the first four, plus N(0, 1).
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2.5, 2.5, (n, p))
    signal = -2 * np.sin(2 * x[:, 0]) + x[:, 1] ** 2 - 1 / 3 + x[:, 2] - 1 / 2 + np.exp(-x[:, 3]) + np.exp(-1) - 1
    return x, signal + rng.normal(size=n)


def recovery(n: int, p: int, seeds: Iterable[int], **options: object) -> tuple[float, float, float]:
    """Share of draws with the exact relevant set on the path, share in which the choice on the path contains it, and
    mean number of features chosen. Options are those of ``SpAM``."""
    found = []
    for seed in seeds:
        model = SpAM(**options).fit(*draw(n, p, seed))
        chosen = model.support_.tolist()
        found.append((RELEVANT in model.path_.supports, set(RELEVANT) <= set(chosen), len(chosen)))
    return tuple(np.mean(found, axis=0).tolist())


def seconds(n: int, p: int, repeats: int, **options: object) -> tuple[float, SpAM]:
    """The shortest of some fits, and the last of them."""
    x, y = draw(n, p, 0)
    if options.get("task") == "classification":
        y = y > np.median(y)
    best = np.inf
    for _ in range(repeats):
        before = time.perf_counter()
        model = SpAM(**options).fit(x, y)
        best = min(best, time.perf_counter() - before)
    return best, model


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Draw, fit and time, and write the section of the page."""
    write_estimate(out, "spam", "Sparse additive models", [*_found(seeds), _times()])


def _found(seeds: int) -> list[str]:
    rows = []
    for smoother in ("spline", "kernel"):
        exact, contains, size = recovery(150, 200, range(seeds), smoother=smoother)
        rows.append((smoother, f"{exact:.2f}", f"{contains:.2f}", f"{size:.1f}"))
    curves = [(p, *(f"{recovery(n, p, range(seeds))[0]:.2f}" for n in SIZES)) for p in (128, 256)]
    return [
        f"Exact relevant set on the path, share of {seeds} draws; and of GCV's choice, n = 150, p = 200:",
        report.table(("smoother", "on the path", "chosen contains it", "features chosen"), rows),
        "The same against n, splines:",
        report.table(("p", *(f"n = {n}" for n in SIZES)), curves),
    ]


def _times() -> str:
    rows = []
    for task, n, p in (("regression", 150, 200), ("regression", 400, 1000), ("classification", 400, 1000)):
        best, model = seconds(n, p, 3, task=task)
        rows.append((task, n, p, len(model.path_.fits), f"{best:.2f}"))
    return report.table(("task", "n", "p", "penalties", "seconds"), rows)
