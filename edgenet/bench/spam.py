"""Sparse additive models: how often the relevant features are found, and how long a path takes.

``python -m edgenet.bench.spam`` prints both as tables in markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator

import numpy as np

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


def page(seeds: int, repeats: int) -> Iterator[str]:
    """The lines of the tables."""
    yield f"Exact relevant set on the path, share of {seeds} draws; and of GCV's choice, n = 150, p = 200:"
    yield "| smoother | on the path | chosen contains it | features chosen |\n|---|---|---|---|"
    for smoother in ("spline", "kernel"):
        exact, contains, size = recovery(150, 200, range(seeds), smoother=smoother)
        yield f"| {smoother} | {exact:.2f} | {contains:.2f} | {size:.1f} |"
    yield "\nThe same against n, splines:"
    yield f"| p | {' | '.join(f'n = {n}' for n in SIZES)} |\n|---|{'---|' * len(SIZES)}"
    for p in (128, 256):
        yield f"| {p} | {' | '.join(f'{recovery(n, p, range(seeds))[0]:.2f}' for n in SIZES)} |"
    yield f"\nSeconds for a path and its choice, best of {repeats}:"
    yield "| task | n | p | penalties | seconds |\n|---|---|---|---|---|"
    for task, n, p in (("regression", 150, 200), ("regression", 400, 1000), ("classification", 400, 1000)):
        best, model = seconds(n, p, repeats, task=task)
        yield f"| {task} | {n} | {p} | {len(model.path_.fits)} | {best:.2f} |"


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50, help="draws for every cell (default: 50)")
    parser.add_argument("--repeats", type=int, default=3, help="fits that are timed (default: 3)")
    options = parser.parse_args()
    for line in page(options.seeds, options.repeats):
        print(line, flush=True)


if __name__ == "__main__":
    main()
