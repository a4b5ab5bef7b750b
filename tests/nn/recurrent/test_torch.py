"""RNN, GRU and LSTM beside torch's: outputs, last states and all gradients, whatever the options."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgenet import ops
from edgenet.errors import ConversionError
from edgenet.nn.recurrent import GRU, LSTM, RNN, from_lstm, from_torch
from edgenet.structured import LowRank, structure
from edgenet.structured.bridge import attach_

KINDS = {
    "rnn": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "gru": (nn.GRU, {}),
    "lstm": (nn.LSTM, {}),
    "projected": (nn.LSTM, {"proj_size": 3}),
}
STEPS, BATCH, INPUT, HIDDEN = 6, 4, 3, 5


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


def pair(name, **options):
    kind, own = KINDS[name]
    theirs = kind(INPUT, HIDDEN, **own, **options)
    return theirs, from_torch(theirs)


def state_of(module, batch=BATCH):
    """A random first state, that wants a gradient."""
    cells = module.num_layers * (1 + module.bidirectional)
    widths = [module.hidden_size]
    if isinstance(module, nn.LSTM):
        widths = [module.proj_size or module.hidden_size, module.hidden_size]
    sizes = [(cells, width) if batch is None else (cells, batch, width) for width in widths]
    parts = tuple(torch.randn(size, requires_grad=True) for size in sizes)
    return parts if len(parts) > 1 else parts[0]


def numbers(output, state):
    data = output.data if isinstance(output, nn.utils.rnn.PackedSequence) else output
    return (data, *state) if isinstance(state, tuple) else (data, state)


def in_order(ours):
    """Parameters in torch's order: of each cell those of input and state, biases last, then the projection."""
    found = []
    for cell in ours.cells:
        maps = (cell.input_map, cell.state_map)
        found += [one.weight.weight for one in maps] + [one.bias for one in maps if one.bias is not None]
        if getattr(cell, "projection", None) is not None:
            found.append(cell.projection.weight.weight)
    return found


def compare(theirs, ours, call, inputs):
    """Outputs, states and gradients of a weighted sum of them, by both ways of ours and by torch."""
    want = numbers(*call(theirs))
    weights = [torch.randn_like(one) for one in want]
    loss = lambda parts: sum((w * part).sum() for w, part in zip(weights, parts, strict=True))  # noqa: E731
    grads = torch.autograd.grad(loss(want), [*inputs, *theirs.parameters()])
    handle = None
    for slow in (False, True):
        if slow:  # a hook: every module is called
            handle = ours.cells[0].state_map.register_forward_hook(lambda *_: None)
        got = numbers(*call(ours))
        near(got, want)
        near(torch.autograd.grad(loss(got), [*inputs, *in_order(ours)]), grads)
    handle.remove()
    with torch.no_grad():
        near(numbers(*call(ours)), want)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layers, bidirectional", list(itertools.product((1, 2), (False, True))))
def test_every_kind_equals_torchs(name, layers, bidirectional):
    for bias, batch_first, with_state in itertools.product((True, False), repeat=3):
        options = {"num_layers": layers, "bidirectional": bidirectional, "bias": bias, "batch_first": batch_first}
        theirs, ours = pair(name, **options)
        x = torch.randn(STEPS, BATCH, INPUT, requires_grad=True)
        state = state_of(theirs) if with_state else None
        parts = () if state is None else state if isinstance(state, tuple) else (state,)

        def call(module, x=x, state=state, batch_first=batch_first):
            return module(x.transpose(0, 1) if batch_first else x, state)

        compare(theirs, ours, call, [x, *parts])


@pytest.mark.parametrize("name", KINDS)
def test_packed_sequences_equal_torchs_in_any_order(name):
    for lengths, in_falling_order, bidirectional in (
        ([6, 4, 4, 1], True, False), ([2, 6, 1, 6], False, True), ([6, 6, 6, 6], True, True), ([3, 3, 2, 1], True, True)
    ):  # fmt: skip
        theirs, ours = pair(name, num_layers=2, bidirectional=bidirectional)
        x, state = torch.randn(max(lengths), BATCH, INPUT, requires_grad=True), state_of(theirs)
        counts = torch.tensor(lengths)

        def call(module, x=x, counts=counts, state=state, ordered=in_falling_order):
            return module(pack_padded_sequence(x, counts, enforce_sorted=ordered), state)

        compare(theirs, ours, call, [x, *(state if isinstance(state, tuple) else (state,))])
        packed, want = call(ours)[0], call(theirs)[0]
        assert packed.batch_sizes.tolist() == want.batch_sizes.tolist()
        for part in ("sorted_indices", "unsorted_indices"):
            assert (getattr(packed, part) is None) == (getattr(want, part) is None)
        near(pad_packed_sequence(packed)[0], pad_packed_sequence(want)[0])


