"""Training rules: ADMM pulls a model to its structure, densities fall along the published curve, and runs go on."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from edgenet import checkpoint
from edgenet.compress import ADMM, Anneal, Loop, compress_, cubic_density
from edgenet.errors import PlanError, RankError
from edgenet.train import train

from train.small_data import config, nodes  # isort: skip

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
    loop = Loop(model, torch.optim.Adam(model.parameters(), 0.01), callbacks)
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
    admm = ADMM({"0|2": spec}, rho=0.3, every=20)
    loop = Loop(guided, torch.optim.Adam(guided.parameters(), 0.01), [admm])
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
    admm = ADMM({"0": {"structure": "low_rank", "rank": 1}}, rho=0.5, every=2)
    loop = Loop(model, torch.optim.SGD(model.parameters(), 0.1), [admm])
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

    def loop(net):
        return Loop(net, torch.optim.SGD(net.parameters(), 0.05), [ADMM(PLAN, rho=0.05, every=3)])

    a, b = loop(whole), loop(broken)
    for _ in range(10):
        a.step_on(loss_of(whole, x, y))
    for _ in range(5):
        b.step_on(loss_of(broken, x, y))
    checkpoint.save(tmp_path / "state.pt", b.state_dict())
    c = loop(broken)
    c.load_state_dict(checkpoint.load(tmp_path / "state.pt"))
    for _ in range(5):
        c.step_on(loss_of(broken, x, y))
    assert c.step == 10 and all(torch.equal(p, q) for p, q in zip(whole.parameters(), broken.parameters(), strict=True))
    other = Loop(deepcopy(model), b.optimizer, [ADMM({"0": PLAN["0|2"]})])
    with pytest.raises(PlanError, match="of the slots"):
        other.load_state_dict(b.state_dict())


def test_admm_is_a_callback_of_train():
    admm = ADMM({".*linear": {"structure": "low_rank", "rank": 1}}, rho=1.0, every=30)
    seen = []

    class Look:  # while it trains: at the end stands the epoch that validated best
        def after_step(self, run):
            seen.append(max(admm.residuals().values()))

    settings = config(training__epochs=300, training__patience=0)
    train(settings, dataset=nodes(), callbacks=[admm, Look()], progress=False)
    assert len(seen) == 300 and seen[0] > 0.3 and seen[-1] < seen[0] / 4, (seen[0], seen[-1])


def test_admm_refuses_what_it_cannot_train():
    model = nn.Sequential(nn.Linear(4, 4))
    for options in ({"rho": 0}, {"rho": float("nan")}, {"every": 0}):
        with pytest.raises(PlanError, match="rho above 0 and every from 1"):
            ADMM(PLAN, **options)
    with pytest.raises(PlanError, match="matches no slot"):
        Loop(model, None, [ADMM({"1": "dense"})])
    compress_(model, {"0": {"structure": "low_rank", "rank": 1}})
    with pytest.raises(PlanError, match="compressed already"):
        Loop(model, None, [ADMM({"0": {"structure": "low_rank", "rank": 1}})])


# ---------------------------------------------------------------- schedules
def test_the_density_is_one_less_the_published_sparsity(oracle_root):
    sched = np.load(oracle_root / "compression" / "doped_kron.npz")["sched"]
    ours = [1 - cubic_density(step, 2, 32, 1 - 0.96) for step in range(45)]
    np.testing.assert_allclose(ours, sched, atol=1e-12)


@pytest.mark.parametrize("spec", [{"structure": "sparse", "density": 0.1}, {"structure": "doped", "density": 0.1}])
def test_the_density_falls_while_a_model_trains(spec):
    model, x, y = problem()
    compress_(model, {"0": spec})
    sparse = next(m for m in model.modules() if type(m).__name__ == "Sparse")
    seen = []

    class Look:
        def after_step(self, run):
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
        Loop(nn.Linear(2, 2), None, [Anneal(0.1, 1, 2)])


# ---------------------------------------------------------------- loops
def test_a_loop_calls_hooks_in_order_and_trains_on_penalties():
    class Notes:
        def __init__(self):
            self.calls = []

        def on_start(self, run):
            self.calls.append(("start", run.step))

        def penalty(self, run):
            self.calls.append(("penalty", run.step))
            return run.model.weight.square().sum()

        def after_backward(self, run):
            self.calls.append(("backward", run.step))
            torch.testing.assert_close(run.model.weight.grad, 2 * run.model.weight.detach())

        def after_step(self, run):
            self.calls.append(("step", run.step))

    model, notes = nn.Linear(2, 2, bias=False), Notes()
    loop = Loop(model, torch.optim.SGD(model.parameters(), 0.25), [notes])
    before = model.weight.detach().clone()
    loop.step_on(torch.zeros(()))
    torch.testing.assert_close(model.weight.detach(), before / 2)
    assert notes.calls == [("start", 0), ("penalty", 1), ("backward", 1), ("step", 1)]
