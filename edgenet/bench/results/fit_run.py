"""One row of ``edgenet bench fit``: trained as a whole, and once more with a kill in the middle."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from torch import nn

from edgenet.bench.harness.kept import kept
from edgenet.bench.harness.killed import killed
from edgenet.bench.harness.worker import Job, in_its_own_process
from edgenet.bench.results.fit_rows import ROWS
from edgenet.bench.results.fit_trainings import Place
from edgenet.errors import ConfigError

Result = dict[str, Any]


def measure(job: Job) -> Result:
    """Train a row in its folder, from where it was: scores, seconds an epoch, and digests of all that came out."""
    place = Place(Path(job["folder"]), job["data_root"], job["epochs"], job["seed"], job["settings"])
    found = ROWS[job["row"]].train(place)
    history = [{name: value for name, value in record.items() if name != "seconds"} for record in found.history]
    return {
        "metric": found.metric,
        "val": found.val,
        "test": found.test,
        "epochs": found.epochs,
        "best_epoch": found.best_epoch,
        "parameters": found.parameters,
        "seconds": median(place.clock.seconds) if place.clock.seconds else None,
        "tensors": digest(found.model),
        "history": hashlib.sha256(json.dumps(history).encode()).hexdigest(),
        "plain": ROWS[job["row"]].plain(place) if job["plain"] else None,
    }


def digest(model: nn.Module) -> str:
    """Of the names, shapes and bits of all tensors of a model."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(-1).numpy().tobytes())
    return found.hexdigest()


def shown(row: str, seeds: int, runs: Path, data_root: Path | None, epochs: int | None = None) -> list[Result]:
    """What every seed of a row came to; the first has a training that was killed, under "killed".

    Raises:
        ConfigError: if a training ended without a result.
    """
    results = []
    for seed in range(seeds):
        job = {
            "measure": __name__, "title": f"{row}, seed {seed}", "malloc": "default", "threads": 1, "row": row,
            "folder": str(runs / f"{row}-{seed}"), "data_root": None if data_root is None else str(data_root),
            "epochs": epochs or ROWS[row].epochs, "seed": seed, "settings": {}, "plain": seed == 0,
        }  # fmt: skip
        results.append(kept(runs / f"{row}-{seed}.json", job, lambda job=job: _whole(job)))
    return results


def _whole(job: Job) -> Result:
    shutil.rmtree(job["folder"], ignore_errors=True)  # of another job: else its result would be in its file
    result = _done(job)
    return {**result, "killed": _killed(job, result)} if job["seed"] == 0 else result


def _killed(job: Job, whole: Result) -> Result:
    """Train once more, kill it in the middle, go on, and compare."""
    folder = Path(f"{job['folder']}-killed")
    shutil.rmtree(folder, ignore_errors=True)
    again = {**job, "folder": str(folder), "settings": {"checkpoint_epochs": 1}, "plain": False}
    half = max(1, whole["epochs"] // 2)
    ended = killed(again, lambda: len(_lines(folder)) >= half and any(folder.rglob("checkpoint.pt")))
    before = _lines(folder)
    resumed = _done(again)
    after = _lines(folder)
    # records hold their seconds: those that were made anew are not the same
    went_on = next((k for k, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(before))
    same = {name: whole[name] == resumed[name] for name in ("tensors", "history", "val", "test", "best_epoch")}
    return {"ended": ended, "epoch": len(before), "went_on": went_on, "same": same}


def _lines(folder: Path) -> Sequence[bytes]:
    """The records of the epochs so far, but for one that is being written."""
    for file in folder.rglob("metrics.jsonl"):
        return file.read_bytes().split(b"\n")[:-1]
    return []


def _done(job: Job) -> Result:
    result = in_its_own_process(job)
    if "failed" in result:
        raise ConfigError(f"{job['title']} ended without a result: {result['failed']}")
    return result


def passed(result: Result) -> bool:
    """Whether a training was killed, went on from there, and came to the same bits."""
    one = result["killed"]
    return one["ended"] and one["went_on"] > 0 and all(one["same"].values())


def seconds(results: Sequence[Result]) -> float:
    """Of the median epoch, mean over the seeds."""
    return fmean(result["seconds"] for result in results)
