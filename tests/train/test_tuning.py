"""Fine-tuning: a model that was changed learns again, and never ends worse than it came."""

import copy

import pytest
import torch
from torch import nn

from edgenet.compress import Callback, Distill, compress_, quantise_, slots
from edgenet.data import load
from edgenet.errors import ConfigError, ShapeError
from edgenet.models import NodeClassifier
from edgenet.structured import Uniform
from edgenet.train import Latest, Task, fine_tune, fit
from edgenet.train.taught import sharp_temperature

from train.small_data import graphs, nodes, signals  # isort: skip


class Knows(nn.Module):
    """A teacher that is never wrong."""

    def __init__(self, dataset):
        super().__init__()
        self.scores = 10.0 * nn.functional.one_hot(dataset.train[0].y, dataset.num_outputs).double()

    def forward(self, x, edge_index):
        return self.scores.to(x)


@pytest.fixture
def dataset():
    return load("karate")


def small(dataset, dropout=0.0):
    return NodeClassifier(dataset.num_features, dataset.num_outputs, layer="gcn", hidden_channels=8, dropout=dropout)


def test_it_follows_labels_and_teacher_and_never_ends_worse_than_it_began(dataset):
    task, model = Task.of(dataset), small(dataset)
    before = task.evaluate(model)["test"].metric
    rule = Distill(Knows(dataset), rows="all")
    assert fine_tune(model, task, [rule], epochs=100, lr=0.05, progress=False).epochs == 100
    after = task.evaluate(model)
    assert after["test"].metric > max(before, 0.9)  # labels of four nodes alone do not tell that much
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    assert fine_tune(model, task, epochs=3, lr=1e4, progress=False) is None
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_nothing_is_dropped_and_of_equal_epochs_the_last_is_kept(dataset):
    seen = []

    class Watch:
        def penalty(self, training):
            seen.append(training.model.training)

    model = small(dataset, dropout=0.9)
    result = fine_tune(model, dataset, [Watch()], epochs=5, lr=1e-12, progress=False)  # too small to change a score
    assert seen == [False] * 5 and result.best_epoch == 5


def test_the_latest_of_equal_scores_is_better_either_way():
    assert Latest.of("accuracy").better(0.5, 0.5) and not Latest.of("accuracy").better(0.4, 0.5)
    assert Latest.of("rmse").better(0.5, 0.5) and not Latest.of("rmse").better(0.6, 0.5)


def test_without_validation_nobody_can_say_what_is_worse(dataset):
    data = dataset.train[0].clone()
    del data.val_mask
    with pytest.raises(ConfigError, match="no val data"):
        fine_tune(small(dataset), data, epochs=1)


# ---------------------------------------------------------------- from a teacher
def taught_pair(data, seed=0):
    """A teacher on a ring, and a copy of it in few numbers and bits."""
    torch.manual_seed(seed)
    teacher = NodeClassifier(4, 2, layer="gat", hidden_channels=8, heads=2)
    fit(teacher, data, epochs=30, lr=0.05, progress=False)
    small = copy.deepcopy(teacher)
    compress_(small, {r"convs\.0\.lift": {"structure": "low_rank", "rank": 1}})
    quantise_(small, {"bits": 3, "half_step": True, "step": "normal"})
    return teacher, small


def said(model, data):
    return model.eval()(data.x.double(), data.edge_index)


class Asked(nn.Module):
    """A teacher that remembers what it read."""

    def __init__(self, model):
        super().__init__()
        self.model, self.read = model, []

    def forward(self, x, edge_index):
        self.read.append(x)
        return self.model(x, edge_index)


class Read(Callback):
    """Remembers what the model read at every step."""

    def __init__(self):
        self.inputs, self.rounds = [], []

    def after_step(self, training):
        self.inputs.append(training.batch.x)
        self.rounds.append(any(isinstance(part, Uniform) for part in training.model.modules()))


def test_a_model_of_few_bits_comes_near_its_teacher():
    dataset = nodes(60)
    teacher, small = taught_pair(dataset)
    data = dataset.train[0]
    before = (said(small, data) - said(teacher, data)).norm()
    result = fine_tune(small, dataset, teacher=teacher, epochs=120, seed=0, progress=False)
    assert result.metric == "agreement" and result.val >= 0.9
    assert (said(small, data) - said(teacher, data)).norm() < before
    assert all(isinstance(slot.matrix, Uniform) for slot in slots(small).values())


def test_teacher_and_model_read_the_same_perturbed_input_at_half_of_the_steps():
    dataset = nodes()
    teacher, small = taught_pair(dataset)
    asked, read = Asked(teacher), Read()
    fine_tune(small, dataset, [read], teacher=asked, epochs=60, seed=0, progress=False)
    clean = [torch.equal(x, dataset.train[0].x) for x in read.inputs]
    assert 15 < sum(clean) < 45
    others = [x for x, same in zip(read.inputs, clean, strict=True) if not same]
    assert all(any(torch.equal(x, y) for y in asked.read) for x in others)
    assert len(asked.read) <= len(others) + 3  # the data as they are it is asked about once a split


