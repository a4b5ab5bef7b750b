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

    The settings stand in ``measured.json`` beside ``summary.json``; None where a run was made without.
    """
    from edgenet.data import load
    from edgenet.train import run

    config, root = job
    dataset = load(config.dataset.name, root=root, **config.dataset.options)
    folder = Path(config.out)
    done = all((folder / f"seed-{seed}" / "result.json").exists() for seed in config.training.seeds)
    result = run(config, dataset=dataset, resume=True, progress=False)
    file = folder / "measured.json"
    if not done:
        file.write_text(json.dumps(report.settings(), indent=2) + "\n", encoding="utf-8")
    measured = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return {**result.summary(), "info": dataset.info, "measured": measured}


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
