"""The graph of an LSTM's operators computes the LSTM, and refuses what is no graph."""

from functools import partial

import pytest
import torch
from torch import nn

from edgenet.clstm import GATES, LstmShape, Operator, OperatorGraph, lstm_graph
from edgenet.errors import PlanError, ShapeError
from edgenet.structured import BlockCirculant

GOOGLE = LstmShape(153, 1024, 512, peepholes=True, block=8)


def lstm_by_hand(shape, values, matrices):
    """The equations, gate by gate."""
    n = shape.cells
    i, f, g, o = (matrices["input_map"](values["x"]) + matrices["state_map"](values["h_previous"])).split(n, -1)
    see = lambda gate, c: values[f"peephole_{gate}"] * c if shape.peepholes else 0  # noqa: E731
    bias = lambda gate: values[f"bias_{gate}"] if shape.bias else 0  # noqa: E731
    i = torch.sigmoid(i + see("i", values["c_previous"]) + bias("i"))
    f = torch.sigmoid(f + see("f", values["c_previous"]) + bias("f"))
    c = f * values["c_previous"] + i * torch.tanh(g + bias("g"))
    m = torch.sigmoid(o + see("o", c) + bias("o")) * torch.tanh(c)
    return (m if shape.projection is None else matrices["projection"](m)), c


def case(shape, batch=3):
    graph = lstm_graph(shape)
    values = {name: torch.randn(batch, size) for name, size in graph.values.items()}
    values |= {name: torch.randn(size) for name, size in graph.parameters.items()}
    matrices = {
        name: BlockCirculant.from_dense(torch.randn(mn), block=shape.block_of(name))
        for name, mn in shape.matrices.items()
    }
    return graph, values, matrices


@pytest.mark.parametrize(
    "shape",
    [
        LstmShape(5, 8, 6, peepholes=True, block=2),
        LstmShape(5, 8, block={"state_map": 4}),
        LstmShape(3, 4, peepholes=True, bias=False),
        LstmShape(1, 1, 1),
    ],
    ids=str,
)
def test_the_graph_computes_the_equations_of_the_lstm(shape):
    graph, values, matrices = case(shape)
    found = graph.run(values, matrices)
    h, c = lstm_by_hand(shape, values, matrices)
    torch.testing.assert_close(found[graph.outputs["h"]], h, rtol=0, atol=1e-12)
    torch.testing.assert_close(found[graph.outputs["c"]], c, rtol=0, atol=1e-12)


def test_the_graph_computes_a_step_of_torchs_lstm():
    cell = nn.LSTMCell(5, 8)
    graph = lstm_graph(LstmShape(5, 8))
    x, h, c = torch.randn(2, 5), torch.randn(2, 8), torch.randn(2, 8)
    values = {"x": x, "h_previous": h, "c_previous": c}
    values |= {f"bias_{gate}": b for gate, b in zip(GATES, (cell.bias_ih + cell.bias_hh).split(8), strict=True)}
    linear = nn.functional.linear
    matrices = {
        "input_map": partial(linear, weight=cell.weight_ih),
        "state_map": partial(linear, weight=cell.weight_hh),
    }
    found = graph.run(values, matrices)
    for one, wanted in zip(("h", "c"), cell(x, (h, c)), strict=True):
        torch.testing.assert_close(found[graph.outputs[one]], wanted, rtol=0, atol=1e-12)


def test_a_google_lstm_has_eight_products_of_gates_three_peepholes_and_a_projection():
    graph = lstm_graph(GOOGLE)
    kinds = [one.kind for one in graph]
    assert (kinds.count("circulant"), kinds.count("sigmoid"), kinds.count("tanh")) == (9, 3, 2)
    assert sum(name.startswith("peep_") for name in graph.operators) == 3
    assert graph.operators["peep_o"].inputs[1] == "c" and graph.operators["peep_i"].inputs[1] == "c_previous"
    assert graph.operators["state_f"].first_row == 1024 and graph.operators["state_f"].columns == 512
    small = lstm_graph(LstmShape(153, 1024))
    assert [one.kind for one in small].count("circulant") == 8 and small.outputs == {"h": "m", "c": "c"}


def test_the_four_gates_share_the_transform_of_their_input():
    shared = lstm_graph(GOOGLE).shared()
    assert shared[("x", 8)] == tuple(f"input_{gate}" for gate in GATES)
    assert shared[("h_previous", 8)] == tuple(f"state_{gate}" for gate in GATES)
    assert shared[("m", 8)] == ("h",)


def test_work_counts_as_block_circulant_matrices_do():
    matrix = BlockCirculant(torch.zeros(4, 3, 8))
    assert Operator("h", "circulant", ("m",), 32, "w", 0, 24, 8).work == matrix.multiply_adds(1)
    assert Operator("h", "circulant", ("m",), 32, "w", 0, 24).work == 32 * 24
    assert Operator("c", "add", ("a", "b", "d"), 32).work == 64 and Operator("t", "tanh", ("a",), 32).work == 32


def test_operators_come_after_their_inputs_in_whatever_order_they_are_given():
    graph = lstm_graph(GOOGLE)
    turned = OperatorGraph.of(list(graph)[::-1], graph.values, graph.parameters, graph.outputs)
    seen = set(turned.values) | set(turned.parameters)
    for one in turned:
        assert seen.issuperset(one.inputs)
        seen.add(one.name)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: LstmShape(0, 4), ShapeError, "input of an LSTM.*got 0"),
        (lambda: LstmShape(3, 4.0), ShapeError, "cells of an LSTM.*got 4.0"),
        (lambda: LstmShape(3, 4, projection=0), ShapeError, "projection"),
        (lambda: LstmShape(3, 4, block=0), ShapeError, "block"),
        (lambda: LstmShape(3, 4, block={"projection": 2}), PlanError, "block sizes are of input_map, state_map"),
        (lambda: LstmShape(3, 20, block=8), PlanError, "20 rows is no whole number of blocks of 8"),
        (lambda: Operator("a", "divide", ("x",), 1), PlanError, "kind 'divide'; there are circulant"),
    ],
)
def test_what_is_no_lstm_is_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


def graph_of(*operators, outputs=None):
    return OperatorGraph.of(
        [Operator(name, "add", inputs, 1) for name, inputs in operators], {"x": 1}, {}, outputs or {}
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: graph_of(("a", ("b",)), ("b", ("a",))), "wait for each other: "),
        (lambda: graph_of(("a", ("y",))), "'a' takes 'y'"),
        (lambda: graph_of(("x", ("x",))), "one name"),
        (lambda: graph_of(("a", ("x",)), outputs={"h": "m"}), "output 'm' is no operator"),
    ],
)
def test_what_is_no_graph_is_refused(make, says):
    with pytest.raises(PlanError, match=says):
        make()


def test_a_value_that_is_lacking_or_too_short_is_named():
    graph, values, matrices = case(LstmShape(5, 8))
    with pytest.raises(ShapeError, match=r"x is \(..., 5\), got \(3, 4\)"):
        graph.run({**values, "x": values["x"][:, :4]}, matrices)
    del values["bias_i"]
    with pytest.raises(ShapeError, match=r"bias_i.*got nothing"):
        graph.run(values, matrices)
