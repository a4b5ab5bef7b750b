"""Unify: blocks are fixed cheapest first, keep their signs, and training goes on; and the relative pull of ADMM."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from edgenet import checkpoint, fit
from edgenet.compress import ADMM, Training, Unify, compress_, report
from edgenet.errors import CheckpointError, PlanError
from edgenet.structured import Quantised, Stacked, Unified
from edgenet.structured.block_choice import KEEP, PRUNE, UNIFY, Costs, tiled

from compress.steps import Steps  # isort: skip

ADAM = partial(torch.optim.Adam, lr=0.01)
LOSS = nn.functional.mse_loss
PLAN = {"0|2": {"structure": "unified", "block": [2, 3], "ratio": 0.75, "prune": 0.25}}


def fresh(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6), nn.Linear(6, 6))


def batches():
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(60, 12, generator=generator), torch.randn(60, 6, generator=generator)
    return [(x[k : k + 20], y[k : k + 20]) for k in range(0, 60, 20)]


class Watch:
    """The dense weights of slot 0 after every step, by epoch."""

    def __init__(self):
        self.seen = {}

    def after_step(self, training):
        weight = training.model[0].weight
        dense = weight if isinstance(weight, torch.Tensor) else weight.to_dense()
        self.seen.setdefault(training.epoch, []).append(dense.detach().clone())

    def after_epoch(self, training):
        self.seen.setdefault("records", []).append(dict(training.record))


def kinds_of(weight, block):
    """Blocks that look kept, unified and pruned."""
    blocks = tiled(weight, block)
    shared = Costs.of(weight, block).unify < 1e-24  # rounding of means
    zero = (blocks == 0).all(1)
    return torch.where(zero, PRUNE, torch.where(shared, UNIFY, KEEP))


# --- choosing ---------------------------------------------------------------------------------------------------------
def test_more_blocks_are_fixed_in_every_epoch_and_stay_fixed_with_their_signs():
    watch = Watch()
    training = Steps(fresh(), ADAM, [Unify(PLAN, until=4, start=0.25), watch])
    assert training.epochs(6, batches(), LOSS) == [5, 6]
    blocks = 8 * 4  # of which 16 are unified and 8 pruned
    numbers, before = [], None
    for epoch in (1, 2, 3, 4):
        for dense in watch.seen[epoch]:
            kinds = kinds_of(dense, (2, 3))
            numbers.append((int((kinds == UNIFY).sum()), int((kinds == PRUNE).sum())))
            if before is not None:
                old = before[0] != KEEP
                assert (kinds[old] == before[0][old]).all()
                mine = before[0] == UNIFY
                assert torch.equal(tiled(dense, (2, 3))[mine] > 0, before[1][mine] > 0)
                free = kinds == KEEP
                assert (tiled(dense, (2, 3))[free] != before[1][free]).any(1).all()  # the rest trains
            before = kinds, tiled(dense, (2, 3))
    assert numbers == [(4, 2)] * 3 + [(8, 4)] * 3 + [(12, 6)] * 3 + [(16, 8)] * 3
    assert [record.get("unified") for record in watch.seen["records"][:4]] == pytest.approx(
        [6 / 32, 12 / 32, 18 / 32, 0.75], abs=0.02
    )
    matrix = training.model[0].weight
    assert type(matrix) is Unified and vars(matrix.counts) == {"kept": 8, "unified": 16, "pruned": 8} and blocks == 32
    last = kinds_of(watch.seen[4][-1], (2, 3))
    assert torch.equal(matrix.block_kinds(), last)
    signs = tiled(watch.seen[4][-1], (2, 3)).sign()
    assert torch.equal(tiled(matrix.to_dense().detach(), (2, 3)).sign()[last != KEEP], signs[last != KEEP])


def test_the_first_blocks_are_the_cheapest_ones_and_putting_the_structures_in_changes_nothing():
    model = fresh()
    plan = {"0": {"structure": "unified", "block": [1, 4], "ratio": 0.5}}
    costs = Costs.of(model[0].weight.detach(), (1, 4)).unify
    rule = Unify(plan, until=1)
    training = Steps(model, ADAM, [rule])
    training.epoch = 1
    rule.before_epoch(training)
    kinds = kinds_of(model[0].weight.detach(), (1, 4))
    assert set((kinds == UNIFY).nonzero().flatten().tolist()) == set(costs.argsort()[:24].tolist())
    for batch in batches():
        training.step_on(LOSS(model(batch[0]), batch[1]))
    before = model[0].weight.detach().clone()
    training.epoch = 2
    rule.before_epoch(training)
    torch.testing.assert_close(
        training.model[0].weight.to_dense(), before, rtol=0, atol=1e-15
    )  # means of equal numbers


def test_a_block_moves_by_the_mean_gradient_of_its_magnitude_and_not_below_zero():
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    model[0].weight.data.copy_(torch.tensor([[1.0, -3.0]]))
    rule = Unify({"0": {"structure": "unified", "block": [1, 2]}}, until=3)
    training = Steps(model, torch.optim.SGD(model.parameters(), 0.1), [rule])
    training.epoch = 1
    rule.before_epoch(training)
    assert model[0].weight.tolist() == [[2.0, -2.0]]
    training.step_on((model[0].weight * torch.tensor([[4.0, 2.0]])).sum())
    assert model[0].weight.grad.tolist() == [[1.0, -1.0]]  # (4 - 2) / 2, by sign
    torch.testing.assert_close(model[0].weight.detach(), torch.tensor([[1.9, -1.9]]))
    training.step_on((model[0].weight * torch.tensor([[50.0, 0.0]])).sum())
    assert model[0].weight.abs().tolist() == [[0.0, 0.0]]
    training.epoch = 2
    rule.before_epoch(training)  # takes no signs anew
    training.step_on((model[0].weight * torch.tensor([[-4.0, 0.0]])).sum())
    torch.testing.assert_close(model[0].weight.detach(), torch.tensor([[0.2, -0.2]]))  # back, with the signs of before


def test_slots_together_share_where_it_costs_least():
    model = fresh()
    with torch.no_grad():  # every block of slot 2 has one magnitude almost
        model[2].weight.copy_(model[2].weight.sign() * (1 + 0.01 * torch.rand(6, 16)))
    plan = {"0|2": {"structure": "unified", "block": [1, 4], "ratio": 0.5}}
    shares = {}
    for together in (False, True):
        training = Steps(fresh(), ADAM, [Unify(plan, until=2, together=together)])
        training.model.load_state_dict(model.state_dict())
        training.epochs(3, batches(), LOSS)
        counts = [training.model[k].weight.counts for k in (0, 2)]
        assert sum(one.unified for one in counts) == 36
        shares[together] = counts[1].unified
    assert shares == {False: 12, True: 24}


def test_a_slot_that_loses_most_shares_one_block_at_least():
    model = fresh()
    with torch.no_grad():
        model[2].weight.fill_(1.0)
    blocks = {"structure": "unified", "block": [1, 4]}
    rule = Unify({"0": {**blocks, "ratio": 0.02}, "2": {**blocks, "ratio": 0.5}}, until=1, together=True)
    training = Steps(model, ADAM, [rule])
    training.epochs(2, batches(), LOSS)
    assert [training.model[k].weight.counts.unified for k in (0, 2)] == [1, 12]


@pytest.mark.parametrize("more", [{"bits": 8}, {"quantiser": "power_of_two", "bits": 5}], ids=str)
def test_magnitudes_may_be_rounded(more):
    training = Steps(fresh(), ADAM, [Unify({"0": {"structure": "unified", **more}}, until=2)])
    training.epochs(4, batches(), LOSS)
    matrix = training.model[0].weight
    assert isinstance(matrix, Quantised) and type(matrix.base) is Unified
    assert report(training.model).rows[0].bytes == matrix.bits() / 8


@pytest.mark.parametrize("together", [False, True])
def test_grouped_kernels_have_blocks_of_every_group(together):
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Flatten(), nn.Linear(8 * 4, 6))
    x = torch.randn(20, 4, 4, 4)
    plan = {"0|2": {"structure": "unified", "block": [1, 9], "ratio": 0.5}}
    training = Steps(model, ADAM, [Unify(plan, until=2, together=together)])
    training.epochs(3, [(x, torch.randn(20, 6))], LOSS)
    weight = training.model[0].weight
    assert isinstance(weight, Stacked) and [type(part) for part in weight.parts] == [Unified, Unified]


# --- pulling ----------------------------------------------------------------------------------------------------------
def test_before_it_chooses_it_pulls_and_says_how_far_it_has_come():
    watch, rule = Watch(), Unify(PLAN, until=5, pull=3, rho=1.0, every=3, grow=10)
    training = Steps(fresh(), ADAM, [rule, watch])
    first = rule.residuals()
    assert training.penalty() > 0
    assert training.epochs(4, batches(), LOSS) == [] and rule.residuals() == {}
    assert training.epochs(2, batches(), LOSS) == [6]
    far = [record.get("admm_residual") for record in watch.seen["records"]]
    assert far[3:] == [None] * 3 and max(first.values()) > far[0] > far[1] > far[2] > 0
    assert training.penalty() is None and rule.residuals() == {}
    assert watch.seen["records"][3]["unified"] > 0


def images():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 4
    means = torch.randn(4, 1, 8, 8, generator=generator)
    return TensorDataset(means[y] + torch.randn(120, 1, 8, 8, generator=generator), y)


def convolutions():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4),
    )  # fmt: skip


def test_relative_to_the_weights_a_pull_converges_before_a_batch_norm_where_an_absolute_one_does_not():
    plan, last = {"0|3": {"structure": "unified", "block": [1, 9]}}, {}
    for name, options in (
        ("absolute", {"rho": 0.01}),
        ("relative", {"rho": 0.1, "relative": True, "grow": 3, "grow_every": 1}),
    ):
        rule = ADMM(plan, every=12, **options)  # once an epoch
        settings = {"epochs": 12, "batch_size": 10, "lr": 0.01, "scheduler": "cosine", "seed": 0}
        result = fit(convolutions(), images(), callbacks=[rule], progress=False, **settings)
        last[name] = rule.residuals()
        assert result.history[-1]["admm_residual"] == max(last[name].values())
    assert max(last["relative"].values()) < 0.1 and min(last["absolute"].values()) > 0.3, last


def test_a_relative_pull_by_hand():
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 3.0]]))
    admm = ADMM({"0": {"structure": "low_rank", "rank": 1}}, rho=0.5, every=1, relative=True, grow=3, grow_every=2)
    training = Steps(model, torch.optim.SGD(model.parameters(), 0.0), [admm])
    assert training.penalty().item() == pytest.approx(0.25 * 9 / 25)  # Z = diag(4, 0), ||W_0||^2 = 25
    for epoch in (1, 2):
        training.epoch = epoch
        training.call("before_epoch")
    training.step_on(0 * model[0].weight.sum())
    torch.testing.assert_close(admm.dual["0.weight"], torch.diag(torch.tensor([0.0, 3.0])))
    assert training.penalty().item() == pytest.approx(0.25 * 36 / 25)
    training.epoch = 3
    training.call("before_epoch")
    torch.testing.assert_close(admm.dual["0.weight"], torch.diag(torch.tensor([0.0, 1.0])))
    assert training.penalty().item() == pytest.approx(0.75 * 16 / 25)


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_a_relative_pull_does_not_depend_on_the_scale_of_a_weight(scale):
    penalties = []
    for factor in (1.0, scale):
        model = fresh()
        with torch.no_grad():
            model[0].weight.mul_(factor)
        training = Steps(model, ADAM, [ADMM({"0": PLAN["0|2"]}, relative=True)])
        penalties.append(training.penalty().item())
    assert penalties[1] == pytest.approx(penalties[0])


def test_no_pull_is_relative_to_zeros():
    model = nn.Sequential(nn.Linear(4, 4))
    nn.init.zeros_(model[0].weight)
    with pytest.raises(PlanError, match=r"0\.weight is zero or not finite.*relative=False"):
        Steps(model, ADAM, [ADMM({"0": "unified"}, relative=True)])


# --- going on ---------------------------------------------------------------------------------------------------------
def resumed(rules, stop, epochs, path):
    one = Steps(fresh(), ADAM, rules())
    one.epochs(stop, batches(), LOSS)
    checkpoint.save(path, [one.callback_states(), dict(one.model.state_dict()), one.optimizer.state_dict()])
    callbacks, model, optimizer = checkpoint.load(path)
    two = Steps(fresh(seed=9), ADAM, rules(), callbacks)
    two.model.load_state_dict(model)
    two.optimizer.load_state_dict(optimizer)
    two.epoch, two.step = one.epoch, one.step
    two.epochs(epochs - stop, batches(), LOSS)
    return two


AUTO = {"0|2": {"structure": "unified", "entries": 4, "ratio": 0.75}}
RULES = {
    "unify": lambda: [Unify(PLAN, until=5, pull=2, every=2, start=0.3)],
    "unify, auto, together": lambda: [Unify(AUTO, until=5, pull=2, every=2, start=0.3, together=True)],
    "admm": lambda: [ADMM(PLAN, 0.3, every=2, until=4, relative=True, grow=3, grow_every=1)],
}


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_a_training_goes_on_to_the_same_bits(rules, stop, tmp_path):
    whole = Steps(fresh(), ADAM, rules())
    whole.epochs(7, batches(), LOSS)
    again = resumed(rules, stop, 7, tmp_path / "state.pt")
    one, two = whole.model.state_dict(), again.model.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert type(again.model[0].weight) is Unified


@pytest.mark.parametrize("pull", [0, 5])
def test_resumed_past_its_last_epoch_what_is_not_fixed_is_fixed_then(pull):
    one = Steps(fresh(), ADAM, [Unify(PLAN, until=9, pull=pull, start=0.1)])
    one.epochs(2, batches(), LOSS)
    two = Steps(fresh(), ADAM, [Unify(PLAN, until=min(pull, 1) + 1, pull=min(pull, 1))], one.callback_states())
    two.model.load_state_dict(one.model.state_dict())
    two.epoch = 5
    assert two.epochs(1, batches(), LOSS) == [6]
    assert vars(two.model[0].weight.counts) == {"kept": 8, "unified": 16, "pruned": 8}


@pytest.mark.parametrize("pull", [0, 6])
def test_resumed_with_a_slower_schedule_or_a_longer_pull_what_is_fixed_stays_and_no_more_is(pull):
    one = Steps(fresh(), ADAM, [Unify(PLAN, until=5, start=0.6)])
    one.epochs(3, batches(), LOSS)
    rule = Unify(PLAN, until=20, pull=pull, start=0.05)
    two = Steps(fresh(), ADAM, [rule], one.callback_states())
    two.model.load_state_dict(one.model.state_dict())
    two.epoch, fixed = one.epoch, kinds_of(one.model[0].weight.detach(), (2, 3))
    two.epochs(1, batches(), LOSS)
    assert torch.equal(kinds_of(two.model[0].weight.detach(), (2, 3)), fixed)
    assert two.penalty() is None and rule.residuals() == {}


def test_a_state_of_other_blocks_is_refused():
    one = Steps(fresh(), ADAM, [Unify(PLAN, until=3)])
    one.epochs(1, batches(), LOSS)
    states = one.callback_states()
    with pytest.raises(CheckpointError, match=r"of 2\.weight, and the plan of \['0\.weight'\]"):
        Steps(fresh(), ADAM, [Unify({"0": PLAN["0|2"]}, until=3)], states)
    states[0]["fixed"]["0.weight"][0]["kinds"] = torch.zeros(3, dtype=torch.uint8)
    with pytest.raises(CheckpointError, match=r"kinds of blocks of shape \(3,\)"):
        Steps(fresh(), ADAM, [Unify(PLAN, until=3)], states)


# --- bad input --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options, words",
    [
        ({"until": 0}, "until is a whole number, at least 1, got 0"),
        ({"until": 3, "pull": 3}, "pull < until, got 3 and 3"),
        ({"until": 3, "pull": -1}, "pull is a whole number"),
        ({"until": 3, "start": 0.0}, "start is a number, above 0"),
        ({"until": 3, "start": 1.5}, r"start is a share of the plan's ratio, in \(0, 1\], got 1.5"),
        ({"until": 3, "start": math.nan}, "start is a number"),
        ({"until": 3, "together": 1}, "together is true or false, got 1"),
        ({"until": 3, "rho": 0}, "rho is a number, above 0"),
        ({"until": 3, "grow": 0.5}, "grow is a number, at least 1"),
        ({"until": 3, "grow_every": 0}, "grow_every is a whole number"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(options, words):
    with pytest.raises(PlanError, match=words):
        Unify(PLAN, **options)


def test_what_has_no_blocks_to_choose_is_refused_before_it_trains():
    for spec in ({"structure": "low_rank", "rank": 2}, {"structure": "doped", "base": {"structure": "unified"}}):
        with pytest.raises(PlanError, match=r"the structure of 0\.weight is \w+, and blocks are of unified ones"):
            Training(fresh(), [Unify({"0": spec}, until=2)]).call("on_start")
    compressed = fresh()
    compress_(compressed, {"0": "unified"})
    with pytest.raises(PlanError, match="compressed already, and Unify"):
        Training(compressed, [Unify({"0": "unified"}, until=2)]).call("on_start")
    frozen = fresh().requires_grad_(False)
    with pytest.raises(PlanError, match=r"0\.weight is frozen, and Unify"):
        Training(frozen, [Unify({"0": "unified"}, until=2)]).call("on_start")
    with pytest.raises(PlanError, match="prune without together"):
        Steps(fresh(), ADAM, [Unify(PLAN, until=2, together=True)]).epochs(1, batches(), LOSS)


@pytest.mark.parametrize("together", [False, True])
def test_a_plan_that_keeps_all_has_nothing_to_choose(together):
    training = Steps(fresh(), ADAM, [Unify({".*": "keep"}, until=1, together=together)])
    assert training.epochs(2, batches(), LOSS) == [2]
