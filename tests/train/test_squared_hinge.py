"""The squared hinge loss: one class against the others, number by number."""

import copy
from dataclasses import fields

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from edgenet.config import Settings, TrainingTable
from edgenet.errors import ConfigError, ShapeError
from edgenet.train import LOSSES, Task, fit, run_seeds

HINGE = LOSSES["squared_hinge"]


def by_hand(scores, sides):
    terms = [
        max(0.0, 1 - t * s) ** 2 for row, own in zip(scores, sides, strict=True) for s, t in zip(row, own, strict=True)
    ]
    return sum(terms) / len(terms)


def test_classes_stand_for_one_side_and_all_others():
    scores, classes = torch.randn(5, 3) * 2, torch.tensor([0, 2, 1, 1, 0])
    sides = [[1 if k == c else -1 for k in range(3)] for c in classes.tolist()]
    want = torch.tensor(by_hand(scores.tolist(), sides))
    torch.testing.assert_close(HINGE(scores, classes), want)
    torch.testing.assert_close(HINGE(scores, classes[:, None]), want)
    values = torch.tensor(sides)
    torch.testing.assert_close(HINGE(scores, values.double()), want)
    torch.testing.assert_close(HINGE(scores, values > 0), want)


def test_a_margin_of_one_costs_nothing_and_has_no_gradient():
    scores = torch.tensor([[1.5, -1.0], [-2.0, 0.5]], requires_grad=True)
    loss = HINGE(scores, torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == 0.25 / 4 and scores.grad.tolist() == [[0, 0], [0, -0.25]]


def test_yes_or_no_is_one_score_a_row():
    assert HINGE(torch.tensor([[0.5], [0.5]]), torch.tensor([1.0, -1.0])).item() == (0.25 + 2.25) / 2


def test_a_training_by_name_learns():
    x = torch.randn(80, 3)
    data = TensorDataset(x, x.argmax(1))
    result = fit(nn.Linear(3, 3), data, val=data, loss="squared_hinge", lr=0.05, epochs=30, progress=False)
    assert result.val > 0.9


def test_settings_name_the_loss_for_fit_and_for_seeds_and_an_argument_goes_before_them():
    torch.manual_seed(0)
    x = torch.randn(20, 3)
    data, settings = TensorDataset(x, x.argmax(1)), {"training": {"loss": "squared_hinge"}}
    options = {"epochs": 1, "batch_size": 20, "lr": 1e-9, "progress": False}
    model = nn.Linear(3, 3)
    want = {name: LOSSES[name](model(x), x.argmax(1)).item() for name in ("squared_hinge", "cross_entropy")}

    def got(result):
        return pytest.approx(result.history[-1]["loss"], abs=1e-6)

    assert want["squared_hinge"] == got(fit(model, data, settings, **options))
    assert want["cross_entropy"] == got(fit(model, data, settings, loss="cross_entropy", **options))
    seeds = run_seeds(lambda: copy.deepcopy(model), Task(data, loss="cross_entropy"), settings, **options)
    assert [want["squared_hinge"]] == [pytest.approx(h[-1]["loss"], abs=1e-6) for h in seeds.histories.values()]


def test_the_names_of_settings_are_names_of_losses():
    (item,) = (item for item in fields(TrainingTable) if item.name == "loss")
    named = {name for name in LOSSES if item.metadata["test"](name)}
    assert named == set(LOSSES) - {"class", "multilabel", "value"}  # which are kinds of targets
    with pytest.raises(ConfigError, match=r"training\.loss is one of cross_entropy, .*, got 'hinge'"):
        Settings.from_dict({"training": {"loss": "hinge"}})


@pytest.mark.parametrize(
    "target, says",
    [
        (torch.tensor([0, 3]), r"classes 0 to 2, and the targets are 0 to 3"),
        (torch.tensor([0, -1]), r"the targets are -1 to 0"),
        (torch.tensor([[0.0, 1.0, 0.0]] * 2), r"targets of -1 and 1, truths, .*target\.bool\(\)"),
        (torch.tensor([0.5, 0.5]), r"the model says \(2, 3\) and the targets are \(2,\)"),
        (torch.zeros(2, 3, dtype=torch.int64), "one class for each row"),
    ],
)
def test_targets_that_are_no_sides_are_refused(target, says):
    with pytest.raises(ShapeError, match=says):
        HINGE(torch.randn(2, 3), target)
