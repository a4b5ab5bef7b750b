"""Parameters at rates of their own: in the groups of any optimizer, under any schedule, when a model is changed."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import TensorDataset

from edgenet.compress import Compress, regroup_
from edgenet.errors import ConfigError
from edgenet.train import fit

LOW_RANK = {"structure": "low_rank", "rank": 1}


def net():
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def data():
    random = torch.Generator().manual_seed(5)
    return TensorDataset(torch.randn(16, 4, generator=random), torch.randn(16, 2, generator=random))


class Own:
    """Wants rates for parameters by name, and notes all rates in every epoch."""

    def __init__(self, wanted):
        self.wanted, self.seen = wanted, []

    def rates(self, training):
        named = dict(training.model.named_parameters())
        return [{"params": [named[name]], **options} for name, options in self.wanted.items() if name in named]

    def after_step(self, training):
        place = {id(p): group["lr"] for group in training.optimizer.param_groups for p in group["params"]}
        self.seen.append({name: place[id(p)] for name, p in training.model.named_parameters()})


def trained(*rules, model=None, **options):
    scheduler = options.pop("scheduler", None)
    named = isinstance(scheduler, dict)
    tables, by = ({"scheduler": scheduler}, {}) if named else ({}, {"scheduler": scheduler})
    if not callable(options.get("optimizer")):
        options = {"lr": 0.1, **options}
    return fit(
        model or net(), data(), tables, list(rules), **{"epochs": 6, "progress": False, "seed": 0, **by, **options}
    )


# ---------------------------------------------------------------- groups
def test_parameters_move_into_groups_with_the_options_of_theirs():
    model = net()
    a, b, c, d = model.parameters()
    optimizer = torch.optim.SGD(
        [{"params": [a, b], "momentum": 0.5}, {"params": [c, d], "lr": 0.3}], lr=0.1, weight_decay=0.2
    )
    regroup_(optimizer, [{"params": [a, c], "times": 10}, {"params": iter([d]), "lr": 7.0, "weight_decay": 0.0}])
    got = [(g["params"], g["lr"], g["momentum"], g["weight_decay"]) for g in optimizer.param_groups]
    assert got == [([b], 0.1, 0.5, 0.2), ([a], 1.0, 0.5, 0.2), ([c], 3.0, 0, 0.2), ([d], 7.0, 0, 0.0)]


def test_what_the_optimizer_does_not_hold_is_passed_over():
    model = net()
    optimizer = torch.optim.SGD([model[0].weight], lr=0.1)
    regroup_(optimizer, [{"params": list(model.parameters()), "lr": 1.0}])
    assert [(len(g["params"]), g["lr"]) for g in optimizer.param_groups] == [(1, 1.0)]


def test_two_rates_for_one_parameter_and_rates_that_are_none_are_refused():
    with pytest.raises(ConfigError, match=r"two rules want rates of their own for one parameter of shape \(3, 4\)"):
        trained(Own({"0.weight": {"lr": 1.0}}), Own({"0.weight": {"times": 2.0}}))
    for options in ({}, {"lr": 0.0}, {"times": -1.0}, {"lr": math.nan}, {"lr": 1.0, "times": 1.0}):
        with pytest.raises(ConfigError, match="one of lr and times, a positive number; got"):
            trained(Own({"0.weight": options}))


# ---------------------------------------------------------------- under schedules
SCHEDULES = {
    "none": ("none", lambda done: 1.0),
    "cosine": ({"name": "cosine", "warmup": 2}, lambda done: (1 / 3, 2 / 3, 1, 0.853553, 0.5, 0.146447)[done]),
    "exponential": (partial(lr_scheduler.ExponentialLR, gamma=0.5), lambda done: 0.5**done),
    "step": (partial(lr_scheduler.StepLR, step_size=2), lambda done: 0.1 ** (done // 2)),
    "sequential": (
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 0.25, 9), lr_scheduler.ExponentialLR(o, 0.5)], [2]
        ),
        lambda done: 0.25 if done < 2 else 0.5 ** (done - 2),
    ),
    "plateau": (partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=1e9, factor=0.5, min_lr=0.0), None),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_a_schedule_scales_all_rates_alike_also_when_the_groups_change_on_the_way(name, epoch):
    scheduler, share = SCHEDULES[name]
    plain, own = Own({}), Own({"0.weight.left": {"lr": 3.0}, "0.weight": {"times": 5.0}, "2.bias": {"times": 2.0}})
    trained(plain, scheduler=scheduler)
    trained(own, *([Compress({"0": LOW_RANK}, epoch=epoch)] if epoch else []), scheduler=scheduler)
    for done, (alone, rates) in enumerate(zip(plain.seen, own.seen, strict=True)):
        base = alone["2.weight"]
        if share is not None:
            assert base == pytest.approx(0.1 * share(done), rel=1e-5)  # the cosine's are written so
        assert rates["2.weight"] == pytest.approx(base)
        assert rates["2.bias"] == pytest.approx(2 * base)
        if "0.weight.left" in rates:
            assert rates["0.weight.left"] == pytest.approx(30 * base) and epoch and done + 1 >= epoch
        else:
            assert rates["0.weight"] == pytest.approx(5 * base)
    assert ("0.weight.left" in own.seen[-1]) == bool(epoch)


def test_what_a_schedule_has_done_to_other_options_stays():
    class Look(Own):
        def after_step(self, training):
            self.seen.append([group["momentum"] for group in training.optimizer.param_groups])

    cycle = partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=6)
    looks = [Look({"2.bias": {"times": 2.0}}) for _ in range(2)]
    for look, rules in zip(looks, ([], [Compress({"0": LOW_RANK}, epoch=3)]), strict=True):
        trained(look, *rules, optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9), scheduler=cycle)
    assert looks[0].seen == looks[1].seen and len({m[0] for m in looks[0].seen}) > 2


def test_rates_make_steps_of_other_lengths():
    start, slow, fast = net(), net(), net()
    trained(model=slow, epochs=1, optimizer="sgd")
    trained(Own({"0.weight": {"times": 3.0}}), model=fast, epochs=1, optimizer="sgd")
    way = lambda model, name: model.state_dict()[name] - start.state_dict()[name]  # noqa: E731
    torch.testing.assert_close(way(fast, "0.weight"), 3 * way(slow, "0.weight"))
    torch.testing.assert_close(way(fast, "2.weight"), way(slow, "2.weight"))
