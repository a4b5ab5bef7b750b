"""Sequences in fit: padding does not count, streams go on from chunk to chunk, and all resumes to the same bits."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.data import Data

from edgenet import data as sets
from edgenet import fit
from edgenet.data import Dataset
from edgenet.errors import ConfigError, ShapeError
from edgenet.models import Sequence
from edgenet.train import Callback, Streams, Task, model_of, run

from train.small_data import config  # isort: skip

QUIET = {"progress": False}
STEPS, SIZE = 7, 40


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def split(per, lengths, size=SIZE, seed=0):
    """Features of which the first one's running sign is to be told, at every step or in the end."""
    x = torch.randn(size, STEPS, 2, generator=drawn(seed), dtype=torch.float32)
    long = torch.randint(1, STEPS + 1, (size,), generator=drawn(seed + 1)) if lengths else torch.full((size,), STEPS)
    y = (x[:, :, 0].cumsum(1) > 0).long()
    y = y if per == "step" else y[torch.arange(size), long - 1]
    return Data(x=x, y=y, **({"lengths": long} if lengths else {}))


def sequences(per="step", lengths=False):
    parts = [[split(per, lengths, seed=seed)] for seed in (0, 10, 20)]
    return Dataset("signs", "sequence", "class", "accuracy", 2, 2, *parts)


@pytest.mark.parametrize("per", ["step", "sequence"])
@pytest.mark.parametrize("lengths", [False, True])
def test_a_data_set_of_sequences_is_learned(per, lengths):
    torch.manual_seed(0)
    model = Sequence(2, 2, hidden_channels=8, cell="gru", per=per)
    result = fit(model, sequences(per, lengths), epochs=15, lr=0.05, batch_size=10, seed=0, **QUIET)
    assert result.metric == "accuracy" and min(result.val, result.test) > 0.8


def test_padding_counts_neither_in_the_loss_nor_in_the_metric():
    dataset = sequences("step", lengths=True)
    model, piece = Sequence(2, 2, hidden_channels=3).float(), dataset.val[0]
    scores = Task.of(dataset).evaluate(model, ("val",))["val"]
    with torch.no_grad():
        found = [model(piece.x[i : i + 1, :n])[0] for i, n in enumerate(piece.lengths.tolist())]
    target = torch.cat([piece.y[i, :n] for i, n in enumerate(piece.lengths.tolist())])
    assert scores.loss == pytest.approx(F.cross_entropy(torch.cat(found), target).item(), abs=1e-6)  # float32
    assert scores.metric == pytest.approx((torch.cat(found).argmax(1) == target).double().mean().item())
    garbage = piece.x.clone()
    garbage[torch.arange(STEPS) >= piece.lengths[:, None]] = 1e3
    piece.x = garbage
    assert Task.of(dataset).evaluate(model, ("val",))["val"].loss == pytest.approx(scores.loss, abs=1e-6)


def test_bits_a_symbol_are_the_loss_over_the_logarithm_of_two():
    x = torch.randint(5, (12, 6), generator=drawn())
    parts = [[Data(x=x, y=x.roll(-1, 1))]] * 3
    dataset = Dataset("letters", "sequence", "class", "bits", 5, 5, *parts)
    result = fit(Sequence(5, 5, hidden_channels=4, embedding=3), dataset, epochs=2, seed=0, **QUIET)
    last = result.history[-1]
    assert result.metric == "bits" and last["val"] == pytest.approx(last["val_loss"] / math.log(2), rel=1e-6)
    assert last["train"] == pytest.approx(last["loss"] / math.log(2), rel=1e-6)


def test_values_of_every_step_are_learned_by_smooth_l1():
    x = torch.randn(30, 5, 1, generator=drawn(), dtype=torch.float32)
    parts = [[Data(x=x, y=x.cumsum(1))]] * 3
    dataset = Dataset("sums", "sequence", "value", "mae", 1, 1, *parts)
    result = fit(Sequence(1, 1, hidden_channels=12), dataset, epochs=30, lr=0.05, batch_size=10, seed=0, **QUIET)
    assert result.metric == "mae" and result.test < 0.5 * x.cumsum(1).abs().mean()


