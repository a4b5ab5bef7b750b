"""Schedules keep to the order of the graph, a Google LSTM has three stages, and no pipeline is faster."""

from itertools import product

import pytest

from edgenet.clstm import (
    GATES,
    LstmShape,
    Operator,
    OperatorGraph,
    critical_path,
    lstm_graph,
    pipeline,
    priorities,
    schedule,
)
from edgenet.errors import PlanError

GATE_PRODUCTS = {f"{side}_{gate}" for side in ("input", "state") for gate in GATES}


def google(block=8):
    return lstm_graph(LstmShape(153, 1024, 512, peepholes=True, block=block))


@pytest.mark.parametrize("block", [1, 2, 4, 8, 16, 64])
def test_a_google_lstm_has_three_stages_products_of_the_gates_pointwise_and_the_projection(block):
    graph = google(block)
    first, second, third = schedule(graph)
    assert {one.name for one in first.operators} == GATE_PRODUCTS
    assert [one.name for one in third.operators] == ["h"]
    assert {one.name for one in second.operators} == set(graph.operators) - GATE_PRODUCTS - {"h"}
    assert (first.unit, second.unit, third.unit) == ("circulant", "pointwise", "circulant")


def test_an_lstm_without_projection_has_two_stages():
    first, second = schedule(lstm_graph(LstmShape(39, 128, block=8)))
    assert {one.name for one in first.operators} == GATE_PRODUCTS and second.operators[-1].name == "m"


@pytest.mark.parametrize("shape", [LstmShape(5, 8, 6, True, block=2), LstmShape(5, 8), LstmShape(1, 1, 1)], ids=str)
def test_every_operator_is_in_one_stage_after_what_it_needs(shape):
    graph, seen = lstm_graph(shape), []
    for stage in schedule(graph):
        for one in stage.operators:
            assert set(graph.before(one.name)) <= set(seen)
            seen.append(one.name)
    assert sorted(seen) == sorted(graph.operators)


def test_the_operator_with_the_longest_way_to_the_end_comes_first():
    graph = OperatorGraph.of(
        [
            Operator("light", "circulant", ("x",), 4, "w", 0, 4),
            Operator("heavy", "circulant", ("x",), 8, "w", 0, 8),
            Operator("late", "circulant", ("light",), 9, "w", 0, 9),
            Operator("aside", "tanh", ("x",), 1),
        ],
        {"x": 4},
        {},
        {},
    )
    assert priorities(graph) == {"light": 16 + 81, "heavy": 64, "late": 81, "aside": 1}
    first, second = schedule(graph)
    assert [one.name for one in first.operators] == ["light", "late", "heavy"]
    assert [one.name for one in second.operators] == ["aside"]
    assert [one.name for one in critical_path(graph)] == ["light", "late"]


def test_the_critical_path_of_a_google_lstm_goes_by_the_state_the_new_c_and_its_peephole_to_the_projection():
    path = critical_path(google())
    assert [one.name for one in path] == ["state_i", "sum_i", "i", "written", "c", "peep_o", "sum_o", "o", "m", "h"]
    assert sum(one.work for one in path) == max(priorities(google()).values())


def test_transforms_that_products_share_count_once():
    first, _, _ = schedule(google(8))
    alone = sum(one.work for one in first.operators)
    transforms = 1.25 * 8 * 3 * (20 + 64)  # of x, padded to 160, and of h, 512 numbers
    assert alone - first.work == 3 * transforms
    dense, _, _ = schedule(google(1))
    assert dense.work == 4096 * (153 + 512)


@pytest.mark.parametrize("multipliers", [3, 4, 7, 12])
@pytest.mark.parametrize("block", [1, 4])
def test_no_other_replication_lets_more_frames_pass(multipliers, block):
    stages = schedule(lstm_graph(LstmShape(5, 8, 6, peepholes=True, block=block)))
    made = pipeline(stages, multipliers, buffers=2)
    assert sum(made.replicas) <= multipliers
    best = min(
        max(2 + -(-stage.work // copies) for stage, copies in zip(stages, tried, strict=True))
        for tried in product(range(1, multipliers + 1), repeat=3)
        if sum(tried) <= multipliers
    )
    assert max(made.cycles) == best
    assert made.frames_a_second == 2e8 / best and made.latency == 3 * best / 2e8


def test_units_of_several_lanes_do_so_many_multiply_adds_a_cycle():
    stages = schedule(lstm_graph(LstmShape(5, 8, 6)))
    made = pipeline(stages, 64, lanes=16, frequency=100.0)
    assert sum(made.replicas) == 4
    assert made.cycles == tuple(-(-s.work // (16 * r)) for s, r in zip(stages, made.replicas, strict=True))


def test_units_that_could_do_no_more_are_not_given_out():
    assert sum(pipeline(schedule(lstm_graph(LstmShape(1, 1, 1))), 10_000).replicas) < 100


def test_a_pipeline_is_told_as_a_table():
    text = str(pipeline(schedule(google()), 300))
    assert text.splitlines()[0].split() == ["stage", "unit", "operators", "multiply-adds", "replicas", "cycles"]
    assert len(text.splitlines()) == 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"multipliers": 2}, "3 stages want one each. Take 3 or more"),
        ({"multipliers": 30, "lanes": 0}, "lanes from 1 up"),
        ({"multipliers": 30, "frequency": 0}, "frequency above 0"),
        ({"multipliers": 30, "buffers": -1}, "buffers from 0 up"),
        ({"multipliers": 30.5}, "whole numbers of multipliers"),
        ({"multipliers": 30, "lanes": 1.5}, "got 3 stages, 30, 1.5"),
        ({"multipliers": 30, "frequency": float("nan")}, "frequency above 0"),
    ],
)
def test_a_pipeline_that_cannot_be_is_refused(options, says):
    with pytest.raises(PlanError, match=says):
        pipeline(schedule(google()), **options)
    with pytest.raises(PlanError, match="0 stages"):
        pipeline([], 4)
