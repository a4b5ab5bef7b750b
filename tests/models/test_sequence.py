"""Sequence: scores of steps and of wholes, padding that changes nothing, states that go on, and bad input by name."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from edgenet import from_pretrained, save_pretrained
from edgenet.compress import compress_, report
from edgenet.errors import ConfigError, PlanError, ShapeError
from edgenet.models import MODELS, Sequence

KINDS = {
    "lstm": {},
    "gru of two layers": {"cell": "gru", "num_layers": 2},
    "rnn with relu": {"cell": "rnn", "nonlinearity": "relu"},
    "stacked, peepholes, narrower": {"stacked": True, "peepholes": True, "proj_size": 3},
    "no bias": {"bias": False},
    "kronecker": {"structure": {"structure": "kronecker", "factor": [5, 2]}, "stacked": True},
}
LENGTHS = torch.tensor([2, 6, 1])


def make(**options):
    torch.manual_seed(0)
    return Sequence(**{"in_channels": 4, "out_channels": 3, "hidden_channels": 5, **options}).eval()


def features(steps=6):
    return torch.randn(3, steps, 4, generator=torch.Generator().manual_seed(1))


def symbols(steps=6):
    return torch.randint(4, (3, steps), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("embedding", [None, 6])
def test_scores_are_a_linear_map_of_the_recurrent_layers_signal(options, embedding):
    model = make(embedding=embedding, **options)
    x = features() if embedding is None else symbols()
    signal = x if embedding is None else model.embedding.weight[x]
    output, last = model.rnn(signal)
    torch.testing.assert_close(model(x), output @ model.head.weight.T + model.head.bias)
    scores, state = model(x, return_state=True)
    assert scores.shape == (3, 6, 3)
    hidden = last[0] if isinstance(last, tuple) else last
    torch.testing.assert_close(state[0] if isinstance(state, tuple) else state, hidden)
    whole = make(embedding=embedding, per="sequence", **options)
    torch.testing.assert_close(whole(x), hidden[-1] @ whole.head.weight.T + whole.head.bias)


def test_a_model_of_torchs_parts_says_the_same():
    model, lstm = make(num_layers=2, embedding=6), nn.LSTM(6, 5, 2, batch_first=True)
    for layer, cell in enumerate(model.rnn.cells):
        for ours, theirs in ((cell.input_map, "ih"), (cell.state_map, "hh")):
            getattr(lstm, f"weight_{theirs}_l{layer}").data.copy_(ours.weight.to_dense().detach())
            getattr(lstm, f"bias_{theirs}_l{layer}").data.copy_(ours.bias.detach())
    x = symbols()
    torch.testing.assert_close(model(x), model.head(lstm(model.embedding(x))[0]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("per", ["step", "sequence"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("embedding", [None, 6])
def test_padding_changes_nothing(per, bidirectional, embedding):
    model = make(per=per, bidirectional=bidirectional, embedding=embedding, num_layers=2)
    x = features() if embedding is None else symbols()
    scores = model(x, LENGTHS)
    packed = model(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False))
    if per == "step":
        packed = pad_packed_sequence(packed, batch_first=True)[0]
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(x[row : row + 1, :length])[0]
        real = slice(length) if per == "step" else slice(None)
        torch.testing.assert_close(scores[row][real], alone, rtol=0, atol=1e-10)
        torch.testing.assert_close(packed[row][real], alone, rtol=0, atol=1e-10)


def test_a_unitary_network_gives_its_own_scores(tmp_path):
    model, x = make(cell="unitary"), features()
    torch.testing.assert_close(model(x), model.rnn(x)[0])
    whole = make(cell="unitary", per="sequence")
    torch.testing.assert_close(whole(x), model(x)[:, -1])
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(whole(x, LENGTHS)[row], model(x)[row, length - 1])
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    torch.testing.assert_close(whole(packed), whole(x, LENGTHS))
    first, state = model(x[:, :4], return_state=True)
    both = torch.cat([first, model(x[:, 4:], state=state)], 1)
    torch.testing.assert_close(both, model(x), rtol=0, atol=1e-10)
    save_pretrained(model, tmp_path)
    torch.testing.assert_close(from_pretrained(tmp_path)(x), model(x), rtol=0, atol=0)
    model.reset_parameters()
    for option in ({"num_layers": 2}, {"bidirectional": True}, {"stacked": True}, {"bias": False}, {"dropout": 0.1}):
        with pytest.raises(ConfigError, match=f"{next(iter(option))} is of 'lstm' and 'gru' and 'rnn', and 'unitary'"):
            make(cell="unitary", **option)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_chunks_that_go_on_from_a_state_say_what_the_whole_says(options):
    model, x = make(embedding=6, **options), symbols()
    state, found = None, []
    for start, stop in pairwise((0, 1, 4, 6)):
        scores, state = model(x[:, start:stop], state=state, return_state=True)
        found.append(scores)
    torch.testing.assert_close(torch.cat(found, 1), model(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_model_and_a_copy_say_the_same(options, dtype, tmp_path):
    model, x = make(embedding=6, dropout=0.1, **options).to(dtype), symbols()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert type(again) is Sequence and again.config() == model.config()
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(model)(x), model(x), rtol=0, atol=0)
    other = Sequence(**model.config()).to(dtype).eval()
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)
    other.reset_parameters()
    assert other(x).dtype == dtype and not torch.equal(other(x), model(x))


def test_compression_finds_the_maps_and_a_compressed_model_is_saved(tmp_path):
    model, x = make(embedding=6), symbols()
    assert {"rnn.cells.0.input_map", "rnn.cells.0.state_map"} <= {row.name.removesuffix(".weight") for row in
                                                                report(model).rows}  # fmt: skip
    compress_(model, {r"rnn\.cells\.0\.(input|state)_map.*": {"structure": "low_rank", "rank": 2}})
    save_pretrained(model, tmp_path)
    torch.testing.assert_close(from_pretrained(tmp_path)(x), model.eval()(x), rtol=0, atol=0)


def test_outputs_drop_out_in_training_only_and_between_layers_too():
    model, x = make(dropout=0.5, num_layers=2), features()
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))
    seen = []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    model(x)
    assert 0.2 < (seen[0] == 0).double().mean() < 0.8
    assert make(dropout=0.5).rnn.dropout == 0 and model.rnn.dropout == 0.5


@pytest.mark.parametrize("part", ["embedding", "rnn.cells.0.input_map", "rnn.cells.0.state_map", "rnn", "head"])
def test_a_hook_on_any_part_counts(part):
    model, x = make(embedding=6), symbols()
    before = model(x)

    def doubled(module, inputs, output):
        return (2 * output[0], output[1]) if isinstance(output, tuple) else 2 * output

    model.get_submodule(part).register_forward_hook(doubled)
    assert (model(x) - before).abs().max() > 1e-3


def test_a_compiled_model_says_the_same():
    model, x = make(embedding=6), symbols(2)
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(compiled(x), model(x), rtol=0, atol=1e-12)


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cell": "lstmm"}, "no cell is called 'lstmm'.*Did you mean 'lstm'"),
        ({"per": "word"}, "'step' or 'sequence', got 'word'"),
        ({"dropout": 1.0}, r"\[0, 1\), got 1.0"),
        ({"embedding": 0}, "embedding is 1 or more, got 0"),
        ({"hidden_channels": 0}, "hidden_channels is 1 or more"),
        ({"cell": "gru", "peepholes": True}, "peepholes is of 'lstm', and 'gru' has none"),
        ({"cell": "lstm", "nonlinearity": "relu"}, "nonlinearity is of 'rnn'"),
        ({"cell": "rnn", "nonlinearity": "sigmoid"}, "sigmoid"),
        ({"cell": "rnn", "proj_size": 2}, "proj_size is of 'lstm'"),
        ({"width": 3}, "Sequence has no option 'width'"),
        ({"num_layers": "two"}, "num_layers of Sequence is a whole number, got 'two'"),
    ],
)
def test_options_that_there_are_not_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        make(**options)


def test_a_structure_is_told_by_its_name():
    with pytest.raises(PlanError, match="no structure is called 'kronicker'"):
        make(structure={"structure": "kronicker"})
    with pytest.raises(PlanError, match="the recurrent maps"):
        make(structure={"rank": 2})


@pytest.mark.parametrize(
    ("embedding", "x", "says"),
    [
        (6, torch.tensor([[0, 4]]), "a symbol 4, and this model knows 4, 0 to 3"),
        (6, torch.tensor([[0, -1]]), "a symbol -1"),
        (6, torch.zeros(2, 3), "symbols are whole numbers, got torch.float"),
        (6, torch.zeros(2, 0, dtype=torch.int64), r"a step at least.*\(2, 0\)"),
        (6, torch.zeros(3, dtype=torch.int64), r"\(B, T\) symbols, batch first, got \(3,\)"),
        (None, torch.zeros(2, 0, 4), r"a step at least.*\(2, 0, 4\)"),
        (None, torch.zeros(0, 2, 4), r"a step at least.*\(0, 2, 4\)"),
        (None, torch.zeros(2, 3, 5), r"\(B, T, 4\) features, batch first, got \(2, 3, 5\)"),
        (None, torch.zeros(2, 3, 4, dtype=torch.int64), "features are floating point, got torch.int64.*embedding="),
    ],
)
def test_bad_input_is_named(embedding, x, says):
    with pytest.raises(ShapeError, match=says):
        make(embedding=embedding)(x)


def test_lengths_beyond_the_steps_are_refused_and_nan_is_named_with_its_step():
    model, x = make(), features()
    with pytest.raises(ShapeError, match="7"):
        model(x, torch.tensor([7, 1, 1]))
    x[1, 3, 0] = float("nan")
    with pytest.raises(ShapeError, match="NaN at step 3"):
        model(x)


def test_a_sequence_of_length_one_and_rows_of_padding_alone_have_scores():
    model = make(per="sequence")
    assert model(features(1)).isfinite().all()
    scores = model(features(), torch.tensor([0, 6, 1]))
    torch.testing.assert_close(scores[0], model.head.bias)  # of the state that every sequence begins with


def test_a_bidirectional_network_has_no_state_to_go_on_from():
    model = make(bidirectional=True)
    for options in ({"return_state": True}, {"state": (torch.zeros(2, 3, 5), torch.zeros(2, 3, 5))}):
        with pytest.raises(ConfigError, match="hand in whole sequences"):
            model(features(), **options)


def test_it_is_a_model_by_name_and_packed_sequences_come_out_packed():
    assert MODELS["Sequence"] is Sequence
    packed = pack_padded_sequence(features(), torch.tensor([6, 4, 1]), batch_first=True)
    assert isinstance(make()(packed), PackedSequence)


@pytest.mark.parametrize("cell", ["lstm", "gru", "unitary"])
def test_parameters_are_drawn_anew_also_of_a_compressed_model(cell):
    model = make(cell=cell, embedding=4)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.reset_parameters()
    for name, parameter in model.named_parameters():
        assert name.endswith("read_out.bias") or not torch.equal(parameter, before[name]), name
    compress_(model, {".*(input_map|embedding)": {"structure": "low_rank", "rank": 2}})
    before = model.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    model.reset_parameters()
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert any("input_map.weight.left" in name for name in changed) and any("embedding" in name for name in changed)


@pytest.mark.parametrize("embedding", [None, 4])
def test_gradients_of_every_sequence_are_taken_at_once(embedding):
    model = make(embedding=embedding)
    x, named = features() if embedding is None else symbols(), dict(model.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x[None],)).square().sum()

    got = torch.func.vmap(torch.func.grad(loss), (None, 0))(named, x)
    loss(named, x[1]).backward()
    name = "rnn.cells.0.state_map.weight.weight"
    torch.testing.assert_close(got[name][1], named[name].grad)
