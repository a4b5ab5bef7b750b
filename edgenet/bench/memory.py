"""``edgenet bench memory``: peak memory of a layer, forward and backward, each in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from pathlib import Path
from typing import Any

from edgenet.bench.graphs import sample
from edgenet.bench.layer_problem import LayerProblem
from edgenet.bench.peer_layers import PEER_LAYERS, Edges
from edgenet.bench.reference import LayerShape
from edgenet.bench.speed import Record, Settings, digits, error
from edgenet.bench.timing import BOTH, errors, passed
from edgenet.bench.worker import Job
from edgenet.errors import ConfigError
from edgenet.graph import Graph
from edgenet.text import markdown_table

TITLE = "Peak memory"
GRAPH = "arxiv"
LAYERS = [LayerShape("gat", 64, 8, 8), LayerShape("gatv2", 64, 8, 8), LayerShape("gcn", 64, 64)]
_STATUS = Path("/proc/self/status")


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
                found.append(settings.job("memory", title, "default", **options))
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


def settled() -> int | None:
    """Bytes in use, with memory that was freed handed back and the peak set to now; None where the system has no such
    thing."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that the process still has would hide what the call takes
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _memory("VmRSS")
    except (OSError, TypeError):
        return None


def high_water() -> int:
    """Bytes that the process had at most since ``settled``."""
    return _memory("VmHWM")


def _memory(name: str) -> int:
    """Bytes that the system counts under this name for the process."""
    return 1024 * int(re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)[1])


def parts(records: list[Record], settings: Settings) -> list[str]:
    """The table of peak memory."""
    own = [(job, result["rows"][0]) for job, result in records if job["measure"] == "memory"]
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
