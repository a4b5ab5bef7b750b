"""One training of a character model: a row at one seed, scored as it is read back from disk.

What is done is kept as JSON, a file a row and seed, beside the saved model; a row that is changed is trained anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenet.bench.harness import report
from edgenet.bench.harness.kept import kept
from edgenet.bench.results.quantised_run import tensor_bytes
from edgenet.bench.results.recurrent_characters_rows import Row
from edgenet.compress import compress_
from edgenet.data import Dataset, load
from edgenet.errors import ShapeError
from edgenet.models import Sequence
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.pretrained.folder import TENSORS
from edgenet.structured import StructuredMatrix, family
from edgenet.train import DivergenceError, Streams, Task, fit

STREAMS, LENGTH, EPOCH = 32, 64, 100  # sequences read at once, characters of a chunk, iterations of an epoch
CLIP, LOWEST = 1.0, 0.01  # longest gradient; share of the rate at the end of the cosine
SCORED = 50  # streams that the tail is scored in, each from a state of zeros

#: (the row, seed, rate, iterations, folder of runs, data folder)
Job = tuple[Row, int, float, int, Path, Path | None]


def measured(job: Job, compute: Callable[[Job, Path], dict[str, Any]] | None = None) -> dict[str, Any]:
    """Bits a character of a row at a seed, its sizes, and the time it took."""
    row, seed, rate, iterations, runs, _ = job
    file = runs / "characters" / f"{row.file}-{iterations}-{rate}-{seed}.json"
    known = {"row": asdict(row), "rate": rate, "iterations": iterations, "seed": seed}
    return kept(file, known, lambda: (compute or _computed)(job, file.with_suffix("")))


def tried(job: Job) -> dict[str, Any]:
    """The same of a rate that is only tried: one that diverges costs infinitely many bits."""
    return measured(job, _computed_if_it_ends)


def _computed_if_it_ends(job: Job, folder: Path) -> dict[str, Any]:
    try:
        return _computed(job, folder)
    except (DivergenceError, ShapeError) as error:  # a state that is no number is a ShapeError
        return {"val": math.inf, "why": str(error), "measured": report.settings()}


def _computed(job: Job, folder: Path) -> dict[str, Any]:
    torch.set_flush_denormal(True)  # saturated gates leave gradients near 1e-40, with which a step takes 3 to 10 times
    try:
        return _trained(job, folder)
    finally:
        torch.set_flush_denormal(False)


def _trained(job: Job, folder: Path) -> dict[str, Any]:
    row, seed, rate, iterations, _, root = job
    text = characters(root)
    torch.manual_seed(seed)
    model, start = character_model(row, text), time.process_time()
    fit(
        model,
        Task(Streams.of(text.train[0], streams=STREAMS, length=LENGTH, steps=EPOCH), metric="loss", name=text.name),
        {
            "training": {"epochs": max(1, iterations // EPOCH), "clip_norm": CLIP},
            "scheduler": {"name": "cosine", "warmup": min(1, iterations // EPOCH - 1), "lowest": LOWEST},
            "callback": row.callbacks,
        },
        optimizer=partial(torch.optim.Adam, lr=rate, betas=(0.9, 0.99), fused=True),
        seed=seed,
        progress=False,
    )
    seconds = time.process_time() - start
    save_pretrained(model, folder)
    again = from_pretrained(folder)
    matrix = map_of(model)
    return {
        **{split: score.metric for split, score in scored(text).evaluate(again, ("val", "test")).items()},
        "map": matrix.num_parameters(),
        "map_bytes": matrix.bits() / 8,
        "parameters": sum(p.numel() for p in model.parameters())
        - sum(p.numel() for p in matrix.parameters())
        + matrix.num_parameters(),
        "bytes": tensor_bytes(folder / TENSORS),
        "step": 1000 * seconds / iterations,
        "seconds": seconds,
        "measured": report.settings(),
    }


@lru_cache(maxsize=1)
def characters(root: Path | None) -> Dataset:
    """The text."""
    return load("tinyshakespeare", root=root)


def scored(text: Dataset) -> Task:
    """What is judged: all of the validation slice and of the tail, read on from beginning to end."""
    pieces = {split: getattr(text, split)[0] for split in ("train", "val", "test")}
    streams = {
        split: Streams.of(piece, streams=SCORED, length=min(1000, piece.x.numel() // SCORED))
        for split, piece in pieces.items()
    }
    return Task(**streams, metric="bits", name=text.name)


def character_model(row: Row, text: Dataset) -> Sequence:
    """The LSTM of a row, drawn anew: entries of the map of every family have the same variance, and the gate that
    forgets begins open, with a bias of 1."""
    model = Sequence(
        text.num_features, text.num_outputs, hidden_channels=row.hidden, embedding=row.embedding, stacked=True
    )
    if row.spec is not None:
        compress_(model, {r"rnn\.cells\.0\.input_map\.weight": partial(_drawn, dict(row.spec))})
    model.rnn.reset_parameters()
    cell: Any = model.rnn.cells[0]
    with torch.no_grad():
        cell.state_map.bias.zero_()
        cell.input_map.bias.zero_()[row.hidden : 2 * row.hidden] = 1
    return model


def map_of(model: Sequence) -> StructuredMatrix:
    """The stacked map of gates."""
    cell: Any = model.rnn.cells[0]
    return cell.input_map.weight


def _drawn(spec: dict[str, Any], weight: Tensor) -> StructuredMatrix:
    """A member of a family with any numbers: fitting one to numbers that are drawn anew would take minutes."""
    options = {"shape": list(weight.shape)} | {key: value for key, value in spec.items() if key != "structure"}
    return family(spec["structure"]).from_config(options)
