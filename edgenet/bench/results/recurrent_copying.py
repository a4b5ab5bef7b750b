"""The section on long memory of ``edgenet bench recurrent``: unitary networks and LSTMs that copy and add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.results.recurrent_copying_run import EVERY, SOLVED, TEST, Row, baseline, lstm_width, measured
from edgenet.text import markdown_table

TITLES = {"copying_memory": "copying, wait", "adding_problem": "adding, length"}
NETS = {"unitary": "unitary RNN", "lstm": "LSTM"}
_PAPER = "Arjovsky, Shah, Bengio 2016"
#: what others report, by task, length and network
PUBLISHED = {
    ("copying_memory", 200, "unitary"): f"solved ({_PAPER})",
    ("copying_memory", 500, "unitary"): f"solved ({_PAPER})",
    ("copying_memory", 200, "lstm"): f"baseline ({_PAPER})",
    ("copying_memory", 500, "lstm"): f"baseline ({_PAPER})",
    ("adding_problem", 200, "unitary"): f"far below the baseline ({_PAPER})",
}

#: the runs of a row, by the name of its file
Found = Mapping[str, list[dict[str, Any]]]
LIMITS = (
    "At most three seeds, one seed for adding and for the LSTM at the longest wait. LSTMs had one rate and no longer "
    "training than the table says."
)


def rows() -> list[Row]:
    """Every row, those that matter most first."""
    unitary = [Row("copying_memory", wait, "unitary", 128) for wait in (200, 500)]
    adding = Row("adding_problem", 200, "unitary", 128, 5_000, "Adam", 0.003, 50, most_seeds=1)
    lstms = [_lstm(row) for row in unitary]
    return [*unitary, adding, lstms[0], replace(lstms[1], most_seeds=1), _lstm(adding)]


def _lstm(row: Row) -> Row:
    return replace(row, net="lstm", hidden=lstm_width(row))


def results(seeds: int, runs: Path, processes: int, data_root: Path | None) -> Found:
    """Train what is not trained yet: the runs of every row, by the name of its file."""
    chosen = rows()
    jobs = [(row, seed, runs) for row in chosen for seed in range(min(seeds, row.most_seeds))]
    done = [(job[0].file, result) for job, result in zip(jobs, run_all(jobs, processes, measured), strict=True)]
    return {row.file: [result for file, result in done if file == row.file] for row in chosen}


def claim(found: Found) -> str:
    """What was found."""
    solved = {net: [one["solved"] for row in rows() if row.net == net for one in found[row.file]] for net in NETS}
    most = max(row.length for row in rows() if row.net == "unitary")
    unitary, lstm = (f"{sum(each)} of {len(each)}" for each in (solved["unitary"], solved["lstm"]))
    return (
        f"Unitary networks solve their task in {unitary} trainings, over waits of up to {most} steps; LSTMs of as many "
        f"numbers do in {lstm}."
    )


def parts(found: Found) -> list[str]:
    """The page's paragraphs and its table."""
    return [_introduction(rows()), _NOTES, _table({row: found[row.file] for row in rows()})]


def _introduction(chosen: list[Row]) -> str:
    waits = [row for row in chosen if row.task == "copying_memory" and row.net == "unitary"]
    bases = " and ".join(f"{baseline(row):.4f} at a wait of {row.length}" for row in waits)
    return (
        f"[Copying memory](../../datasets/copying_memory/README.md): ten symbols of eight are to be said again after a "
        f"wait. Who remembers nothing has a cross-entropy of 10 ln 8 / (wait + 20), {bases}. "
        f"[Adding](../../datasets/adding_problem/README.md): the sum of two marked numbers among many, whose baseline "
        f"is a mean squared error of 1 / 6. Every iteration draws new sequences. Copying trains by RMSprop, "
        f"decay 0.9, as published; the gradients of LSTMs are clipped to length 1, those of unitary networks are not. "
        f"Adding trains by Adam (0.9, 0.99), with a rate that falls by a cosine and gradients clipped to length 1. An "
        f"LSTM has as many parameters as the "
        f"unitary network of its task, or a few more. "
        f"Solved means: for copying, a mean loss of {EVERY} iterations at or below {SOLVED['copying_memory']:.0%} of "
        f"the baseline, with all symbols right on 100 validation sequences; for adding, an error of these at or below "
        f"{SOLVED['adding_problem']}. A training ends there."
    )


def _table(found: dict[Row, list[dict[str, Any]]]) -> str:
    head = (
        "task", "network", "parameters", "rule, rate, batch", "solved", "at iteration, by seed",
        "loss at the end / baseline", f"on {TEST:,} new sequences", "processor seconds", "published",
    )  # fmt: skip
    lines = []
    for row, runs in found.items():
        base = baseline(row)
        solved = [run["iterations"] for run in runs if run["solved"]]
        most = max(run["iterations"] for run in runs)
        copying = row.task == "copying_memory"
        new = (
            f"recall {report.spread([run['test'] for run in runs], 1, 3)}" if copying
            else f"error {report.spread([run['test_loss'] for run in runs], 1, 4)}"
        )  # fmt: skip
        lines.append(
            (
                f"{TITLES[row.task]} {row.length}",
                f"{NETS[row.net]}, {row.hidden}",
                f"{runs[0]['parameters']:,}",
                f"{row.rule}, {row.rate:g}, {row.batch}",
                f"{len(solved)} of {len(runs)}",
                ", ".join(f"{count:,}" for count in solved) or f"not in {most:,}",
                report.spread([run["loss"] / base for run in runs], 1, 3),
                new,
                f"{fmean(run['seconds'] for run in runs):,.0f}",
                PUBLISHED.get((row.task, row.length, row.net), ""),
            )
        )
    return markdown_table(head, lines, right=(2, 6, 7, 8))


_NOTES = (
    "Losses and scores are mean ± sample standard deviation over the seeds, which count from 0. The loss at the end is "
    f"that of the last {EVERY} iterations where a task was solved, else of the last {10 * EVERY}. Seconds are of one "
    "processor, validation included."
)
