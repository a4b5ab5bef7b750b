"""Operators: one step of an LSTM as a graph of products, sums, gates and what flows between them.

The framework of C-LSTM (Wang, Li, Ding, Yuan, Qiu, Wang, Liang 2018, section 5) begins with it: schedules, costs and
generated code are all made of the graph, so that a variant of the LSTM is told once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from graphlib import CycleError, TopologicalSorter

import torch
from torch import Tensor

from edgenet.errors import PlanError, ShapeError
from edgenet.structured.given import is_whole

GATES = ("i", "f", "g", "o")  # in the order of their rows, as torch has them: input, forget, cell, output
KINDS = ("circulant", "add", "multiply", "sigmoid", "tanh")
MATRICES = ("input_map", "state_map", "projection")


@dataclass(frozen=True)
class LstmShape:
    """What an LSTM cell consists of.

    Attributes:
        input: numbers in a frame x.
        cells: n, numbers in the cell state c.
        projection: numbers in the output h = W m; None leaves h = m, of n numbers.
        peepholes: whether i and f see c of the step before, and o sees the new c (the Google LSTM, Sak et al. 2014).
        bias: whether gates have one.
        block: of the circulant blocks of every matrix; 1 is a dense matrix. A mapping tells it matrix by matrix, of
            ``input_map``, ``state_map`` and ``projection``; those it leaves out have 1.

    Raises:
        ShapeError: if a size is not a whole number from 1 up.
        PlanError: if a block size names no matrix, or the rows of a gate are no whole blocks.

    Example:
        >>> edgenet.clstm.LstmShape(input=153, cells=1024, projection=512, peepholes=True, block=8).cells
        1024
    """

    input: int
    cells: int
    projection: int | None = None
    peepholes: bool = False
    bias: bool = True
    block: int | Mapping[str, int] = 1

    def __post_init__(self) -> None:
        sizes = {"input": self.input, "cells": self.cells}
        if self.projection is not None:
            sizes["projection"] = self.projection
        blocks = self.block if isinstance(self.block, Mapping) else {"block": self.block}
        for name, size in (*sizes.items(), *blocks.items()):
            if not is_whole(size) or size < 1:
                raise ShapeError(f"{name} of an LSTM is a whole number from 1 up, got {size!r}.")
        if isinstance(self.block, Mapping) and (unknown := set(self.block) - set(self.matrices)):
            raise PlanError(f"block sizes are of {', '.join(self.matrices)}, got one of {', '.join(sorted(unknown))}.")
        for name in MATRICES[:2]:
            if self.cells % self.block_of(name):
                raise PlanError(
                    f"a gate of {self.cells} rows is no whole number of blocks of {self.block_of(name)} ({name}): its "
                    f"last block would reach into the next gate. Take a block size that divides {self.cells}."
                )

    @property
    def output(self) -> int:
        """Numbers in h."""
        return self.cells if self.projection is None else self.projection

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """(rows, columns) of every matrix; the four gates of a map stand one below the other."""
        found = {"input_map": (4 * self.cells, self.input), "state_map": (4 * self.cells, self.output)}
        return found if self.projection is None else {**found, "projection": (self.projection, self.cells)}

    def block_of(self, matrix: str) -> int:
        """The block size of a matrix."""
        return self.block.get(matrix, 1) if isinstance(self.block, Mapping) else self.block


@dataclass(frozen=True)
class Operator:
    """One operation on vectors.

    Attributes:
        name: of the operator and of its result.
        kind: "circulant" (a product with rows of a matrix in circulant blocks), "add" (the sum of all inputs, from the
            left to the right), "multiply" (entry by entry), "sigmoid", "tanh".
        inputs: names of operators, or of values of the graph.
        size: numbers in the result.
        matrix: of a product, the matrix that it is with: rows ``first_row`` to ``first_row + size`` of it.
        first_row: see ``matrix``.
        columns: of the matrix.
        block: of the matrix; 1 where it is dense.

    Example:
        >>> work = edgenet.clstm.lstm_graph(edgenet.clstm.LstmShape(input=32, cells=64))
        >>> {operator.kind for operator in work.operators.values()} != set()
        True
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    size: int
    matrix: str = ""
    first_row: int = 0
    columns: int = 0
    block: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PlanError(f"operator {self.name!r} is of kind {self.kind!r}; there are {', '.join(KINDS)}.")

    @property
    def work(self) -> int:
        """Multiply-adds. A product in blocks counts as ``BlockCirculant.multiply_adds`` does, with the transforms of
        its own input; a sigmoid or tanh is one for every number, as a look-up of a line is."""
        if self.kind != "circulant":
            return self.size * max(1, len(self.inputs) - 1)
        if self.block == 1:
            return self.size * self.columns
        p, q = -(-self.size // self.block), -(-self.columns // self.block)
        return 4 * (self.block // 2 + 1) * p * q + round(1.25 * self.block * math.log2(self.block) * (p + q))


@dataclass(frozen=True)
class OperatorGraph:
    """Operators and what they are joined by.

    Attributes:
        operators: by name, each after those that it takes its inputs from.
        values: names and sizes of what comes in at every step: the frame x, and the states ``h_previous`` and
            ``c_previous``.
        parameters: names and sizes of vectors that are learned: ``bias_i``, ``peephole_i``, ...
        outputs: {"h": operator, "c": operator}, which are the states of the next step.

    Raises:
        PlanError: if an input is nowhere, two have one name, or operators wait for each other.

    Example:
        >>> work = edgenet.clstm.lstm_graph(edgenet.clstm.LstmShape(input=32, cells=64))
        >>> len(work.operators) > 4
        True
    """

    operators: Mapping[str, Operator]
    values: Mapping[str, int]
    parameters: Mapping[str, int]
    outputs: Mapping[str, str]

    @classmethod
    def of(
        cls,
        operators: list[Operator],
        values: Mapping[str, int],
        parameters: Mapping[str, int],
        outputs: Mapping[str, str],
    ) -> OperatorGraph:
        """The graph of operators in any order."""
        by_name = {operator.name: operator for operator in operators}
        known = {*by_name, *values, *parameters}
        if len(known) != len(operators) + len(values) + len(parameters):
            raise PlanError("two operators, values or parameters of a graph have one name; give each its own.")
        for operator in operators:
            if unknown := [name for name in operator.inputs if name not in known]:
                raise PlanError(f"operator {operator.name!r} takes {unknown[0]!r}, and there are {sorted(known)}.")
        if unknown := [name for name in outputs.values() if name not in by_name]:
            raise PlanError(f"the output {unknown[0]!r} is no operator; there are {sorted(by_name)}.")
        before = {name: [one for one in by_name[name].inputs if one in by_name] for name in by_name}
        try:
            order = list(TopologicalSorter(before).static_order())
        except CycleError as error:
            raise PlanError(f"operators wait for each other: {' -> '.join(error.args[1])}.") from error
        return cls({name: by_name[name] for name in order}, dict(values), dict(parameters), dict(outputs))

    def __iter__(self) -> Iterator[Operator]:
        return iter(self.operators.values())

    def before(self, name: str) -> tuple[str, ...]:
        """The operators that an operator takes its inputs from."""
        return tuple(one for one in self.operators[name].inputs if one in self.operators)

    def after(self, name: str) -> tuple[str, ...]:
        """The operators that take its result."""
        return tuple(one.name for one in self if name in one.inputs)

    def shared(self) -> dict[tuple[str, int], tuple[str, ...]]:
        """{(input, block size): the products that read it in such blocks}: one transform serves them all."""
        found: dict[tuple[str, int], tuple[str, ...]] = {}
        for one in self:
            if one.kind == "circulant":
                key = (one.inputs[0], one.block)
                found[key] = (*found.get(key, ()), one.name)
        return found

    def run(
        self, values: Mapping[str, Tensor], matrices: Mapping[str, Callable[[Tensor], Tensor]]
    ) -> dict[str, Tensor]:
        """One step, operator by operator: the meaning of the graph, for tests. Schedules and code may not differ.

        Args:
            values: (..., size) of every value and parameter of the graph, by name.
            matrices: by name, what multiplies: (..., columns) -> (..., rows).

        Returns:
            The results of all operators by name.

        Raises:
            ShapeError: if a value is lacking or of another size.
        """
        wanted = {**self.values, **self.parameters}
        for name, size in wanted.items():
            if name not in values or values[name].shape[-1] != size:
                came = tuple(values[name].shape) if name in values else "nothing"
                raise ShapeError(f"{name} is (..., {size}), got {came}.")
        found: dict[str, Tensor] = {name: values[name] for name in wanted}
        for one in self:
            given = [found[name] for name in one.inputs]
            found[one.name] = _result(one, given, matrices)
        return {name: found[name] for name in self.operators}


def _result(one: Operator, given: list[Tensor], matrices: Mapping[str, Callable[[Tensor], Tensor]]) -> Tensor:
    if one.kind == "circulant":
        return matrices[one.matrix](given[0])[..., one.first_row : one.first_row + one.size]
    if one.kind == "add":
        return reduce(torch.add, given)
    if one.kind == "multiply":
        return reduce(torch.mul, given)
    return torch.sigmoid(given[0]) if one.kind == "sigmoid" else torch.tanh(given[0])


def lstm_graph(shape: LstmShape) -> OperatorGraph:
    """One step of an LSTM, as ``nn.recurrent.LSTMCell`` computes it.

        i = sigmoid(W_ix x + W_ih h' + p_i * c' + b_i)        f likewise
        g = tanh(W_gx x + W_gh h' + b_g)
        c = f * c' + i * g
        o = sigmoid(W_ox x + W_oh h' + p_o * c + b_o)
        m = o * tanh(c)                                       h = W_m m, or h = m

    Every gate has products of its own, ``input_i`` and ``state_i`` and so on, which are rows of one matrix; those that
    share an input and a block size share its transform (``OperatorGraph.shared``). (C-LSTM puts x and h' one behind the
    other, and has four products for our eight; the numbers are the same.)

    Example:
        >>> work = edgenet.clstm.lstm_graph(edgenet.clstm.LstmShape(input=32, cells=64))
        >>> sorted(work.outputs)
        ['c', 'h']
    """
    n, blocks = shape.cells, {name: shape.block_of(name) for name in shape.matrices}
    values = {"x": shape.input, "h_previous": shape.output, "c_previous": n}
    parameters: dict[str, int] = {}
    operators = []
    for row, gate in enumerate(GATES):
        terms = []
        for side, matrix, value in (("input", "input_map", "x"), ("state", "state_map", "h_previous")):
            name, columns = f"{side}_{gate}", values[value]
            operators.append(Operator(name, "circulant", (value,), n, matrix, row * n, columns, blocks[matrix]))
            terms.append(name)
        if shape.peepholes and gate != "g":
            parameters[f"peephole_{gate}"] = n
            seen = "c" if gate == "o" else "c_previous"
            operators.append(Operator(f"peep_{gate}", "multiply", (f"peephole_{gate}", seen), n))
            terms.append(f"peep_{gate}")
        if shape.bias:
            parameters[f"bias_{gate}"] = n
            terms.append(f"bias_{gate}")
        operators.append(Operator(f"sum_{gate}", "add", tuple(terms), n))
        operators.append(Operator(gate, "tanh" if gate == "g" else "sigmoid", (f"sum_{gate}",), n))
    operators += [
        Operator("forgotten", "multiply", ("f", "c_previous"), n),
        Operator("written", "multiply", ("i", "g"), n),
        Operator("c", "add", ("forgotten", "written"), n),
        Operator("tanh_c", "tanh", ("c",), n),
        Operator("m", "multiply", ("o", "tanh_c"), n),
    ]
    if shape.projection is not None:
        operators.append(Operator("h", "circulant", ("m",), shape.output, "projection", 0, n, blocks["projection"]))
    outputs = {"h": "m" if shape.projection is None else "h", "c": "c"}
    return OperatorGraph.of(operators, values, parameters, outputs)
