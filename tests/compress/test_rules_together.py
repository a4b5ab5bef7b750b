"""Rules at once: ADMM puts its structures in, densities fall, a teacher is followed, and all of it is resumed."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from edgenet import checkpoint
from edgenet.compress import ADMM, Anneal, Compress, Distill, GroupLasso, Training, compress_
from edgenet.errors import CheckpointError, PlanError
from edgenet.structured import Doped, LowRank, Sparse

from compress.steps import Steps  # isort: skip

ADAM = partial(torch.optim.Adam, lr=0.01)
LOSS = nn.functional.mse_loss
RANK_TWO = {"structure": "low_rank", "rank": 2}


def fresh(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6), nn.Linear(6, 6))


def batches():
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(60, 12, generator=generator), torch.randn(60, 6, generator=generator)
    return [(x[k : k + 20], y[k : k + 20]) for k in range(0, 60, 20)]  # three steps an epoch


def bits(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def resumed(rules, stop, epochs, path, make=ADAM):
    """A training of so many epochs that stops after ``stop`` of them and goes on with a fresh model."""
    one = Steps(fresh(), make, rules())
    one.epochs(stop, batches(), LOSS)
    checkpoint.save(path, [one.callback_states(), dict(one.model.state_dict()), one.optimizer.state_dict()])
    callbacks, model, optimizer = checkpoint.load(path)
    two = Steps(fresh(seed=9), make, rules(), callbacks)
    two.model.load_state_dict(model)
    two.optimizer.load_state_dict(optimizer)
    two.epoch, two.step = one.epoch, one.step
    two.epochs(epochs - stop, batches(), LOSS)
    return two


# ---------------------------------------------------------------- ADMM until an epoch
class Look:
    """Keeps what the model is when an epoch begins."""

    def __init__(self):
        self.models = {}

    def before_epoch(self, training):
        self.models[training.epoch] = copy.deepcopy(training.model)


def test_admm_puts_its_structures_in_and_they_are_trained():
    admm, look = ADMM({"0|2": RANK_TWO}, rho=0.3, every=2, until=3), Look()
    training = Steps(fresh(), ADAM, [admm, look])
    assert training.epochs(3, batches(), LOSS) == []
    projected = copy.deepcopy(training.model)
    compress_(projected, {"0|2": RANK_TWO})
    assert training.model[0].weight.shape == (16, 12) and list(admm.residuals()) == ["0.weight", "2.weight"]
    assert training.epochs(2, batches(), LOSS) == [4, 5]
    assert training.penalty() is None and admm.residuals() == {}
    assert equal(bits(look.models[4]), bits(projected))
    held = {id(p) for group in training.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in training.model.parameters()}
    assert not torch.equal(training.model[0].weight.left, projected[0].weight.left)


def test_admm_without_an_end_pulls_to_the_end():
    training = Steps(fresh(), ADAM, [ADMM({"0": RANK_TWO})])
    assert training.epochs(3, batches(), LOSS) == [1, 2, 3] and training.penalty() is not None


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_admm_is_resumed_before_and_after_its_end(stop, tmp_path):
    rules = lambda: [ADMM({"0|2": RANK_TWO}, rho=0.3, every=2, until=2)]  # noqa: E731
    whole = Steps(fresh(), ADAM, rules())
    whole.epochs(6, batches(), LOSS)
    again = resumed(rules, stop, 6, tmp_path / "state.pt")
    assert equal(bits(whole.model), bits(again.model)) and isinstance(again.model[0].weight, LowRank)


def test_an_admm_that_has_nothing_to_pull_adds_nothing():
    training = Steps(fresh(), ADAM, [ADMM({".*": "keep"}, until=1)])
    assert training.penalty() is None and training.epochs(2, batches(), LOSS) == [2]


def test_a_state_of_admm_with_structures_does_not_fit_another_model():
    training = Steps(fresh(), ADAM, [ADMM({"0": RANK_TWO}, until=1)])
    training.epochs(2, batches(), LOSS)
    other = nn.Sequential(nn.Linear(12, 8))
    with pytest.raises(CheckpointError, match=r"0\.weight, which is \(8, 12\)"):
        Steps(other, ADAM, [ADMM({"0": RANK_TWO}, until=1)], training.callback_states())


# ---------------------------------------------------------------- densities
def density(model):
    return [matrix.density for matrix in model.modules() if isinstance(matrix, Sparse)]


@pytest.mark.parametrize("order", [1, -1], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["admm", "compress"])
def test_a_density_falls_in_matrices_that_come_later(kind, order):
    plan = {"0": {"structure": "sparse", "density": 0.9}}
    rule = ADMM(plan, until=2) if kind == "admm" else Compress(plan, epoch=3)
    rules, look = [Anneal(0.25, start=7, end=12, every=1), rule], Look()
    training = Steps(fresh(), ADAM, [*rules[::order], look])
    assert training.epochs(5, batches(), LOSS) == [4, 5]
    seen = [density(look.models[epoch]) for epoch in (1, 2, 3, 4)]
    assert seen[:3] == [[], [], [1.0]] and 0.25 < seen[3][0] < 1 and density(training.model) == [0.25]


@pytest.mark.parametrize("kind", ["admm", "compress"])
def test_the_same_rules_serve_the_next_training_though_they_have_settled_in_this(kind):
    plan = {"0": {"structure": "sparse", "density": 0.9}}
    later = ADMM(plan, until=2) if kind == "admm" else Compress(plan, epoch=3)
    rules = [Anneal(0.25, start=7, end=12, every=1), later]  # the first asks the second whether it has settled
    first = Steps(fresh(), ADAM, rules)
    assert first.epochs(5, batches(), LOSS) == [4, 5]
    second = Steps(fresh(), ADAM, rules)
    assert second.epochs(5, batches(), LOSS) == [4, 5] and density(second.model) == [0.25]


def test_a_density_that_has_no_matrix_when_it_is_to_fall_is_refused():
    rules = [Anneal(0.25, start=2, end=12), Compress({"0": {"structure": "sparse", "density": 0.9}}, epoch=3)]
    with pytest.raises(PlanError, match="no sparse matrix whose path matches"):
        Steps(fresh(), ADAM, rules).epochs(1, batches(), LOSS)
    with pytest.raises(PlanError, match="none: compress_ with sparse or doped first"):
        Steps(fresh(), ADAM, [Anneal(0.25, 1, 2), Compress({"0": RANK_TWO}, epoch=0)]).epochs(1, batches(), LOSS)


def test_a_new_optimizer_does_not_set_a_density_back():
    model = fresh()
    compress_(model, {"0": {"structure": "sparse", "density": 1.0}})
    training = Steps(model, ADAM, [Anneal(0.25, start=1, end=3, every=1)])
    training.epochs(1, batches(), LOSS)
    before = model[0].weight.mask.clone()
    with torch.no_grad():
        model[0].weight.weight.normal_()  # other entries are largest now
    training.renew_optimizer()
    assert torch.equal(model[0].weight.mask, before) and model[0].weight.density == 0.25


# ---------------------------------------------------------------- all at once
def everything():
    return [
        Compress({"0": {"structure": "doped", "density": 0.5}}),
        ADMM({"2": RANK_TWO}, rho=0.3, every=2, until=2),
        Anneal(0.1, start=2, end=11, every=1),
        GroupLasso({"3.weight": "rows"}, 0.01),
        Distill(fresh(seed=4), target="value"),
    ]


def test_all_rules_work_at_once_and_are_settled_when_the_last_is():
    training = Steps(fresh(), ADAM, everything())
    assert training.epochs(6, batches(), LOSS) == [4, 5, 6]  # ADMM in the third, the density in the fourth epoch
    assert isinstance(training.model[0].weight, Doped) and isinstance(training.model[2].weight, LowRank)
    assert training.model[0].weight.dopant.density == pytest.approx(0.1, abs=0.01)
    held = {id(p) for group in training.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in training.model.parameters()}


@pytest.mark.parametrize("make", [ADAM, partial(torch.optim.SGD, lr=0.05, momentum=0.9)], ids=["adam", "sgd"])
@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_all_rules_at_once_are_resumed_to_the_same_bits(stop, make, tmp_path):
    whole = Steps(fresh(), make, everything())
    whole.epochs(6, batches(), LOSS)
    again = resumed(everything, stop, 6, tmp_path / "state.pt", make)
    assert equal(bits(whole.model), bits(again.model))


def test_the_order_of_callbacks_is_the_order_of_their_effects():
    spec = {"structure": "sparse", "density": 0.9}
    model = fresh()
    training = Training(model, [Compress({"0": spec}), Anneal(0.25, 1, 2, initial=0.5), Compress({"0": RANK_TWO})])
    training.call("on_start")
    assert isinstance(model[0].weight, LowRank)  # the last has the last word
