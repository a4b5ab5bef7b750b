"""One job of ``edgenet bench structured``: all ways to multiply by matrices of one shape, timed and checked."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.bench.harness import report
from edgenet.bench.harness.floor import Machine, onednn, onednn_missing
from edgenet.bench.harness.timing import FORWARD, NOT_ALIKE, Implementation, passed, reason, relative_error, timed
from edgenet.bench.harness.worker import Job
from edgenet.bench.speed import compiling
from edgenet.bench.speed.structured_cases import (
    COMPILED,
    IMPLEMENTATIONS,
    LINEAR,
    ONEDNN,
    TENSORLY,
    cases,
    tensorly,
    tensorly_layer,
)
from edgenet.structured import StructuredMatrix

CHECKED = 32  # rows of a batch whose outputs are checked, spread over it
_SLICE = 1024  # rows of W that the check holds in float64


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
    load, (m, n) = [report.load_average()], job["shape"]
    clock = time.process_time if job["threads"] == 1 else time.perf_counter
    contestants, missing = _contestants((m, n), job["families"])
    machine = Machine.measured(clock)
    signals = {batch: torch.randn(batch, n) for batch in job["batches"]}
    checked = [_checked(one, signals) for one in contestants]
    timings = {batch: _timed(contestants, [cells[batch] for cells in checked], x, job["rounds"], clock)
               for batch, x in signals.items()}  # fmt: skip
    machine = machine.best(Machine.measured(clock))
    rows = []
    for number, one in enumerate(contestants):
        cells = {batch: timings[batch][number] for batch in signals}
        for batch, cell in cells.items():
            moved = one.size + 4 * batch * (n + m * (2 if one.facts.get("family") == "unitary" else 1))
            cell["floor"] = machine.floor(moved, one.multiply_adds(batch))
            cell["multiply_adds"] = one.multiply_adds(batch)
        rows.append({"name": one.name, "parameters": one.parameters, "bytes": one.size, **one.facts,
                     "batches": {str(batch): cell for batch, cell in cells.items()}})  # fmt: skip
    versions = {"python": sys.version.split()[0], "torch": str(torch.__version__)}
    with contextlib.suppress(Exception):  # which ``missing`` tells of
        versions[TENSORLY] = tensorly()
    facts = {"missing": missing, "versions": versions, "instructions": torch.backends.cpu.get_cpu_capability()}
    return {"rows": rows, "machine": machine.facts(), "load": [*load, report.load_average()], **facts}


def _contestants(shape: tuple[int, int], families: Sequence[str]) -> tuple[list[Contestant], dict[str, str]]:
    """All ways to multiply, nn.Linear first; and why some are left out."""
    m, n = shape
    linear, missing = nn.Linear(n, m, bias=False), {}
    weight = linear.weight.detach()
    plain = {"dense": lambda: weight, "parameters": m * n, "size": 4 * m * n, "multiply_adds": lambda b: b * m * n,
             "facts": {}}  # fmt: skip
    found = [Contestant(LINEAR, linear, **plain)]
    if (why := onednn_missing()) is None:
        found.append(Contestant(ONEDNN, lambda x: onednn(x, weight), **plain))
    else:
        missing[ONEDNN] = why
    found.append(Contestant(COMPILED, compiling.compiled(linear), **plain))
    for case in cases(shape, families):
        matrix = case.build(shape)
        facts = {"family": case.family, "options": case.options}
        found.append(_contestant(case.name, matrix, matrix, facts))
        if case.family != "tensor_train" or matrix.shape != _whole(matrix):  # which tensorly-torch does not pad
            continue
        try:
            tensorly()
        except Exception as error:
            missing[TENSORLY] = reason(error)
            continue
        for implementation in IMPLEMENTATIONS:
            name = f"{TENSORLY}, {case.name.partition(', ')[2]}, {implementation}"
            found.append(_contestant(name, matrix, tensorly_layer(matrix, implementation), {}))
    return found, missing


def _whole(matrix: Any) -> tuple[int, int]:
    return math.prod(matrix.out_modes), math.prod(matrix.in_modes)


def _contestant(
    name: str, matrix: StructuredMatrix, multiply: Callable[[Tensor], Tensor], facts: dict[str, Any]
) -> Contestant:
    size = matrix.bits() / 8
    return Contestant(name, multiply, matrix.to_dense, matrix.num_parameters(), size, matrix.multiply_adds, facts)


@torch.inference_mode()
def _timed(
    contestants: Sequence[Contestant],
    checked: Sequence[dict[str, Any]],
    x: Tensor,
    rounds: int,
    clock: Callable[[], float],
) -> list[dict[str, Any]]:
    """The cells of one batch: times are of those whose check passed."""
    cells, entries = [dict(cell) for cell in checked], []
    for one, cell in zip(contestants, cells, strict=True):
        if passed(cell):
            entries.append((cell, Implementation(one.name, {FORWARD: lambda one=one: one.multiply(x)}, lambda: {})))
    for (cell, _), row in zip(entries, timed([entry for _, entry in entries], rounds, clock), strict=True):
        cell |= {"failed": row["failed"], **row["times"].get(FORWARD, {})}
    return cells


@torch.inference_mode()
def _checked(one: Contestant, signals: dict[int, Tensor]) -> dict[int, dict[str, Any]]:
    """By batch, the error of each call beside the product with the dense matrix in float64, or why it cannot run.

    What a matrix derives of its parameters once is made here, and is no part of what is timed.
    """
    dense = one.dense().detach()
    wide = torch.complex128 if dense.is_complex() else torch.float64
    cells: dict[int, dict[str, Any]] = {}
    for batch, x in signals.items():
        some = torch.linspace(0, batch - 1, min(batch, CHECKED)).round().long()
        picked = x[some].to(wide)
        wanted = torch.cat([picked @ part.to(wide).t() for part in dense.split(_SLICE)], 1)
        try:
            cells[batch] = {"failed": None, "error": _error(one.multiply(x)[some], wanted)}
        except Exception as error:  # a peer may run out of memory; the others are measured all the same
            cells[batch] = {"failed": reason(error), "error": None}
    return cells


def _error(value: Tensor, wanted: Tensor) -> float:
    if value.is_complex() != wanted.is_complex():
        return NOT_ALIKE
    if wanted.is_complex():
        value, wanted = torch.view_as_real(value), torch.view_as_real(wanted.resolve_conj())
    return relative_error(value, wanted)
