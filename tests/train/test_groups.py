"""decay_on, rate_on: parts of a model with a weight decay or a learning rate of their own."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR

from edgenet.config import OptimizerTable, Settings
from edgenet.errors import ConfigError
from edgenet.models import NodeClassifier
from edgenet.train import Callback, fit
from edgenet.train.groups import grouped

from train.small_data import nodes  # isort: skip

CONVS = {r"convs\.0\.lift": 0.5, r"convs\.": 0.25}


def decays(model, decay_on, weight_decay=0.125):
    """The decay of every parameter by its name."""
    groups = grouped(model, OptimizerTable(weight_decay=weight_decay, decay_on=decay_on))
    place = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters())) == len(place)
    return {name: place[id(p)] for name, p in model.named_parameters()}


def model():
    return NodeClassifier(4, 2, layer="gcn", hidden_channels=8, skip=True)


def test_the_first_pattern_that_fits_counts_and_the_rest_has_the_plain_decay():
    for name, decay in decays(model(), CONVS).items():
        expected = 0.5 if name.startswith("convs.0.lift") else 0.25 if name.startswith("convs") else 0.125
        assert decay == expected, name


def test_a_tied_parameter_is_found_by_any_of_its_names():
    net = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    net["b"].weight = net["a"].weight
    assert decays(net, {"b": 0.5}) == {"a.weight": 0.5}


def test_a_step_decays_each_part_by_its_own():
    net = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False), "b": nn.Linear(1, 1, bias=False)})
    net.forward = lambda x: 0.0 * (net["a"](x) + net["b"](x))
    with torch.no_grad():
        net["a"].weight.fill_(1.0), net["b"].weight.fill_(1.0)
    data = torch.utils.data.TensorDataset(torch.ones(2, 1), torch.zeros(2, 1))
    fit(net, data, optimizer="sgd", lr=0.5, weight_decay=0.25, decay_on={"b": 0.5}, epochs=1, progress=False)
    assert (net["a"].weight.item(), net["b"].weight.item()) == (1 - 0.5 * 0.25, 1 - 0.5 * 0.5)


def test_they_come_from_a_file_and_go_back_into_one(tmp_path):
    (tmp_path / "run.toml").write_text("[optimizer]\ndecay_on = { 'convs\\.0\\.lift' = 0.5, 'convs\\.' = 0.25 }\n")
    settings = Settings.from_toml(tmp_path / "run.toml")
    assert settings.optimizer.decay_on == CONVS
    (tmp_path / "again.toml").write_text(settings.to_toml())
    assert Settings.from_toml(tmp_path / "again.toml") == settings


def test_an_optimizer_that_is_made_anew_decays_alike():
    class Renew(Callback):
        def before_epoch(self, training):
            training.renew_optimizer()
            self.seen = sorted({group["weight_decay"] for group in training.optimizer.param_groups})

    rule = Renew()
    fit(model(), nodes(), callbacks=[rule], decay_on=CONVS, weight_decay=0.125, epochs=2, progress=False)
    assert rule.seen == [0.125, 0.25, 0.5]


@pytest.mark.parametrize(
    ("decay_on", "says"),
    [
        ({"conv5": 0.1}, r"'conv5' begins the name of no parameter; there are .*convs"),
        ({"(": 0.1}, r"'\(' is no regular expression"),
        ({}, "decay_on is all, first, or a table"),
        ({"convs": -1.0}, "decay_on is all, first, or a table"),
        ({"convs": "much"}, "decay_on is all, first, or a table"),
        ("last", "decay_on is all, first, or a table"),
        (3, "decay_on is text or a table, got 3"),
    ],
)
def test_parts_that_are_not_there_and_decays_that_are_none_are_refused(decay_on, says):
    with pytest.raises(ConfigError, match=says):
        fit(model(), nodes(), decay_on=decay_on, epochs=1, progress=False)


def test_patterns_are_texts():
    with pytest.raises(ConfigError, match=r"decay_on is .* of patterns that are texts, got \{1: 0.1\}"):
        fit(torch.nn.Linear(4, 2), None, decay_on={1: 0.1}, epochs=1)


def test_parts_learn_at_rates_of_their_own_under_a_schedule():
    class Rates(Callback):
        def before_epoch(self, training):
            place = {id(p): group["lr"] for group in training.optimizer.param_groups for p in group["params"]}
            self.seen = {name: place[id(p)] for name, p in training.model.named_parameters()}

    rule = Rates()
    fit(
        model(), nodes(), callbacks=[rule], lr=0.5, rate_on={r"convs\.0": 0.25}, decay_on={r"convs\.0\.lift": 0.1},
        scheduler=partial(ExponentialLR, gamma=0.5), epochs=2, progress=False,
    )  # fmt: skip
    assert rule.seen == {
        name: 0.0625 if name.startswith("convs.0") else 0.25 for name in rule.seen
    }


def test_a_rate_is_a_factor_of_each_step():
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[0].weight.fill_(1.0), net[1].weight.fill_(1.0)
    data = torch.utils.data.TensorDataset(torch.ones(2, 1), torch.zeros(2, 1))
    fit(net, data, optimizer="sgd", lr=0.1, rate_on={"1": 0.5}, epochs=1, progress=False)
    moved = [1 - net[i].weight.item() for i in range(2)]
    assert moved[1] == pytest.approx(moved[0] / 2) and moved[0] > 0


@pytest.mark.parametrize("rate_on", [{"convs": 0.0}, {"convs": -1.0}, {"convs": float("inf")}, {"convs": "much"}])
def test_rates_are_positive_numbers(rate_on):
    with pytest.raises(ConfigError, match=r"rate_on is a table \{pattern: a positive number\}"):
        fit(model(), nodes(), rate_on=rate_on, epochs=1, progress=False)


def test_a_rate_of_a_part_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"rate_on: 'conv5' begins the name of no parameter"):
        fit(model(), nodes(), rate_on={"conv5": 0.1}, epochs=1, progress=False)
