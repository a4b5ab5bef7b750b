"""One training of the copying part of ``edgenet bench recurrent``: a network on a task of long memory, at one seed.

Every iteration draws new sequences. A training ends when its task is solved, so that it costs no more than that takes.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from edgenet.bench.harness import report
from edgenet.bench.harness.kept import kept
from edgenet.compress import EndWhen
from edgenet.data import adding_problem, copying_memory
from edgenet.data.fresh_batches import DRAWN, fresh
from edgenet.models import Sequence
from edgenet.nn import UnitaryRNN
from edgenet.train import Batch, Metric, Task, fit

EVERY = 20  # iterations of an epoch, after which the validation sequences are looked at
VALIDATION, TEST = 100, 1000  # sequences
RULES = {"RMSprop": partial(torch.optim.RMSprop, alpha=0.9), "Adam": partial(torch.optim.Adam, betas=(0.9, 0.99))}
LOWEST = 0.02  # share of the rate at the end of the cosine
SOLVED = {"copying_memory": 0.05, "adding_problem": 0.01}  # share of the baseline; mean squared error


@dataclass(frozen=True)
class Row:
    """What is trained.

    Attributes:
        task: "copying_memory" or "adding_problem".
        length: of the wait, or of the sequence.
        net: "unitary" or "lstm".
        hidden: numbers of its state, complex ones or real ones.
        iterations: at most; a multiple of 20.
        rule: "RMSprop", whose decay is 0.9, or "Adam", (0.9, 0.99), whose rate falls by a cosine.
        rate: of the rule.
        batch: sequences of an iteration.
        most_seeds: trained with no more than so many seeds, as it takes long and says little.
    """

    task: str
    length: int
    net: str
    hidden: int
    iterations: int = 1500
    rule: str = "RMSprop"
    rate: float = 1e-3
    batch: int = 20
    most_seeds: int = 3

    @property
    def file(self) -> str:
        """For the names of its files."""
        return f"{self.task}-{self.length}-{self.net}-{self.hidden}-{self.rule}-{self.rate:g}-{self.batch}"

    @property
    def clipped(self) -> bool:
        """Whether gradients are clipped to length 1: all but those of unitary networks under RMSprop, as published."""
        return self.net == "lstm" or self.rule == "Adam"

    @property
    def option(self) -> dict[str, int]:
        """Of the task."""
        return {"wait" if self.task == "copying_memory" else "length": self.length}


def baseline(row: Row) -> float:
    """Loss of who has no memory."""
    return copying_memory.baseline(row.length) if row.task == "copying_memory" else adding_problem.BASELINE


def network(row: Row) -> nn.Module:
    """The network of a row, with new numbers."""
    features, scores = (10, 9) if row.task == "copying_memory" else (2, 1)
    if row.net == "unitary":
        return UnitaryRNN(features, row.hidden, scores, batch_first=True)
    return Sequence(features, scores, cell="lstm", hidden_channels=row.hidden)


def lstm_width(row: Row) -> int:
    """The narrowest LSTM with at least as many parameters as a unitary row."""
    wanted, features, scores = parameters(network(row)), *((10, 9) if row.task == "copying_memory" else (2, 1))
    width = 1
    while 4 * width * (features + width + 2) + scores * (width + 1) < wanted:
        width += 1
    return width


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def task_of(row: Row, judged: bool = False) -> Task:
    """Fresh batches to train on, and sequences to validate by, which are the same for all seeds.

    Args:
        judged: whether there are sequences to test by, too.
    """
    generator = torch.Generator().manual_seed(10_000)
    draw = partial(DRAWN[row.task], generator=generator, **row.option)
    val = TensorDataset(*draw(VALIDATION))
    copying = row.task == "copying_memory"
    return Task(
        fresh(row.task, row.batch, EVERY, **row.option),
        val,
        TensorDataset(*draw(TEST)) if judged else None,
        loss="cross_entropy" if copying else "mse",
        metric=Metric.function(copying_memory.recall, "recall") if copying else "rmse",
        name=row.task,
        call=scores_of,
    )


def scores_of(model: nn.Module, batch: Batch) -> Tensor:
    """Scores of every step of copying, (B, T, 9); of the last step of adding, (B,)."""
    (x,) = batch.whole
    copying = not x.is_floating_point()
    if isinstance(model, UnitaryRNN):
        scores = model(x)[0]
    else:
        scores = model(F.one_hot(x, 10).to(next(model.parameters()).dtype) if copying else x)
    return scores if copying else scores[:, -1, 0]


def measured(job: tuple[Row, int, Path]) -> dict[str, Any]:
    """Whether and when a row at a seed solves its task, from the folder of runs where that is known."""
    row, seed, runs = job
    known = {"row": asdict(row), "seed": seed}
    return kept(runs / "copying" / f"{row.file}-{seed}.json", known, lambda: _computed(row, seed))


def _computed(row: Row, seed: int) -> dict[str, Any]:
    start = time.process_time()
    torch.manual_seed(seed)
    model, base = network(row), baseline(row)
    if row.task == "copying_memory":
        end = EndWhen({"loss": SOLVED[row.task] * base}, {"val": 1.0})
    else:
        end = EndWhen({"val_loss": SOLVED[row.task]})
    found = fit(
        model,
        task_of(row),
        {"scheduler": {"name": "cosine", "lowest": LOWEST}} if row.rule == "Adam" else {},
        optimizer=partial(RULES[row.rule], lr=row.rate),
        callbacks=[end],
        epochs=row.iterations // EVERY,
        clip_norm=1.0 if row.clipped else 0.0,
        seed=seed,
        progress=False,
    )
    seconds = time.process_time() - start
    judged = task_of(row, judged=True)
    judged.prepare(torch.device("cpu"), torch.get_default_dtype())
    score = judged.evaluate(model, ("test",))["test"]
    last = [record["loss"] for record in found.history][-10:]
    return {
        "solved": end.met,
        "iterations": found.epochs * EVERY,
        "loss": last[-1] if end.met else sum(last) / len(last),
        "lowest": min(record["loss"] for record in found.history),
        "test": score.metric,
        "test_loss": score.loss,
        "parameters": parameters(model),
        "seconds": seconds,
        "measured": report.settings(),
    }
