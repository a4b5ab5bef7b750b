"""Choice: what a user says of their data beside the file: what is learned of it, and how it is split."""

from __future__ import annotations

from dataclasses import dataclass

from edgenet.data.dataset import METRICS
from edgenet.data.own.answers import Answers, check_kind
from edgenet.data.own.splitting import SHARES, Masks, drawn, of_column, of_masks, shares_of
from edgenet.data.own.table import Table
from edgenet.errors import ConfigError, DataError

TASKS = ("node", "edge", "graph")


@dataclass(frozen=True)
class Choice:
    """What is learned, and how. What is None is found out, or has a default.

    Attributes:
        task: "node", "edge" or "graph".
        target: names of the columns to learn, or the one field of a ``Data``.
        kind: "class", "multilabel" or "value".
        split: number of the column of masks; name of a column; or three shares, "0.6,0.2,0.2".
        metric: what the targets are judged by.
        undirected: whether every edge is taken both ways.
        ignore: columns that are no features.
        seed: of a split that is drawn.
    """

    task: str | None = None
    target: tuple[str, ...] = ()
    kind: str | None = None
    split: str | int | list[float] | None = None
    metric: str | None = None
    undirected: bool | None = None
    ignore: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in TASKS:
            raise ConfigError(f"task, of a user's own data, is one of {', '.join(TASKS)}, got {self.task!r}.")
        check_kind(self.kind)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(f"seed, of a split, is a whole number from 0 up, got {self.seed!r}.")

    def masks_of(self, answers: Answers, table: Table, own: str | None) -> Masks:
        """The split of the rows of a table: by the column chosen, else by ``own``, else by shares.

        Raises:
            ConfigError, DataError: if it cannot be made.
        """
        shares = SHARES if self.split is None else shares_of(self.split)
        if isinstance(self.split, list) and shares is None:
            raise ConfigError(f"{table.where}: a split in a list has three shares, got {self.split!r}.")
        if isinstance(self.split, int):
            raise ConfigError(
                f"{table.where}: a number chooses among columns of masks, and a table has columns with names. Give the "
                f"name of the one that says train, val or test, or shares: --split 0.6,0.2,0.2."
            )
        column = own if self.split is None else self.split if shares is None else None
        if isinstance(column, str):
            return of_column(table.column(column), answers, f"{table.where}, column {column!r}")
        return self.drawn(answers, table.where)

    def masks_of_arrays(self, answers: Answers, found: Masks, where: str) -> Masks:
        """The split of rows of arrays: by the masks that they have, else by shares.

        Raises:
            ConfigError, DataError: if it cannot be made.
        """
        if found and (self.split is None or isinstance(self.split, int)):
            return of_masks(found, self.split, answers, where)
        if self.split is not None and shares_of(self.split) is None:
            masks = "has masks, which a number chooses" if found else "has no masks"
            raise ConfigError(f"{where}: {masks}, so there is no split {self.split!r}. Draw one: --split 0.6,0.2,0.2.")
        return self.drawn(answers, where)

    def drawn(self, answers: Answers, where: str) -> Masks:
        """Shares, drawn by the seed."""
        if int(answers.known.sum()) < 3:
            raise DataError(
                f"{where}: {int(answers.known.sum())} rows have an answer; three at least are wanted, to train on, to "
                f"choose by and to test."
            )
        return drawn(answers, shares_of(self.split) or SHARES, self.seed, where)

    def metric_of(self, kind: str) -> str:
        """The metric, or that of the kind.

        Raises:
            ConfigError: if the targets are not judged so.
        """
        if self.metric is not None and self.metric not in METRICS[kind]:
            raise ConfigError(
                f"metric, for targets of kind {kind!r}, is one of {', '.join(METRICS[kind])}, got {self.metric!r}."
            )
        return self.metric or METRICS[kind][0]