@pytest.mark.parametrize("name", KINDS)
def test_lengths_of_a_padded_batch_say_the_same_as_packing(name):
    theirs, ours = pair(name, bidirectional=True, batch_first=True)
    counts = torch.tensor([2, 6, 1, 5])
    x = torch.randn(BATCH, STEPS, INPUT)
    x[0, 2:] = torch.nan  # behind the end nothing is read
    x.requires_grad_()
    packed = pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
    want, last = theirs(packed)
    want = pad_packed_sequence(want, batch_first=True)[0]
    got, state = ours(x, lengths=counts.tolist())
    near(numbers(got, state), numbers(want, last))
    assert (got[0, 2:] == 0).all()
    grads = torch.autograd.grad(got.sum(), [x, *ours.parameters()])
    assert all(grad.isfinite().all() for grad in grads)
    assert (grads[0][0, 2:] == 0).all()


@pytest.mark.parametrize("name", KINDS)
def test_a_sequence_without_a_batch(name):
    theirs, ours = pair(name, num_layers=2, batch_first=True)
    x = torch.randn(STEPS, INPUT)
    for state in (None, state_of(theirs, batch=None)):
        near(numbers(*ours(x, state)), numbers(*theirs(x, state)))


@pytest.mark.parametrize("name", KINDS)
def test_one_step_continues_from_the_last_state(name):
    theirs, ours = pair(name)
    x = torch.randn(STEPS, BATCH, INPUT)
    whole, state = theirs(x), None
    for step in x:
        output, state = ours(step[None], state)
    near(numbers(output[0], state), numbers(whole[0][-1], whole[1]))


def test_dropout_falls_between_layers_in_training_alone():
    theirs, ours = pair("gru", num_layers=2, dropout=0.5)
    x = torch.randn(STEPS, BATCH, INPUT)
    for seed in (1, 2):
        found = []
        for module in (theirs, ours):
            torch.manual_seed(seed)
            with ops.torch_dropout():
                found.append(numbers(*module(x)))
        near(found[1], found[0])  # the same numbers are drawn
    near(numbers(*ours.eval()(x)), numbers(*theirs.eval()(x)))


def test_from_torch_copies_every_option():
    theirs = nn.LSTM(3, 5, 2, bias=False, batch_first=True, dropout=0.25, bidirectional=True, proj_size=2).eval()
    theirs.weight_hh_l0.requires_grad_(False)
    ours = from_lstm(theirs)
    assert not ours.training and not ours.cells[0].state_map.weight.weight.requires_grad
    for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.proj_size == 2 and from_torch(nn.RNN(2, 3, nonlinearity="relu")).nonlinearity == "relu"
    assert ours.cells[0].input_map.weight.weight.data_ptr() != theirs.weight_ih_l0.data_ptr()
    with pytest.warns(UserWarning, match="dropout"):
        assert from_torch(nn.GRU(2, 3, dropout=0.5)).dropout == 0  # which has no place to fall
    assert next(from_torch(nn.GRU(2, 3, dtype=torch.float32)).parameters()).dtype == torch.float32


def test_from_torch_compresses_what_it_copies():
    theirs = nn.LSTM(3, 5)
    ours = from_torch(theirs, structure("low_rank", rank=2))
    matrix = ours.cells[0].state_map.weight
    assert isinstance(matrix, LowRank)
    near(matrix.to_dense(), LowRank.from_dense(theirs.weight_hh_l0, rank=2).to_dense())


def test_from_torch_refuses_what_it_would_lose():
    with pytest.raises(ConversionError, match="got Linear"):
        from_torch(nn.Linear(2, 3))
    with pytest.raises(ConversionError, match="from_lstm takes"):
        from_lstm(nn.GRU(2, 3))
    hooked = nn.GRU(2, 3)
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(ConversionError, match="hooks"):
        from_torch(hooked)
    tied = nn.LSTM(4, 4, 2)
    tied.weight_hh_l1 = tied.weight_hh_l0
    with pytest.raises(ConversionError, match="stands in two places"):
        from_torch(tied)
    bridged = nn.LSTM(4, 4)
    attach_(bridged, "weight_hh_l0", structure("low_rank", rank=1))
    with pytest.raises(ConversionError, match="decompress_"):
        from_torch(bridged)


def test_a_model_in_float32_runs_in_float32():
    for kind in (RNN, GRU, LSTM):
        module = kind(3, 5).float()
        output, _ = module(torch.randn(2, 4, 3, dtype=torch.float32))
        assert output.dtype == torch.float32
        half, _ = module.bfloat16()(torch.randn(2, 4, 3, dtype=torch.bfloat16))
        assert half.dtype == torch.bfloat16 and (half.float() - output).abs().max() < 2
