"""Products of a stage as generated code runs them: gates whose rows are neighbours at once, weights in tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.clstm import Operator, OperatorGraph
from edgenet.errors import PlanError
from edgenet.fixed.cell import FixedPointCell
from edgenet.fixed.circulant import FixedCirculant

LANES, TILE = 16, 64  # rows of blocks whose weights lie side by side; kLanes and kTile of support.cpp


@dataclass(frozen=True)
class Vector:
    """Where numbers lie: number i block + k of ``array`` is at k * stride + i; beyond ``size`` there are zeros.

    ``kind`` is their C type. A stride of 0 is the size.
    """

    array: str
    size: int
    block: int = 1
    stride: int = 0
    kind: str = "int16_t"

    @property
    def order(self) -> str:
        """Arguments of ``reorder`` of support.cpp."""
        return f"{self.block}, {self.stride or self.size}"

    @property
    def declaration(self) -> str:
        return f"{self.kind} {self.array}[{self.block * (self.stride or self.size)}];"


@dataclass(frozen=True)
class Product:
    """Rows of a product in circulant blocks that are computed at once.

    Attributes:
        name: of its result.
        circulant: whose product it is.
        signals: names of the values that it multiplies.
        first_row, rows: of its matrices.
        targets: the sums that take it, row range by row range; an operator itself where nothing is added.
    """

    name: str
    circulant: FixedCirculant
    signals: tuple[str, ...]
    first_row: int
    rows: int
    targets: tuple[str, ...]

    @property
    def result(self) -> Vector:
        return blocked(self.name, self.rows, self.circulant.block)

    def weights(self) -> Tensor:
        """int16 in the order in which ``Product`` of support.cpp reads them."""
        k, first = self.circulant.block, self.first_row // self.circulant.block
        spectra = self.circulant.spectra[first : first + -(-self.rows // k)].cpu()
        spectra = F.pad(spectra, (0, 0, 0, 0, 0, -len(spectra) % LANES))
        whole = len(spectra) // TILE * TILE
        tiles = [*spectra[:whole].split(TILE), *spectra[whole:].split(LANES)]
        return torch.cat([_in_order(tile) for tile in tiles if len(tile)])


def blocked(array: str, size: int, block: int) -> Vector:
    """What a product in blocks gives: whole lanes."""
    return Vector(array, size, block, -(-size // (block * LANES)) * LANES)


def _in_order(spectra: Tensor) -> Tensor:
    """A tile, (rows, q, k): frequency by frequency, column by column; of a real one two columns at once."""
    k, parts = spectra.shape[2], []
    for f in range(k // 2 + 1):
        if f in (0, k // 2):
            both = F.pad(spectra[:, :, f], (0, spectra.shape[1] % 2)).unflatten(1, (-1, 2))
        else:
            both = torch.stack([spectra[:, :, f], spectra[:, :, k // 2 + f]], -1)
        parts.append(both.transpose(0, 1).flatten())
    return torch.cat(parts)


def part_name(cell: FixedPointCell, circulant: FixedCirculant) -> str:
    """Which part of a cell a product is."""
    parts = (cell.products, cell.state_products, cell.projection)
    return ("gates", "state", "projection")[[part is circulant for part in parts].index(True)]


def place_of(cell: FixedPointCell, one: Operator) -> tuple[FixedCirculant, int]:
    """The product that an operator's matrix belongs to, and its signal there."""
    if one.matrix == "projection" and cell.projection is not None:
        return cell.projection, 0
    if one.matrix == "input_map" or cell.state_products is None:
        return cell.products, ("input_map", "state_map").index(one.matrix)
    return cell.state_products, 0


def joined(cell: FixedPointCell, graph: OperatorGraph, operators: Sequence[Operator], name: str) -> list[Product]:
    """Products of a stage; those of several gates in one where their rows are neighbours.

    Args:
        name: that theirs begin with.

    Raises:
        PlanError: if what is summed before it is transformed back is not all there.
    """
    groups: dict[tuple[str, int], list[Operator]] = {}
    for one in operators:
        target = one.name if one.name in graph.outputs.values() else graph.after(one.name)[0]
        groups.setdefault((target, one.block), []).append(one)
    found = [_together(cell, target, members) for (target, _), members in groups.items()]
    found.sort(key=lambda product: (part_name(cell, product.circulant), product.first_row))
    rows: list[Product] = []
    for product in found:
        last = rows[-1] if rows else None
        if last and last.circulant is product.circulant and last.first_row + last.rows == product.first_row:
            targets = (*last.targets, *product.targets)
            rows[-1] = replace(last, rows=last.rows + product.rows, targets=targets)
        else:
            rows.append(product)
    return [replace(product, name=f"{name}_{place}") for place, product in enumerate(rows)]


def _together(cell: FixedPointCell, target: str, members: list[Operator]) -> Product:
    placed = sorted(((place_of(cell, one)[1], one) for one in members), key=lambda both: both[0])
    circulant, first = place_of(cell, members[0])[0], members[0]
    if [place for place, _ in placed] != list(range(len(circulant.columns))):
        raise PlanError(
            f"a stage has {', '.join(one.name for one in members)} alone; products that are added and have one block "
            f"size belong in one stage."
        )
    signals = tuple(one.inputs[0] for _, one in placed)
    return Product("", circulant, signals, first.first_row, first.size, (target,))
