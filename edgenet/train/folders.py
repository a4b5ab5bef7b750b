"""Folders of trainings: what is written where, and when a training in one is done.

::

    metrics.jsonl   one record an epoch: epoch, loss, train, val, test, val_loss, seconds
    checkpoint.pt   the state after some epoch; gone when the training is done
    model/          the best model, as ``save_pretrained`` writes it
    result.json     its numbers, written last: the training is done
    .lock           while a training is at work here: which
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from edgenet import checkpoint, reading
from edgenet.config import Settings
from edgenet.errors import CheckpointError, ConfigError
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.pretrained.describing import describe
from edgenet.pretrained.folder import PATTERNS, read_config
from edgenet.pretrained.tree import nodes
from edgenet.train.log import read_metrics
from edgenet.train.metrics import Metric
from edgenet.train.result import FitResult, SeedResult
from edgenet.train.sinks import BOARD, CSV, LINES
from edgenet.writing import held, write_text
from edgenet.writing.lock import NAME as LOCK

FORMAT = 1
METRICS, STATE, MODEL, RESULT = "metrics.jsonl", "checkpoint.pt", "model", "result.json"
# what may change between a training and its continuation without changing a number
_FREE = ("out", "training.seeds", "training.checkpoint_epochs", "training.checkpoint_seconds")


class SeedFolder:
    """The folder of one training."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics, self.state, self.model, self.result = (path / name for name in (METRICS, STATE, MODEL, RESULT))

    @property
    def done(self) -> bool:
        return self.result.exists()

    def check(self, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that is not free, and whose training may neither be gone on with nor be replaced.

        Raises:
            ConfigError: with the remedy.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path}: is a file; the folder of a training is wanted.")
        if self.path.is_dir() and any(file.name != LOCK for file in self.path.iterdir()):
            if not any(known.exists() for known in (self.metrics, self.state, self.model, self.result)):
                raise ConfigError(f"{self.path}: holds files, and no training. Choose another folder.")
            if not resume and not overwrite:
                raise ConfigError(
                    f"{self.path}: holds a training already. Continue it with resume=True, replace it with "
                    f"overwrite=True, or choose another folder."
                )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While this lasts, no other training writes here. A process that ends lets go, however it ends.

        Raises:
            ConfigError: if the folder cannot be made, or is a symbolic link.
            FolderInUseError: if another training is at work in it.
            WriteError: if nothing can be written in it.
        """
        made(self.path)
        with held(self.path):
            yield

    @contextlib.contextmanager
    def opened(self, resume: bool, overwrite: bool) -> Iterator[None]:
        """While this lasts, the folder is this training's: free, gone on with, or cleared. Raises as ``check`` and
        ``held``."""
        self.check(resume, overwrite)
        # what is done is read without a lock: its folder may be one that nobody can write in
        with contextlib.nullcontext() if self.done and not overwrite else self.held():
            self.check(resume, overwrite)  # once more: of what was written before the lock was here
            if overwrite:
                self.clear()
            yield

    def make(self) -> None:
        """The folder, without what a kill in the middle of a write leaves.

        Raises:
            ConfigError: if the model would go through a symbolic link: now, and not after hours.
        """
        made(self.path)
        if self.model.is_symlink():
            raise ConfigError(f"{self.model}: is a symbolic link, which is not followed. Remove it.")
        for file in (*self.path.glob(".*.tmp"), *self.model.glob(".*.tmp")):
            file.unlink()

    def clear(self) -> None:
        """Remove what a training writes, and nothing else."""
        own = [self.metrics, self.state, self.result, *(file for name in PATTERNS for file in self.model.glob(name))]
        own += [self.path / CSV, self.path / LINES, *(self.path / BOARD).glob("events.out.tfevents.*")]
        for file in (*own, *self.path.glob(".*.tmp"), *self.model.glob(".*.tmp")):
            file.unlink(missing_ok=True)
        for folder in (self.model, self.path / BOARD, self.path):
            with contextlib.suppress(OSError):  # somebody's file is in it
                folder.rmdir()

    def checkpoint(self) -> Any:
        """The state of the last checkpoint; None where there is none."""
        return checkpoint.load(self.state) if self.state.exists() else None

    def keep(self, state: Any) -> None:
        """Write a checkpoint in the place of the last one."""
        checkpoint.save(self.state, state)

    def check_seed(self, seed: int | None) -> None:
        """Refuse to hand out what another seed has done.

        Raises:
            CheckpointError: if a seed is wanted, and it is not that of the result.
        """
        known = read_result(self.path).seed
        if seed not in (None, known):
            raise CheckpointError(f"{self.result}: is of seed {known}, and this is seed {seed}. Choose another folder.")

    def check_saveable(self, model: nn.Module) -> None:
        """Refuse before hours of training what could not be saved after them.

        Raises:
            CheckpointError: with the path of the module, and the remedy.
        """
        describe(model, False)

    def finish(self, model: nn.Module, result: SeedResult, metric: Metric, config: dict[str, Any]) -> None:
        """Write model and result; then the training is done."""
        # not packed: what is read back computes the same bits, and can be trained on
        save_pretrained(model, self.model, pack=False)
        judged = {"metric": metric.name, "higher_is_better": metric.higher}
        content = {"format": FORMAT, **judged, "result": asdict(result), "config": config}
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_text(self.result, text)
        self.state.unlink(missing_ok=True)

    def read(self, model: nn.Module | Callable[[], nn.Module], settings: Settings) -> FitResult:
        """What was done, with the model in evaluation mode.

        Args:
            model: one built as the one that was trained, which is filled; or what makes one, which is asked for where
                the model has modules that edgenet does not make.

        Raises:
            CheckpointError: if files are damaged, or of other settings.
        """
        result, content = read_result(self.path), _content(self.result)
        same_config(content.get("config"), settings, self.result)
        self.state.unlink(missing_ok=True)  # a kill may have come between the two
        if isinstance(model, nn.Module):
            loaded = from_pretrained(self.model, model)
        else:
            loaded = from_pretrained(self.model, model() if _needs_a_model(self.model) else None)
        return FitResult(
            loaded, str(content.get("metric", "")), result.epochs, result.best_epoch, result.val, result.test,
            result.parameters, result.seconds, read_metrics(self.metrics),
        )  # fmt: skip


def made(folder: Path) -> None:
    """Make a folder.

    Raises:
        ConfigError: if that cannot be, with the system's reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}. Choose another folder.") from error


