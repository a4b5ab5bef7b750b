"""Annealed densities: budgets of one matrix or of all, told by densities or by sizes, steps or shares, and rates."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from edgenet.compress import Anneal, Compress, Training, compress_, cubic_density
from edgenet.errors import PlanError, RankError
from edgenet.structured import Doped, Sparse, StructuredLinear

from compress.steps import Steps  # isort: skip

SGD = partial(torch.optim.SGD, lr=0.01)
LOW_RANK = {"structure": "low_rank", "rank": 1}
DOPED = {"structure": "doped", "base": LOW_RANK, "density": 1.0, "iterations": 1}
SPARSE = {"structure": "sparse", "density": 1.0}


def net(first=DOPED, second=DOPED):
    model = nn.Sequential(nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 30))
    for place, spec in ((0, first), (2, second)):
        if spec is not None:
            compress_(model, {str(place): spec})
    return model


def annealed(model, rule, steps=12, **options):
    training = Training(model, [rule], **options)
    training.call("on_start")
    for training.step in range(1, steps + 1):
        training.call("after_step")
    return model


def sparse(model):
    return [module for module in model.modules() if isinstance(module, Sparse)]


# ---------------------------------------------------------------- budgets
@pytest.mark.parametrize("together", [False, True])
def test_a_ratio_counts_the_base_along_and_is_met_exactly(together):
    model = annealed(net(), Anneal(ratio=2.5, start=1, end=10, every=3, together=together))
    counts = [model[place].weight.num_parameters() for place in (0, 2)]
    if together:
        assert sum(counts) == math.floor(72 / 2.5) + math.floor(240 / 2.5)
    else:
        assert counts == [math.floor(72 / 2.5), math.floor(240 / 2.5)]
    assert [part.density for part in sparse(model)] == [part.mask.sum() / part.mask.numel() for part in sparse(model)]


def test_a_sparse_matrix_alone_has_the_whole_budget():
    model = annealed(net(SPARSE, None), Anneal(ratio=7, start=1, end=10))
    assert model[0].weight.num_parameters() == 72 // 7


def test_one_budget_has_one_threshold_and_its_exact_total_at_every_change():
    model = net(SPARSE, SPARSE)
    rule = Anneal(0.1, start=2, end=11, every=2, initial=0.8, together=True, relative=False)
    with torch.no_grad():
        model[2].weight.weight.mul_(5)
    training, seen = Training(model, [rule]), []
    training.call("on_start")
    for training.step in range(1, 13):
        training.call("after_step")
        seen.append(sum(part.num_parameters() for part in sparse(model)))
    changes = (0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 11, 11)
    assert seen == [round(312 * cubic_density(step, 2, 11, 31 / 312, 0.8)) for step in changes]
    assert seen[-1] == 31
    kept = [part.weight.detach().abs()[part.mask] for part in sparse(model)]
    lost = [part.weight.detach().abs()[~part.mask] for part in sparse(model)]
    if len(kept[0]) > 1:
        assert torch.cat(kept).min() >= torch.cat(lost).max()
    else:  # its largest one stays in any case
        assert kept[1].min() >= torch.cat(lost).max()


def test_matrices_are_measured_in_their_own_size_unless_told_otherwise():
    def shares(relative):
        model = net(SPARSE, SPARSE)
        with torch.no_grad():
            for part, scale in zip(sparse(model), (1.0, 100.0), strict=True):
                part.weight.copy_(scale * torch.randn(part.shape))
        annealed(model, Anneal(0.25, start=1, end=9, together=True, relative=relative))
        return [part.num_parameters() for part in sparse(model)]

    first, second = shares(True)
    assert first + second == 78 and 10 <= first <= 26  # a quarter of 72 is 18, with a standard deviation of 3.7
    assert shares(False) == [1, 77]


def test_no_matrix_is_left_without_entries():
    model = net(SPARSE, SPARSE)
    with torch.no_grad():
        model[0].weight.weight.zero_()
    annealed(model, Anneal(2 / 312, start=1, end=9, together=True))
    assert [part.num_parameters() for part in sparse(model)] == [1, 1]
    other = net(SPARSE, SPARSE)
    annealed(other, Anneal(1e-6, start=1, end=9, together=True))
    assert [part.num_parameters() for part in sparse(other)] == [1, 1]


def test_a_matrix_that_comes_later_joins_the_budget():
    model = net(SPARSE, None)
    counts = []

    class Noted:
        def after_backward(self, training):
            counts.append([part.num_parameters() for part in sparse(model)])

    with torch.no_grad():
        model[2].weight.mul_(1000)
    rules = [Anneal(0.2, start=1, end=4, every=1, together=True, relative=False), Compress({"2": SPARSE}, epoch=2)]
    training = Steps(model, partial(torch.optim.SGD, lr=1e-12), [*rules, Noted()])
    batches = [(torch.randn(4, 9), torch.randn(4, 30)) for _ in range(3)]
    training.epochs(1, batches, nn.functional.mse_loss)
    assert sparse(model)[0].num_parameters() == round(72 * cubic_density(3, 1, 4, round(0.2 * 72) / 72))
    assert training.epochs(1, batches, nn.functional.mse_loss) == [2]
    assert counts[3] == [1, round(312 * cubic_density(3, 1, 4, round(0.2 * 312) / 312)) - 1]  # before its first step
    assert sum(part.num_parameters() for part in sparse(model)) == round(0.2 * 312)


@pytest.mark.parametrize(
    "together, says",
    [
        (
            False,
            r"0\.weight\.dopant has 72 entries, of which a ratio of 4\.2 leaves"
            " 17 numbers, and the base beside it has 17",
        ),
        (True, "a ratio of 30 leaves -45 entries for 2 sparse matrices"),
    ],
)
def test_a_base_that_leaves_nothing_is_refused(together, says):
    with pytest.raises(PlanError, match=says):
        annealed(net(), Anneal(ratio=30 if together else 4.2, start=1, end=9, together=together))


def test_a_base_with_sparse_parts_has_no_ratio():
    nested = {"structure": "doped", "base": {"structure": "doped", "base": LOW_RANK, "density": 0.5}, "density": 0.5}
    with pytest.raises(PlanError, match=r"the base beside 0\.weight\.dopant has sparse parts of its own"):
        annealed(net(nested), Anneal(ratio=2, start=1, end=9))


# ---------------------------------------------------------------- steps
def test_steps_may_be_shares_of_the_training():
    model = net(SPARSE, None)
    annealed(model, Anneal(0.25), 5, total_steps=10)  # from the first to the sixth
    assert model[0].weight.num_parameters() > 18
    annealed(model, Anneal(0.25), 6, total_steps=10)
    assert model[0].weight.num_parameters() == 18
    rule = Anneal(0.25, start=0, end=0.5)
    training = Training(model, [rule], total_steps=10)
    assert rule.span.steps(training) == (0, 5)
    for training.step, settled in ((4, False), (5, True)):
        assert rule.settled(training) == settled


# ---------------------------------------------------------------- rates
def rates(training):
    place = {id(p): group["lr"] for group in training.optimizer.param_groups for p in group["params"]}
    return {name: place[id(p)] for name, p in training.model.named_parameters()}


def test_dopants_learn_more_slowly_than_what_they_mend():
    found = rates(Steps(net(DOPED, SPARSE), SGD, [Anneal(0.2, 1, 5)]))
    assert found.pop("0.weight.dopant.weight") == pytest.approx(0.003)
    assert set(found.values()) == {0.01}
    found = rates(Steps(net(DOPED, SPARSE), SGD, [Anneal(0.2, 1, 5, rate=2.0)]))
    assert found["0.weight.dopant.weight"] == found["2.weight.weight"] == pytest.approx(0.02)
    assert found["0.weight.base.left"] == 0.01
    found = rates(Steps(net(), SGD, [Anneal(0.2, 1, 5, pattern="2"), Anneal(0.3, 1, 5, pattern="0", rate=1.0)]))
    assert (found["0.weight.dopant.weight"], found["2.weight.dopant.weight"]) == (0.01, pytest.approx(0.003))


def test_a_loop_that_does_not_ask_for_rates_is_told_how():
    class Plain(Steps):
        def regroup_(self, optimizer):
            pass

    with pytest.raises(PlanError, match=r"Anneal: this loop has not asked .* training\.regroup_\(optimizer\)"):
        Plain(net(), SGD, [Anneal(0.2, 1, 5)])
    Plain(net(), SGD, [Anneal(0.2, 1, 5, rate=1)])
    Plain(net(SPARSE, None), SGD, [Anneal(0.2, 1, 5)])


def test_a_frozen_dopant_keeps_its_numbers():
    model = nn.Sequential(StructuredLinear(Doped.from_dense(torch.randn(6, 5), base=LOW_RANK, density=1.0)))
    model[0].weight.dopant.requires_grad_(False)
    before = model[0].weight.dopant.weight.clone()
    training = Steps(model, SGD, [Anneal(0.2, 1, 3, every=1)])
    for _ in range(4):
        training.step_on(model(torch.ones(2, 5)).square().mean())
    assert torch.equal(model[0].weight.dopant.weight, before) and model[0].weight.dopant.density == 0.2


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize("together", [False, True])
def test_a_density_that_would_rise_is_refused(together):
    with pytest.raises(PlanError, match=r"begins with \d+ of \d+ entries and is to end with"):
        Steps(net(SPARSE, None), SGD, [Anneal(None, 1, 5, initial=0.2, ratio=4, together=together)])
    Steps(net(SPARSE, None), SGD, [Anneal(None, 1, 5, initial=0.25, ratio=4, together=together)])


@pytest.mark.parametrize(
    "options, error, says",
    [
        ({"density": 0.1, "ratio": 2}, PlanError, "give one of density and ratio, got 0.1 and 2"),
        ({"ratio": 1}, PlanError, "ratio is a number, above 1, got 1"),
        ({"ratio": 2, "initial": 0}, RankError, "got 0"),
        ({"density": 0.5, "initial": 0.2}, PlanError, "from 0.2 to 0.5 it would rise"),
        ({"ratio": 2, "together": 1}, PlanError, "together is true or false, got 1"),
        ({"ratio": 2, "relative": "no"}, PlanError, "relative is true or false, got 'no'"),
        ({"ratio": 2, "rate": 0}, PlanError, "rate is a number, above 0, got 0"),
        ({"ratio": 2, "start": 0.7}, PlanError, "wants start < end, got 0.7 and 0.6"),
        ({"ratio": 2, "end": float("nan")}, PlanError, "end is a whole number of steps, or a share .* got nan"),
        ({"ratio": 2, "start": True}, PlanError, "start is a whole number, at least 0, got True; or a share"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(options, error, says):
    with pytest.raises(error, match=says):
        Anneal(**options)
