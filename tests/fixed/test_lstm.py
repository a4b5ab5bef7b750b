"""A fixed-point LSTM is close to the LSTM of floats, saves and loads, and refuses what it cannot be."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from fixed_cases import GOOGLE, fixed, lstm, mixed
from stored import oracle, tensors

import edgenet
from edgenet.errors import ConfigError, ConversionError, ShapeError
from edgenet.fixed import FixedPointLSTM
from edgenet.fixed.activation import FUNCTIONS, knots
from edgenet.fixed.arithmetic import values
from edgenet.nn.recurrent import LSTM, LSTMCell
from edgenet.structured import BlockCirculant, Dense, Doped, StructuredLinear
from edgenet.structured.read import read


def decibels(wanted, found):
    return float(10 * torch.log10(wanted.pow(2).mean() / (wanted - found).pow(2).mean()))


def with_lines(model, x):
    """The LSTM in float64, with exact products and the 22 lines for sigmoid and tanh."""

    def lines(name, z):
        places, values = zip(*knots(name, FUNCTIONS[name][1]), strict=True)
        return torch.from_numpy(np.interp(z.numpy(), places, values))

    for cell in model.cells:
        h, c = x.new_zeros(x.shape[1], cell.out_size), x.new_zeros(x.shape[1], cell.hidden_size)
        peep = torch.zeros(3, cell.hidden_size) if cell.peepholes is None else cell.peepholes
        outputs = []
        for frame in x:
            i, f, g, o = (cell.input_map(frame) + cell.state_map(h)).chunk(4, -1)
            i, f = lines("sigmoid", i + peep[0] * c), lines("sigmoid", f + peep[1] * c)
            c = f * c + i * lines("tanh", g)
            h = lines("sigmoid", o + peep[2] * c) * lines("tanh", c)
            h = h if cell.projection is None else cell.projection(h)
            outputs.append(h)
        x = torch.stack(outputs)
    return x


@torch.no_grad()
@pytest.mark.parametrize("block", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("options", [{}, GOOGLE], ids=["small", "google"])
def test_it_is_close_to_the_lstm_of_floats(block, options):
    model, x = lstm(block, **options), torch.randn(8, 20, 13)
    found, _ = FixedPointLSTM.from_lstm(model, [x])(x)
    assert found.dtype == x.dtype
    assert decibels(with_lines(model, x), found) > 45  # 12 fraction bits of gates, in two layers and 8 steps
    assert decibels(model(x)[0], found) > 25  # lines for curves: up to .0034 of tanh
    assert (model(x)[0] - found).abs().max() < 0.1 * model(x)[0].abs().max()  # the same


@torch.no_grad()
def test_blocks_may_differ_from_matrix_to_matrix():
    found = mixed(**GOOGLE)
    assert [cell.state_products.block for cell in found.layers] == [8, 1]
    model = lstm(1, **GOOGLE)
    for cell in model.cells:
        cell.state_map.weight = BlockCirculant.from_dense(cell.state_map.weight.to_dense(), 4)
    x = torch.randn(8, 20, 13)
    assert decibels(with_lines(model, x), FixedPointLSTM.from_lstm(model, [x])(x)[0]) > 45  # as above


@oracle("compression/clstm*.npz")
@torch.no_grad()
def test_it_is_close_to_a_google_lstm_in_numpy(stored):
    arrays = tensors(stored)
    x, model = arrays["x"], LSTM(6, 8, proj_size=4, peepholes=True, batch_first=True)
    cell = model.cells[0]
    for name, key in (("input_map", "w_ih"), ("state_map", "w_hh"), ("projection", "w_hr")):
        setattr(cell, name, StructuredLinear(BlockCirculant(arrays[key]), arrays["bias"] if key == "w_ih" else None))
    cell.peepholes.copy_(arrays["peep"])
    torch.testing.assert_close(model(x)[0], arrays["y_peep"])
    found, (_, c) = FixedPointLSTM.from_lstm(model, [x])(x)
    torch.testing.assert_close(found, arrays["y_peep"], rtol=0, atol=0.02)  # lines for curves, over seven steps
    assert c.shape == (1, 2, 8)


def test_a_walk_may_be_interrupted():
    model, codes = fixed(4, **GOOGLE), torch.randint(-9000, 9000, (9, 5, 13))
    whole, (last, _) = model.run(codes), model.run(codes)[1]
    first, states = model.run(codes[:4])
    second, after = model.run(codes[4:], states)
    assert torch.equal(torch.cat([first, second]), whole[0]) and torch.equal(after[0][0], last[0])
    x = codes.double() * 2.0 ** -model.layers[0].formats["input"]
    head, hx = model(x[:4])
    assert hx[0].shape == (2, 5, 11) and hx[1].shape == (2, 5, 16)
    assert torch.equal(torch.cat([head, model(x[4:], hx)[0]]), model(x)[0])


def test_sequences_of_length_zero_and_one_and_empty_batches():
    model = fixed(8)
    for steps, batch in ((0, 3), (1, 3), (4, 0)):
        output, states = model.run(torch.ones(steps, batch, 13).long())
        assert output.shape == (steps, batch, 16) and states[1][1].shape == (batch, 16)


def test_batch_first_is_as_of_the_lstm():
    model = lstm(2, batch_first=True)
    x = torch.randn(6, 5, 13)
    found = FixedPointLSTM.from_lstm(model, [x])
    flipped = FixedPointLSTM(found.layers)
    assert found.batch_first and torch.equal(found(x)[0], flipped(x.transpose(0, 1))[0].transpose(0, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_saves_loads_copies_and_compiles(tmp_path, dtype):
    model, x = fixed(4, **GOOGLE), torch.randn(3, 2, 13, dtype=dtype)
    wanted = model(x)[0]
    assert wanted.dtype == dtype
    edgenet.save_pretrained(model, tmp_path)
    loaded = edgenet.from_pretrained(tmp_path)
    assert isinstance(loaded, FixedPointLSTM) and loaded.layers[1].products.spectra.dtype == torch.int16
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = copy.deepcopy(model)
    for cell in other.layers:
        cell.bias.zero_(), cell.products.spectra.zero_()
    assert not torch.equal(other(x)[0], wanted)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    for same in (loaded, copy.deepcopy(model), other):
        assert torch.equal(same(x)[0], wanted)
    assert torch.equal(model.to(torch.float16)(x)[0], wanted)  # whole numbers stay what they are


def test_it_compiles_with_torch():
    model, x = fixed(1, layers=1), torch.randn(1, 1, 13)
    assert torch.equal(torch.compile(model, backend="eager")(x)[0], model(x)[0])


def test_pruning_and_hooks_on_a_matrix_count_and_others_are_refused():
    model, x = lstm(1, layers=1), torch.randn(9, 4, 13)
    torch.nn.utils.prune.random_unstructured(model.cells[0].input_map.weight, "generators", 0.5)
    pruned = FixedPointLSTM.from_lstm(model, [x])
    assert (pruned.layers[0].products.spectra[:, :13] == 0).float().mean() == 0.5
    assert torch.equal(
        read(model.cells[0].input_map.weight)[:, :, None] == 0, pruned.layers[0].products.spectra[:, :13] == 0
    )
    handle = model.cells[0].input_map.register_forward_hook(lambda *_: None)
    with pytest.raises(ConversionError, match=r"cells\[0\].input_map is a StructuredLinear, or has hooks"):
        FixedPointLSTM.from_lstm(model, [x])
    handle.remove()
    model = lstm(4, layers=1)
    model.cells[0].state_map.weight.register_forward_hook(lambda module, x, y: y * torch.arange(64))
    with pytest.raises(ConversionError, match="has broken its circulant blocks of 4"):
        FixedPointLSTM.from_lstm(model, [x])


def test_large_peepholes_of_small_cells_do_not_saturate():
    model, x = LSTM(2, 4, peepholes=True), torch.ones(320, 1, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.cells[0].input_map.bias[::4] = 7.0
        model.cells[0].peepholes[:, 1:] = 2000.0  # the first cell counts the steps, the others stay 0
    cell = FixedPointLSTM.from_lstm(model, [x]).layers[0]
    assert (values(cell.peepholes, cell.formats["peepholes"]) == model.cells[0].peepholes).all()


@torch.no_grad()
def test_one_matrix_for_input_and_state_is_taken_where_blocks_end_between_them():
    options = {"structure": partial(BlockCirculant.from_dense, block=4), "stacked": True}
    model, x = LSTM(12, 16, **options), torch.randn(9, 4, 12)
    found = FixedPointLSTM.from_lstm(model, [x])
    assert found.layers[0].products.blocks == [3, 4]
    assert decibels(with_lines(model, x), found(x)[0]) > 45  # as above
    with pytest.raises(ConversionError, match="begins at column 13 of a matrix that it shares, inside a block of 4"):
        FixedPointLSTM.from_lstm(LSTM(13, 16, **options), [torch.randn(9, 4, 13)])


def other_cell(model):
    model.cells[0] = type("Mine", (LSTMCell,), {})(*model.cells[0].children(), 16)
    return model


def spoilt(model, number):
    with torch.no_grad():
        model.cells[0].input_map.weight.generators[0, 0, 0] = number
    return model


@pytest.mark.parametrize(("make", "text"), [
    (lambda: torch.nn.LSTM(13, 16), "got a LSTM; one of torch's"),
    (lambda: LSTM(13, 16, bidirectional=True), "one direction"),
    (lambda: lstm(3), "blocks of 3"),
    (lambda: spoilt(lstm(4, layers=1), torch.nan), r"cells\[0\].input_map has weights that are NaN or infinite"),
    (lambda: spoilt(lstm(1, layers=1), torch.inf), r"cells\[0\].input_map has weights that are NaN or infinite"),
    (lambda: other_cell(lstm(4, layers=1)), r"cells\[0\] is to be an LSTMCell"),
])  # fmt: skip
def test_what_has_no_16_bit_form_is_refused(make, text):
    with pytest.raises(ConversionError, match=text):
        FixedPointLSTM.from_lstm(make(), [torch.randn(3, 2, 13)])


@pytest.mark.parametrize(("batches", "text"), [
    ([], "one frame at least, got none"), ([torch.randn(0, 2, 13)], "one frame at least"),
    ([torch.randn(3, 2, 12)], r"\(T, B, 13\) input, got \(3, 2, 12\)"),
    ([torch.full((1, 1, 13), torch.inf)], "NaN or infinite"),
])  # fmt: skip
def test_what_cannot_calibrate_is_refused(batches, text):
    with pytest.raises(ShapeError, match=text):
        FixedPointLSTM.from_lstm(lstm(4), batches)


@pytest.mark.parametrize(("call", "text"), [
    (lambda m: m(torch.full((1, 1, 13), torch.nan)), "NaN"),
    (lambda m: m(torch.ones(1, 1, 13).long()), "``run`` takes whole numbers"),
    (lambda m: m.run(torch.ones(1, 1, 13)), "codes are whole numbers"),
    (lambda m: m.run(torch.ones(1, 1, 13).long(), [(torch.zeros(1, 16),) * 2] * 2), "h are whole numbers"),
    (lambda m: m.run(torch.full((1, 1, 13), 32768)), "codes are -32768 to 32767, got 32768 to 32768"),
    (lambda m: m.run(torch.ones(1, 1, 13).long(), m.begin(2)), "states of 1 sequences"),
    (lambda m: m(torch.ones(1, 1, 13), (torch.zeros(1, 1, 16),) * 2), "of 2 layers, got"),
    (lambda m: FixedPointLSTM([]), "one cell at least"),
    (lambda m: FixedPointLSTM([m.layers[0], m.layers[0]]), "layer 1 takes 13 numbers"),
])  # fmt: skip
def test_signals_and_cells_that_do_not_fit_are_refused(call, text):
    with pytest.raises(ShapeError, match=text):
        call(fixed(4))


def test_cells_of_wrong_parts_are_refused():
    cell = fixed(4, **GOOGLE).layers[0]
    make = type(cell)
    with pytest.raises(ShapeError, match="4 numbers has products of 16 rows"):
        make(cell.products, 4, cell.formats)
    with pytest.raises(ConfigError, match="formats are fraction bits of input, output, gates, cell, peepholes"):
        make(cell.products, 16, {"input": 3})
    with pytest.raises(ConfigError, match="0 to 30 more"):
        make(cell.products, 16, {**cell.formats, "peepholes": 60})


def test_rows_that_drop_out_in_training_are_taken_all():
    doped = partial(Doped.from_dense, base={"structure": "low_rank", "rank": 2})
    model, x = LSTM(13, 16, structure=doped), torch.randn(5, 3, 13)
    wanted = FixedPointLSTM.from_lstm(model.eval(), [x])(x)[0]
    model.train().cells[0].input_map.weight.drop_rows_(0.5, 0.5)
    assert torch.equal(FixedPointLSTM.from_lstm(model, [x])(x)[0], wanted)


def test_a_state_of_other_formats_is_refused():
    model, x = lstm(4, **GOOGLE), torch.randn(9, 4, 13)
    one, again = (FixedPointLSTM.from_lstm(model, [x]) for _ in range(2))
    loud = FixedPointLSTM.from_lstm(model, [10 * x])
    again.load_state_dict(one.state_dict())
    assert torch.equal(again(x)[0], one(x)[0])
    with pytest.raises(RuntimeError, match=r"cells.0.layout: the numbers of this state have fraction bits and shifts"):
        loud.load_state_dict(one.state_dict())


def test_dense_matrices_of_any_family_are_taken_entry_by_entry():
    model, x = lstm(1, layers=1), torch.randn(5, 3, 13)
    dense = copy.deepcopy(model)
    for linear in (dense.cells[0].input_map, dense.cells[0].state_map):
        linear.weight = Dense(linear.weight.to_dense().detach())
    assert torch.equal(FixedPointLSTM.from_lstm(model, [x])(x)[0], FixedPointLSTM.from_lstm(dense, [x])(x)[0])