def test_a_graph_beside_the_sequences_is_handed_on_sorted():
    seen = []

    class OfGraph(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, x, edge_index):
            seen.append((tuple(x.shape), edge_index))
            return self.head(x).mean(2)

    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    parts = [[Data(x=torch.randn(6, 4, 3, 1), y=torch.zeros(6, 4).long(), edge_index=edges, num_nodes=3)]] * 3
    dataset = Dataset("rings", "sequence", "class", "accuracy", 1, 2, *parts)
    fit(OfGraph(), dataset, epochs=1, batch_size=4, seed=0, **QUIET)
    assert {shape for shape, _ in seen} == {(4, 4, 3, 1), (2, 4, 3, 1), (6, 4, 3, 1)}
    assert all(torch.equal(one, edges) for _, one in seen)


def test_answers_of_nodes_are_not_taken_for_those_of_steps():
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    lengths = torch.tensor([1, 2, 3, 3])

    def batch(steps, *shape):
        data = Data(x=torch.randn(4, steps, 3, 1), y=torch.randn(4, *shape), lengths=lengths, edge_index=edges)
        task = Task.of(Dataset("rings", "sequence", "value", "rmse", 1, 1, [data], [data], [data]))
        task.prepare(torch.device("cpu"), torch.get_default_dtype(), 4)
        return next(task._sources["train"].ordered())

    assert batch(3, 3, 3).target.shape == (9, 3)  # of 9 steps
    assert batch(4, 3).target.shape == (4, 3) and batch(4, 4).target.shape == (9,)
    with pytest.raises(ShapeError, match=r"as many steps as nodes.*a step of padding"):
        batch(3, 3)


@pytest.mark.parametrize("per", ["step", "sequence"])
def test_a_configuration_makes_the_model_that_the_sequences_want(per, monkeypatch):
    x = torch.randint(5, (8, 6), generator=drawn())
    letters = [[Data(x=x, y=x if per == "step" else x[:, 0])]] * 3
    made = Dataset("letters", "sequence", "class", "accuracy", 5, 5, *letters)
    monkeypatch.setitem(sets.DATASETS, "letters", sets.Recipe(sets.DATASETS["karate"].facts, lambda where: made))
    chosen = config(
        None, dataset__name="letters", model__kind="Sequence", model__options__cell="gru", training__epochs=2
    )
    model = model_of(chosen, made)
    assert model.per == per and model.config()["embedding"] == 64 and model.config()["hidden_channels"] == 8
    assert model_of(chosen, sequences(per)).config()["embedding"] is None
    assert run(chosen, **QUIET).summary()["test"]["mean"] >= 0
    with pytest.raises(ConfigError, match="Sequence has no option 'layer'"):
        model_of(config("gcn"), made)


# ---------------------------------------------------------------- streams
L = 50


def letters(length=L):
    """A long sequence of symbols, and what follows each."""
    x = torch.randint(4, (length + 1,), generator=drawn(3))
    return x[:-1], x[1:]


