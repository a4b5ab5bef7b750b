"""``edgenet bench additive``: edge weights one can read, on Cora beside GAT, and on a graph where they are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from edgenet.bench.harness.jobs import run_all
from edgenet.bench.results import additive_run
from edgenet.bench.results.additive_edges import recovered
from edgenet.bench.results.additive_functions import functions_shown
from edgenet.bench.results.additive_page import (
    NONE,
    Results,
    accuracies,
    path_of_penalties,
    simulation,
    with_the_exact_set,
)
from edgenet.bench.results.additive_run import EPOCHS, Job, problem
from edgenet.bench.results.estimates import write_estimate
from edgenet.presets import preset

PENALTIES = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05)
DRAWS = 20  # of the simulation


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, dataset: str = "cora") -> None:
    """Train, choose, draw, and write the page."""
    root = None if data_root is None else str(data_root)
    gat = preset(dataset, "gat", {"training.seeds": list(range(seeds)), "out": str(runs / "gat")})
    (attention,) = run_all([(gat, data_root)], 1)
    names = list(problem(dataset, root)[3])

    def job(name: str, seed: int, features: Sequence[str], penalty: float) -> Job:
        return {
            "file": str(runs / f"{name}-{seed}.json"), "dataset": dataset, "data_root": root, "seed": seed,
            "features": list(features), "penalty": penalty, "epochs": EPOCHS,
        }  # fmt: skip

    kinds: dict[Any, list[Job]] = {NONE: [job(NONE, seed, [], 0.0) for seed in range(seeds)]}
    kinds |= {p: [job(f"penalty-{p}", seed, names, p) for seed in range(seeds)] for p in (0.0, *PENALTIES)}
    found = _all(kinds, processes)
    path = {p: found[p] for p in PENALTIES}
    best = chosen(path)
    sparse = sparsest(path, best)
    refits = {
        p: [job(f"refit-{p}", seed, one["sizes"], 0.0) for seed, one in enumerate(found[p])] for p in {best, sparse}
    }
    again = _all(refits, processes)
    draws = run_all([{"file": str(runs / f"draw-{k}.json"), "seed": k} for k in range(DRAWS)], processes, run=recovered)
    # the network that is drawn: the best of the sparse ones by validation that has a function at all
    drawn = max(range(seeds), key=lambda seed: (bool(found[sparse][seed]["sizes"]), found[sparse][seed]["val"]))
    parts = [
        *accuracies(seeds, attention, found, again, best, sparse, len(names)),
        *path_of_penalties(path, found[0.0], found[NONE]),
        *functions_shown(kinds[sparse][drawn], out, f"penalty {sparse:g}, seed {drawn}"),
        *simulation(draws),
    ]
    means = [100 * fmean(one["test"] for one in results) for results in (found[best], found[NONE], attention["seeds"])]
    claim = (
        f"Where edges matter, additive edge weights find the features that decide them in "
        f"{with_the_exact_set(draws)} of {len(draws)} draws. On Cora they reach {means[0]:.1f}, the mean "
        f"of the neighbours {means[1]:.1f}, GAT {means[2]:.1f}."
    )
    limits = (
        "Cora's edges have no weights that a network must know: the page shows what the functions are, not that a "
        "network needs them there. The simulation is of the form that the method assumes."
    )
    runs_of = {"GAT": [attention], **{str(name): results for name, results in found.items()}}
    write_estimate(out, "Edge weights one can read", claim, parts, limits, seeds, runs_of)


def _all(kinds: Mapping[Any, list[Job]], processes: int) -> dict[Any, Results]:
    jobs = [job for own in kinds.values() for job in own]
    results = iter(run_all(jobs, processes, run=additive_run.trained))
    return {kind: [next(results) for _ in own] for kind, own in kinds.items()}


def chosen(path: Mapping[float, Results]) -> float:
    """The penalty of the best mean validation accuracy; of equals the larger one."""
    return max(path, key=lambda penalty: (_validation(path[penalty]), penalty))


def sparsest(path: Mapping[float, Results], best: float) -> float:
    """The largest penalty whose mean validation accuracy is within one standard error of the best (Breiman et al.
    1984)."""
    values = [one["val"] for one in path[best]]
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return max(p for p in path if _validation(path[p]) >= _validation(path[best]) - error)


def _validation(results: Results) -> float:
    return fmean(one["val"] for one in results)
