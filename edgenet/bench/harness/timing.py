"""Timing of implementations beside each other, and the check that they compute the same."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

LIMIT = 1e-5  # of the relative error in float32 that passes
SHORTEST = 0.02  # seconds; quicker calls are repeated until one measurement takes so long
BUDGET = 45.0  # seconds of all rounds of one case, unless three rounds take longer
FEWEST = 3  # rounds
NOT_ALIKE = 1e9  # the error of results that cannot be compared; JSON has no infinity
FORWARD, BOTH = "forward", "forward + backward"  # what is timed

Results = dict[str, Tensor]  # the value and the gradients of one call, by name


@dataclass(frozen=True)
class Implementation:
    """One way to compute what is compared.

    Attributes:
        name: as the table has it.
        calls: what is timed, by name ("forward", ...).
        results: makes one more call; its value and gradients, in our shapes.
    """

    name: str
    calls: dict[str, Callable[[], object]]
    results: Callable[[], Results]


def compared(
    implementations: Sequence[Implementation],
    reference: Callable[[], Results],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> list[dict[str, Any]]:
    """Check each implementation against the reference, and then time those that pass.

    Returns:
        For each a JSON-able row: name; times, by call the minimum, the median and all ``seconds``; errors, by result;
        error, the worst of them; failed, None or why it could not run.
    """
    wanted = reference()
    rows = [checked(implementation, wanted) for implementation in implementations]
    del wanted
    gc.collect()
    good = [at for at, row in enumerate(rows) if passed(row)]
    for at, row in zip(good, timed([implementations[at] for at in good], rounds, clock), strict=True):
        rows[at] |= {"times": row["times"], "failed": row["failed"]}
    return rows


def checked(implementation: Implementation, wanted: Results) -> dict[str, Any]:
    """The row of an implementation that nothing was timed of yet."""
    row = _row(implementation)
    try:
        row["errors"] = errors(implementation.results(), wanted, BOTH in implementation.calls)
        row["error"] = max(row["errors"].values(), default=0.0)
    except Exception as error:  # a peer may run out of memory; the others are measured all the same
        row["failed"] = reason(error)
    return row


def timed(
    implementations: Sequence[Implementation], rounds: int, clock: Callable[[], float] = time.process_time
) -> list[dict[str, Any]]:
    """Seconds of every call: two to warm up, then rounds A B C A B C ..., so that all meet the same neighbours."""
    rows: list[dict[str, Any]] = []
    calls: list[tuple[dict[str, Any], Callable[[], object]]] = []
    for implementation in implementations:
        row = _row(implementation)
        rows.append(row)
        try:
            for kind, call in implementation.calls.items():
                row["times"][kind] = {"repeats": _repeats(call, clock), "seconds": []}
        except Exception as error:  # a peer may run out of memory; the others are measured all the same
            row["times"], row["failed"] = {}, reason(error)
            continue
        calls += [(row["times"][kind], call) for kind, call in implementation.calls.items()]
    gc.disable()
    try:
        spent, done = 0.0, 0
        while done < rounds and (done < FEWEST or spent * (done + 1) / done <= BUDGET):
            for entry, call in calls:
                start = clock()
                for _ in range(entry["repeats"]):
                    call()
                seconds = clock() - start
                entry["seconds"].append(seconds / entry["repeats"])
                spent += seconds
            done += 1
    finally:
        gc.enable()
    for entry, _ in calls:
        entry["minimum"], entry["median"] = min(entry["seconds"]), median(entry["seconds"])
    return rows


def _repeats(call: Callable[[], object], clock: Callable[[], float]) -> int:
    """Warm up; how many calls make one measurement."""
    call()  # sorts edges, fills caches, compiles
    start = clock()
    call()
    return max(1, math.ceil(SHORTEST / max(clock() - start, 1e-6)))


def _row(implementation: Implementation) -> dict[str, Any]:
    return {"name": implementation.name, "times": {}, "errors": {}, "error": None, "failed": None}


def reason(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def forward(function: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], Tensor]:
    """The call without gradients."""

    def call() -> Tensor:
        with torch.no_grad():
            return function(*inputs)

    return call


def forward_backward(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], leaves: Sequence[Tensor], direction: Tensor
) -> Callable[[], tuple[Tensor, tuple[Tensor, ...]]]:
    """The call, and the gradients of its inner product with ``direction`` in all leaves."""

    def call() -> tuple[Tensor, tuple[Tensor, ...]]:
        y = function(*inputs)
        return y.detach(), torch.autograd.grad(y, leaves, direction)

    return call


# ---------------------------------------------------------------- the check
def errors(results: Results, wanted: Results, every: bool = True) -> dict[str, float]:
    """The relative error of each result; with ``every``, results that are lacking are wrong too.

    Raises:
        KeyError: if a result is none of those wanted.
    """
    lacking = {name: NOT_ALIKE for name in wanted if every and name not in results}
    return {name: relative_error(value, wanted[name]) for name, value in results.items()} | lacking


@torch.no_grad()
def relative_error(value: Tensor, wanted: Tensor) -> float:
    """Root mean square of the difference, over that of ``wanted``."""
    if value.shape != wanted.shape:
        return NOT_ALIKE
    size = wanted.double().norm().item()
    difference = (value.double() - wanted).norm().item()
    if not math.isfinite(difference):
        return NOT_ALIKE
    return min(difference / size, NOT_ALIKE) if size else (0.0 if difference == 0 else NOT_ALIKE)


def passed(row: dict[str, Any]) -> bool:
    """Whether a row was measured, and its check passed."""
    return row["failed"] is None and row["error"] is not None and row["error"] <= LIMIT
