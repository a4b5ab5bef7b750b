"""One hop on two threads against one, by the clock on the wall."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgenet import ops
from edgenet.bench.harness.cells import digits, error, milliseconds
from edgenet.bench.harness.graphs import sample
from edgenet.bench.harness.performance import Record, Settings
from edgenet.bench.harness.timing import BOTH, FORWARD, compared, passed
from edgenet.bench.harness.worker import Job
from edgenet.bench.speed.hop import Problem
from edgenet.text import markdown_table

GRAPHS = ("arxiv", "products8")
HEADS, CHANNELS = 8, 8


def jobs(settings: Settings) -> list[Job]:
    """One for every allocator and large graph, on machines with two cores."""
    if (os.cpu_count() or 1) < 2:
        return []
    shape = {"heads": HEADS, "channels": CHANNELS}
    return [
        settings.job(__name__, f"two threads on {graph}", malloc, threads=2, graph=graph, **shape)
        for malloc in settings.malloc
        for graph in GRAPHS
        if graph in settings.graphs
    ]


def measure(job: Job) -> dict[str, Any]:
    """Time the same call on one thread and on all that the process has, in turn."""
    found = sample(job["graph"], job["data_root"])
    problem = Problem(found.edge_index, found.num_nodes, job["heads"], job["channels"])
    before = torch.get_num_threads()

    def on(threads: int) -> Callable[[Tensor, Tensor], Tensor]:
        def call(weight: Tensor, x: Tensor) -> Tensor:
            torch.set_num_threads(threads)  # holds for the backward pass that follows, too
            return ops.spmm(problem.graph, weight, x)

        return call

    implementations = [problem.implementation(f"on {n}", on(n)) for n in (1, job["threads"])]
    try:
        rows = compared(implementations, problem.reference, job["rounds"], clock=time.perf_counter)
    finally:
        torch.set_num_threads(before)
    return {"graph": found.facts(), "rows": rows}


def parts(records: list[Record]) -> list[str]:
    """The table of two threads against one."""
    rows = []
    for job, result in records:
        if job["measure"] != __name__:
            continue
        one, two = result["rows"]
        cells = [job["graph"], job["malloc"]]
        for kind in (FORWARD, BOTH):
            cells += [milliseconds(one, kind), milliseconds(two, kind), _speedup(one, two, kind)]
        rows.append((*cells, error(max((one, two), key=lambda row: row["error"] or 0))))
    if not rows:
        return []
    one, two = "1 thread, ms", "2 threads, ms"
    header = ("graph", "allocator", f"forward, {one}", two, "speed-up", f"forward + backward, {one}", two, "speed-up")
    return [
        "### Two threads",
        f"`ops.spmm`, {HEADS} x {CHANNELS}, by the clock on the wall, which other work on the machine moves too.",
        markdown_table((*header, "error"), rows),
    ]


def _speedup(one: dict[str, Any], two: dict[str, Any], kind: str) -> str:
    if not (passed(one) and passed(two)):
        return "-"
    return digits(one["times"][kind]["minimum"] / two["times"][kind]["minimum"])