class Watching(nn.Module):
    """Adds up its inputs, and remembers what it was called with."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.1))
        self.calls = []

    def forward(self, x, state=None, return_state=False):
        before = torch.zeros(len(x)) if state is None else state
        self.calls.append((x.clone(), None if state is None else state.clone(), self.training))
        after = before + self.weight * x.sum(1)
        return (self.weight * x + before[:, None])[..., None] * torch.ones(4), after


def test_a_model_reads_on_where_it_was_and_gradients_stop_between_chunks():
    x, y = letters()
    model = Watching()
    task = Task(Streams(x, y, streams=3, length=4), loss=lambda scores, target: scores.mean())
    task.prepare(torch.device("cpu"), torch.float64)
    batches = list(task.training(drawn()))
    assert task.steps == len(batches) == (L // 3) // 4
    for batch in batches:
        task.output(model, batch)
    first = int(torch.randint(L, (), generator=drawn()))
    starts = first + (L // 3) * torch.arange(3)
    total = torch.zeros(3)
    for number, (seen, state, _) in enumerate(model.calls):
        places = (starts[:, None] + 4 * number + torch.arange(4)) % L
        assert torch.equal(seen, x[places]) and torch.equal(batches[number].target, y[places])
        if number:
            torch.testing.assert_close(state, total)
            assert not state.requires_grad
        else:
            assert state is None
        total = total + 0.1 * seen.sum(1)


def test_scoring_reads_every_stream_from_its_start_to_its_end_and_leaves_the_training_where_it_was():
    x, y = letters()
    model = Sequence(4, 4, embedding=3, hidden_channels=5)
    task = Task(Streams(x, y, streams=3, length=7), val=Streams(x, y, streams=3, length=5))
    score = task.evaluate(model, ("val",))["val"]
    streams = x[:48].view(3, 16), y[:48].view(3, 16)
    with torch.no_grad():
        whole = F.cross_entropy(model(streams[0]).flatten(0, 1), streams[1].flatten()).item()
    assert score.loss == pytest.approx(whole, abs=1e-12)
    task = Task(Streams(x, y, streams=3, length=4))
    task.prepare(torch.device("cpu"), torch.float64)
    one, two = iter(task.training(drawn())), iter(task.training(drawn()))
    model.eval()
    plain = [task.output(model, batch) for batch in one]
    found = []
    for batch in two:
        found.append(task.output(model, batch))
        task.evaluate(model, ("train",))
    assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))


def test_a_chunk_that_is_read_twice_or_by_two_models_begins_where_each_of_them_was():
    x, y = letters()
    task = Task(Streams(x, y, streams=2, length=5))
    task.prepare(torch.device("cpu"), torch.float64)
    one, two = (Sequence(4, 4, embedding=3, hidden_channels=5) for _ in range(2))
    alone = [task.output(two, batch) for batch in task.training(drawn())]
    for batch, wanted in zip(task.training(drawn()), alone, strict=True):
        first = task.output(one, batch)
        assert torch.equal(task.output(two, batch), wanted)
        assert torch.equal(task.output(one, batch), first)


def test_an_epoch_has_as_many_chunks_as_are_asked_for_also_past_the_end():
    x, y = letters()
    source = Streams(x, y, streams=2, length=5, steps=9)
    batches = list(source.training(drawn()))
    assert len(batches) == source.steps == 9 and all(batch.target.shape == (2, 5) for batch in batches)
    assert Streams(x, y, streams=2, length=5).steps == 5


def test_streams_of_sequences_that_follow_one_another_are_one_sequence():
    x, y = letters()
    source = Streams.of(Data(x=x.view(10, 5), y=y.view(10, 5)), streams=2, length=5)
    assert torch.equal(source.x, x) and torch.equal(source.y, y)


def test_streams_of_features_are_placed_in_the_models_dtype():
    x = torch.randn(30, 2, dtype=torch.float32)
    task = Task(Streams(x, x[:, :1], streams=2, length=5), metric="rmse")
    result = fit(Sequence(2, 1, hidden_channels=3), task, epochs=1, seed=0, **QUIET)
    assert result.metric == "rmse" and task.first().whole[0].dtype == torch.float64


class Interrupt(Callback):
    """Stops a training in the midst of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def after_step(self, training):
        if training.epoch == self.epoch and training.step % 3 == 1:
            raise KeyboardInterrupt


