"""The page of ``edgenet bench ppi``."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.pages import Content
from edgenet.text import markdown_table

OURS, PYG = "gat", "pyg_gat"
NETWORKS = {OURS: "edgenet `gat`", PYG: "PyG `GATConv`"}


def content(rows: dict[str, Any]) -> Content:
    """Both networks, and their difference seed by seed."""
    runs = {layer: [run for run in rows["runs"] if run["layer"] == layer] for layer in NETWORKS}
    apart = [ours["test"] - theirs["test"] for ours, theirs in zip(runs[OURS], runs[PYG], strict=True)]
    start = max(run["start"] for run in rows["runs"])
    means = [100 * fmean(run["test"] for run in found) for found in runs.values()]
    info, table = rows["info"], []
    for layer, found in runs.items():
        numbers = [report.spread([run[key] for run in found], digits=2) for key in ("val", "test")]
        seconds = report.spread([run["seconds"] / run["epochs"] for run in found], 1, 1)
        cells = (f"{found[0]['parameters']:,}", numbers[0], f"**{numbers[1]}**", seconds)
        table.append((NETWORKS[layer], *cells))
    seeds = [[str(run["seed"]), *(f"{100 * runs[layer][at][key]:.2f}" for layer in NETWORKS for key in ("val", "test")),
              f"{100 * apart[at]:+.2f}"] for at, run in enumerate(runs[OURS])]  # fmt: skip
    return Content(
        f"From the same weights, over the same batches, edgenet's `gat` ends at a micro-averaged test F1 of "
        f"{means[0]:.2f} percent and PyG's `GATConv` at {means[1]:.2f}; their difference, seed by seed, is "
        f"{report.spread(apart, digits=2)}.",
        [
            markdown_table(("network", "parameters", "validation", "test", "seconds an epoch"), table),
            "### Seed by seed",
            markdown_table(("seed", "edgenet validation", "test", "PyG validation", "test", "difference"), seeds),
        ],
        [
            f"3 layers (4 x 256, 4 x 256, 6 x 121 heads averaged), skip connections, no dropout, Adam at 0.005, two "
            f"graphs a step, {rows['epochs']} epochs, both in the same loop. The epoch of the best validation F1 is "
            f"kept. PyG's layers hold the weights that ours would begin with, and every batch is the same: before the "
            f"first step the scores of both differ by {start:.0e} at most (root mean square, relative).",
            f"Data: {info['source'] or 'PPI'}.",
        ],
        [
            "Both compute one function, so what differs after training is how rounding errors have grown: few seeds "
            "say how far that goes, not which library is better. Seconds are those of PyG's plain form, in a loop that "
            "evaluates too; PyG's fastest forms are timed on the page of training steps.",
            "\n".join(info["warnings"] or ["Original labels."]),
        ],
    )
