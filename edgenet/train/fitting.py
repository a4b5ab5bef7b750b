"""fit: train a module on data of any form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from edgenet.compress.callbacks import listed
from edgenet.config import OptimizerTable, Settings
from edgenet.errors import ConfigError
from edgenet.train.loop import train
from edgenet.train.numbers import seed_everything
from edgenet.train.processes import first_enters, folder_of, is_first
from edgenet.train.result import FitResult
from edgenet.train.rules import rules_of
from edgenet.train.sinks import check_sinks, sinks_of
from edgenet.train.task import Task
from edgenet.train.training import Fitting


def fit(
    model: nn.Module,
    task: Any,
    settings: Settings | Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] = (),
    *,
    val: Any = None,
    test: Any = None,
    loss: Any = None,
    metric: Any = None,
    optimizer: Any = None,
    scheduler: Any = None,
    log: Callable[..., Any] | str | Sequence[Callable[..., Any] | str] = (),
    seed: int | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    **changes: Any,
) -> FitResult:
    """Train a model, in place: ``fit(model, data, epochs=200, lr=0.01)``.

    The epoch of the best validation score is kept; without validation data the last one. Equal seeds give equal numbers
    on one machine with one number of threads, whether a training was interrupted or not.

    Args:
        model: any module. What its ``forward`` names is taken from the data, see ``batches.call_model``.
        task: a ``Task``, a data set of ``edgenet.data``, a PyG ``Data`` with masks, a list of graphs, a loader, a
            ``TensorDataset``, ...; see ``Task``.
        settings: the tables of a configuration; their values can also be given by name, as ``changes``.
        callbacks: hooks, see ``edgenet.compress.Callback``; before those that the settings name.
        val, test: data to be judged by, see ``Task``.
        loss: a name or a callable (scores, target) -> scalar, see ``Task``; goes before that of the settings.
        metric: a name, a ``torchmetrics.Metric`` or a callable (scores, target) -> number, see ``Task``.
        optimizer: a name, or a function of the parameters that makes one.
        scheduler: a name, or a function of the optimizer that makes one; it steps once an epoch.
        log: sinks for the record of every epoch, see ``edgenet.train.log``; or names in ``edgenet.train.SINKS``, which
            write into ``folder``.
        seed: of all random numbers from here on, those of loaders' generators too; None: they go on as they are. A
            model is made before, with its own.
        folder: where to write metrics, checkpoints, the model and its result; None: nothing is written.
        resume: go on from the checkpoint in the folder, if there is one; what is done is read.
        overwrite: clear the folder of an earlier training first.
        progress: show a bar on stderr.
        **changes: keys of ``[training]`` and ``[optimizer]``: epochs, lr, weight_decay, batch_size, patience,
            clip_norm, accumulate, precision, ...

    Raises:
        ConfigError: if a setting is unknown or out of range, data or model fit nothing that is known, or the folder
            holds something and neither ``resume`` nor ``overwrite`` is given.
        CheckpointError: if ``resume`` finds a damaged checkpoint, or one of other settings; or if the model cannot be
            saved in the folder.
        DivergenceError: if the loss, of training or validation, becomes NaN or infinite.
        ShapeError, EdgeIndexError: if the data hold NaN or edges of no node, or scores do not fit targets.

    Example:
        >>> karate = edgenet.data.load("karate")
        >>> model = edgenet.NodeClassifier(34, 4, layer="gcn")
        >>> result = edgenet.fit(model, karate, epochs=3, seed=0, progress=False)
        >>> result.metric, len(result.history)
        ('accuracy', 3)
    """
    given = {"val": val, "test": test, "loss": loss, "metric": metric}
    task = Task.of(task, **{name: value for name, value in given.items() if value is not None})
    own = own_makers(changes, optimizer, scheduler)
    settings = settings_of(settings, changes)
    task = task.with_loss(settings.training.loss if loss is None else None).in_batches(settings.training)
    if seed is not None:
        if not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ConfigError(f"seed is a whole number from 0 to 2^32 - 1, got {seed!r}.")
        seed_everything(seed)
    sinks = check_sinks(log, folder) if is_first() else []
    training = Fitting(model, [*listed(callbacks), *rules_of(settings)], task=task, settings=settings, seed=seed, **own)
    name = f"{type(model).__name__} on {task.name}"
    if folder is None:
        return train(training, None, sinks_of(sinks, None), name, progress)
    place = folder_of(Path(folder))
    with first_enters(place.opened(resume, overwrite)):
        if place.done:
            place.check_seed(seed)
            return place.read(model, settings)
        return train(training, place, sinks_of(sinks, place.path), name, progress)


def own_makers(changes: dict[str, Any], optimizer: Any, scheduler: Any) -> dict[str, Any]:
    """What makes optimizer and scheduler, for ``Fitting``. Those that are known by name go into ``changes`` instead.

    Raises:
        ConfigError: if a number for the optimizer stands beside a function that makes it, which would not read it.
    """
    makers = {"optimizer": optimizer, "scheduler": scheduler}
    unread = [item.name for item in fields(OptimizerTable) if item.name in changes]
    if unread and optimizer is not None and not isinstance(optimizer, str):
        raise ConfigError(
            f"{unread[0]}={changes[unread[0]]!r} is not read where a function makes the optimizer: let it set this."
        )
    changes |= {name: value for name, value in makers.items() if isinstance(value, str)}
    return {f"make_{name}": None if isinstance(value, str) else value for name, value in makers.items()}


def settings_of(settings: Any, changes: Mapping[str, Any]) -> Settings:
    """Settings from tables, with some values changed."""
    if settings is None:
        settings = Settings()
    elif not isinstance(settings, Settings):
        settings = Settings.from_dict(settings, "the settings")
    return settings.with_options(changes) if changes else settings
