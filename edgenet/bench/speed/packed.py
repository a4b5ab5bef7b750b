"""Speed of the packed kernels: a table of their cases, each beside a passed check and named baselines."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from edgenet.bench.harness import report, timing, worker
from edgenet.bench.harness.timing import FORWARD, Implementation
from edgenet.bench.harness.worker import MALLOC, Job
from edgenet.bench.speed.packed_case import Case

#: modules with ``cases() -> list[Case]``: what the section is called
MODULES = {
    "edgenet.bench.speed.packed_xnor": "Signs by signs",
    "edgenet.bench.speed.packed_codes": "Codes, unified blocks and coded factors",
    "edgenet.bench.speed.packed_convs": "Convolutions",
}
ROUNDS = 7
LIMITS = (
    "One machine and one thread; other sizes than those of the rows were not timed. Baselines are those that are "
    "named; a smaller network is none of them."
)
_OURS = "ours"

Record = tuple[Job, dict[str, Any]]  # a job and its result


def jobs(malloc: str = "default", modules: Mapping[str, str] | None = None) -> list[Job]:
    """One for every module of cases: a process of its own, with one thread."""
    common = {"measure": __name__, "malloc": malloc, "threads": 1, "rounds": ROUNDS}
    named = (modules or MODULES).items()
    return [{**common, "title": title, "cases": name} for name, title in named if find_spec(name)]


def measure(job: Job) -> dict[str, Any]:
    """Check and time all cases of one module."""
    load = report.load_average()
    rows = [_measured(case, job["rounds"]) for case in import_module(job["cases"]).cases()]
    return {"rows": rows, "instructions": torch.backends.cpu.get_cpu_capability(), "torch": str(torch.__version__),
            "load": [load, report.load_average()]}  # fmt: skip


def _measured(case: Case, rounds: int) -> dict[str, Any]:
    calls = {_OURS: case.ours, **case.others}
    timed = timing.timed([Implementation(name, {FORWARD: call}, lambda: {}) for name, call in calls.items()], rounds)
    cells = {row["name"]: {"failed": row["failed"], **row["times"].get(FORWARD, {})} for row in timed}
    error = None if cells[_OURS]["failed"] else timing.relative_error(case.ours(), case.check())
    return {"what": case.what, "batch": case.batch, "error": error, "tolerance": case.tolerance, "cells": cells}


def results(malloc: str = "default", modules: Mapping[str, str] | None = None) -> list[Record]:
    """Every job with its result."""
    wanted = jobs(malloc, modules)
    return list(zip(wanted, worker.all_measured(wanted), strict=True))


def claim(found: list[Record]) -> str:
    """What was found: how much faster than the fastest baseline, table by table."""
    said = []
    for job, result in found:
        ratios = [ratio for row in result.get("rows", ()) if (ratio := _least(row)) is not None]
        if ratios:
            said.append(f"{job['title'].lower()} {min(ratios):.1f} to {max(ratios):.1f}")
    if not said:
        return "Nothing was measured."
    return f"How many times faster than the fastest of the baselines, over the rows of each table: {'; '.join(said)}."


def parts(found: list[Record]) -> list[str]:
    """How it was measured, and a table for every module of cases."""
    method = _method([result for _, result in found if "failed" not in result], found[0][0]["malloc"])
    return [method, *(_table(job, result) for job, result in found)]


def _method(results: list[dict[str, Any]], malloc: str) -> str:
    facts = sorted({f"torch {result['torch']}, {result['instructions']}" for result in results})
    loads = [load for result in results for load in result["load"] if load is not None]
    busy = f", load average {min(loads):.1f} to {max(loads):.1f}" if loads else ""
    tuned = " ".join(f"{name}={value}" for name, value in MALLOC[malloc].items())
    allocator = f"`{tuned}`" if tuned else "nothing set"
    return (
        f"{'; '.join(facts)}{busy}. One thread; processor time of the process, the ways of a row in turn, one warm-up, "
        f"then up to {ROUNDS} rounds of at least {1000 * timing.SHORTEST:.0f} ms each; the least is shown. Allocator: "
        f"{allocator}. "
        f"*Ratio*: the time of the first baseline over ours, and in brackets of the fastest one. *Error*: root mean "
        f"square of the difference from the same product made in another way, over the root mean square of that."
    )


def _table(job: Job, result: dict[str, Any]) -> str:
    head = f"### {job['title']}"
    if "failed" in result:
        return f"{head}\n\n> Not measured: {result['failed']}"
    lines = [head, "", "| what | rows | ours, ms | ratio | baselines, ms | error |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *map(_line, result["rows"])])


def _line(row: dict[str, Any]) -> str:
    cells = dict(row["cells"])
    ours = cells.pop(_OURS)
    told = [f"{name}: {cell['failed'] or format(1e3 * cell['minimum'], '.3g')}" for name, cell in cells.items()]
    if ours["failed"]:
        return f"| {row['what']} | {row['batch']} | not measured: {ours['failed']} | | {'; '.join(told)} | |"
    ratios = _ratios(row)
    ratio = f"{ratios[0]:.1f} ({min(ratios):.1f})" if ratios else ""
    wrong = "" if row["error"] <= row["tolerance"] else f" **WRONG**, above {row['tolerance']:.0e}"
    return (
        f"| {row['what']} | {row['batch']} | {1e3 * ours['minimum']:.3g} | {ratio} | {'; '.join(told)} | "
        f"{row['error']:.0e}{wrong} |"
    )


def _ratios(row: dict[str, Any]) -> list[float]:
    """The time of every baseline over ours, in order; none where ours was not measured, or is wrong."""
    ours = row["cells"][_OURS]
    if ours["failed"] or row["error"] > row["tolerance"]:
        return []
    others = (cell for name, cell in row["cells"].items() if name != _OURS)
    return [cell["minimum"] / ours["minimum"] for cell in others if not cell["failed"]]


def _least(row: dict[str, Any]) -> float | None:
    return min(_ratios(row), default=None)
