"""Sinks: where the record of every epoch goes. Any callable that takes a record is one.

A sink may also have ``start(epoch)``, called before the first epoch with the number of the last one that is done, 0 or
that of a checkpoint: what a file knows of later epochs is cut off then. ``sync()`` is called before a checkpoint is
written, and ``close()`` at the end.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgenet import reading
from edgenet.errors import CheckpointError, ConfigError
from edgenet.printable import printable
from edgenet.writing import Appended, write_atomically, write_text

Record = dict[str, Any]


def read_metrics(path: str | Path) -> list[Record]:
    """The records of a ``metrics.jsonl``; a half-written last line, which a kill leaves, is not among them.

    Raises:
        CheckpointError: if another line is damaged.

    Example:
        >>> model, karate = edgenet.NodeClassifier(34, 4), edgenet.data.load("karate")
        >>> _ = edgenet.fit(model, karate, epochs=2, folder="run", progress=False)
        >>> len(edgenet.train.read_metrics("run/metrics.jsonl"))
        2
    """
    path = Path(path)
    records: list[Record] = []
    lines = reading.content(path, reading.TEXT, CheckpointError).split(b"\n") if path.is_file() else []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last newline is not whole
        try:
            records.append(reading.parse_json(line, "a record", ValueError))
            if type(records[-1]["epoch"]) is not int:
                raise TypeError
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}:{number}: damaged, no record of an epoch: {line[:60]!r}.") from error
    return records


def _line(record: Record) -> str:
    """A record as a line of JSON, which has no NaN: null stands for numbers that are not finite."""
    finite = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in record.items()}
    return json.dumps(finite, allow_nan=False) + "\n"


class JsonLines:
    """One record a line: appended and flushed epoch by epoch.

    Args:
        path: of the file; its folder must exist. None: the records are kept in memory alone.
        whole: refuse to go on where the file lacks epochs before the one that ``start`` names.

    Raises:
        CheckpointError: in ``start``, if the file is damaged or, with ``whole``, lacks epochs.

    Example:
        >>> result = edgenet.fit(edgenet.NodeClassifier(34, 4), edgenet.data.load("karate"), epochs=2, progress=False,
        ...                      log=[edgenet.train.JsonLines("metrics.jsonl")])
        >>> [record["epoch"] for record in edgenet.train.read_metrics("metrics.jsonl")]
        [1, 2]
    """

    def __init__(self, path: str | Path | None, whole: bool = False) -> None:
        self.path, self.whole = None if path is None else Path(path), whole
        self.records: list[Record] = []
        self._file: Appended | None = None

    def start(self, epoch: int) -> None:
        self.records = []
        if self.path is None:
            return
        self.records = [record for record in read_metrics(self.path) if record["epoch"] <= epoch]
        told = [record["epoch"] for record in self.records]
        if self.whole and (len(told) != epoch or told != list(range(1, epoch + 1))):
            raise CheckpointError(
                f"{self.path}: lacks epochs that checkpoint.pt has (1 to {epoch} are wanted, it has "
                f"{len(self.records)}). Put the file back, or remove {self.path.parent} to train this seed anew."
            )
        text = "".join(map(_line, self.records)).encode()
        before = reading.content(self.path, reading.TEXT, CheckpointError) if self.path.exists() else b""
        if before != text:
            write_atomically(self.path, lambda file: file.write(text))
        self._file = Appended(self.path)

    def __call__(self, record: Record) -> None:
        if self._file is None and self.path is not None:
            self.start(record["epoch"] - 1)
        self.records.append(record)
        if self._file is not None:
            self._file.write(_line(record))

    def sync(self) -> None:
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Csv:
    """One row an epoch, below a row of names; the names are those of the first record.

    Args:
        path: of the file; its folder must exist.

    Example:
        >>> result = edgenet.fit(edgenet.NodeClassifier(34, 4), edgenet.data.load("karate"), epochs=2, progress=False,
        ...                      log=[edgenet.train.Csv("curve.csv")])
        >>> len(open("curve.csv").readlines())  # names, and a row an epoch
        3
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._names: list[str] = []
        self._file: Appended | None = None

    def start(self, epoch: int) -> None:
        rows: list[dict[str, str]] = []
        if epoch and self.path.is_file():
            self._names, rows = _rows(self.path, epoch)
        kept = io.StringIO(newline="")
        if rows:
            writer = csv.DictWriter(kept, self._names)
            writer.writeheader()
            writer.writerows(rows)
        write_text(self.path, kept.getvalue())
        self._file = Appended(self.path)

    def __call__(self, record: Record) -> None:
        if self._file is None:
            self.start(record["epoch"] - 1)
        assert self._file is not None
        writer = csv.DictWriter(self._file, self._names or list(record), extrasaction="ignore")
        if not self._names:
            self._names = list(record)
            writer.writeheader()
        writer.writerow(record)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _rows(path: Path, epoch: int) -> tuple[list[str], list[dict[str, str]]]:
    """The names of the columns, and the rows of the epochs so far."""
    text = reading.content(path, reading.TEXT, CheckpointError)
    try:
        reader = csv.DictReader(io.StringIO(text.decode()))
        rows = [row for row in reader if (row.get("epoch") or "").isdecimal() and int(row["epoch"]) <= epoch]
        return list(reader.fieldnames or []), [row for row in rows if None not in row]
    except (ValueError, csv.Error) as error:
        raise CheckpointError(f"{path}: damaged, no table of epochs: {str(error)[:80]}. Remove it.") from error


