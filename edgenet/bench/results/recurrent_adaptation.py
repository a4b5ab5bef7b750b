"""The part on co-matrix adaptation of ``edgenet bench recurrent``: how far base and dopant lean on each other.

The character model of ``recurrent_characters_run``, trained as there, with and without row dropout; and pruning, which
has no second matrix to lean on, as the control.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.harness.kept import kept
from edgenet.bench.results.recurrent_characters_rows import Row
from edgenet.bench.results.recurrent_characters_run import (
    CLIP,
    EPOCH,
    LENGTH,
    LOWEST,
    STREAMS,
    character_model,
    characters,
    scored,
)
from edgenet.compress import AdaptationRecord
from edgenet.text import markdown_table
from edgenet.train import Streams, Task, fit

ITERATIONS, ROWS, RATE, SEED, RATIO = 1500, 10, 0.008, 0, 20.0
LOOKED_AT = 200  # sequences of the validation slice on which base and dopant are measured
TERMS = 4

LIMITS = "One seed and few iterations: the tables tell the mechanism, and no winner."
#: (the row, its iterations, folder of runs, data folder)
Job = tuple[Row, int, Path, Path | None]


def rows() -> list[Row]:
    """What is trained: doped matrices, from a dense start and with one rate as the paper has it; and pruning."""
    base = {"structure": "kronecker", "factor": [32, 12], "terms": TERMS}
    doped = {"structure": "doped", "base": base, "density": 1.0}
    fall = {"kind": "anneal", "ratio": RATIO, "start": 0.1, "end": 0.6}

    def row(note: str, *rules: dict[str, Any], rate: float = 1.0) -> Row:
        return Row(f"doped, {note}", int(RATIO), doped, [{**fall, "rate": rate}, *rules])

    return [
        row("no rows dropped"),
        row("p 0.1, annealed", {"kind": "row_dropout", "rate": 0.1}),
        row("p 0.3, annealed", {"kind": "row_dropout", "rate": 0.3}),
        row("p 0.25, constant", {"kind": "row_dropout", "rate": 0.25, "fall": "constant"}),
        row("dopant at 0.3 of the rate", rate=0.3),
        Row("pruned", int(RATIO), {"structure": "sparse", "density": 1.0}, [fall]),
    ]


def results(seeds: int, runs: Path, processes: int, data_root: Path | None) -> list[dict[str, Any]]:
    """Train what is not trained yet, every row with one seed whatever ``seeds`` says."""
    return run_all([(row, ITERATIONS, runs, data_root) for row in rows()], processes, measured)


def settings() -> dict[str, Any]:
    """What the rows are trained with."""
    every = [asdict(row) for row in rows()]
    return {"iterations": ITERATIONS, "rate": RATE, "seed": SEED, "ratio": RATIO, "rows": every}


def claim(found: list[dict[str, Any]]) -> str:
    """What was found."""
    named = {row.family.removeprefix("doped, "): one for row, one in zip(rows(), found, strict=True)}
    plain, dropped = named["no rows dropped"], {name: one for name, one in named.items() if name.startswith("p ")}
    name = min(dropped, key=lambda name: rise(dropped[name]))
    return (
        f"The largest rise of bits while the density falls is {rise(plain):.3f} where no rows are dropped, and "
        f"{rise(dropped[name]):.3f} with {name}, which ends at {dropped[name]['val']:.3f} bits on validation against "
        f"{plain['val']:.3f}; seeds differ by 0.02 to 0.03."
    )


def parts(found: list[dict[str, Any]]) -> list[str]:
    """The page's paragraphs and tables."""
    return [_introduction(), _summary(rows(), found), *_tables(rows(), found)]


# ---------------------------------------------------------------- a training
def measured(job: Job) -> dict[str, Any]:
    """What a training came to, by iteration, and at its end."""
    row, iterations, runs, _ = job
    file = runs / "adaptation" / f"{row.file}-{iterations}.json"
    known = {"row": asdict(row), "iterations": iterations, "rate": RATE, "seed": SEED}
    return kept(file, known, lambda: _computed(job))


