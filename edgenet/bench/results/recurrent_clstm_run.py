"""One training of the section on C-LSTM: an LSTM in blocks of one size, or of sizes chosen, that labels frames.

What is done is kept as JSON, a file a row and seed, beside the saved model; a row that is changed is trained anew.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from edgenet.bench.harness import report
from edgenet.bench.harness.kept import kept
from edgenet.clstm import LstmShape, choose_block_sizes
from edgenet.clstm.google import in_blocks, parameters
from edgenet.data import Dataset, load
from edgenet.models import Sequence
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.train import Task, fine_tune, fit

SIDE = 14  # pixels of a frame
BATCH, RATE = 16, 0.01
TUNING = {"epochs": 4, "lr": 0.005, "batch_size": BATCH}  # of a network whose blocks were chosen
POINTS = 6  # networks that may be tuned, about


@dataclass(frozen=True)
class Row:
    """What is trained; all of it JSON-able.

    Attributes:
        block: size of the blocks of every matrix, trained from scratch; None: sizes chosen for the trained dense
            network.
        max_drop: accuracy on the validation sequences that the choice may cost.
        cells, projection, layers: of the Google LSTM, made smaller.
        epochs: of training from scratch.
    """

    block: int | None
    max_drop: float | None = None
    cells: int = 64
    projection: int = 32
    layers: int = 2
    epochs: int = 12

    @property
    def file(self) -> str:
        """For the names of its files."""
        return f"chosen-{self.max_drop}" if self.block is None else f"blocks-of-{self.block}"

    def shapes(self) -> tuple[LstmShape, ...]:
        """Of the layers, dense."""
        widths = (SIDE, *(self.projection,) * (self.layers - 1))
        return tuple(LstmShape(width, self.cells, self.projection, peepholes=True) for width in widths)


#: (the row, seed, folder of runs, data folder)
Job = tuple[Row, int, Path, Path | None]


def measured(job: Job) -> dict[str, Any]:
    """Accuracy of a row at a seed, its size, and the time it took."""
    row, seed, runs, _ = job
    file = runs / "clstm" / f"{row.file}-{seed}.json"
    return kept(file, {"row": asdict(row), "seed": seed}, lambda: _computed(job, file.with_suffix("")))


def network(row: Row, outputs: int = 10) -> Sequence:
    """The LSTM of a row, drawn anew: entries of every matrix have the same variance, whatever its blocks."""
    model = Sequence(
        SIDE, outputs, hidden_channels=row.cells, num_layers=row.layers, proj_size=row.projection, peepholes=True,
        structure={"structure": "block_circulant", "block": row.block} if row.block and row.block > 1 else None,
    )  # fmt: skip
    model.rnn.reset_parameters()
    return model


@lru_cache(maxsize=1)
def frames(root: Path | None) -> Dataset:
    """The data."""
    return load("frame_labels", root=root, side=SIDE)


def _computed(job: Job, folder: Path) -> dict[str, Any]:
    row, seed, _, root = job
    data = frames(root)
    start = time.process_time()
    model, more = _trained(row, seed, data) if row.block is not None else _chosen(job, data)
    seconds = time.process_time() - start
    save_pretrained(model, folder)
    again = from_pretrained(folder)
    scores = Task.of(data).evaluate(again, ("val", "test"))
    return {
        **{split: score.metric for split, score in scores.items()},
        "parameters": sum(p.numel() for p in again.parameters()),
        **more,
        "seconds": seconds,
        "measured": report.settings(),
    }


def _trained(row: Row, seed: int, data: Dataset) -> tuple[Sequence, dict[str, Any]]:
    torch.manual_seed(seed)
    model = network(row, data.num_outputs)
    task = Task.of(Task.of(data), test=None)
    settings = {"training": {"epochs": row.epochs, "batch_size": BATCH}, "optimizer": {"lr": RATE}}
    found = fit(model, task, settings, seed=seed, progress=False)
    counted = parameters(in_blocks(row.shapes(), row.block or 1), data.num_outputs)
    return model, {"best_epoch": found.best_epoch, "counted": counted}


def _chosen(job: Job, data: Dataset) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Of the trained dense network of the same seed, which is judged by its validation sequences."""
    row, seed, runs, root = job
    assert row.max_drop is not None
    dense = Row(1, None, row.cells, row.projection, row.layers, row.epochs)
    measured((dense, seed, runs, root))
    model = from_pretrained(runs / "clstm" / f"{dense.file}-{seed}")
    task = Task.of(Task.of(data), test=None)
    found = choose_block_sizes(
        model, row.max_drop, lambda other: task.evaluate(other, ("val",))["val"].metric, blocks=(2, 4, 8, 16),
        fine_tune=lambda small: fine_tune(small, task, seed=seed, progress=False, **TUNING),
        points=POINTS, seed=seed, progress=False,
    )  # fmt: skip
    costs = {"before": found.before, "after": found.after}
    return found.model, {
        "blocks": found.blocks,
        "together": [list(group) for group in found.together],
        "satisfied": found.satisfied,
        "text": found.search.text,
        **{name: [asdict(cost) for cost in which.values()] for name, which in costs.items()},
    }
