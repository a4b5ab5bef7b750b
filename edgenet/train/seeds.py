"""Runs: the same training with several seeds, in one folder.

::

    config.toml     the settings, or the whole configuration of ``run``
    seed-0/         the folder of the first seed's training, see ``folders``
    summary.json    mean and standard deviation over the seeds
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from edgenet.compress.callbacks import listed
from edgenet.config import Settings
from edgenet.errors import CheckpointError, ConfigError
from edgenet.pretrained import from_pretrained
from edgenet.train.fitting import own_makers, settings_of
from edgenet.train.folders import RESULT, SeedFolder, decisive, higher_is_better, made, read_result, same_config
from edgenet.train.loop import train
from edgenet.train.numbers import seed_everything
from edgenet.train.processes import first_enters, folder_of, is_first
from edgenet.train.result import FitResult, RunResult
from edgenet.train.rules import rules_of
from edgenet.train.sinks import check_sinks, sinks_of
from edgenet.train.task import Task
from edgenet.train.training import Fitting
from edgenet.writing import held, write_text
from edgenet.writing.lock import NAME as LOCK

CONFIG = "config.toml"
_PICTURES = ("learning_curve.png", "edge_weights.png")


def run_seeds(
    make_model: Callable[[], nn.Module],
    task: Any,
    settings: Settings | Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] = (),
    *,
    seeds: Sequence[int] | None = None,
    folder: str | Path | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    log: Callable[..., Any] | str | Sequence[Callable[..., Any] | str] = (),
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    name: str = "",
    **changes: Any,
) -> RunResult:
    """Train a new model for every seed, keep the best epoch of each by its validation score, and test it.

    Results are equal on one machine with one number of threads, whether a run was interrupted or not.

    Args:
        make_model: makes a new model; called after the seed's random numbers have begun.
        task, settings, optimizer, scheduler, changes: as of ``fit``.
        log: as of ``fit``: names make a new sink for every seed, in its own folder; others see the records of all.
        callbacks: hooks, the same objects for all seeds: their ``on_start`` begins anew. Those that the settings name
            are made anew.
        seeds: default: ``training.seeds`` of the settings.
        folder: of the run; None: nothing is written.
        resume: go on from the checkpoints in the folder, if there are any. Seeds that are done are read.
        overwrite: clear the folder of an earlier run first.
        progress: show a bar on stderr.
        name: on the bar.

    Raises:
        as ``fit``.

    Example:
        >>> karate, make = edgenet.data.load("karate"), lambda: edgenet.NodeClassifier(34, 4)
        >>> result = edgenet.train.run_seeds(make, karate, seeds=[0, 1], epochs=2, progress=False)
        >>> [seed.seed for seed in result.seeds]
        [0, 1]
    """
    if isinstance(make_model, nn.Module) or not callable(make_model):
        raise ConfigError(
            f"run_seeds makes a new model for every seed: hand in a function, lambda: {type(make_model).__name__}(...)."
        )
    task, callbacks = Task.of(task), listed(callbacks)
    own = own_makers(changes, optimizer, scheduler)
    if seeds is not None:
        changes["seeds"] = list(seeds)
    settings = settings_of(settings, changes)
    task = task.with_loss(settings.training.loss).in_batches(settings.training)
    sinks = check_sinks(log, folder) if is_first() else []
    rules_of(settings)  # what cannot be made must not leave a folder behind
    train_all = partial(_train_seeds, make_model, task, settings, callbacks, own, name, progress, sinks)
    if folder is None:
        return train_all(None)
    place = Path(folder)
    with first_enters(opened(place, settings, resume, overwrite)):
        outcome = train_all(place)
        if is_first():
            write_text(place / "summary.json", json.dumps(outcome.summary(), indent=2, allow_nan=False) + "\n")
    return outcome


def _train_seeds(
    make_model: Callable[[], nn.Module], task: Task, settings: Settings, callbacks: Sequence[Any],
    own: Mapping[str, Any], name: str, progress: bool, sinks: Sequence[Any], place: Path | None,
) -> RunResult:  # fmt: skip
    """Every seed, trained or read."""
    results, models, histories, metric = [], {}, {}, ""
    train_one = partial(_train_seed, make_model, task, settings, callbacks, own, name, progress, sinks)
    for seed in settings.training.seeds:
        if place is None:
            found = train_one(seed, None)
        else:
            found = _in_folder(folder_of(place / f"seed-{seed}"), make_model, settings, partial(train_one, seed))
        results.append(found.numbers(seed))
        models[seed], histories[seed], metric = found.model.eval(), found.history, found.metric
    return RunResult(settings, metric, results, models, histories, place)


def _in_folder(
    folder: SeedFolder, make_model: Callable[[], nn.Module], settings: Settings, train_it: Callable[..., FitResult]
) -> FitResult:
    """What was done in a seed's folder, or is done now.

    Raises:
        ConfigError: if the folder is a symbolic link, which is not followed: a run has its seeds inside.
    """
    if folder.path.is_symlink():
        raise ConfigError(f"{folder.path}: is a symbolic link, which is not followed. Put the folder itself there.")
    with folder.held():
        return folder.read(make_model, settings) if folder.done else train_it(folder)


def _train_seed(
    make_model: Callable[[], nn.Module], task: Task, settings: Settings, callbacks: Sequence[Any],
    own: Mapping[str, Any], name: str, progress: bool, log: Sequence[Any], seed: int, folder: SeedFolder | None,
) -> FitResult:  # fmt: skip
    seed_everything(seed)
    rules = [*callbacks, *rules_of(settings)]
    training = Fitting(make_model(), rules, task=task, settings=settings, seed=seed, **own)
    sinks = sinks_of(log, None if folder is None else folder.path)
    return train(training, folder, sinks, f"{name or task.name} seed {seed}", progress)


# ---------------------------------------------------------------- the folder of a run
@contextlib.contextmanager
def opened(folder: Path, settings: Settings, resume: bool, overwrite: bool) -> Iterator[None]:
    """The run's folder, made or found, with its configuration in it. Nobody else writes there while this lasts.

    Raises:
        ConfigError: if the folder holds something else, or a run and neither ``resume`` nor ``overwrite`` is given.
        FolderInUseError: if another process is at work in it.
        CheckpointError: if the run in it has another configuration.
    """
    _check(folder, settings, resume, overwrite)
    made(folder)
    with held(folder):
        _check(folder, settings, resume, overwrite)  # once more: of what was written before the lock was here
        for file in folder.glob(".*.tmp"):  # what a kill in the middle of a write leaves
            file.unlink()
        if overwrite:
            _clear(folder)
        write_text(folder / CONFIG, settings.to_toml())
        yield


def _check(folder: Path, settings: Settings, resume: bool, overwrite: bool) -> None:
    known = folder / CONFIG
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; out is the folder of a run.")
    names = [file.name for file in folder.iterdir() if file.name != LOCK] if folder.is_dir() else []
    if not names:
        return
    if not known.is_file() and any(not name.startswith(f".{CONFIG}.") for name in names):
        raise ConfigError(f"{folder}: holds files, and no {CONFIG}: it is no run. Choose another --out.")
    try:
        stored = type(settings).from_toml(known) if known.is_file() else None
    except ConfigError as error:
        raise ConfigError(f"{folder}: its {CONFIG} is of no run. Choose another --out. ({error})") from error
    if not resume and not overwrite:
        raise ConfigError(
            f"{folder}: holds a run already. Continue it with --resume, replace it with --overwrite, or choose "
            f"another --out."
        )
    if not overwrite and stored is not None:
        same_config(decisive(stored), settings, known)


def _clear(folder: Path) -> None:
    """Remove what a run writes, and nothing else."""
    for own in folder.glob("seed-*"):
        SeedFolder(own).clear()
    for name in ("summary.json", *_PICTURES):
        (folder / name).unlink(missing_ok=True)


def read_run_model(
    folder: str | Path, model: nn.Module | None = None, *, stand_ins: bool = False
) -> nn.Module:
    """The model of a training that is done, in evaluation mode; of a run, that of its best seed by validation.

    Args:
        folder: of a run, of one of its seeds, or of ``fit``.
        model, stand_ins: see ``from_pretrained``.

    Raises:
        CheckpointError: if no training in it is done, or files are damaged.

    Example:
        >>> karate, make = edgenet.data.load("karate"), lambda: edgenet.NodeClassifier(34, 4)
        >>> _ = edgenet.train.run_seeds(make, karate, seeds=[0], epochs=2, folder="seeds", progress=False)
        >>> type(edgenet.train.read_run_model("seeds")).__name__
        'NodeClassifier'
    """
    folder = Path(folder)
    if (folder / RESULT).exists():
        return from_pretrained(SeedFolder(folder).model, model, stand_ins=stand_ins)
    done = [own for own in sorted(folder.glob("seed-*")) if (own / RESULT).exists()]
    if not done:
        raise CheckpointError(f"{folder}: no seed of this run is done. Go on with: edgenet train {folder} --resume")
    results = {own: read_result(own) for own in done}
    scores = {own: result.val for own, result in results.items() if result.val is not None}
    higher = higher_is_better(done[0])
    best = max(scores, key=lambda own: scores[own] if higher else -scores[own]) if scores else done[-1]
    return from_pretrained(SeedFolder(best).model, model, stand_ins=stand_ins)
