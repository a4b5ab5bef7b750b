"""The C++ of one layer: a function for every stage of its schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.clstm import GATES, LstmShape, Operator, OperatorGraph, Stage, lstm_graph
from edgenet.errors import PlanError
from edgenet.fixed.activation import FRACTION, PiecewiseLinear
from edgenet.fixed.cell import FixedPointCell
from edgenet.fixed.circulant import FixedCirculant

_LANES = 16  # rows of blocks whose weights lie side by side; kLanes of support.cpp
Schedule = Callable[[OperatorGraph], Sequence[Stage]]


@dataclass(frozen=True)
class Vector:
    """Where numbers lie: number i block + k of ``array`` is at k * stride + i; beyond ``size`` there are zeros."""

    array: str
    size: int
    block: int = 1
    stride: int = 0

    @property
    def order(self) -> str:
        return f"{self.block}, {self.stride or self.size}"

    @property
    def length(self) -> int:
        return self.block * (self.stride or self.size)


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
        return Vector(self.name, self.rows, self.circulant.block, _padded(-(-self.rows // self.circulant.block)))

    def weights(self) -> Tensor:
        """int16 in the order in which ``Product`` of support.cpp reads them."""
        k, first = self.circulant.block, self.first_row // self.circulant.block
        spectra = self.circulant.spectra[first : first + -(-self.rows // k)].cpu()
        p, q, _ = spectra.shape
        spectra = F.pad(spectra, (0, 0, 0, 0, 0, _padded(p) - p))
        parts = []
        for f in range(k // 2 + 1):
            if f in (0, k // 2):
                columns = F.pad(spectra[:, :, f], (0, q % 2)).unflatten(1, (-1, 2))
            else:
                columns = torch.stack([spectra[:, :, f], spectra[:, :, k // 2 + f]], -1)
            parts.append(columns.unflatten(0, (-1, _LANES)).transpose(1, 2).flatten(1))  # (tiles, columns, 16, 2)
        return torch.cat(parts, 1).flatten()


class LayerCode:
    """The code of one layer.

    Args:
        place: of the layer, from 0.
        cell: the layer.
        x: where its input lies.
        scheduled: gives the stages of its graph.

    Raises:
        PlanError: if the cell has no graph of whole blocks, or the stages cannot be run one after the other.
    """

    def __init__(self, place: int, cell: FixedPointCell, x: Vector, scheduled: Schedule) -> None:
        self.place, self.cell = place, cell
        state_block = cell.products.block if cell.state_products is None else cell.state_products.block
        blocks = {"input_map": cell.products.block, "state_map": state_block}
        if cell.projection is not None:
            blocks["projection"] = cell.projection.block
        projection = None if cell.projection is None else cell.projection.rows
        n = cell.hidden_size
        self.graph = lstm_graph(LstmShape(cell.input_size, n, projection, cell.peepholes is not None, True, blocks))
        self.stages = list(scheduled(self.graph))
        self._check()
        self.block, self.each = cell.products.block, n // cell.products.block
        self.h = self._state("h", projection or n, last=cell.projection)
        self.vectors = {"x": x, "h_previous": self.h, "c_previous": self._state("c", n)}
        #: declarations of the state
        self.state = [_declared(self.vectors["c_previous"]), _declared(self.h)]
        #: (name, C type, numbers) of constant arrays
        self.constants: list[tuple[str, str, list[int]]] = list(self._vectors())
        self.products: dict[str, tuple[Product, int]] = {}  # of every sum: product and row

    def functions(self) -> Iterator[str]:
        """A function for every stage."""
        for number, stage in enumerate(self.stages):
            kinds = ", ".join(one.name for one in stage.operators)
            body = self._circulant(number, stage) if stage.unit == "circulant" else self._pointwise(number, stage)
            yield "\n".join([f"// {kinds}", f"void layer{self.place}_stage{number}(State* s) {{", *body, "}"])

    # ---------------------------------------------------------------- products
    def _circulant(self, number: int, stage: Stage) -> list[str]:
        lines, transformed = [], set[int]()
        for product in self._joined(number, stage):
            circulant, target = product.circulant, product.result
            k, q, name = circulant.block, sum(circulant.blocks), f"{self._id(circulant)}"
            if id(circulant) not in transformed:
                transformed.add(id(circulant))
                lines += self._transforms(product, f"re_{name}", f"im_{name}", q)
            self.constants.append((f"w_{product.name}", "int16_t", product.weights().tolist()))
            into = self.h if product.targets == ("h",) else target
            rows = -(-product.rows // k)
            lines.append(
                f"  Product<{k}, {rows}, {q}, {circulant.shift}>::run(w_{product.name}, re_{name}, im_{name}, "
                f"s->{into.array});"
            )
            if into is self.h:
                lines += self._cropped(rows)
                continue
            self.state.append(_declared(into))
            if k != self.block:  # sums are taken in the order of the other product
                ordered = Vector(f"{into.array}_ordered", into.size, self.block, into.size // self.block)
                self.state.append(_declared(ordered))
                lines.append(f"  reorder<{into.size}, {into.order}, {ordered.order}>(s->{into.array}, s->{ordered.array});")
                into = ordered
            self.vectors[product.name] = into
        return lines

    def _transforms(self, product: Product, re: str, im: str, q: int) -> list[str]:
        circulant, before = product.circulant, 0
        k = circulant.block
        lines = [f"  int16_t {re}[{(k // 2 + 1) * q}], {im}[{(k // 2 + 1) * q}];"]
        for place, signal in enumerate(product.signals):
            vector, blocks = self.vectors[signal], circulant.blocks[place]
            array, stride = f"s->{vector.array}", vector.stride or vector.size
            if vector.block != k:
                array, stride = f"{signal}_in_{k}", blocks
                lines.append(f"  int16_t {array}[{k * blocks}];")
                lines.append(f"  reorder<{vector.size}, {vector.order}, {k}, {blocks}>(s->{vector.array}, {array});")
            lines.append(
                f"  Forward<{k}, {circulant.shifts[place]}, {blocks}>::run({array}, {stride}, {re} + {before}, "
                f"{im} + {before}, {q});"
            )
            before += blocks
        return lines

    def _cropped(self, rows: int) -> list[str]:
        """Zeros beyond the end of h."""
        left = self.h.size % self.h.block
        if not left:
            return []
        at = f"s->{self.h.array}[k * {self.h.stride} + {rows - 1}]"
        return [f"  for (int k = {left}; k < {self.h.block}; ++k) {at} = 0;"]

    def _joined(self, number: int, stage: Stage) -> list[Product]:
        """Products of a stage; those of several gates in one where their rows are neighbours."""
        groups: dict[tuple[str, int], list[Operator]] = {}
        for one in stage.operators:
            target = next((name for name in self.graph.after(one.name)), one.name)
            groups.setdefault((one.name if one.name == "h" else target, one.block), []).append(one)
        found: list[Product] = []
        for (target, _), members in groups.items():
            circulant, places = self._place(members[0])[0], [self._place(one)[1] for one in members]
            if sorted(places) != list(range(len(circulant.columns))):
                raise PlanError(
                    f"stage {number} has {', '.join(one.name for one in members)} alone; products that are added and "
                    f"have one block size belong in one stage."
                )
            members = [one for _, one in sorted(zip(places, members, strict=True), key=lambda both: both[0])]
            first = members[0]
            signals = tuple(one.inputs[0] for one in members)
            found.append(Product("", circulant, signals, first.first_row, first.size, (target,)))
        found.sort(key=lambda one: (self._id(one.circulant), one.first_row))
        joined: list[Product] = []
        for one in found:
            last = joined[-1] if joined else None
            if last is not None and last.circulant is one.circulant and last.first_row + last.rows == one.first_row:
                joined[-1] = Product("", *_both(last, one))
            else:
                joined.append(one)
        named = []
        for place, one in enumerate(joined):
            name = f"z{self.place}_{number}_{place}"
            named.append(Product(name, one.circulant, one.signals, one.first_row, one.rows, one.targets))
            each = one.rows // len(one.targets)
            for row, target in enumerate(one.targets):
                self.products[f"{target}:{one.circulant.block}"] = named[-1], row * each
        return named

    def _place(self, one: Operator) -> tuple[FixedCirculant, int]:
        """The product that a matrix belongs to, and its signal there."""
        cell = self.cell
        if one.matrix == "projection" and cell.projection is not None:
            return cell.projection, 0
        if one.matrix == "input_map" or cell.state_products is None:
            return cell.products, ("input_map", "state_map").index(one.matrix)
        return cell.state_products, 0

    def _id(self, circulant: FixedCirculant) -> str:
        parts = (self.cell.products, self.cell.state_products, self.cell.projection)
        return ("gates", "state", "projection")[[part is circulant for part in parts].index(True)]

    # ---------------------------------------------------------------- everything between
    def _pointwise(self, number: int, stage: Stage) -> list[str]:
        inside = {one.name for one in stage.operators}
        body = [line for one in stage.operators for line in self._operator(one, inside)]
        later = {name for other in self.stages[number + 1 :] for one in other.operators for name in one.inputs}
        for one in stage.operators:
            vector = {self.graph.outputs["c"]: self.vectors["c_previous"]}.get(one.name)
            if one.name == self.graph.outputs["h"]:
                vector = self.h
            if vector is None and one.name in later:
                vector = self._state(one.name, one.size)
                self.state.append(_declared(vector))
            if vector is not None:
                self.vectors[one.name] = vector
                body.append(f"s->{vector.array}[n] = int16_t(v_{one.name});")
        return [
            f"  for (int k = 0; k < {self.block}; ++k) {{",
            f"    for (int i = 0; i < {self.each}; ++i) {{",
            f"      const int n = k * {self.each} + i;",
            *(f"      {line}" for line in body),
            "    }",
            "  }",
        ]

    def _operator(self, one: Operator, inside: set[str]) -> list[str]:
        if one.kind == "add":
            terms = [term for name in one.inputs for term in self._terms(one.name, name, inside)]
            value = f"saturate({' + '.join(dict.fromkeys(terms))})"
        else:
            given = [term for name in one.inputs for term in self._terms(one.name, name, inside)]
            if one.kind == "multiply":
                bits = sum(map(self.fraction_bits, one.inputs)) - self.fraction_bits(one.name)
                value = f"shifted<{bits}>({' * '.join(given)})"
            else:
                lines = self._lines(one)
                name = f"{lines.function}{lines.fraction_bits}"
                value = (
                    f"straight<{lines.end}, {lines.fraction_bits}, {lines.least}>({name}_slopes, {name}_intercepts, "
                    f"{given[0]})"
                )
        return [f"const int32_t v_{one.name} = {value};"]

    def _terms(self, into: str, name: str, inside: set[str]) -> Iterator[str]:
        """What an input is called. Two products in one sum are the same term."""
        if name in inside:
            yield f"v_{name}"
        elif name in self.graph.operators and self.graph.operators[name].kind == "circulant":
            product, row = self.products[f"{into}:{self.graph.operators[name].block}"]
            vector = self.vectors[product.name]
            yield f"s->{vector.array}[k * {vector.stride} + {row // vector.block} + i]"
        elif name in self.graph.parameters:
            yield f"{name}_{self.place}[n]"
        else:
            yield f"s->{self.vectors[name].array}[n]"

    def _lines(self, one: Operator) -> PiecewiseLinear:
        if one.kind == "sigmoid":
            return self.cell.sigmoid
        return self.cell.tanh_of_cell if one.inputs == ("c",) else self.cell.tanh

    def fraction_bits(self, name: str) -> int:
        """The format of a value, a parameter or a result."""
        formats = self.cell.formats
        if name.startswith("peephole_"):
            return formats["peepholes"]
        if name.startswith(("peep_", "sum_", "bias_", "input_", "state_")):
            return formats["gates"]
        if name in ("c", "c_previous", "forgotten", "written"):
            return formats["cell"]
        return {"x": formats["input"], "h": formats["output"], "h_previous": formats["output"]}.get(name, FRACTION)

    # ---------------------------------------------------------------- what stays
    def _state(self, name: str, size: int, last: FixedCirculant | None = None) -> Vector:
        if last is not None:
            return Vector(f"{name}{self.place}", size, last.block, _padded(-(-size // last.block)))
        return Vector(f"{name}{self.place}", size, self.block, self.each)

    def _vectors(self) -> Iterator[tuple[str, str, list[int]]]:
        """Biases and peepholes, in the order of gates."""
        cell = self.cell
        named = dict(zip((f"bias_{gate}" for gate in GATES), cell.bias.chunk(4), strict=True))
        if cell.peepholes is not None:
            named |= dict(zip((f"peephole_{gate}" for gate in "ifo"), cell.peepholes, strict=True))
        for name, numbers in named.items():
            yield f"{name}_{self.place}", "int16_t", numbers.view(-1, self.block).t().flatten().tolist()

    def _check(self) -> None:
        """That stages hold every operator once, after those it needs, and overwrite no state that is still read."""
        done = set[str]()
        for number, stage in enumerate(self.stages):
            names = [one.name for one in stage.operators]
            if len({one.kind == "circulant" for one in stage.operators}) != 1:
                raise PlanError(f"stage {number} is to have products alone, or none; it has {', '.join(names)}.")
            for one in stage.operators:
                if one.name in done or not done.issuperset(self.graph.before(one.name)):
                    raise PlanError(f"stage {number} runs {one.name!r} twice, or before what it takes.")
                done.add(one.name)
            left = [one for one in self.graph if one.name not in done]
            for state, output in self.graph.outputs.items():
                readers = [one.name for one in left if f"{state}_previous" in one.inputs]
                if output in done and readers:
                    raise PlanError(f"stage {number} writes {state}, and {', '.join(readers)} still wants the old one.")
        if len(done) != len(self.graph.operators):
            raise PlanError(f"the stages leave out {', '.join(sorted(set(self.graph.operators) - done))}.")


def _both(first: Product, second: Product) -> tuple[FixedCirculant, tuple[str, ...], int, int, tuple[str, ...]]:
    targets = (*first.targets, *second.targets)
    return first.circulant, first.signals, first.first_row, first.rows + second.rows, targets


def _padded(rows: int) -> int:
    return -(-rows // _LANES) * _LANES


def _declared(vector: Vector) -> str:
    return f"int16_t {vector.array}[{vector.length}];"