def test_what_is_rounded_learns_as_floats_for_a_third_of_the_epochs():
    dataset = nodes()
    teacher, small = taught_pair(dataset)
    read = Read()
    fine_tune(small, dataset, [read], teacher=teacher, epochs=30, progress=False)
    assert read.rounds == [False] * 10 + [True] * 20


def test_neither_labels_nor_the_teachers_scores_of_test_nodes_are_read():
    dataset, changed = nodes(), nodes()
    data = changed.train[0]
    data.y = 1 - data.y

    class Other(nn.Module):
        """Says something else of test nodes."""

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x, edge_index):
            scores = self.model(x, edge_index)
            return torch.where(data.test_mask.unsqueeze(1), -7.0 * scores, scores)

    found = []
    for given, wrap in ((dataset, lambda model: model), (changed, Other)):
        teacher, small = taught_pair(dataset)
        fine_tune(small, given, teacher=wrap(teacher), epochs=20, seed=0, temperature=0.5, progress=False)
        found.append(small.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_labels_values_and_graphs_have_teachers_too():
    for dataset, outputs in ((graphs(), 3), (signals("value"), 1)):
        first = dataset.train[0]
        torch.manual_seed(0)
        if outputs == 3:
            teacher = NodeClassifier(4, outputs, layer="gcn", hidden_channels=8).double()
        else:
            teacher = nn.Sequential(nn.Flatten(1), nn.Linear(first.x[0].numel(), first.y[0].numel())).double()
        small = copy.deepcopy(teacher)
        with torch.no_grad():
            for p in small.parameters():
                p.add_(0.3 * torch.randn_like(p))
        task = dataset if outputs == 3 else Task.of(dataset, call=lambda model, batch: model(batch.x).flatten())
        result = fine_tune(small, task, teacher=teacher, epochs=150, lr=0.02, seed=0, batch_size=5, progress=False)
        assert result.val > (0.8 if outputs == 3 else -0.2)


def test_the_temperature_makes_the_teacher_sure_on_average():
    scores = 0.01 * torch.randn(500, 5)
    temperature = sharp_temperature(scores, "class")
    assert (scores / temperature).softmax(1).amax(1).mean().item() == pytest.approx(0.9, abs=1e-3)
    assert sharp_temperature(100 * scores, "class") == pytest.approx(100 * temperature, rel=1e-3)
    labels = sharp_temperature(scores, "multilabel")
    assert (scores.abs() / labels).sigmoid().mean().item() == pytest.approx(0.9, abs=1e-3)


def test_a_model_that_agrees_already_stays_and_does_not_teach_itself(dataset):
    model = small(dataset)
    teacher, kept = copy.deepcopy(model), copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for p in teacher.parameters():
            p.mul_(1.001)
    assert fine_tune(model, dataset, teacher=teacher, epochs=3, lr=1e3, progress=False) is None
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    with pytest.raises(ConfigError, match="the teacher is the model itself"):
        fine_tune(model, dataset, teacher=model)


class Around(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, edge_index):
        return self.inner(x, edge_index)


def test_what_would_do_nothing_or_cannot_teach_is_refused(dataset):
    model, teacher, broken = small(dataset), small(dataset), small(dataset)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    for options, error, says in [
        ({"temperature": 2.0}, ConfigError, "temperature is of what a teacher says"),
        ({"perturb": lambda x: x}, ConfigError, "perturb is of what a teacher says"),
        ({"teacher": "folder"}, ConfigError, "the teacher is a module"),
        ({"teacher": Around(model)}, ConfigError, "parameters that it trains"),
        ({"teacher": teacher, "temperature": 0.0}, ConfigError, "a temperature is a number above 0"),
        ({"teacher": teacher, "metric": "accuracy"}, ConfigError, "metric is that of labels"),
        ({"teacher": teacher, "epochs": 0}, ConfigError, "a whole number from 1 up, got 0"),
        ({"teacher": teacher, "epochs": "3"}, ConfigError, "a whole number from 1 up, got '3'"),
        ({"teacher": broken, "epochs": 2}, ShapeError, "the teacher's scores of the training data are not all finite"),
    ]:
        with pytest.raises(error, match=says):
            fine_tune(model, dataset, progress=False, **options)


def test_one_epoch_is_one():
    dataset = nodes()
    teacher, few = taught_pair(dataset)
    read = Read()
    fine_tune(few, dataset, [read], teacher=teacher, epochs=1, progress=False)
    assert read.rounds == [True]
