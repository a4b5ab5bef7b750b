"""Tables: the columns of a csv file, cell by cell as text, with the line that each row stands on."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenet.data.files import read_bytes
from edgenet.errors import DataError
from edgenet.text import did_you_mean

_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        where: the file, in messages.
        columns: the cells of every column, as text without spaces around; "" where there is nothing.
        lines: the line of every row in the file; empty where rows have no lines.
    """

    where: str
    columns: dict[str, list[str]]
    lines: Sequence[int] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def at(self, row: int) -> str:
        """The place of a row, in messages."""
        return f"{self.where}:{self.lines[row]}" if len(self.lines) else f"{self.where}, row {row}"

    def one(self, names: Sequence[str]) -> str | None:
        """The first of the names that a column has, whatever their case; None where none has."""
        spelled = {name.lower(): name for name in reversed(list(self.columns))}
        return next((spelled[name] for name in names if name in spelled), None)

    def column(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            DataError: if there is none of that name; with those that there are.
        """
        if name not in self.columns:
            raise DataError(
                f"{self.where}: there is no column {name!r}; there are {', '.join(self.columns)}."
                f"{did_you_mean(name, self.columns)}"
            )
        return self.columns[name]


def read_csv(path: Path) -> Table:
    """A file of rows below a line of names, separated by commas, semicolons, tabs or bars, in UTF-8.

    Raises:
        DataError: if it cannot be read, is no UTF-8, has no names or one name twice, or a row is shorter or longer than
            the line of names; with the line.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text in UTF-8 (byte {error.start}). Save the table as CSV in UTF-8.") from error
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: no table of cells: {error}.") from error
    if not rows:
        raise DataError(f"{path}: is empty. A table has a line of names, and a row below it for every thing.")
    names = rows[0]
    if all(_is_number(name) for name in names):
        raise DataError(f"{path}: its first line, {first[:60]!r}, holds numbers. Write the names of the columns there.")
    if "" in names or len(set(names)) < len(names):
        twice = next((name for name in names if not name or names.count(name) > 1), "")
        what = f"names {twice!r} twice" if twice else "leaves a column without a name"
        raise DataError(f"{path}: its first line {what}; every column has a name of its own.")
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(names):
            raise DataError(f"{path}:{line}: has {len(row)} cells, and the line of names has {len(names)}.")
    cells = zip(*rows[1:], strict=True) if len(rows) > 1 else [()] * len(names)
    return Table(str(path), {name: list(column) for name, column in zip(names, cells, strict=True)}, lines[1:])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
