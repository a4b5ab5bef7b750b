"""The C++ of one layer: a function for every stage of its schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from edgenet.clstm import GATES, LstmShape, Operator, OperatorGraph, Stage, lstm_graph
from edgenet.errors import PlanError
from edgenet.fixed.activation import FRACTION, PiecewiseLinear
from edgenet.fixed.cell import FixedPointCell
from edgenet.fixed.product_code import TILE, Product, Vector, blocked, joined, part_name

_EACH = "for (int l = 0; l < COUNT; ++l)"
Schedule = Callable[[OperatorGraph], Sequence[Stage]]


def _multiplies(stage: Stage) -> bool:
    """By its operators: what a unit is called is for whoever scheduled it to say."""
    return all(one.kind == "circulant" for one in stage.operators)


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
        last = cell.projection
        self.h = self._state("h", n) if last is None else blocked(f"h{place}", last.rows, last.block)
        self.vectors = {"x": x, "h_previous": self.h, "c_previous": self._state("c", n)}
        #: declarations of the state
        self.state = [self.vectors["c_previous"].declaration, self.h.declaration]
        #: (name, C type, numbers) of constant arrays
        self.constants: list[tuple[str, str, list[int]]] = list(self._vectors())
        self.products: dict[str, tuple[Product, int]] = {}  # of every sum and block size: product and row
        #: one for every stage
        self.functions = list(self._functions())

    def _functions(self) -> Iterator[str]:
        for number, stage in enumerate(self.stages):
            kinds = ", ".join(one.name for one in stage.operators)
            body = self._circulant(number, stage) if _multiplies(stage) else self._pointwise(number, stage)
            yield "\n".join([f"// {kinds}", f"void layer{self.place}_stage{number}(State* s) {{", *body, "}"])

    # ---------------------------------------------------------------- products
    def _circulant(self, number: int, stage: Stage) -> list[str]:
        lines, transformed = [], set[int]()
        for product in self._products(number, stage):
            circulant, target = product.circulant, product.result
            k, q, name = circulant.block, sum(circulant.blocks), part_name(self.cell, circulant)
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
            self.state.append(into.declaration)
            if k != self.block:  # sums are taken in the order of the other product
                ordered = Vector(f"{into.array}_ordered", into.size, self.block, into.size // self.block)
                self.state.append(ordered.declaration)
                lines.append(
                    f"  reorder<{into.size}, {into.order}, {ordered.order}>(s->{into.array}, s->{ordered.array});"
                )
                into = ordered
            self.vectors[product.name] = into
        return lines

    def _products(self, number: int, stage: Stage) -> list[Product]:
        found = joined(self.cell, self.graph, stage.operators, f"z{self.place}_{number}")
        for one in found:
            each = one.rows // len(one.targets)
            for row, target in enumerate(one.targets):
                self.products[f"{target}:{one.circulant.block}"] = one, row * each
        return found

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

    # ---------------------------------------------------------------- everything between
    def _pointwise(self, number: int, stage: Stage) -> list[str]:
        inside = {one.name for one in stage.operators}
        body = [self._operator(one, inside) for one in stage.operators]
        after = [one for other in self.stages[number + 1 :] for one in other.operators]
        later = {name: "int32_t" for one in after for name in one.inputs}
        later |= {name: "int16_t" for one in after if one.kind == "circulant" for name in one.inputs}
        for one in stage.operators:
            vector = {self.graph.outputs["c"]: self.vectors["c_previous"]}.get(one.name)
            if one.name == self.graph.outputs["h"]:
                vector = self.h
            if vector is None and one.name in later:
                vector = replace(self._state(one.name, one.size), kind=later[one.name])
                self.state.append(vector.declaration)
            if vector is not None:
                self.vectors[one.name] = vector
                body.append(f"{_EACH} s->{vector.array}[n + l] = {vector.kind}(v_{one.name}[l]);")
        return [
            f"  for (int k = 0; k < {self.block}; ++k) {{",
            *self._chunks(body, 0, self.each // TILE * TILE, TILE),
            *self._chunks(body, self.each // TILE * TILE, self.each, self.each % TILE),
            "  }",
        ]

    def _chunks(self, body: list[str], first: int, end: int, count: int) -> list[str]:
        """Operators one after the other, on so many numbers at once."""
        if first == end:
            return []
        return [
            f"    for (int i = {first}; i < {end}; i += {count}) {{",
            f"      constexpr int COUNT = {count};",
            f"      const int n = k * {self.each} + i;",
            *(f"      {line}" for line in body),
            "    }",
        ]

    def _operator(self, one: Operator, inside: set[str]) -> str:
        given = [self._term(one.name, name, inside) for name in one.inputs]
        if one.kind == "add":
            value = f"saturate({' + '.join(dict.fromkeys(given))})"  # products that are summed already are one term
        elif one.kind == "multiply":
            bits = sum(map(self.fraction_bits, one.inputs)) - self.fraction_bits(one.name)
            value = f"shifted<{bits}>({' * '.join(given)})"
        else:
            lines = self._lines(one)
            name, options = f"{lines.function}{lines.fraction_bits}", (lines.end, lines.fraction_bits, lines.least)
            read = one.inputs[0]
            load = "" if read in inside else f"int32_t v_{read}[COUNT]; {_EACH} v_{read}[l] = {given[0]}; "
            return (
                f"{load}int32_t v_{one.name}[COUNT]; straight<{', '.join(map(str, options))}, COUNT>({name}_slopes, "
                f"{name}_intercepts, v_{read}, v_{one.name});"
            )
        return f"int32_t v_{one.name}[COUNT]; {_EACH} v_{one.name}[l] = {value};"

    def _term(self, into: str, name: str, inside: set[str]) -> str:
        """What an input is called. Two products in one sum have the same name."""
        if name in inside:
            return f"v_{name}[l]"
        if name in self.graph.operators and self.graph.operators[name].kind == "circulant":
            product, row = self.products[f"{into}:{self.graph.operators[name].block}"]
            vector = self.vectors[product.name]
            return f"s->{vector.array}[k * {vector.stride} + {row // vector.block} + i + l]"
        if name in self.graph.parameters:
            return f"{name}_{self.place}[n + l]"
        return f"s->{self.vectors[name].array}[n + l]"

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
    def _state(self, name: str, size: int) -> Vector:
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
        """That stages hold every operator once, after those it needs. All that reads a state comes before what writes
        it in the graph, and so here."""
        done = set[str]()
        for number, stage in enumerate(self.stages):
            names = [one.name for one in stage.operators]
            if len({one.kind == "circulant" for one in stage.operators}) != 1:
                raise PlanError(f"stage {number} is to have products alone, or none; it has {', '.join(names)}.")
            for one in stage.operators:
                if one.name in done or not done.issuperset(self.graph.before(one.name)):
                    raise PlanError(f"stage {number} runs {one.name!r} twice, or before what it takes.")
                done.add(one.name)
        if len(done) != len(self.graph.operators):
            raise PlanError(f"the stages leave out {', '.join(sorted(set(self.graph.operators) - done))}.")
