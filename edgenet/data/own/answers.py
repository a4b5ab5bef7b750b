"""Answers: what is to be learned of rows, of which kind it is, and which rows have none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgenet.data.own.columns import as_number, is_nothing
from edgenet.data.own.table import Table
from edgenet.errors import ConfigError, DataError

KINDS = ("class", "multilabel", "value")


@dataclass(frozen=True)
class Answers:
    """What is to be learned.

    Attributes:
        y: (R,) int64 of classes, (R, L) float32 of zeros and ones, or (R,) or (R, L) float32 of values.
        known: (R,) truths: whether the row has an answer.
        kind: "class", "multilabel" or "value".
        names: of the classes, of the labels, or of the values.
    """

    y: Tensor
    known: np.ndarray
    kind: str
    names: tuple[str, ...]


def of_columns(table: Table, columns: list[str], kind: str | None) -> Answers:
    """The answers in columns of a table.

    Without ``kind``: text, truths and whole numbers of one column are classes, other numbers are values; several
    columns are labels where all is 0 or 1, else values. One column with kind "multilabel" holds labels between
    semicolons.

    Raises:
        DataError: if a cell does not fit; with its line.
    """
    cells = [table.column(name) for name in columns]
    if kind == "multilabel" and len(columns) == 1 and any(as_number(c) is None and not is_nothing(c) for c in cells[0]):
        return _of_lists(cells[0])
    if len(columns) == 1 and kind != "value" and kind != "multilabel":
        known = np.array([not is_nothing(cell) for cell in cells[0]], dtype=bool)
        numbers = [as_number(cell) for cell in cells[0] if not is_nothing(cell)]
        texts = any(number is None for number in numbers)
        if kind == "class" or texts or all(number is not None and number.is_integer() for number in numbers):
            return _classes(np.array(cells[0], dtype=object), known)
    values = np.full((len(table), len(columns)), np.nan)
    for place, (name, column) in enumerate(zip(columns, cells, strict=True)):
        for row, cell in enumerate(column):
            number = None if is_nothing(cell) else as_number(cell)
            if number is None and not is_nothing(cell):
                raise DataError(f"{table.at(row)}: column {name!r} holds {cell!r}, where a number is to be learned.")
            values[row, place] = np.nan if number is None else number
    return _of_numbers(values, kind, tuple(columns), table.where)


def of_array(y: Tensor, kind: str | None, where: str) -> Answers:
    """The answers in an array: (R,) or (R, L). Whole numbers below 0, and NaN, are no answer.

    Without ``kind``: whole numbers and truths of one column are classes, other numbers values; several columns are
    labels where all is 0 or 1, else values.

    Raises:
        DataError: if it has another shape, or does not fit ``kind``.
    """
    y = y.squeeze(-1) if y.dim() > 1 and y.shape[-1] == 1 else y
    if y.dim() not in (1, 2) or y.is_complex():
        raise DataError(f"{where}: what is to be learned is (rows,) or (rows, labels), got {tuple(y.shape)} {y.dtype}.")
    whole = not y.is_floating_point()
    if y.dim() == 1 and (kind == "class" or (kind is None and whole)):
        numbers = y.double().numpy()
        known = np.isfinite(numbers) & (numbers >= 0)
        if not bool((numbers[known] == np.floor(numbers[known])).all()):
            raise DataError(
                f"{where}: classes are whole numbers, and {numbers[known][0]:g} and others are to be learned."
            )
        texts = np.array([str(int(n)) if ok else "" for n, ok in zip(numbers, known, strict=True)], dtype=object)
        return _classes(texts, known)
    names = tuple(map(str, range(y.shape[1]))) if y.dim() == 2 else ("value",)
    return _of_numbers(y.double().reshape(len(y), -1).numpy(), kind, names, where)


def check_kind(kind: str | None) -> None:
    """
    Raises:
        ConfigError: if it is no kind of answers.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"kind, of what is to be learned, is one of {', '.join(KINDS)}, got {kind!r}.")


def _classes(texts: np.ndarray, known: np.ndarray) -> Answers:
    """Classes in their order: that of numbers, where all are, else that of texts."""
    met = {str(text) for text in texts[known]}
    numbers = {text: as_number(text) for text in met}
    numeric = all(number is not None for number in numbers.values())
    names = sorted(met, key=lambda text: (numbers[text], text) if numeric else (0.0, text))
    place = {name: number for number, name in enumerate(names)}
    y = [place[str(text)] if ok else 0 for text, ok in zip(texts, known, strict=True)]
    return Answers(torch.tensor(y, dtype=torch.int64), known, "class", tuple(names))


def _of_lists(cells: list[str]) -> Answers:
    sets = [{part.strip() for part in cell.split(";") if part.strip()} for cell in cells]
    names = sorted(set().union(*sets))
    y = torch.tensor([[float(name in one) for name in names] for one in sets], dtype=torch.float32)
    known = np.array([not is_nothing(cell) for cell in cells], dtype=bool)
    return Answers(y.reshape(len(cells), len(names)), known, "multilabel", tuple(names))


def _of_numbers(values: np.ndarray, kind: str | None, names: tuple[str, ...], where: str) -> Answers:
    huge = np.abs(values) > np.finfo(np.float32).max
    if bool(huge.any()):
        raise DataError(
            f"{where}: what is to be learned holds {str(values[huge][0]).replace('inf', 'infinity')}, at row "
            f"{int(huge.any(1).argmax())}; numbers up to 3.4e+38 are wanted."
        )
    nothing = np.isnan(values)
    known = ~nothing.any(1)
    if bool((nothing.any(1) & ~nothing.all(1)).any()):
        row = int((nothing.any(1) & ~nothing.all(1)).argmax())
        raise DataError(f"{where}: row {row} has some of its answers and lacks others; leave out all, or give all.")
    binary = bool(np.isin(values[known], (0, 1)).all())
    if kind == "multilabel" and not binary:
        raise DataError(f"{where}: labels are 0 or 1, and other numbers are to be learned. Choose kind class or value.")
    if kind == "class":
        raise DataError(f"{where}: of classes there is one a row, in one column, and {len(names)} columns are given.")
    found = kind or ("multilabel" if values.shape[1] > 1 and binary and bool(known.any()) else "value")
    y = torch.from_numpy(np.nan_to_num(values, nan=0.0)).float()
    if found == "value" and y.shape[1] == 1:
        y = y[:, 0]
    return Answers(y, known, found, names)
