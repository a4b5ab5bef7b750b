"""``edgenet bench memory``: peak memory of a layer, forward and backward, each in a process of its own."""

from __future__ import annotations

from typing import Any

from edgenet.bench.harness.beside import beside_the_fastest
from edgenet.bench.harness.cells import digits, error
from edgenet.bench.harness.graphs import sample
from edgenet.bench.harness.peak import high_water, settled
from edgenet.bench.harness.performance import Record, Settings
from edgenet.bench.harness.timing import BOTH, errors, passed
from edgenet.bench.harness.worker import Job
from edgenet.bench.speed.layer_problem import LayerProblem
from edgenet.bench.speed.peer_edges import Edges
from edgenet.bench.speed.peer_layers import PEER_LAYERS
from edgenet.bench.speed.reference import LayerShape
from edgenet.errors import ConfigError
from edgenet.graph import Graph
from edgenet.text import markdown_table

TITLE = "Peak memory"
GRAPH = "arxiv"
LAYERS = [LayerShape("gat", 64, 8, 8), LayerShape("gatv2", 64, 8, 8), LayerShape("gcn", 64, 64)]


def jobs(settings: Settings) -> list[Job]:
    """One for every layer and implementation, under the default allocator; ours has number 0.

    Raises:
        ConfigError: if the graph or the allocator was not asked for.
    """
    if GRAPH not in settings.graphs or "default" not in settings.malloc:
        text = f"memory is measured on {GRAPH}, under the default allocator: leave out --graphs and --malloc."
        raise ConfigError(text)
    found = []
    for shape in LAYERS:
        builds = [peer for peer, _ in PEER_LAYERS[shape.layer]]
        for number, peer in enumerate(["", *builds]):
            if not peer or peer in settings.peers:
                title = f"memory of {peer or 'edgenet'} {shape.layer} {shape} on {GRAPH}"
                options = {"graph": GRAPH, "shape": vars(shape), "implementation": number}
                found.append(settings.job(__name__, title, "default", **options))
    return found


def measure(job: Job) -> dict[str, Any]:
    """How far the process grows in its first call; what the call sorts and keeps for later counts too."""
    found = sample(job["graph"], job["data_root"])
    problem = LayerProblem(LayerShape(**job["shape"]), Graph(found.edge_index, found.num_nodes))
    if job["implementation"] == 0:
        implementation = problem.ours()
    else:
        _, build = PEER_LAYERS[job["shape"]["layer"]][job["implementation"] - 1]
        implementation = problem.peer(build(problem.shape, Edges(problem.graph)))
    name, size = implementation.name, found.facts()
    before = settled()
    results = implementation.calls[BOTH]()
    growth = None if before is None else high_water() - before
    del results
    wrong = errors(implementation.results(), problem.reference())
    row = {"name": name, "bytes": growth, "times": {}, "errors": wrong, "error": max(wrong.values()), "failed": None}
    if growth is None:
        row["failed"] = "this system does not tell a process its peak memory"
    return {"graph": size, "rows": [row]}


LIMITS = (
    "Memory of the C library's allocator in one process, on one made graph; other allocators and systems keep freed "
    "memory in other ways."
)


def claim(records: list[Record], settings: Settings) -> str:
    """What was found."""
    cases: dict[str, list[tuple[str, float]]] = {}
    for job, result in records:
        row = result["rows"][0]
        if passed(row):
            cases.setdefault(job["shape"]["layer"], []).append((row["name"], row["bytes"]))
    return beside_the_fastest(cases.values(), "peak memory, forward and backward,")


def parts(records: list[Record], settings: Settings) -> list[str]:
    """The table of peak memory."""
    own = [(job, result["rows"][0]) for job, result in records if job["measure"] == __name__]
    ours = {job["shape"]["layer"]: row for job, row in own if job["implementation"] == 0}
    rows = []
    for job, row in own:
        base = ours.get(job["shape"]["layer"])
        ratio = digits(row["bytes"] / base["bytes"]) if base and passed(base) and passed(row) else "-"
        size = f"{row['bytes'] / 1e6:.0f}" if passed(row) else "-"
        rows.append((job["graph"], str(LayerShape(**job["shape"])), row["name"], size, ratio, error(row)))
    if not rows:
        return []
    header = ("graph", "layer", "implementation", "forward + backward, MB", "× ours", "error")
    return [
        "How far a fresh process grows over what it has before its first call (VmHWM over VmRSS), default allocator; "
        "sorted copies of the edges that the call makes and keeps are part of it.",
        markdown_table(header, rows),
    ]
