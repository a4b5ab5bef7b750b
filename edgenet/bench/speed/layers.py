"""``edgenet bench layers``: whole layers beside PyG's and DGL's, with the same parameters."""

from __future__ import annotations

from typing import Any

from edgenet.bench.harness.beside import beside_the_fastest, times
from edgenet.bench.harness.cells import error, milliseconds
from edgenet.bench.harness.graphs import sample
from edgenet.bench.harness.performance import Record, Settings, described
from edgenet.bench.harness.timing import BOTH, FORWARD, compared
from edgenet.bench.harness.worker import Job
from edgenet.bench.speed import dense_filter, fastest
from edgenet.bench.speed.layer_problem import LayerProblem
from edgenet.bench.speed.reference import LayerShape
from edgenet.graph import Graph
from edgenet.text import markdown_table

TITLE = "Layers"
_SMALL, _WIDE = ("cora", "arxiv"), ("ppi",)
#: (layer, the graphs it is measured on)
LAYERS = [
    (LayerShape("gat", 64, 8, 8), _SMALL),
    (LayerShape("gat", 50, 256, 4), _WIDE),
    (LayerShape("gatv2", 64, 8, 8), _SMALL),
    (LayerShape("gatv2", 50, 256, 4), _WIDE),
    (LayerShape("gcn", 64, 64), _SMALL),
    (LayerShape("gcn", 50, 1024), _WIDE),
    (LayerShape("tag", 64, 64), _SMALL),
    (LayerShape("tag", 50, 64), _WIDE),
]


def jobs(settings: Settings) -> list[Job]:
    """One for every layer, graph and allocator; then those of the dense filter."""
    found = []
    for malloc in settings.malloc:
        for shape, graphs in LAYERS:
            for graph in graphs:
                if graph in settings.graphs:
                    title = f"{shape.layer} {shape} on {graph}"
                    found.append(settings.job(__name__, title, malloc, graph=graph, shape=vars(shape)))
    return found + dense_filter.jobs(settings)


def measure(job: Job) -> dict[str, Any]:
    """Time ours and the peers' layers on one graph."""
    found = sample(job["graph"], job["data_root"])
    problem = LayerProblem(LayerShape(**job["shape"]), Graph(found.edge_index, found.num_nodes))
    rows = compared(problem.implementations(job["peers"]), problem.reference, job["rounds"])
    return {"graph": found.facts(), "rows": rows}


LIMITS = (
    "Made graphs have the sizes of published ones and not their neighbourhoods. One thread: the others may share work "
    "among threads in other ways."
)


def claim(records: list[Record], settings: Settings) -> str:
    """What was found."""
    own = [result["rows"] for job, result in records if job["measure"] == __name__]
    found = [beside_the_fastest((times(rows, kind) for rows in own), what)
             for kind, what in ((BOTH, "forward and backward"), (FORWARD, "forward alone"))]  # fmt: skip
    return " ".join(found)


def parts(records: list[Record], settings: Settings) -> list[str]:
    """The section's paragraphs and tables."""
    own = [record for record in records if record[0]["measure"] == __name__]
    text = [
        "Gradients are those in the input and in all parameters. All layers hold the same parameters and take the same "
        "dense input. edgenet is given the same `edge_index` every time: what it sorts, adds and normalises at its "
        "first call, a warm-up, is kept and not timed again. In all of PyG's forms but `edge_index`, self-loops and "
        "normalised weights are made beforehand and edges are sorted by target; there `GCNConv` caches its "
        "normalisation. Self-loops are in DGL's graphs beforehand. DGL is told the degrees that edgenet and PyG "
        "normalise by: in-degrees, of which 0 counts as infinite.",
        described(own, settings),
    ]
    for malloc in settings.malloc:
        mine = [(job, result["rows"]) for job, result in own if job["malloc"] == malloc]
        if mine:
            text += _tables(mine, malloc)
    return [*text, *dense_filter.parts(records)]


def _tables(measured: list[tuple[Job, list[fastest.Row]]], malloc: str) -> list[str]:
    """The fastest of each, forward and backward; then every form."""
    short, every = [], []
    for job, rows in measured:
        where = (job["graph"], f"`{job['shape']['layer']}` {LayerShape(**job['shape'])}")
        short.append((*where, *fastest.beside(rows, FORWARD, ()), *fastest.beside(rows, BOTH)))
        for row in rows:
            times = [cell for kind in (FORWARD, BOTH)
                     for cell in (milliseconds(row, kind), fastest.ratio(row, rows[0], kind))]  # fmt: skip
            every.append((*where[:1], str(LayerShape(**job["shape"])), row["name"], *times, error(row)))
    header = ("graph", "layer", *fastest.columns("forward, ms", ()), *fastest.columns("forward + backward, ms"))
    names = ("graph", "layer", "implementation", "forward, ms", "× edgenet", "forward + backward, ms", "× edgenet")
    return [
        f"### Layers, {malloc} allocator",
        markdown_table(header, short),
        f"Forward: {fastest.losses(short, 2)}",
        f"Forward and backward: {fastest.losses(short, 2, 7)}",
        f"### Every form, {malloc} allocator",
        markdown_table((*names, "error"), every),
    ]
