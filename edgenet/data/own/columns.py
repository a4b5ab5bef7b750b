"""Columns: how cells become numbers, learned from the rows that are trained on and used on others later.

A column of numbers becomes one feature, its mean 0 and its spread 1 over the training rows; numbers that are all 0 or
1 stay. A column of text becomes one feature a text, 1 where a cell has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgenet.data.own.table import Table
from edgenet.errors import DataError

MOST_TEXTS = 200  # of one column; more are names of things, and no kinds of them
_MOST = float(np.finfo(np.float32).max)  # models read float32
_NOTHING = ("", "na", "n/a", "nan", "null", "none")


@dataclass(frozen=True)
class Column:
    """How one column becomes features.

    Attributes:
        mean, scale: of a column of numbers, which becomes (number - mean) / scale; a missing one becomes 0.
        texts: of a column of text, those that were met in training; None for numbers. Others become zeros.
    """

    name: str
    mean: float = 0.0
    scale: float = 1.0
    texts: tuple[str, ...] | None = None

    @property
    def width(self) -> int:
        """Features that it becomes."""
        return 1 if self.texts is None else len(self.texts)

    def features(self, table: Table) -> np.ndarray:
        """(rows, width) float32.

        Raises:
            DataError: if the table lacks the column, or a cell is no number and should be one; with its line.
        """
        cells = table.column(self.name)
        if self.texts is None:
            values = (_numbers(table, self.name, cells) - self.mean) / self.scale
            return np.nan_to_num(values, nan=0.0)[:, None].astype(np.float32)
        place = {text: number for number, text in enumerate(self.texts)}
        out = np.zeros((len(cells), len(self.texts)), dtype=np.float32)
        for row, cell in enumerate(cells):
            if cell in place:
                out[row, place[cell]] = 1
        return out

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Column:
        texts = values["texts"]
        return cls(
            str(values["name"]), float(values["mean"]), float(values["scale"]),
            None if texts is None else tuple(map(str, texts)),
        )  # fmt: skip


def learn(table: Table, name: str, rows: np.ndarray) -> Column:
    """How a column becomes features, of its cells in ``rows``, a truth for each.

    Raises:
        DataError: if its cells are more different texts than ``MOST_TEXTS``, or a number is infinite.
    """
    cells = table.column(name)
    if all(is_nothing(cell) or as_number(cell) is not None for cell in cells):
        known = _numbers(table, name, cells)[rows]
        known = known[~np.isnan(known)]
        if not len(known) or bool(np.isin(known, (0, 1)).all()):
            return Column(name)
        spread = float(known.std())
        return Column(name, float(known.mean()), spread if spread > 1e-12 * max(1.0, abs(float(known.mean()))) else 1.0)
    texts = sorted({cell for cell, inside in zip(cells, rows, strict=True) if inside and not is_nothing(cell)})
    if len(texts) > MOST_TEXTS:
        odd = next((row for row, cell in enumerate(cells) if not is_nothing(cell) and as_number(cell) is None), 0)
        raise DataError(
            f"{table.where}: column {name!r} holds {len(texts):,} different texts, {cells[odd]!r} at {table.at(odd)} "
            f"for one: names, or a slip among numbers. Mend it, or leave the column out: "
            f"--set 'dataset.options.ignore=[\"{name}\"]'."
        )
    return Column(name, texts=tuple(texts))


def features(columns: Sequence[Column], table: Table) -> np.ndarray:
    """(rows, F) float32 of several columns, side by side."""
    parts = [column.features(table) for column in columns]
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(table), 0), dtype=np.float32)


def missing(columns: Iterable[Column], table: Table) -> list[str]:
    """In a sentence each, the columns of numbers of which some cells say nothing."""
    told = []
    for column in columns:
        count = sum(map(is_nothing, table.column(column.name))) if column.texts is None else 0
        if count:
            told.append(
                f"{table.where}: {count} of {len(table)} cells of {column.name!r} are empty: they get the mean."
            )
    return told


def is_nothing(cell: str) -> bool:
    """Whether a cell says that it has no value."""
    return cell.lower() in _NOTHING


def as_number(cell: str) -> float | None:
    """The number that a cell holds; None where it holds none, True and False being 1 and 0."""
    if cell.lower() in ("true", "false"):
        return float(cell.lower() == "true")
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def _numbers(table: Table, name: str, cells: Sequence[str]) -> np.ndarray:
    """(rows,) float64, NaN where a cell says nothing."""
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if is_nothing(cell):
            continue
        number = as_number(cell)
        if number is None or abs(number) > _MOST:
            raise DataError(
                f"{table.at(row)}: column {name!r} holds {cell[:40]!r}, where a finite number up to {_MOST:.1e} is "
                f"wanted."
            )
        values[row] = number
    return values