def _computed(job: Job) -> dict[str, Any]:
    row, iterations, _, root = job
    text = characters(root)
    torch.manual_seed(SEED)
    model, start = character_model(row, text), time.process_time()
    looked_at, every = text.val[0], iterations // ROWS
    record = AdaptationRecord(partial(bits, looked_at.x[:LOOKED_AT], looked_at.y[:LOOKED_AT]), every)
    epoch = min(EPOCH, iterations)
    fit(
        model,
        Task(Streams.of(text.train[0], streams=STREAMS, length=LENGTH, steps=epoch), metric="bits", name=text.name),
        {
            "training": {"epochs": iterations // epoch, "clip_norm": CLIP},
            "scheduler": {"name": "cosine", "warmup": min(1, iterations // epoch - 1), "lowest": LOWEST},
            "callback": row.callbacks,
        },
        [record],
        optimizer=partial(torch.optim.Adam, lr=RATE, betas=(0.9, 0.99), fused=True),
        seed=SEED,
        progress=False,
    )
    scores = scored(text).evaluate(model, ("val", "test"))
    return {
        "rows": [row for row in record.rows if row["step"] % every == 0],  # not that of the first epoch's end
        **{split: score.metric for split, score in scores.items()},
        "seconds": time.process_time() - start,
        "measured": report.settings(),
    }


def bits(x: Tensor, y: Tensor, model: nn.Module) -> float:
    """Bits a character, in sequences that each begin with a state of zeros."""
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item() / math.log(2)


# ---------------------------------------------------------------- what is told
def rise(measured: dict[str, Any]) -> float:
    """The largest rise of the bits of both from one measurement to the next; 0 where they never rise. Pruning that
    takes more than the rest can make up for shows so, and a base that leaned on what is gone."""
    return max([0.0, *(after["loss"] - before["loss"] for before, after in pairwise(measured["rows"]))])


def _introduction() -> str:
    return (
        f"The [character model](README.md), with one matrix of 512 x 192 for all gates, {RATIO:g} times "
        f"fewer numbers in it at the end: a Kronecker sum of {TERMS} terms and a dopant, which starts with every "
        f"entry, at random, and falls from a tenth to six tenths of {ITERATIONS:,} iterations; or entries alone. One "
        f"seed, {SEED}; Adam at {RATE} for all numbers, as far as no row says otherwise (0.3 is the default of "
        f"`Anneal`). *Share*: of the dopant in the energy of the two outputs, ||S x||^2 / (||M x||^2 + ||S x||^2); "
        f"*cosine*: between the two outputs; *structure alone*: bits without the dopant. All on the same {LOOKED_AT} "
        f"validation sequences of {LENGTH} characters, each begun with a state of zeros, which costs more bits than "
        "reading on. One seed of so few iterations tells the mechanism, and no winner: seeds differ by 0.02 to 0.03 "
        "bits."
    )


def _summary(chosen: list[Row], found: list[dict[str, Any]]) -> str:
    lines = [
        (
            row.family,
            f"{one['val']:.3f}",
            f"{one['test']:.3f}",
            f"{rise(one):.3f}",
            _number(one["rows"][-1], "share"),
            f"{one['seconds']:.0f}",
        )
        for row, one in zip(chosen, found, strict=True)
    ]
    header = ("", "bits, validation", "bits, tail", "largest rise", "share of the dopant", "CPU seconds")
    return markdown_table(header, lines, right=range(1, 6))


def _tables(chosen: list[Row], found: list[dict[str, Any]]) -> list[str]:
    text = []
    for row, one in zip(chosen, found, strict=True):
        lines = [
            (
                str(at["step"]),
                f"{at['density']:.3f}",
                f"{at['loss']:.3f}",
                *(_number(at, name) for name in ("loss_base", "share", "cosine")),
            )
            for at in one["rows"]
        ]
        header = ("iteration", "density", "bits", "structure alone", "share", "cosine")
        text += [f"### {row.family[:1].upper()}{row.family[1:]}", markdown_table(header, lines, right=range(6))]
    return text


def _number(at: dict[str, float], name: str) -> str:
    return f"{at[name]:.3f}" if name in at else ""
