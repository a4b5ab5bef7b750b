"""Best: which epoch is kept, and when nothing better is waited for, by hand-made courses of validation."""

import pytest
from torch import nn

from edgenet.config import Settings, TrainingTable
from edgenet.errors import ConfigError
from edgenet.train.best import Best
from edgenet.train.metrics import Metric

#: (validation accuracy, validation loss) of every epoch
COURSE = [(0.5, 1.0), (0.9, 0.9), (0.7, 0.8), (0.9, 0.95), (0.8, 0.8), (0.8, 0.85), (0.8, 0.85), (0.8, 0.7)]


def followed(course, **training):
    """(the epoch that is kept, the epoch after which it ends) of a course."""
    table, best, model = TrainingTable(**{"epochs": len(course), **training}), Best(), nn.Linear(1, 1)
    for epoch, (val, loss) in enumerate(course, 1):
        nn.init.constant_(model.bias, epoch)
        best.see({"epoch": epoch, "val": val, "val_loss": loss}, model, Metric.of("accuracy"), table)
        if best.ends(table, epoch):
            break
    assert best.state["bias"].item() == best.epoch
    assert (best.val, best.val_loss) == course[best.epoch - 1]
    return best.epoch, epoch


@pytest.mark.parametrize(
    ("training", "kept", "last"),
    [
        ({}, 2, 8),
        ({"stop_by": "loss"}, 8, 8),
        ({"keep_by": "loss"}, 8, 8),
        ({"stop_by": "loss", "keep_by": "metric"}, 2, 8),
        ({"patience": 2}, 2, 4),
        ({"patience": 2, "ties": True}, 2, 6),
        ({"patience": 2, "keep_by": "loss"}, 3, 4),
        ({"patience": 2, "stop_by": "loss"}, 3, 5),
        ({"patience": 2, "stop_by": "loss", "ties": True}, 3, 7),
        ({"patience": 2, "stop_by": "either"}, 2, 5),
        ({"patience": 2, "stop_by": "either", "keep_by": "loss"}, 3, 5),
        ({"patience": 2, "stop_by": "either", "keep_by": "loss", "ties": True}, 3, 7),
    ],
    ids=str,
)
def test_an_epoch_is_kept_and_patience_ends(training, kept, last):
    assert followed(COURSE, **training) == (kept, last)


def by_the_authors(losses, epochs, window):
    """Liu, Gao, Ji 2020, as their code has it: the loss against the mean of those before."""
    history = []
    for epoch in range(1, epochs + 1):
        history.append(losses[epoch - 1])
        if epoch > epochs // 2:
            past = history[-(window + 1) : -1]
            if history[-1] > sum(past) / len(past):
                break
    best = min(range(len(history)), key=lambda k: history[k])
    return best + 1, len(history)


@pytest.mark.parametrize(
    "losses",
    [
        [1.0, 0.9, 0.8, 0.7, 0.75, 0.6, 0.9, 0.5, 0.4, 0.3],
        [1.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
        [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
        [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.45, 0.6, 0.1],
    ],
)
@pytest.mark.parametrize("window", [1, 3, 20])
def test_a_window_ends_the_second_half_as_the_authors_of_dagnn_have_it(losses, window):
    course = [(0.5, loss) for loss in losses]
    assert followed(course, stop_by="window", patience=window) == by_the_authors(losses, 10, window)


@pytest.mark.parametrize("wrong", [{"stop_by": "window"}, {"stop_by": "window", "patience": 3, "ties": True}])
def test_a_window_without_a_length_or_with_ties_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"'window' looks back over training\.patience epochs"):
        Settings.from_dict({"training": wrong})
