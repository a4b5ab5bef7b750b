"""Reports: what a compressed model takes, slot by slot, and what is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgenet.compress.slots import Slot, slots
from edgenet.errors import PlanError
from edgenet.structured import StructuredMatrix, name_of


@dataclass(frozen=True)
class Row:
    """One slot, or all numbers that are in none.

    Attributes:
        name: of the slot; tied ones have several, joined by " = ".
        shape: (m, n), or None for the rest.
        structure: name of the family, "dense" where nothing is compressed.
        options: of the family.
        parameters_before, parameters: numbers that are trained, or frozen. A number that several slots share (a hash
            pool) is counted at the first.
        bytes_before, bytes: of the tensors on disk.
        error: ||W - W'|| / ||W|| in the Frobenius norm, at the time of compression. None where that is not known.
        multiply_adds_before, multiply_adds: of one row of input. Behind a bridge, those of the dense product.
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

    def __str__(self) -> str:
        return "\n".join(_table(self._cells()))

    def to_markdown(self) -> str:
        """A table for a page."""
        head, *body = self._cells()
        lines = ["| " + " | ".join(head) + " |", "|---|---|---|" + "---:|" * (len(head) - 3)]
        return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in body])

    def to_json(self) -> str:
        """A text that ``from_json`` reads; with the totals, for other readers."""
        content = {key: [asdict(row) for row in rows] for key, rows in (("rows", self.rows), ("rest", (self.rest,)))}
        return json.dumps({**content, "total": asdict(self.total)}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report in a text of ``to_json``, without its model.

        Raises:
            PlanError: if it is none.
        """
        try:
            content = json.loads(text)
            rows = [
                Row(**{**row, "shape": None if row["shape"] is None else tuple(row["shape"])})
                for row in (*content["rows"], *content["rest"])
            ]
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


def report(model: nn.Module, errors: dict[str, float] | None = None) -> Report:
    """The report of a model as it stands; "before" is every slot dense.

    Args:
        model: any, with structured matrices in it or without.
        errors: relative error of slots by name, where it is known.
    """
    found, rows = slots(model), []
    seen: dict[int, Tensor] = {}  # by identity; held, so that no identity comes twice
    for slot in found.values():
        if not slot.is_lazy:
            rows.append(_row(slot, seen, (errors or {}).get(slot.name)))
    rest = list(_fresh((tensor for _, tensor in _tensors_outside(model)), seen))
    parameters = sum(t.numel() for t in rest if isinstance(t, nn.Parameter))
    size = sum(map(_bytes, rest))
    return Report(tuple(rows), Row("(the rest)", None, "", {}, parameters, parameters, size, size), model)


def stored(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model as they go to disk: those of ``state_dict()``, with every structured matrix in the form of
    its ``pack()``, and what stands in several places once, under its first name."""
    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for prefix, matrix in _matrices(model):
        if id(matrix) not in seen:
            seen.add(id(matrix))
            result.update({f"{prefix}.{key}": tensor for key, tensor in _packed(matrix).items()})
    result.update(_tensors_outside(model))
    once: dict[int, str] = {}
    for name, tensor in result.items():
        once.setdefault(id(tensor), name)
    return {name: tensor.detach() for name, tensor in result.items() if once[id(tensor)] == name}


def _row(slot: Slot, seen: dict[int, Tensor], error: float | None) -> Row:
    (m, n), matrix = slot.shape, slot.matrix
    tensors = [slot.parameter] if matrix is None else list(_packed(matrix).values())
    numbers = [slot.parameter] if matrix is None else list(matrix.parameters())
    new = [p for p in numbers if id(p) not in seen]
    whole = matrix is not None and len(new) == len(numbers)  # only then may it count by itself, masks and all
    size = sum(map(_bytes, _fresh(tensors, seen)))
    seen.update((id(p), p) for p in numbers)
    like = next((t for t in (*numbers, *tensors) if t.is_floating_point() or t.is_complex()), None)
    width = torch.get_default_dtype().itemsize if like is None else like.element_size()
    dense = 0 if slot.reads_rows else m * n
    return Row(
        name=" = ".join(slot.names),
        shape=slot.shape,
        structure="dense" if matrix is None else name_of(matrix),
        options={} if matrix is None else {key: value for key, value in matrix.config().items() if key != "shape"},
        parameters_before=m * n,
        parameters=matrix.num_parameters() if whole else sum(p.numel() for p in new),
        bytes_before=m * n * width,
        bytes=size,
        error=error,
        multiply_adds_before=dense,
        multiply_adds=dense if not dense or matrix is None or slot.is_bridged else matrix.multiply_adds(1),
    )


def _packed(matrix: StructuredMatrix) -> dict[str, Tensor]:
    """Tensors of the packed form. Where that is the matrix itself they are its own, so that sharing is seen."""
    return {k: v for k, v in matrix.pack().state_dict(keep_vars=True).items() if isinstance(v, Tensor)}


def _matrices(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, StructuredMatrix]]:
    """Every structured matrix that is in no other, by its path in ``state_dict``."""
    for name, child in module._modules.items():
        if isinstance(child, StructuredMatrix):
            yield prefix + name, child
        elif child is not None:
            yield from _matrices(child, f"{prefix}{name}.")


def _tensors_outside(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors of ``state_dict`` that belong to no structured matrix."""
    inside = tuple(f"{prefix}." for prefix, _ in _matrices(model))
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and not name.startswith(inside) and not is_lazy(tensor):
            yield name, tensor


def _fresh(tensors: Iterable[Tensor], seen: dict[int, Tensor]) -> Iterator[Tensor]:
    for tensor in tensors:
        if id(tensor) not in seen:
            seen[id(tensor)] = tensor
            yield tensor


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _short(value: Any) -> str:
    """An option in a table: long lists and nested structures are cut."""
    text = json.dumps(value, separators=(",", ":")) if isinstance(value, list | dict) else f"{value}"
    if isinstance(value, float):
        text = f"{value:.4g}"
    return text if len(text) <= 28 else text[:25] + "..."


def _table(cells: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [
        "  ".join(
            c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
