"""Reports: what a compressed model took and takes, slot by slot, and what is lost, as tables and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from torch import nn

from edgenet.errors import PlanError
from edgenet.reading import parse_json
from edgenet.text import markdown_table, plain_table


@dataclass(frozen=True)
class Row:
    """One slot, or all numbers that are in none.

    Attributes:
        name: of the slot; tied ones have several, joined by " = ".
        shape: (m, n), or None for the rest.
        structure: name of the family, "dense" where nothing is compressed.
        options: of the family.
        parameters_before, parameters: numbers that are trained, or frozen; under a mask those that it lets through. A
            number that several slots share (a hash pool, a factor) is counted at the first. Before, the slot was dense.
        bytes_before, bytes: of the tensors on disk.
        error: ||W - W'|| / ||W|| in the Frobenius norm, at the time of compression. None where that is not known.
        multiply_adds_before, multiply_adds: of one row of input, in all its places together; in a convolution, of one
            position of its output, or of all those of one image, all groups together. Behind a bridge, those of the
            dense product.

    Example:
        >>> row = edgenet.compress.report(torch.nn.Linear(3, 8)).rows[0]
        >>> row.name, row.shape, row.structure
        ('weight', (8, 3), 'dense')
    """

    name: str
    shape: tuple[int, int] | None
    structure: str
    options: dict[str, Any]
    parameters_before: int
    parameters: int
    bytes_before: int
    bytes: int
    error: float | None = None
    multiply_adds_before: int = 0
    multiply_adds: int = 0

    @property
    def ratio(self) -> float:
        """Parameters before over parameters after."""
        return self.parameters_before / max(1, self.parameters)


@dataclass(frozen=True)
class Report:
    """All slots of a model, and the rest of it.

    Attributes:
        rows: one a slot, in the order of the model.
        rest: what is in no slot: biases, norms, buffers.
        model: the model itself. Not part of the JSON.

    Example:
        >>> made = edgenet.compress.report(torch.nn.Linear(3, 8))
        >>> made.total.parameters, made.total.bytes
        (32, 128)
    """

    rows: tuple[Row, ...]
    rest: Row
    model: nn.Module | None = field(default=None, repr=False, compare=False)

    @property
    def total(self) -> Row:
        """The sum over all rows and the rest: its bytes are those of the model's tensors on disk."""
        every = (*self.rows, self.rest)
        sums = {
            key: sum(getattr(row, key) for row in every)
            for key in (
                "parameters_before",
                "parameters",
                "bytes_before",
                "bytes",
                "multiply_adds_before",
                "multiply_adds",
            )
        }
        return Row("total", None, "", {}, **sums)

    def compared_with(self, start: Report) -> Report:
        """The same, with the sizes of another report in the place of those before."""
        known = {row.name: row for row in start.rows}
        rows = [_since(row, known[row.name]) if row.name in known else row for row in self.rows]
        return Report(tuple(rows), _since(self.rest, start.rest), self.model)

    def __str__(self) -> str:
        head, *body = self._cells()
        return plain_table(head, body, right=range(3, len(head)), full_rule=True)

    def to_markdown(self) -> str:
        """A table for a page."""
        head, *body = self._cells()
        return markdown_table(head, body, right=range(3, len(head)))

    def to_json(self) -> str:
        """A text that ``from_json`` reads; with the totals, for other readers."""
        content = {key: [asdict(row) for row in rows] for key, rows in (("rows", self.rows), ("rest", (self.rest,)))}
        return json.dumps({**content, "total": asdict(self.total)}, indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        """The report in a text of ``to_json``, without its model.

        Raises:
            PlanError: if it is none.
        """
        content = parse_json(text, "the report", PlanError)
        try:
            rows = [_row(values) for values in (*content["rows"], *content["rest"])]
            return cls(tuple(rows[:-1]), rows[-1])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise PlanError(f"this text is no report of edgenet: {type(error).__name__}: {error}.") from error

    def _cells(self) -> list[list[str]]:
        head = ["name", "shape", "structure", "parameters", "now", "ratio", "bytes", "now", "error", "madds", "now"]
        body = [head]
        for row in (*self.rows, self.rest, self.total):
            options = ", ".join(f"{key}={_short(value)}" for key, value in row.options.items())
            body.append(
                [
                    row.name,
                    "" if row.shape is None else "x".join(map(str, row.shape)),
                    f"{row.structure}({options})" if options else row.structure,
                    f"{row.parameters_before:,}",
                    f"{row.parameters:,}",
                    f"{row.ratio:,.1f}",
                    f"{row.bytes_before:,}",
                    f"{row.bytes:,}",
                    "" if row.error is None else f"{row.error:.3g}",
                    f"{row.multiply_adds_before:,}",
                    f"{row.multiply_adds:,}",
                ]
            )
        return body


def _row(values: Mapping[str, Any]) -> Row:
    """
    Raises:
        TypeError, ValueError: if a value is of another kind.
    """
    row = Row(**{**values, "shape": None if values["shape"] is None else tuple(values["shape"])})
    sizes = [getattr(row, item.name) for item in fields(Row) if item.type == "int"]
    if not all(type(size) is int and 0 <= size < 1 << 63 for size in (*sizes, *(row.shape or ()))):
        raise ValueError(f"a size of {row.name!s:.40} is no whole number")
    if row.shape is not None and len(row.shape) != 2:
        raise ValueError(f"the shape of {row.name!s:.40} is {row.shape!s:.40}")
    named = isinstance(row.name, str) and isinstance(row.structure, str) and isinstance(row.options, dict)
    known = row.error is None or (type(row.error) in (int, float) and math.isfinite(row.error))
    if not named or not known:
        raise TypeError(f"the row of {row.name!s:.40} has a name, options or an error that are none")
    return row


def _since(row: Row, before: Row) -> Row:
    sizes = {f"{key}_before": getattr(before, key) for key in ("parameters", "bytes", "multiply_adds")}
    return replace(row, **sizes)


def _short(value: Any) -> str:
    """An option in a table: long lists and nested structures are cut."""
    text = json.dumps(value, separators=(",", ":")) if isinstance(value, list | dict) else f"{value}"
    if isinstance(value, float):
        text = f"{value:.4g}"
    return text if len(text) <= 28 else text[:25] + "..."
