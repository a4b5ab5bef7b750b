"""Sinks by name: "csv", "jsonl", "tensorboard", "wandb"; each writes into the folder of its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from edgenet.errors import ConfigError
from edgenet.text import did_you_mean
from edgenet.train.log import Csv, JsonLines, Record, TensorBoard

Sink = Callable[[Record], Any]
#: what the files and folders of the sinks are called, in the folder of a training
CSV, BOARD, LINES = "metrics.csv", "tensorboard", "log.jsonl"


class Wandb:
    """Curves at Weights & Biases; wants the package ``wandb``, and what it wants: an account, or WANDB_MODE=offline.

    Args:
        folder: where the package keeps its files; its last names are the name of the curve.
        project: there.

    Raises:
        ConfigError: if the package is missing.

    Example:
        >>> sink = edgenet.train.Wandb("runs/karate")  # where wandb is installed  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path, project: str = "edgenet") -> None:
        try:
            self._package = import_module("wandb")
        except ImportError as error:
            raise ConfigError("curves at Weights & Biases want its package: pip install wandb.") from error
        self._folder, self._project = Path(folder), project
        self._run: Any = None

    def start(self, epoch: int) -> None:
        name = "/".join(self._folder.parts[-2:])
        # resumed, a training goes on with its own curve
        self._run = self._package.init(
            project=self._project, name=name, id=name.replace("/", "-"), dir=str(self._folder),
            resume="allow" if epoch else None, reinit=True,
        )  # fmt: skip

    def __call__(self, record: Record) -> None:
        if self._run is None:
            self.start(record["epoch"] - 1)
        numbers = {name: value for name, value in record.items() if isinstance(value, int | float)}
        self._package.log(numbers, step=record["epoch"])

    def close(self) -> None:
        if self._run is not None:
            self._package.finish()
            self._run = None


#: What makes a sink of the folder of a training.
SINKS: dict[str, Callable[[Path], Sink]] = {
    "csv": lambda folder: Csv(folder / CSV),
    "jsonl": lambda folder: JsonLines(folder / LINES),
    "tensorboard": lambda folder: TensorBoard(folder / BOARD),
    "wandb": Wandb,
}


def check_sinks(log: Any, folder: Any) -> list[Any]:
    """The names and sinks that were handed in, as a list, each name once.

    Raises:
        ConfigError: if there is no sink of a name, or one by name and no folder to write into, or a package is missing.
    """
    sinks: Sequence[Any] = log if isinstance(log, list | tuple) else [log]
    for sink in sinks:
        if isinstance(sink, str):
            if sink not in SINKS:
                own = f" A file of its own is one too: log=edgenet.train.Csv({sink!r})." if Path(sink).suffix else ""
                raise ConfigError(
                    f"no sink is called {sink!r}.{did_you_mean(sink, SINKS)} There are {', '.join(SINKS)}.{own}"
                )
            if folder is None:
                raise ConfigError(f"the sink {sink!r} writes into the folder of the training: hand in folder=, or out.")
            SINKS[sink](Path(folder))  # one that cannot be made must not leave a folder behind
    return [sink for place, sink in enumerate(sinks) if not (isinstance(sink, str) and sink in sinks[:place])]


def sinks_of(log: Sequence[Any], folder: Path | None) -> list[Sink]:
    """The sinks of one training, those that are names made anew."""
    return [SINKS[sink](folder) if isinstance(sink, str) and folder is not None else sink for sink in log]