class TensorBoard:
    """Curves for TensorBoard; wants the package ``tensorboard``.

    Raises:
        ConfigError: if the package is missing.

    Example:
        >>> sink = edgenet.train.TensorBoard("curves")  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            self._kind = import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise ConfigError("curves for TensorBoard want its package: pip install tensorboard.") from error
        self._folder = str(folder)
        self._writer: Any = None

    def start(self, epoch: int) -> None:
        self._writer = self._kind(self._folder, purge_step=epoch + 1 if epoch else None)

    def __call__(self, record: Record) -> None:
        if self._writer is None:
            self.start(record["epoch"] - 1)
        for name, value in record.items():
            if name != "epoch" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, record["epoch"])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Bar:
    """A progress bar on stderr, with the loss of the step under way where an epoch has several.

    Example:
        >>> bar = edgenet.train.Bar(epochs=10, name="demo", steps=None, show=False)
    """

    def __init__(self, epochs: int, name: str, steps: int | None, show: bool = True) -> None:
        self.epochs, self.name, self.steps, self.show = epochs, name, steps, show
        self._bar: Any = None

    def start(self, epoch: int) -> None:
        pace = 0.1 if sys.stderr.isatty() else 5.0  # seconds: a log file needs no film
        self._bar = tqdm(
            total=self.epochs, initial=epoch, desc=printable(self.name, lines=False), unit="epoch",
            disable=not self.show, mininterval=pace, dynamic_ncols=True, file=sys.stderr,
        )  # fmt: skip

    def during(self, number: int, loss: float) -> None:
        """A batch of the epoch is done."""
        if self.show and self.steps != 1:
            step = f"{number}/{self.steps}" if self.steps else str(number)
            self._bar.set_postfix(step=step, loss=f"{loss:.3f}", refresh=False)
            self._bar.update(0)

    def __call__(self, record: Record) -> None:
        if self.show:
            shown = {name: f"{record[name]:.3f}" for name in ("loss", "val") if record.get(name) is not None}
            self._bar.set_postfix(refresh=False, **shown)
            self._bar.update()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Sinks:
    """Several sinks as one.

    Raises:
        ConfigError: if one of them cannot be called.
    """

    def __init__(self, sinks: Iterable[Callable[[Record], Any]]) -> None:
        self.sinks = list(sinks)
        for sink in self.sinks:
            if not callable(sink):
                raise ConfigError(f"a sink is called with the record of every epoch, and this cannot be: {sink!r}.")

    def start(self, epoch: int) -> None:
        self._each("start", epoch)

    def __call__(self, record: Record) -> None:
        for sink in self.sinks:
            sink(record)

    def sync(self) -> None:
        self._each("sync")

    def close(self) -> None:
        self._each("close")

    def _each(self, name: str, *arguments: Any) -> None:
        for sink in self.sinks:
            if hasattr(sink, name):
                getattr(sink, name)(*arguments)