def test_a_training_on_streams_that_was_interrupted_goes_on_to_the_same_bits(tmp_path):
    x, y = letters(200)

    def trained(folder, *callbacks, **options):
        torch.manual_seed(5)
        model = Sequence(4, 4, embedding=3, hidden_channels=6, dropout=0.2)
        task = Task(Streams(x, y, streams=4, length=5, steps=3), val=Streams(x, y, streams=4, length=10))
        rules = {"epochs": 5, "lr": 0.02, "checkpoint_epochs": 1, "seed": 1, "folder": tmp_path / folder}
        return fit(model, task, callbacks=callbacks, **rules, **options, **QUIET)

    whole = trained("whole", Interrupt(99))
    with pytest.raises(KeyboardInterrupt):
        trained("parts", Interrupt(3))
    again = trained("parts", Interrupt(99), resume=True)
    plain = [{k: v for k, v in record.items() if k != "seconds"} for record in whole.history]
    assert plain == [{k: v for k, v in record.items() if k != "seconds"} for record in again.history]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_a_language_model_learns_what_only_the_state_can_know():
    """In 0 0 0 1 1 1 0 0 0 ... the next symbol is told by how often this one was read, chunks ago too."""
    x = (torch.arange(361) // 3) % 2
    torch.manual_seed(0)
    streams = Streams(x[:-1], x[1:], streams=6, length=4)
    model = Sequence(2, 2, embedding=4, hidden_channels=12)
    result = fit(model, Task(streams, val=streams), epochs=10, lr=0.08, seed=0, **QUIET)
    assert result.val > 0.95  # the first steps of a stream are guessed
    model = result.model.eval()
    ones = [model(x[None, start : start + 1]).argmax(-1).item() == x[start + 1].item() for start in range(60)]
    assert sum(ones) < 0.75 * len(ones), "without a state a symbol says too little"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"streams": 0}, ConfigError, "streams of Streams is a whole number from 1, got 0"),
        ({"length": 2.0}, ConfigError, "length of Streams .* got 2.0"),
        ({"steps": True}, ConfigError, "steps of Streams .* got True"),
        ({"streams": 10, "length": 6}, ShapeError, r"50 steps are too few for 10 streams .* take 60\."),
        ({"y": torch.zeros(49)}, ShapeError, r"got \(50,\) and \(49,\)"),
        ({"x": torch.full((50, 1), math.nan)}, ShapeError, r"x\[0, 0\] is nan"),
        ({"y": torch.full((50,), math.inf)}, ShapeError, r"y\[0\] is inf"),
    ],
)
def test_streams_that_cannot_be_are_refused(options, error, says):
    x, y = letters()
    with pytest.raises(error, match=says):
        Streams(**{"x": x, "y": y, "streams": 2, "length": 5, **options})


def test_streams_of_padded_sequences_are_refused():
    pieces = Data(x=torch.zeros(6, 4).long(), y=torch.zeros(6, 4).long(), lengths=torch.tensor([4, 4, 3, 4, 4, 4]))
    with pytest.raises(ShapeError, match="what comes after is padding"):
        Streams.of(pieces, streams=2, length=3)
    pieces.lengths.fill_(4)
    assert Streams.of(pieces, streams=2, length=3).each == 12


def test_a_model_without_a_state_is_told_so():
    x, y = letters()

    class Stateless(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(4, 4)

        def forward(self, x):
            return self.table(x)

    with pytest.raises(ConfigError, match=r"Stateless\.forward does not take state= and return_state="):
        fit(Stateless(), Task(Streams(x, y, streams=2, length=5)), epochs=1, **QUIET)


def test_data_that_are_no_sequences_are_refused_by_their_split():
    good, bad = split("step", False), split("step", False)
    bad.x[2, 3, 0] = math.nan
    dataset = Dataset("signs", "sequence", "class", "accuracy", 2, 2, [good], [bad], [good])
    with pytest.raises(ShapeError, match=r"signs, val: x\[2, 3, 0\] is nan"):
        fit(Sequence(2, 2, hidden_channels=3), dataset, epochs=1, **QUIET)
