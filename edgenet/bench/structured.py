"""``edgenet bench structured``: forward time of structured matrices beside dense products and tensorly-torch."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.bench import report, structured_page, worker
from edgenet.bench.floor import Machine, onednn, onednn_missing
from edgenet.bench.structured_cases import IMPLEMENTATIONS, LINEAR, ONEDNN, cases, tensorly, tensorly_layer
from edgenet.bench.timing import FORWARD, LIMIT, NOT_ALIKE, Implementation, relative_error, timed
from edgenet.bench.worker import MALLOC, Job
from edgenet.errors import ConfigError
from edgenet.structured import STRUCTURES, StructuredMatrix

CHECKED = 32  # rows of a batch whose outputs are checked, spread over it
_SLICE = 1024  # rows of W that the check holds in float64


# ---------------------------------------------------------------- the command
def run(options: argparse.Namespace) -> int:
    """Measure, and write the page, and the raw numbers if asked to.

    Returns:
        The exit code: 1 if a check failed or something could not be measured, which the page says too.
    """
    shapes = [_shape(text) for text in _listed("shapes", options.shapes)]
    batches, threads = (_numbers(name, getattr(options, name)) for name in ("batches", "threads"))
    families = list(STRUCTURES) if options.families is None else _listed("families", options.families)
    for name, chosen, known in (("families", families, STRUCTURES), ("malloc", [options.malloc], MALLOC)):
        for one in chosen:
            if one not in known:
                raise ConfigError(f"--{name} has {one!r}; there are {', '.join(known)}.")
    if options.rounds < 1:
        raise ConfigError(f"--rounds is at least 1, got {options.rounds}.")
    common = {"measure": "structured", "malloc": options.malloc, "rounds": options.rounds, "families": families}
    jobs = [
        {**common, "title": f"{n} -> {m}, threads: {t}", "shape": [m, n], "threads": t, "batches": batches}
        for t in threads
        for m, n in shapes
    ]
    load, start = _load(), time.time()
    results = worker.all_measured(jobs)
    records = list(zip(jobs, results, strict=True))
    problems = _problems(records)
    text = structured_page.page(records, problems, load, time.time() - start, options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    print(f"{text}\nwritten: {options.out}")
    if options.json is not None:
        raw = {"command": report.command(), "processor": report.processor(), "cores": os.cpu_count(), "load": load,
               "records": [{"job": job, "result": result} for job, result in records]}  # fmt: skip
        options.json.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
        print(f"written: {options.json}")
    for problem in problems:
        print(f"edgenet: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _listed(option: str, text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigError(f"--{option} names none.")
    return names


def _numbers(option: str, text: str) -> list[int]:
    names = _listed(option, text)
    for name in names:
        if not name.isdecimal() or int(name) < 1:
            raise ConfigError(f"--{option} are whole numbers from 1, got {name!r}.")
    return [int(name) for name in names]


def _shape(text: str) -> tuple[int, int]:
    """(m, n) of INxOUT."""
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError(f"--shapes are INxOUT, as in 1024x4096, got {text!r}.")
    return int(sides[1]), int(sides[0])


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _problems(records: Sequence[tuple[Job, dict[str, Any]]]) -> list[str]:
    problems = []
    for job, result in records:
        if "failed" in result:
            problems.append(f"Not measured: {job['title']}: {result['failed']}")
            continue
        for row in result["rows"]:
            for batch, cell in row["batches"].items():
                where = f"{row['name']} in {job['title']}, batch {batch}"
                if cell["failed"] is not None:
                    problems.append(f"Not measured: {where}: {cell['failed']}")
                elif cell["error"] > LIMIT:
                    problems.append(f"WRONG: {where}: the error is {cell['error']:.1e}")
    return problems


# ---------------------------------------------------------------- in the worker
@dataclass(frozen=True)
class Contestant:
    """One way to multiply.

    Attributes:
        name: as the table has it.
        multiply: x (batch, n) -> (batch, m).
        dense: makes the matrix that it multiplies by, for the check.
        parameters: trainable numbers.
        size: bytes at rest.
        multiply_adds: for a batch of so many rows.
        facts: what the page says of it, JSON-able.
    """

    name: str
    multiply: Callable[[Tensor], Tensor]
    dense: Callable[[], Tensor]
    parameters: int
    size: float
    multiply_adds: Callable[[int], int]
    facts: dict[str, Any]


def measure(job: Job) -> dict[str, Any]:
    """Time all ways to multiply by matrices of one shape at all batch sizes, and check each."""
    torch.manual_seed(0)
    load, (m, n) = [_load()], job["shape"]
    clock = time.process_time if job["threads"] == 1 else time.perf_counter
    contestants, missing = _contestants((m, n), job["families"])
    machine = Machine.measured(clock)
    signals = {batch: torch.randn(batch, n) for batch in job["batches"]}
    timings = {batch: _timed(contestants, x, job["rounds"], clock) for batch, x in signals.items()}
    machine = machine.best(Machine.measured(clock))
    rows = []
    for number, one in enumerate(contestants):
        cells = {batch: timings[batch][number] for batch in signals}
        _check_(one, signals, cells)
        for batch, cell in cells.items():
            moved = one.size + 4 * batch * (n + m * (2 if one.facts.get("family") == "unitary" else 1))
            cell["floor"] = machine.floor(moved, one.multiply_adds(batch))
            cell["multiply_adds"] = one.multiply_adds(batch)
        rows.append({"name": one.name, "parameters": one.parameters, "bytes": one.size, **one.facts,
                     "batches": {str(batch): cell for batch, cell in cells.items()}})  # fmt: skip
    versions = {"python": sys.version.split()[0], "torch": str(torch.__version__)}
    with contextlib.suppress(Exception):  # which ``missing`` tells of
        versions["tensorly-torch"] = tensorly()
    facts = {"missing": missing, "versions": versions, "instructions": torch.backends.cpu.get_cpu_capability()}
    return {"rows": rows, "machine": machine.facts(), "load": [*load, _load()], **facts}


def _contestants(shape: tuple[int, int], families: Sequence[str]) -> tuple[list[Contestant], dict[str, str]]:
    """All ways to multiply, nn.Linear first; and why some are left out."""
    m, n = shape
    linear, missing = nn.Linear(n, m, bias=False), {}
    weight = linear.weight.detach()
    plain = {"dense": lambda: weight, "parameters": m * n, "size": 4 * m * n, "multiply_adds": lambda b: b * m * n,
             "facts": {}}  # fmt: skip
    found = [Contestant(LINEAR, linear, **plain)]
    if (reason := onednn_missing()) is None:
        found.append(Contestant(ONEDNN, lambda x: onednn(x, weight), **plain))
    else:
        missing[ONEDNN] = reason
    for case in cases(shape, families):
        matrix = case.build(shape)
        facts = {"family": case.family, "options": case.options}
        found.append(_contestant(case.name, matrix, matrix, facts))
        if case.family != "tensor_train" or matrix.shape != _whole(matrix):  # which tensorly-torch does not pad
            continue
        try:
            tensorly()
        except Exception as error:
            missing["tensorly-torch"] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            continue
        for implementation in IMPLEMENTATIONS:
            name = f"tensorly-torch, {case.name.partition(', ')[2]}, {implementation}"
            found.append(_contestant(name, matrix, tensorly_layer(matrix, implementation), {}))
    return found, missing


def _whole(matrix: Any) -> tuple[int, int]:
    return math.prod(matrix.out_modes), math.prod(matrix.in_modes)


def _contestant(name: str, matrix: StructuredMatrix, multiply: nn.Module, facts: dict[str, Any]) -> Contestant:
    size = matrix.bits() / 8
    return Contestant(name, multiply, matrix.to_dense, matrix.num_parameters(), size, matrix.multiply_adds, facts)


@torch.inference_mode()
def _timed(
    contestants: Sequence[Contestant], x: Tensor, rounds: int, clock: Callable[[], float]
) -> list[dict[str, Any]]:
    entries = []
    for one in contestants:
        with contextlib.suppress(Exception):  # which ``timed`` meets again, and tells of
            one.multiply(x)  # what is derived of parameters once is no part of the first warm-up
        entries.append(Implementation(one.name, {FORWARD: lambda one=one: one.multiply(x)}, lambda: {}))
    return [{"failed": row["failed"], **row["times"].get(FORWARD, {})} for row in timed(entries, rounds, clock)]


@torch.inference_mode()
def _check_(one: Contestant, signals: dict[int, Tensor], cells: dict[int, dict[str, Any]]) -> None:
    """Compare each call with the product with the dense matrix in float64, and write the error into its cell."""
    dense = one.dense().detach()
    for batch, x in signals.items():
        if cells[batch]["failed"] is not None:
            cells[batch]["error"] = None
            continue
        some = torch.linspace(0, batch - 1, min(batch, CHECKED)).round().long()
        wide = torch.complex128 if dense.is_complex() else torch.float64
        picked = x[some].to(wide)
        wanted = torch.cat([picked @ part.to(wide).t() for part in dense.split(_SLICE)], 1)
        cells[batch]["error"] = _error(one.multiply(x)[some], wanted)


def _error(value: Tensor, wanted: Tensor) -> float:
    if value.is_complex() != wanted.is_complex():
        return NOT_ALIKE
    if wanted.is_complex():
        value, wanted = torch.view_as_real(value), torch.view_as_real(wanted.resolve_conj())
    return relative_error(value, wanted)
