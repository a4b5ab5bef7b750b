"""``edgenet bench spam``: how often sparse additive models find the relevant features, and how long a path takes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from edgenet.bench.results.estimates import timing_note, write_estimate
from edgenet.bench.results.spam_pygam import beside_pygam
from edgenet.bench.results.spam_simulation import RELEVANT, draw
from edgenet.bench.results.spam_skglm import ROUNDS, beside_skglm
from edgenet.estimators import SpAM
from edgenet.text import markdown_table

RECOVERY, WANTED = (150, 200), 0.95  # (n, p), and the share of draws
SIZES, CURVES = (40, 60, 80, 100, 120, 140, 160), (128, 256)  # n, p
TIMED = [("regression", 150, 200), ("regression", 400, 1000), ("classification", 400, 1000)]


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
    """The shortest of some fits, in processor time of one thread, and the last of them."""
    x, y = draw(n, p, 0)
    if options.get("task") == "classification":
        y = y > np.median(y)
    best = np.inf
    with threadpool_limits(1):
        for _ in range(repeats):
            before = time.process_time()
            model = SpAM(**options).fit(x, y)
            best = min(best, time.process_time() - before)
    return best, model


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Draw, fit and time, and write the page."""
    note = timing_note(ROUNDS)
    found, runs = _found(seeds)
    parts = [
        "A sparse additive model predicts by a sum of smooth functions, one of each feature, most of which it sets to "
        "zero: it says which features matter, and how. Here the truth is known. Of p features, uniform on (-2.5, 2.5), "
        "four matter: y = -2 sin 2a + b^2 + c + exp(-d) + noise, the simulation of Ravikumar et al. 2009 (on this "
        "interval: the last three are nearly flat on (0, 1)). `SpAM` computes a path of solutions at 100 penalties.",
        *found,
        note,
        *_times(),
        *beside_skglm(),
        *beside_pygam(),
    ]
    claim = (
        f"Exactly the four relevant of {RECOVERY[1]} features are a solution on the path in "
        f"{100 * runs['spline']:.0f} % of {seeds} draws by splines, {100 * runs['kernel']:.0f} % by kernels."
    )
    limits = (
        "Simulated data of one form, in which four features matter: this is what `SpAM` is made for, and truths in "
        "which most features matter were not compared."
    )
    write_estimate(out, "Sparse additive models", claim, parts, limits, seeds, runs, ("skglm", "pygam"))


def _found(seeds: int) -> tuple[list[str], dict[str, float]]:
    """The tables, and by smoother how often the path has the exact set."""
    rows, shares = [], {}
    for smoother in ("spline", "kernel"):
        exact, contains, size = recovery(*RECOVERY, range(seeds), smoother=smoother)
        verdict, shares[smoother] = "passed" if exact >= WANTED else "FAILED", exact
        rows.append((smoother, f"{exact:.2f}", verdict, f"{contains:.2f}", f"{size:.1f}"))
    curves = [(p, *(f"{recovery(n, p, range(seeds))[0]:.2f}" for n in SIZES)) for p in CURVES]
    n, p = RECOVERY
    parts = [
        f"How often exactly these four are the features of some solution on the path, in {seeds} draws with n = {n} "
        f"and p = {p} (required: {WANTED}); and of the choice by GCV, how often it contains the four, and how many "
        "features it has. GCV tends to keep some too many.",
        markdown_table(("smoother", "on the path", "required", "choice contains the four", "features chosen"), rows),
        "The share of draws with exactly the four on the path, against n, splines. A slow test holds these shares to "
        "those of an independent simulation (`tests/estimators/test_spam_recovery.py`).",
        markdown_table(("p", *(f"n = {n}" for n in SIZES)), curves),
    ]
    return parts, shares


def _times() -> list[str]:
    rows = []
    for task, n, p in TIMED:
        best, model = seconds(n, p, 3, task=task)
        rows.append((task, n, p, len(model.path_.fits), f"{best:.2f}"))
    return [
        "`SpAM.fit` as a whole: building the splines, the path, the choice by GCV. The path ends early where the "
        "functions have 0.8 n degrees of freedom or fit the classes.",
        markdown_table(("task", "n", "p", "penalties", "seconds"), rows),
    ]
