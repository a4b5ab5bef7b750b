"""Training runs side by side, each in a process with one thread."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgenet.bench.harness import report
from edgenet.config import RunConfig
from edgenet.writing import write_text

Job = tuple[RunConfig, Path | None]  # a run, and the folder where its data are looked for first


def run_all(jobs: Sequence[Job], processes: int, run: Callable[[Job], dict[str, Any]] | None = None) -> list[dict]:
    """The summaries of all runs, in order. Runs that were interrupted earlier go on; those that are done are read.

    Args:
        jobs: configurations with ``out`` folders of their own, and data folders.
        processes: how many at a time.
        run: what a process does with a job, a function that can be pickled; by default trains it.
    """
    run = run or trained
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as pool:
        return list(tqdm(pool.map(run, jobs), total=len(jobs), unit="run", desc="bench"))


def trained(job: Job) -> dict[str, Any]:
    """Train one run; its summary, with what its data set says of itself, and what it was measured under.

    The settings stand in ``measured.json`` beside ``summary.json``; None where a run was made without, or where seeds
    that were done under other settings were joined by new ones.
    """
    from edgenet.data import load
    from edgenet.train import run

    config, root = job
    dataset = load(config.dataset.name, root=root, **config.dataset.options)
    folder = Path(config.out)
    done = [(folder / f"seed-{seed}" / "result.json").exists() for seed in config.training.seeds]
    file = folder / "measured.json"
    measured = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    result = run(config, dataset=dataset, resume=True, progress=False)
    if not all(done):
        now = report.settings()
        measured = None if any(done) and measured != now else now
        write_text(file, json.dumps(measured, indent=2) + "\n")
    return {**result.summary(), "info": dataset.info, "measured": measured}


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
