"""Fine-tuning: a model that was changed learns again, and never ends worse than it came."""

import pytest
import torch
from torch import nn

from edgenet.compress import Distill
from edgenet.data import load
from edgenet.errors import ConfigError
from edgenet.models import NodeClassifier
from edgenet.train import Latest, Task, fine_tune


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
    assert fine_tune(model, task, [Distill(Knows(dataset))], epochs=100, lr=0.05, progress=False).epochs == 100
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
