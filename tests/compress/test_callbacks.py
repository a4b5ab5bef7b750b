"""Training rules: ADMM pulls a model to its structure, densities fall along the published curve, and runs go on."""

from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from stored import oracle
from torch import nn

from edgenet import checkpoint
from edgenet.compress import ADMM, Anneal, Callback, Training, compress_, cubic_density
from edgenet.compress.callbacks import HOOKS
from edgenet.errors import CheckpointError, ConfigError, PlanError, RankError

from compress.steps import Steps  # isort: skip

PLAN = {"0|2": {"structure": "low_rank", "rank": 2}}


def problem():
    """A regression, and a model that has learned it with dense weights."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(200, 12, generator=generator)
    teacher = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6))
    with torch.no_grad():
        for p in teacher.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / 3)
        y = teacher(x)
    model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6))
    optimize(model, x, y, 300, [])
    return model, x, y


def loss_of(model, x, y):
    return (model(x) - y).square().mean()


def optimize(model, x, y, steps, callbacks):
    loop = Steps(model, torch.optim.Adam(model.parameters(), 0.01), callbacks)
    for _ in range(steps):
        loop.step_on(loss_of(model, x, y))
    return loop


# ---------------------------------------------------------------- ADMM
@pytest.mark.parametrize(
    "spec",
    [
        {"structure": "low_rank", "rank": 3},
        {"structure": "block_circulant", "block": 2},
        {"structure": "sparse", "density": 0.2},
    ],
    ids=lambda spec: spec["structure"],
)
def test_admm_then_projecting_loses_less_than_projecting(spec):
    model, x, y = problem()
    direct, guided = deepcopy(model), deepcopy(model)
    optimize(direct, x, y, 400, [])  # as many steps
    admm = ADMM({"0|2": spec}, rho=0.3, every=20, relative=False)
    loop = Steps(guided, torch.optim.Adam(guided.parameters(), 0.01), [admm])
    far = admm.residuals()
    for _ in range(400):
        loop.step_on(loss_of(guided, x, y))
    near = admm.residuals()
    assert list(far) == ["0.weight", "2.weight"] and all(near[name] < far[name] / 4 for name in far), (far, near)
    for net in (direct, guided):
        compress_(net, {"0|2": spec})
    with torch.no_grad():
        assert loss_of(guided, x, y) < loss_of(direct, x, y) / 2


def test_one_step_of_admm_by_hand():
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[4.0, 0.0], [0.0, 3.0]]))
    admm = ADMM({"0": {"structure": "low_rank", "rank": 1}}, rho=0.5, every=2, relative=False)
    loop = Steps(model, torch.optim.SGD(model.parameters(), 0.1), [admm])
    nothing = lambda: 0 * model[0].weight.sum()  # noqa: E731
    assert loop.step_on(nothing()) == pytest.approx(0.5 / 2 * 9)  # Z = diag(4, 0), U = 0
    torch.testing.assert_close(model[0].weight.detach(), torch.diag(torch.tensor([4.0, 3 - 0.1 * 0.5 * 3])))
    loop.step_on(nothing())
    last = 2.85 - 0.1 * 0.5 * 2.85
    torch.testing.assert_close(admm.dual["0.weight"], torch.diag(torch.tensor([0.0, last])))
    assert admm.residuals()["0.weight"] == pytest.approx(last / (16 + last**2) ** 0.5)


def test_a_run_with_admm_goes_on_from_its_state_as_if_it_had_not_stopped(tmp_path):
    model, x, y = problem()
    whole, broken = deepcopy(model), deepcopy(model)
    sgd = partial(torch.optim.SGD, lr=0.05)

    def steps(net, number, states=None, done=0):
        loop = Steps(net, sgd, [ADMM(PLAN, rho=0.05, every=3)], states)
        loop.step = done
        for _ in range(number):
            loop.step_on(loss_of(net, x, y))
        return loop

    steps(whole, 10)
    checkpoint.save(tmp_path / "state.pt", steps(broken, 5).callback_states())
    states = checkpoint.load(tmp_path / "state.pt")
    steps(broken, 5, states, done=5)
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), broken.parameters(), strict=True))
    with pytest.raises(PlanError, match="of the slots"):
        Steps(deepcopy(model), sgd, [ADMM({"0": PLAN["0|2"]})], states)


def test_admm_refuses_what_it_cannot_train():
    model = nn.Sequential(nn.Linear(4, 4))
    for options in ({"rho": 0}, {"rho": float("nan")}, {"rho": "x"}, {"rho": True}, {"every": 0}, {"every": 2.5}):
        ((name, value),) = options.items()
        with pytest.raises(PlanError, match=rf"ADMM: {name} is a (whole )?number, .*, got {value!r}"):
            ADMM(PLAN, **options)
    with pytest.raises(PlanError, match="matches no slot"):
        Steps(model, None, [ADMM({"1": "dense"})])
    compress_(model, {"0": {"structure": "low_rank", "rank": 1}})
    frozen = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6))
    frozen[2].requires_grad_(False)
    with pytest.raises(PlanError, match=r"2\.weight is frozen, and ADMM pulls at what is trained"):
        Training(frozen, [ADMM(PLAN)]).call("on_start")
    with pytest.raises(PlanError, match="compressed already"):
        Steps(model, None, [ADMM({"0": {"structure": "low_rank", "rank": 1}})])


# ---------------------------------------------------------------- schedules
@oracle("compression/doped_kron*.npz")
def test_the_density_is_one_less_the_published_sparsity(stored):
    sched = np.load(stored)["sched"]
    ours = [1 - cubic_density(step, 2, 32, 1 - 0.96) for step in range(45)]
    np.testing.assert_allclose(ours, sched, atol=1e-12)


@pytest.mark.parametrize("spec", [{"structure": "sparse", "density": 0.1}, {"structure": "doped", "density": 0.1}])
def test_the_density_falls_while_a_model_trains(spec):
    model, x, y = problem()
    compress_(model, {"0": spec})
    sparse = next(m for m in model.modules() if type(m).__name__ == "Sparse")
    seen = []

    class Look:
        def after_step(self, training):
            seen.append(sparse.density)

    optimize(model, x, y, 30, [Anneal(0.1, start=5, end=20, every=5), Look()])
    numbers = [round(192 * cubic_density(step, 5, 20, 0.1)) / 192 for step in (1, 10, 15, 20)]
    assert [seen[0], seen[9], seen[14], seen[19]] == numbers and seen[3] == 1.0 and seen[-1] == seen[19]
    assert sparse.num_parameters() == 19


def test_the_end_of_a_schedule_is_met_where_steps_do_not_divide_it():
    model, x, y = problem()
    compress_(model, {"0": {"structure": "sparse", "density": 0.5}})
    optimize(model, x, y, 12, [Anneal(0.25, start=1, end=11, every=4)])
    assert model[0].weight.density == 0.25


def test_a_schedule_refuses_what_makes_no_sense():
    with pytest.raises(RankError, match="density"):
        Anneal(0, 1, 2)
    with pytest.raises(PlanError, match="start < end"):
        Anneal(0.1, 5, 5)
    with pytest.raises(PlanError, match="compress_ with sparse or doped first"):
        Steps(nn.Linear(2, 2), None, [Anneal(0.1, 1, 2)])


# ---------------------------------------------------------------- trainings
def test_hooks_are_called_in_order_and_penalties_are_trained_on():
    class Notes:
        def __init__(self):
            self.calls = []

        def on_start(self, training):
            self.calls.append(("start", training.optimizer))

        def on_optimizer(self, training):
            self.calls.append(("optimizer", type(training.optimizer).__name__))

        def before_epoch(self, training):
            self.calls.append(("epoch", training.epoch))

        def penalty(self, training):
            self.calls.append(("penalty", training.step))
            return training.model.weight.square().sum()

        def after_backward(self, training):
            self.calls.append(("backward", training.step))
            torch.testing.assert_close(training.model.weight.grad, 2 * training.model.weight.detach())

        def after_step(self, training):
            self.calls.append(("step", training.step))

        def after_epoch(self, training):
            self.calls.append(("record", training.record["epoch"]))

    model, notes = nn.Linear(2, 2, bias=False), Notes()
    training = Steps(model, partial(torch.optim.SGD, lr=0.25), [notes])
    before = model.weight.detach().clone()
    training.epochs(1, [(torch.zeros(3, 2), torch.zeros(()))], lambda output, y: output.sum())
    torch.testing.assert_close(model.weight.detach(), before / 2)
    assert notes.calls == [
        ("start", None), ("optimizer", "SGD"), ("epoch", 1), ("penalty", 1), ("backward", 1), ("step", 1),
        ("record", 1),
    ]  # fmt: skip


class Bare:
    """Has one hook, and nothing else."""

    def after_step(self, training): ...


def test_a_training_sums_penalties_and_is_settled_when_all_callbacks_are():
    class Adds(Callback):
        def __init__(self, value, at=0):
            self.value, self.at = value, at

        def penalty(self, training):
            return self.value

        def settled(self, training):
            return training.epoch >= self.at

    model = nn.Linear(1, 1)
    assert Training(model, [Adds(None), Bare()]).penalty() is None and Training(model).settled()
    training = Training(model, [Adds(torch.tensor(1.0)), Adds(None, at=2), Bare(), Adds(torch.tensor(2.0), at=1)])
    assert training.penalty() == 3
    verdicts = []
    for training.epoch in (0, 1, 2):
        verdicts.append(training.settled())
    assert verdicts == [False, False, True]


def test_a_training_without_a_way_to_its_optimizer_says_so():
    with pytest.raises(ConfigError, match=r"give your Training a method renew_optimizer\(\)"):
        Training(nn.Linear(1, 1)).renew_optimizer()


def test_a_model_is_called_with_the_inputs_of_a_batch_or_as_its_loop_says():
    training, x = Training(torch.add), torch.ones(2)
    assert training.call_model(nn.Identity(), x) is x
    assert training.call_model(torch.add, (x, x, None)).tolist() == [2, 2]
    training.read = lambda model, batch: model(batch["x"])
    assert training.call_model(nn.Identity(), {"x": x}) is x


def test_states_of_other_callbacks_are_refused():
    class Remembers(Callback):
        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            self.seen = state

    states = Training(nn.Linear(1, 1), [Callback(), Remembers()]).callback_states()
    assert states == [None, {}]
    for callbacks in ([], [Callback()], [Remembers(), Callback()]):
        with pytest.raises(CheckpointError, match="the state of 2 callbacks does not fit"):
            Training(nn.Linear(1, 1), callbacks).load_callback_states(states)
    again = Remembers()
    Training(nn.Linear(1, 1), [Bare(), again]).load_callback_states(states)
    assert again.seen == {}


class Vector(Callback):
    def penalty(self, training):
        return torch.ones(3)


class Nothing:
    def on_epoch_end(self, training): ...


class Named(Callback):
    rates = (0.1, 0.2)


@pytest.mark.parametrize(
    "callbacks, says",
    [
        ([Vector], r"Vector is a class: hand in Vector\(\.\.\.\)"),
        (Vector(), "callbacks are a list of objects with hooks, got Vector"),
        (None, "got NoneType"),
        ([Nothing()], "Nothing has none of the hooks on_start,"),
        ([Named()], r"Named\.rates is a tuple, and hooks of that name are called: give the attribute another name"),
    ],
    ids=["a class", "no list", "None", "no hooks", "no hook"],
)
def test_what_is_no_callback_is_refused(callbacks, says):
    with pytest.raises(ConfigError, match=says):
        Training(nn.Linear(2, 2), callbacks)


def test_a_penalty_of_many_numbers_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"the penalty of Vector is one number, and has shape \(3,\)"):
        Training(nn.Linear(2, 2), [Vector()]).penalty()


def test_the_hooks_are_those_of_a_callback():
    own = [name for name, value in vars(Callback).items() if callable(value) and not name.startswith("_")]
    assert tuple(own) == HOOKS
