"""The part of ``edgenet bench scale`` on Cora: networks trained by drawn neighbours beside the whole graph."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from edgenet.bench.harness import report
from edgenet.bench.harness.kept import kept
from edgenet.presets import preset
from edgenet.text import markdown_table
from edgenet.train import run

LAYERS = ("gcn", "gat", "edge_varying")
STEPS = 200
#: changes of the preset, by what a step reads; two batches of 70 are an epoch of the 140 training nodes
BATCHES: dict[str, dict[str, Any]] = {
    "the graph": {"training.epochs": STEPS},
    "70 nodes, 10 neighbours a hop": {
        "training.batch": "neighbors", "training.batch_size": 70, "training.epochs": STEPS // 2,
    },
}  # fmt: skip
LIMITS = (
    "Cora has 140 training nodes: a batch of neighbours is a small part of the graph, and the graph is small. The page "
    "shows that drawn neighbours learn as well, not that they are faster. The seeds of *edge_varying* differ by so "
    "much that its rows tell little. Times are of a busy machine."
)
Found = dict[str, dict[str, list[dict[str, float]]]]


def results(seeds: int, runs: Path, processes: int, data_root: Path | None) -> Found:
    """Test accuracies of every layer and form of batch, one a seed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            layer: {name: [_trained(layer, name, seed, runs, data_root) for seed in range(seeds)] for name in BATCHES}
            for layer in LAYERS
        }
    finally:
        torch.set_num_threads(before)


def _trained(layer: str, name: str, seed: int, runs: Path, data_root: Path | None) -> dict[str, float]:
    changes = {**BATCHES[name], "training.seeds": [seed]}
    job = {"layer": layer, "batch": name, "seed": seed, "changes": changes}

    def compute() -> dict[str, Any]:
        result = run(preset("cora", layer, changes), data_root=data_root, progress=False).seeds[0]
        return {"test": result.test, "epochs": result.epochs, "seconds": result.seconds}

    return kept(runs / f"{layer}-{list(BATCHES).index(name)}-{seed}.json", job, compute)


# ---------------------------------------------------------------- on the page
def gap(whole: list[dict[str, float]], drawn: list[dict[str, float]]) -> tuple[float, float]:
    """Points by which the mean test accuracy of drawn batches is above that of the graph, and the standard error."""
    a, b = ([100 * row["test"] for row in rows] for rows in (whole, drawn))
    error = sqrt(sum(stdev(rows) ** 2 / len(rows) for rows in (a, b))) if len(a) > 1 else float("nan")
    return fmean(b) - fmean(a), error


def claim(found: Found) -> str:
    gaps = [gap(*(forms[name] for name in pair)) for forms in found.values() for pair in _pairs(forms)]
    far = [points for points, error in gaps if abs(points) > 2 * error]
    return (
        f"Trained by drawn neighbours, {len(gaps) - len(far)} of {len(gaps)} networks on Cora are within two standard "
        f"errors of those trained on the graph; the differences are {min(g for g, _ in gaps):+.1f} to "
        f"{max(g for g, _ in gaps):+.1f} points."
    )


def _pairs(forms: Mapping[str, Any]) -> list[tuple[str, str]]:
    whole, *drawn = forms
    return [(whole, name) for name in drawn]


def parts(found: Found) -> list[str]:
    rows = []
    for layer, forms in found.items():
        whole = next(iter(forms.values()))
        for name, trained in forms.items():
            points, error = gap(whole, trained)
            rows.append([
                layer, name, report.spread([row["test"] for row in trained]),
                "" if trained is whole else f"{points:+.1f} ± {error:.1f}",
                f"{fmean(row['epochs'] for row in trained):.0f}",
                f"{1e3 * fmean(row['seconds'] / row['epochs'] for row in trained):.0f}",
            ])  # fmt: skip
    seeds = len(next(iter(next(iter(found.values())).values())))
    return [
        f"The presets of Cora with at most {STEPS} steps, the same for every form of batch; {seeds} "
        "seeds. Scores are of the whole graph, at the epoch of the best validation accuracy. *Beside the graph*: the "
        "difference of means in points, and its standard error.",
        markdown_table(
            ("layers", "a step reads", "test accuracy", "beside the graph", "epochs", "ms an epoch"), rows
        ),
    ]