def read_result(folder: str | Path) -> SeedResult:
    """The numbers of a training that is done: of ``fit``'s folder, or of one seed's.

    Raises:
        CheckpointError: if it is not done, or the file is damaged.

    Example:
        >>> _ = edgenet.fit(edgenet.NodeClassifier(34, 4), edgenet.data.load("karate"), epochs=2, folder="fitted",
        ...                 progress=False)
        >>> edgenet.train.read_result("fitted").epochs
        2
    """
    path = Path(folder) / RESULT
    content = _content(path)
    try:
        numbers = content["result"]
        for name in ("seed", "epochs", "best_epoch", "parameters"):
            if type(numbers[name]) is not int or numbers[name] < 0:
                raise TypeError(f"{name} is {numbers[name]!r}")
        for name in ("val", "test", "seconds"):
            value = numbers[name]
            if value is None and name != "seconds":
                continue
            if type(value) not in (int, float) or not math.isfinite(value):
                raise TypeError(f"{name} is {value!r}")
        return SeedResult(**numbers)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged, no result of a training ({type(error).__name__}: {error}).") from error


def higher_is_better(folder: Path) -> bool:
    """Whether the metric of a training that is done is better when it is higher."""
    return bool(_content(folder / RESULT).get("higher_is_better", True))


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; the training is not done.")
    content = reading.read_json(path, CheckpointError)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not the result of a training, or of another format version than {FORMAT}.")
    return content


def _needs_a_model(folder: Path) -> bool:
    """Whether a saved model has modules that edgenet does not make."""
    return any("unknown" in node for _, node in nodes(read_config(folder).get("tree")))


# ---------------------------------------------------------------- settings that decide numbers
def decisive(settings: Settings) -> dict[str, Any]:
    """The settings without what may change on the way, as flat names and values."""
    flat: dict[str, Any] = {}

    def flatten(table: dict[str, Any], prefix: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict) and value:
                flatten(value, f"{prefix}{key}.")
            elif value not in ({}, []):
                flat[f"{prefix}{key}"] = value

    flatten(settings.to_dict(), "")
    return {key: value for key, value in flat.items() if key not in _FREE}


def same_config(stored: Any, settings: Settings, path: Path) -> None:
    """Refuse to go on with other settings.

    Raises:
        CheckpointError: naming ``path``, and what differs.
    """
    wanted = decisive(settings)
    if not isinstance(stored, dict):
        raise CheckpointError(f"{path}: lacks the configuration it was written with.")
    if stored != wanted:
        keys = [key for key in sorted({*stored, *wanted}) if stored.get(key) != wanted.get(key)]
        changes = "; ".join(f"{key} was {stored.get(key)!r}, is {wanted.get(key)!r}" for key in keys[:5])
        raise CheckpointError(
            f"{path}: is of another configuration: {changes}. Resume with the same, or choose another --out."
        )
