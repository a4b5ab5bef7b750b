"""One training of ``edgenet bench quantised``: a row of a table at one seed, measured as it is read back from disk.

What is done is kept as JSON, a file a row and seed, beside the saved model; a row that is changed is trained anew.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgenet.bench.harness import report
from edgenet.bench.harness.kept import kept
from edgenet.compress import Callback, compress_, recalibrate_
from edgenet.compress import report as sizes
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.pretrained.folder import TENSORS
from edgenet.train import Task, fit

RESIDUAL = "admm_residual"


@dataclass(frozen=True)
class Row:
    """What is trained; all of it JSON-able.

    Attributes:
        group, name: what the page calls it.
        net: a name in the problem's networks.
        options: of the network.
        settings: tables of ``fit`` beside those of the problem.
        restated: whether the statistics of batch norms are estimated anew before every epoch is scored.
        loss: a name, where it is not that of the task.
        rounded: a plan for the trained network of the row ``of``, which is put in without any training.
        of: see ``rounded``.
    """

    group: str
    name: str
    net: str
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    restated: bool = False
    loss: str | None = None
    rounded: Mapping[str, Any] | None = None
    of: Row | None = None

    @property
    def file(self) -> str:
        """For the names of its files."""
        return re.sub(r"[^\w.]+", "-", f"{self.net} {self.group} {self.name}").strip("-")


@dataclass(frozen=True)
class Problem:
    """Data to learn from.

    Attributes:
        name: of the folder of runs.
        task: to train on, which has no test data where these are not needed on the way.
        judged: the same with test data.
        make: {net: a function of the options that makes the network}.
        settings: {net: tables of ``fit``}.
        batches: inputs for batch norms to be estimated from; none where there are no batch norms.
    """

    name: str
    task: Task
    judged: Task
    make: Mapping[str, Callable[..., nn.Module]]
    settings: Mapping[str, Mapping[str, Any]]
    batches: Callable[[], list[Any]] = list


#: (what makes the problem of a data folder, the row, seed, folder of runs, data folder)
Job = tuple[Callable[[Path | None], Problem], Row, int, Path, Path | None]


def measured(job: Job) -> dict[str, Any]:
    """The scores of a row at a seed, its bytes, and what both were measured under."""
    problem_of, row, seed, runs, root = job
    problem = problem_of(root)
    file = runs / problem.name / f"{row.file}-{seed}.json"
    known = {"row": asdict(row), "settings": tables(problem, row), "seed": seed}
    return kept(file, known, lambda: _computed(problem, row, seed, file.with_suffix(""), job))


def tables(problem: Problem, row: Row) -> dict[str, Any]:
    """The settings of a row: those of its network, with its own put over them, table by table."""
    merged = {key: dict(value) for key, value in problem.settings[row.net].items()}
    for key, value in row.settings.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, Mapping) else value
    return merged


def _computed(problem: Problem, row: Row, seed: int, folder: Path, job: Job) -> dict[str, Any]:
    start = time.process_time()
    model, result = _trained(problem, row, seed) if row.of is None else _rounded(problem, row, seed, job)
    found = stored(problem, row, model, folder)
    return {**result, **found, "seconds": time.process_time() - start, "measured": report.settings()}


def _trained(problem: Problem, row: Row, seed: int) -> tuple[nn.Module, dict[str, Any]]:
    """A network from its first numbers on."""
    torch.manual_seed(seed)
    model = problem.make[row.net](**row.options)
    rules = [Restated(problem.batches())] if row.restated else []
    found = fit(model, problem.task, tables(problem, row), rules, loss=row.loss, seed=seed, progress=False)
    pulled = [epoch[RESIDUAL] for epoch in found.history if RESIDUAL in epoch]
    numbers = {"best_epoch": found.best_epoch, "epochs": found.epochs, "val_trained": found.val}
    return found.model, {**numbers, **({"residual": pulled[-1]} if pulled else {})}


class Restated(Callback):
    """The statistics of all batch norms anew at the end of every epoch. Signs make much of small errors in them: a
    constant part of an image, its paper, is all +1 or all -1.

    Args:
        batches: inputs to estimate them from.
    """

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def after_step(self, training: Any) -> None:
        if training.step % training.task.steps == 0:
            recalibrate_(training.model, self.batches)


def _rounded(problem: Problem, row: Row, seed: int, job: Job) -> tuple[nn.Module, dict[str, Any]]:
    """The trained network of another row, rounded, with new statistics for its batch norms."""
    assert row.of is not None
    measured((job[0], row.of, seed, *job[3:]))
    model = problem.make[row.of.net](**row.of.options)
    from_pretrained(job[3] / problem.name / f"{row.of.file}-{seed}", model)
    compress_(model, dict(row.rounded or {}))
    batches = problem.batches()
    if batches:
        recalibrate_(model, batches)
    return model, {"best_epoch": 0, "epochs": 0, "val_trained": None}


def stored(problem: Problem, row: Row, model: nn.Module, folder: Path) -> dict[str, Any]:
    """A model as it is read back from disk: its scores, and its bytes there beside those that a report tells."""
    save_pretrained(model, folder)
    again = from_pretrained(folder, problem.make[row.net](**row.options))
    scores = problem.judged.evaluate(again, ("val", "test"))
    said = sizes(model).total
    return {
        "val": scores["val"].metric,
        "val_loss": scores["val"].loss,
        "test": scores["test"].metric,
        "bytes": tensor_bytes(folder / TENSORS),
        "reported": said.bytes,
        "parameters": said.parameters,
    }


def tensor_bytes(file: Path) -> int:
    """Of the tensors in a file, without the description that stands before them."""
    with file.open("rb") as content:
        head = int.from_bytes(content.read(8), "little")
    return file.stat().st_size - 8 - head
