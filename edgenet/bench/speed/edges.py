"""How the cost of a layer grows with the edges of the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edgenet.bench.harness.cells import error, milliseconds
from edgenet.bench.harness.graphs import GRAPHS, Size, power_law
from edgenet.bench.harness.performance import Record, Settings
from edgenet.bench.harness.timing import BOTH, compared, passed
from edgenet.bench.harness.worker import Job
from edgenet.bench.speed.layer_problem import LayerProblem
from edgenet.bench.speed.reference import LayerShape
from edgenet.graph import Graph
from edgenet.plots.style import saved
from edgenet.text import markdown_table

LAYER = LayerShape("gat", 64, 8, 8)
SIZES = (100_000, 230_000, 530_000, 1_220_000, 2_830_000, 6_510_000, 15_000_000)
EDGES_A_NODE = 14
WHOLE = 3_000_000  # edges up to which all heads are checked, and one beyond


def jobs(settings: Settings) -> list[Job]:
    """One for every allocator and size, up to that of the largest graph that is asked for."""
    largest = max(GRAPHS[name].edges for name in settings.graphs)
    return [
        settings.job(__name__, f"gat on {edges:,} edges", malloc, edges=edges)
        for malloc in settings.malloc
        for edges in SIZES
        if edges <= largest
    ]


def measure(job: Job) -> dict[str, Any]:
    """Time the layer on a graph with so many edges."""
    nodes = job["edges"] // EDGES_A_NODE
    size = Size(nodes, job["edges"], min(5000, nodes // 10), seed=7)
    graph = Graph(torch.from_numpy(power_law(size)), nodes)
    problem = LayerProblem(LAYER, graph, None if job["edges"] <= WHOLE else 1)
    rows = compared([problem.ours()], problem.reference, job["rounds"])
    return {"graph": {"nodes": nodes, "edges": job["edges"], "made": True}, "rows": rows}


def lines_of(records: list[Record], settings: Settings) -> dict[str, list[tuple[int, float]]]:
    """(edges, seconds) of every size, by allocator; none where fewer than two sizes were measured."""
    lines = {}
    for malloc in settings.malloc:
        mine = [(job["edges"], result["rows"][0]) for job, result in records
                if job["measure"] == __name__ and job["malloc"] == malloc]  # fmt: skip
        good = [(edges, row["times"][BOTH]["minimum"]) for edges, row in mine if passed(row)]
        if len(good) > 1:
            lines[malloc] = good
    return lines


def picture(settings: Settings) -> Path:
    """Where the picture is."""
    return settings.page.with_name(f"{settings.page.stem}_edges.png")


def pictures(records: list[Record], settings: Settings) -> None:
    """Draw the picture."""
    lines = lines_of(records, settings)
    if lines:
        draw(lines, picture(settings))


def parts(records: list[Record], settings: Settings) -> list[str]:
    """The table, the fitted exponents, and the picture."""
    lines, rows = lines_of(records, settings), []
    for malloc in settings.malloc:
        for job, result in records:
            if job["measure"] == __name__ and job["malloc"] == malloc:
                edges, row = job["edges"], result["rows"][0]
                time = row["times"][BOTH]["minimum"] if passed(row) else None
                each = "-" if time is None else f"{1e9 * time / edges:.0f}"
                rows.append((f"{edges:,}", malloc, milliseconds(row, BOTH), each, error(row)))
    if not rows:
        return []
    fits = "; ".join(f"{exponent(points):.2f} ({malloc} allocator)" for malloc, points in lines.items())
    text = [
        "### Cost against edges",
        f"Forward and backward of `gat({LAYER.in_channels}, {LAYER.channels}, heads={LAYER.heads})` on power-law "
        f"graphs with {EDGES_A_NODE} edges a node. Above {WHOLE:,} edges the check covers one head.",
        markdown_table(("edges", "allocator", "forward + backward, ms", "ns an edge", "error"), rows),
    ]
    if lines:
        text += [
            f"Time grows as edges to the power {fits}: least squares of the logarithms.",
            f"![time against edges]({picture(settings).name})",
        ]
    return text


def exponent(points: list[tuple[int, float]]) -> float:
    """The slope of log time against log edges."""
    import numpy as np

    edges, times = zip(*points, strict=True)
    return float(np.polyfit(np.log(edges), np.log(times), 1)[0])


def draw(lines: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """Time against edges, both logarithmic, a line for every allocator."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for malloc, points in lines.items():
        edges, times = zip(*points, strict=True)
        label = f"{malloc} allocator: edges to the power {exponent(points):.2f}"
        axes.loglog(edges, [1e3 * time for time in times], "o-", label=label)
    axes.set(xlabel="edges", ylabel="forward + backward, ms", title=f"GAT form, {LAYER}")
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend(frameon=False)
    saved(figure, path, dpi=150)
