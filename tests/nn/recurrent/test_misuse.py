"""What recurrent modules are given wrongly, they name."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from edgenet.errors import ConfigError, ShapeError
from edgenet.nn.recurrent import GRU, LSTM, RNN, Columns, ElmanCell, LSTMCell
from edgenet.structured import Dense, structure

STEPS, BATCH = 6, 4


@pytest.mark.parametrize(
    "kind, options, words",
    [
        (GRU, {"input_size": 0}, "input_size"),
        (GRU, {"hidden_size": True}, "hidden_size"),
        (GRU, {"num_layers": 1.5}, "num_layers"),
        (GRU, {"bias": 1}, "bias is True or False, got 1"),
        (GRU, {"stacked": None}, "stacked"),
        (GRU, {"dropout": 1.5, "num_layers": 2}, "dropout .* got 1.5"),
        (GRU, {"dropout": 0.5}, "dropout=0.5 is between layers"),
        (GRU, {"structure": "kronecker"}, "structured.structure"),
        (GRU, {"structure": lambda weight: nn.Linear(3, 15)}, r"weight \(15, 3\), got a Linear"),
        (GRU, {"structure": lambda weight: Dense(weight.mT)}, r"weight \(15, 3\), got a Dense \(3, 15\)"),
        (LSTM, {"hidden_size": "5"}, "hidden_size is a whole number from 1, got '5'"),
        (RNN, {"nonlinearity": "sin"}, "tanh or relu, got 'sin'"),
        (LSTM, {"proj_size": 5}, "proj_size .* got 5"),
        (LSTM, {"peepholes": 1}, "peepholes"),
    ],
)
def test_options_that_are_none(kind, options, words):
    with pytest.raises(ConfigError, match=words):
        kind(**{"input_size": 3, "hidden_size": 5, **options})


def test_parts_that_do_not_fit():
    with pytest.raises(ShapeError, match="hidden_size"):
        ElmanCell(nn.Identity(), nn.Identity(), 0)
    with pytest.raises(ConfigError, match="out_size"):
        LSTMCell(nn.Identity(), nn.Identity(), 2, projection=nn.Identity())
    with pytest.raises(ShapeError, match="columns 2 to 6"):
        Columns(Dense(torch.ones(3, 5)), 2, 6)
    with pytest.raises(ShapeError, match="rows of 2 numbers"):
        Columns(Dense(torch.ones(3, 5)), 2, 4)(torch.ones(5))


@pytest.mark.parametrize(
    "shape, words",
    [
        ((STEPS, BATCH, 4), "steps of 4 numbers, and input_size is 3"),
        ((0, BATCH, 3), "0 steps of 4 sequences"),
        ((STEPS, 0, 3), "6 steps of 0 sequences"),
        ((0, 3), "0 steps of 1 sequences"),
        ((3,), r"\(T, B, 3\)"),
        ((1, STEPS, BATCH, 3), r"\(T, B, 3\)"),
    ],
)
def test_inputs_of_another_shape(shape, words):
    with pytest.raises(ShapeError, match=words):
        GRU(3, 5)(torch.zeros(shape))
    with pytest.raises(ShapeError, match="list"):
        GRU(3, 5)([1.0])


def test_one_step_is_a_sequence():
    for kind in (RNN, GRU, LSTM):
        y, _ = kind(3, 5, bidirectional=True)(torch.randn(1, BATCH, 3))
        assert y.shape == (1, BATCH, 10)


@pytest.mark.parametrize("lengths", [[1, 2], [1, 2, 3, 7], [1, 2, 3, -1], [1.0, 2.0, 3.0, 4.0], [True] * 4, 3])
def test_lengths_that_are_none(lengths):
    with pytest.raises(ShapeError, match="lengths are"):
        GRU(3, 5)(torch.randn(STEPS, BATCH, 3), lengths=lengths)


def test_lengths_where_there_can_be_none():
    with pytest.raises(ShapeError, match="single sequence"):
        GRU(3, 5)(torch.randn(STEPS, 3), lengths=[3])
    packed = pack_padded_sequence(torch.randn(STEPS, BATCH, 3), [6, 5, 2, 1])
    with pytest.raises(ShapeError, match="knows its lengths"):
        GRU(3, 5)(packed, lengths=[6, 5, 2, 1])


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_sequences_that_are_all_padding_keep_their_state(kind):
    module = kind(3, 5, num_layers=2, bidirectional=True)
    x = torch.full((STEPS, BATCH, 3), torch.nan)
    x[:2, 1] = 1.0
    state = [torch.randn(4, BATCH, 5) for _ in module.state_widths]
    y, last = module(x, state[0] if len(state) == 1 else tuple(state), lengths=[0, 2, 0, 0])
    last = last if isinstance(last, tuple) else (last,)
    for before, after in zip(state, last, strict=True):
        torch.testing.assert_close(after[:, [0, 2, 3]], before[:, [0, 2, 3]])
        assert not torch.allclose(after[:, 1], before[:, 1])
    assert (y[:, [0, 2, 3]] == 0).all() and (y[2:, 1] == 0).all() and (y[:2, 1] != 0).all()


def test_states_of_another_shape():
    x = torch.randn(STEPS, BATCH, 3)
    good = torch.zeros(1, BATCH, 5)
    for module, state in (
        (GRU(3, 5), torch.zeros(1, BATCH, 6)), (GRU(3, 5), torch.zeros(2, BATCH, 5)), (GRU(3, 5), good[0]),
        (GRU(3, 5), (good, good)), (LSTM(3, 5), good), (LSTM(3, 5, proj_size=2), (good, good)), (GRU(3, 5), 3),
    ):  # fmt: skip
        with pytest.raises(ShapeError, match="the state is"):
            module(x, state)
    with pytest.raises(ShapeError, match="float32"):
        GRU(3, 5)(x, good.float())


def test_packed_sequences_that_are_not_in_order():
    with pytest.raises(ShapeError, match=r"enforce_sorted=False.*lengths="):
        GRU(3, 5)(PackedSequence(torch.randn(6, 3), torch.tensor([2, 3, 1])))
    with pytest.raises(ShapeError, match="add up to 5, and it has 6"):
        GRU(3, 5)(PackedSequence(torch.randn(6, 3), torch.tensor([3, 2])))
    with pytest.raises(ShapeError, match="steps of 4 numbers"):
        GRU(3, 5)(PackedSequence(torch.randn(5, 4), torch.tensor([3, 2])))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
def test_a_state_that_becomes_nan_is_told_with_its_step(kind, grad):
    module = kind(3, 5, num_layers=2, bidirectional=True, structure=structure("low_rank", rank=2)).train(grad)
    x = torch.randn(STEPS, BATCH, 3)
    x[4, 2] = torch.nan
    with torch.set_grad_enabled(grad):
        with pytest.raises(ShapeError, match=r"layer 0 became NaN at step 4 of 6, in sequences 2 of the batch"):
            module(x)
        module(x, lengths=[6, 6, 4, 6])  # it is not read
        with torch.no_grad():
            module.cells[3].input_map.bias[0] = torch.nan
        with pytest.raises(ShapeError, match=r"layer 1, backwards became NaN at step 5 of 6, in sequences 0, 1"):
            module(x, lengths=[6, 6, 4, 6])
        with pytest.raises(ShapeError, match=r"first state of layer 0 holds NaN"):
            state = torch.full((4, BATCH, 5), torch.nan)
            module(x, state if kind is not LSTM else (state, state), lengths=[0, 0, 0, 0])


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("part", ["input_map.weight", "state_map.weight", "input_map.bias", "peepholes", "projection"])
def test_a_part_of_another_shape_is_no_memory_for_kernels_to_read(part, grad):
    options = {"peepholes": {"peepholes": True}, "projection": {"proj_size": 2}}.get(part, {})
    lstm = LSTM(3, 5, **options).float()
    cell, wrong = lstm.cells[0], torch.zeros(6, 2, dtype=torch.float32)
    if part == "peepholes":
        cell.peepholes = nn.Parameter(wrong[:3])
    elif part == "projection":
        cell.projection.weight = Dense(wrong)
    elif part == "input_map.bias":
        cell.input_map.bias = nn.Parameter(wrong[0])
    else:
        getattr(cell, part.removesuffix(".weight")).weight = Dense(wrong)
    with torch.set_grad_enabled(grad), pytest.raises((RuntimeError, ShapeError)):
        lstm(torch.zeros(STEPS, BATCH, 3, dtype=torch.float32))
