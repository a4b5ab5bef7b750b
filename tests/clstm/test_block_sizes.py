"""Block sizes are the smallest network that keeps to the drop, of all where matrices that share an input are alike."""

import itertools
from copy import deepcopy

import pytest
import torch
from torch import nn

from edgenet.clstm import choose_block_sizes, lstm_cost, shape_of, shared_inputs
from edgenet.compress import compress_, decompress_, slots
from edgenet.errors import PlanError
from edgenet.models import Sequence
from edgenet.nn.recurrent import GRU, LSTM
from edgenet.structured import BlockCirculant, structure

OPTIONS = {"blocks": (2, 4), "progress": False}


def lstm(**options):
    torch.manual_seed(3)
    return LSTM(6, 8, 2, proj_size=4, peepholes=True, **options)


def maps(model):
    return slots(model)


def judged_against(model):
    """A judge of how near the matrices are to those of a model: minus the sum of squared relative errors."""
    wanted = {name: slot.weight().detach().clone() for name, slot in maps(model).items()}

    def judge(other):
        found = {name: slot.weight().detach() for name, slot in slots(other).items()}
        return -sum(float((found[n] - w).norm() / w.norm()) ** 2 for n, w in wanted.items())

    return judge


@pytest.mark.parametrize("max_drop", [0.3, 1.5, 2.5])
@pytest.mark.parametrize("share", [True, False])
def test_no_smaller_network_keeps_to_the_drop(max_drop, share):
    model = lstm()
    found = choose_block_sizes(model, max_drop, judged_against(model), share=share, points=400, **OPTIONS)
    table = {}
    for name, slot in maps(model).items():
        weight = slot.weight().detach()
        table[name] = {1: (weight.numel(), 0.0)}
        for k in (2, 4):
            matrix = BlockCirculant.from_dense(weight, block=k)
            error = float((matrix.to_dense().detach() - weight).norm() / weight.norm()) ** 2
            table[name][k] = (matrix.num_parameters(), error)
    names = list(table)
    ways = [dict(zip(names, way, strict=True)) for way in itertools.product((1, 2, 4), repeat=len(names))]
    if share:
        ways = [w for w in ways if w["cells.0.state_map.weight"] == w["cells.1.input_map.weight"]]
    totals = [[sum(table[n][k][i] for n, k in way.items()) for i in (0, 1)] for way in ways]
    smallest = min(size for size, loss in totals if loss <= max_drop)
    made = sum(table[name][k][0] for name, k in found.blocks.items())
    assert found.satisfied and made == smallest
    assert judged_against(model)(found.model) >= -max_drop - 1e-12


def test_matrices_that_read_one_vector_have_one_block_size():
    assert shared_inputs(lstm()) == [("cells.0.state_map.weight", "cells.1.input_map.weight")]
    both = shared_inputs(LSTM(6, 8, 2, bidirectional=True))
    assert both == [("cells.0.input_map.weight", "cells.1.input_map.weight"),
                    ("cells.2.input_map.weight", "cells.3.input_map.weight")]  # fmt: skip
    assert shared_inputs(LSTM(6, 8)) == []
    inside = Sequence(6, 3, hidden_channels=8, num_layers=3)
    assert shared_inputs(inside)[1] == ("rnn.cells.1.state_map.weight", "rnn.cells.2.input_map.weight")
    assert shared_inputs(LSTM(8, 8, 2, stacked=True)) == [("cells.0.input_map.weight", "cells.1.input_map.weight")]
    other = lstm()
    other.cells[0].state_map = nn.Sequential(other.cells[0].state_map)
    assert shared_inputs(other) == []


def test_the_model_that_is_given_back_runs_as_its_blocks_say_and_the_given_one_stays():
    model = lstm()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = choose_block_sizes(model, 1.5, judged_against(model), **OPTIONS)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    assert set(found.blocks) == set(maps(model))
    assert all(type(cell.peepholes) is nn.Parameter for cell in found.model.cells)
    assert set(found.blocks.values()) <= {1, 2, 4}
    for name, cell in (("cells.0", found.model.cells[0]), ("cells.1", found.model.cells[1])):
        shape = shape_of(cell)
        assert {part: found.blocks[f"{name}.{part}.weight"] for part in shape.matrices} == dict(shape.block)
        assert found.after[name] == lstm_cost(shape) != found.before[name]
    x, plain = torch.randn(5, 3, 6), deepcopy(found.model)
    decompress_(plain)
    torch.testing.assert_close(found.model(x)[0], plain(x)[0], rtol=0, atol=1e-12)
    text = str(found)
    assert "cells.0.state_map.weight" in text and "multiply-adds" in text and "times fewer" in text


def test_fine_tuning_lets_larger_blocks_pass():
    model = lstm()
    calls = []

    def judge(other):
        return 0.0 if not calls or getattr(other, "tuned", False) else judged_against(model)(other)

    def tune(other):
        calls.append(other)
        other.tuned = True

    found = choose_block_sizes(model, 0.01, judge, fine_tune=tune, **OPTIONS)
    assert 1 <= len(calls) <= 3 and set(found.blocks.values()) == {4} and found.model.tuned


def in_blocks(model, pattern):
    compress_(model, {pattern: {"structure": "block_circulant", "block": 4}})
    return model


def test_matrices_in_blocks_stay_and_the_others_are_chosen():
    model = in_blocks(LSTM(6, 8, 2), r"cells\.(0\.state|1\.input)_map")
    found = choose_block_sizes(model, 1.0, lambda _: 0.0, blocks=[2], progress=False)
    assert list(found.blocks.values()) == [2, 4, 4, 2] and found.together == ()
    part = in_blocks(LSTM(6, 8, 2), r"cells\.0\.state_map")
    apart = choose_block_sizes(part, 1.0, lambda _: 0.0, blocks=[2], share=False, progress=False)
    assert list(apart.blocks.values()) == [2, 4, 2, 2]


@pytest.mark.parametrize("blocks", [4, [4.0], ["4"], [True]])
def test_block_sizes_that_are_no_whole_numbers_are_refused(blocks):
    with pytest.raises(PlanError, match="a list of whole numbers from 2 up"):
        choose_block_sizes(LSTM(6, 8), 1.0, lambda _: 0.0, blocks=blocks)


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        (lambda: nn.Linear(4, 4), {}, "a Linear has no LSTM"),
        (lambda: GRU(4, 4), {}, "a GRU has no LSTM"),
        (lambda: LSTM(6, 9), {}, r"none of the block sizes \[2, 4\] is above 1 and divides 9,"),
        (lambda: LSTM(7, 8, stacked=True), {}, "divides 7, 8, where gates or maps end"),
        (lambda: LSTM(6, 8, structure=structure("low_rank", rank=2)), {}, "input_map has a LowRank"),
        (lambda: in_blocks(LSTM(6, 8, 2), r"cells\.0\.state_map"), {}, "and cells.0.state_map.weight cannot get"),
    ],
)
def test_what_has_no_block_sizes_is_refused(model, options, says):
    with pytest.raises(PlanError, match=says):
        choose_block_sizes(model(), 1.0, lambda _: 0.0, **OPTIONS, **options)
