"""GroupLasso and L1Inf: gradient training that sets whole groups to zero."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stored import numbered, oracle, tensors
from torch import nn

from edgenet.compress import GroupLasso, Groups, L1Inf
from edgenet.errors import PlanError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.phi import Additive
from edgenet.testing import GRAPHS

from compress.steps import Steps  # isort: skip

NONE = {"nothing": "rows"}  # groups that no model here has: what is asked of a rule besides them
PENALTIES = {"l2": GroupLasso, "l1inf": L1Inf}
each_penalty = pytest.mark.parametrize("kind", PENALTIES.values(), ids=PENALTIES)


def near(got, want, **tolerance):
    torch.testing.assert_close(got, want, **(tolerance or {"rtol": 1e-12, "atol": 1e-12}))


# ------------------------------------------------------------------- proximal maps
@oracle("estimators/prox_linf*.npz")
def test_the_map_of_the_largest_magnitude_is_that_of_a_solver(stored):
    want = tensors(stored)
    for (i,) in numbered(want, r"v(\d+)"):
        v = want[f"v{i}"][None]
        got = L1Inf(NONE, 1.0).prox(v, float(want[f"lam{i}"]))
        near(got[0], want[f"x{i}"], rtol=0, atol=1e-7)  # the solver's tolerance


@each_penalty
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0, 3))
def test_no_other_point_near_is_better(kind, seed, size, amount):
    torch.manual_seed(seed)
    callback, v = kind(NONE, 1.0), torch.randn(4, size)
    v[0] = v[0].sign()  # ties
    x = callback.prox(v, amount)

    def objective(x):
        return (x - v).square().sum(1) / 2 + amount * callback.norm(x)

    for scale in (1e-3, 1e-1, 1):
        for other in (x + scale * torch.randn(20, 4, size)).unbind(0):
            assert (objective(other) >= objective(x) - 1e-12).all()
    assert (callback.prox(torch.zeros(2, size), amount) == 0).all()
    near(callback.prox(v, 0.0), v)


@each_penalty
def test_complex_and_half_precision_weights_are_shrunk_too(kind):
    callback, v = kind(NONE, 1.0), torch.randn(3, 4)
    turn = torch.exp(1j * torch.rand(3, 4))
    near(callback.prox(v * turn, 0.5), callback.prox(v, 0.5) * turn)
    model = nn.Linear(4, 3).bfloat16()
    before = model.weight.detach().float()
    loop = Steps(model, torch.optim.SGD(model.parameters(), lr=1.0), [kind({"weight": "rows"}, 0.1, by_size=False)])
    loop.step_on(model.weight.sum() * 0)
    assert model.weight.dtype == torch.bfloat16
    near(model.weight.detach().float(), callback.prox(before, 0.1), rtol=1e-2, atol=1e-2)


@each_penalty
@pytest.mark.parametrize("scale", [None, torch.ones(2, 2)], ids=["plain", "scaled"])
def test_weights_that_are_lost_are_not_hidden_by_zeros(kind, scale):
    got = kind(NONE, 1.0).prox(torch.tensor([[float("nan"), 1.0], [3.0, 4.0]]), 1.0, scale)
    assert got[0].isnan().any() and got[1].isfinite().all()


# ------------------------------------------------------------------- groups
@pytest.mark.parametrize(
    "spec, shape, members",
    [
        ("rows", (2, 3), [[0, 1, 2], [3, 4, 5]]),
        ("columns", (2, 3), [[0, 3], [1, 4], [2, 5]]),
        (("rows", 2), (4, 2), [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (("columns", 2), (2, 4), [[0, 1, 4, 5], [2, 3, 6, 7]]),
        ("functions", (2, 1, 3), [[0, 1, 2], [3, 4, 5]]),
        ("functions", (3,), [[0, 1, 2]]),
        ("rows", (3,), [[0], [1], [2]]),
        (Groups((1,), (2, 2, 2)), (2, 4), [[0, 1, 4, 5], [2, 3, 6, 7]]),
        (Groups((2,), (2, 2, -1)), (2, 4), [[0, 2, 4, 6], [1, 3, 5, 7]]),
        (Groups((-1,)), (2, 3), [[0, 3], [1, 4], [2, 5]]),
        (Groups((2, 0)), (2, 2, 2), [[0, 2], [4, 6], [1, 3], [5, 7]]),
    ],
    ids=str,
)
def test_groups_are_the_entries_they_say(spec, shape, members):
    tensor = torch.arange(np.prod(shape)).view(shape)
    groups = Groups.of(spec, shape)
    flat = groups.flat(tensor)
    assert flat.tolist() == members
    assert torch.equal(groups.unflat(flat, tensor), tensor)


@pytest.mark.parametrize(
    "spec, says",
    [
        ("heads", "'rows', 'columns', 'functions'"),
        (3, "'rows', 'columns', 'functions'.*got 3"),
        (("rows", 2, 2), "'rows', 'columns', 'functions'"),
        (("rows", 2.0), "'rows', 'columns', 'functions'"),
        (("rows", 3), "4 rows do not divide into 3"),
        (("columns", 0), "into 0 equal runs"),
        (Groups((2,)), "does not fit"),
        (Groups((0,), (3, 3)), "does not fit"),
    ],
)
def test_groups_that_do_not_fit_are_refused(spec, says):
    with pytest.raises(PlanError, match=says):
        Groups.of(spec, (4, 5))
    with pytest.raises(PlanError, match="no columns"):
        Groups.of("columns", (4,))


# ------------------------------------------------------------------- training
@each_penalty
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(1e-3, 3))
def test_in_another_scale_no_point_near_is_better_either(kind, seed, size, amount):
    torch.manual_seed(seed)
    callback, v, scale = kind(NONE, 1.0), torch.randn(4, size), torch.exp(3 * torch.randn(4, size))
    x = callback.prox(v, amount, scale)

    def objective(x):
        return (scale * (x - v).square()).sum(1) / 2 + amount * callback.norm(x)

    for step in (1e-4, 1e-2, 1):
        for other in (x + step * torch.randn(20, 4, size)).unbind(0):
            assert (objective(other) >= objective(x) - 1e-11 * (1 + objective(x))).all()
    near(callback.prox(v, amount, torch.ones(4, size)), callback.prox(v, amount), rtol=1e-8, atol=1e-9)
    near(callback.prox(v, 0.0, scale), v)
    assert (callback.prox(v, 1e9, scale) == 0).all()


def regression(kind, penalty, steps=400, optimizer=torch.optim.SGD, lr=0.5, **options):
    """(weights, gradient of the loss at them) after training on least squares; rows 0 and 3 of 6 matter."""
    x, truth = torch.randn(200, 6), torch.zeros(6, 3)
    truth[[0, 3]] = torch.tensor([[2.0, -1.0, 0.5], [1.0, 1.0, 1.0]])
    y = x @ truth + 0.1 * torch.randn(200, 3)
    model = nn.Linear(6, 3, bias=False)
    callback = kind({"weight": "columns"}, penalty, **options)
    loop = Steps(model, optimizer(model.parameters(), lr=lr), [callback])
    for step in range(steps):
        loop.optimizer.param_groups[0]["lr"] = lr if optimizer is torch.optim.SGD else lr * 0.5 ** (step // 100)
        loop.step_on((model(x) - y).square().sum(1).mean() / 2)
    (gradient,) = torch.autograd.grad((model(x) - y).square().sum(1).mean() / 2, model.weight)
    return callback, model, model.weight.detach().t(), gradient.t()


def test_group_lasso_training_ends_at_the_minimum():
    callback, model, weight, gradient = regression(GroupLasso, 0.2)
    amount = 0.2 * 3**0.5
    assert weight.norm(dim=1).nonzero().flatten().tolist() == [0, 3]
    for row, slope in zip(weight, gradient, strict=True):
        if row.any():
            near(slope, -amount * row / row.norm(), rtol=0, atol=1e-9)
        else:
            assert slope.norm() <= amount
    near(callback.value(model), amount * weight.norm(dim=1).sum())


def test_l1_inf_training_ends_at_the_minimum():
    callback, model, weight, gradient = regression(L1Inf, 0.6)
    assert weight.norm(dim=1).nonzero().flatten().tolist() == [0, 3]
    for row, slope in zip(weight, gradient, strict=True):
        bound = row.abs() >= row.abs().max() - 1e-9
        if row.any():
            near(slope[~bound], torch.zeros_like(slope[~bound]), rtol=0, atol=1e-9)
            assert (slope[bound] * row[bound] <= 1e-9).all()
            near(slope.abs().sum(), torch.tensor(0.6), rtol=0, atol=1e-8)
        else:
            assert slope.abs().sum() <= 0.6
    assert (weight[3].abs().max() - weight[3].abs() < 1e-9).sum() >= 2  # magnitudes of a group are shared
    near(callback.value(model), 0.6 * weight.abs().amax(1).sum())


@each_penalty
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_ends_at_the_minimum_of_the_same_objective(kind, optimizer):
    torch.manual_seed(7)
    wanted = regression(kind, 0.4)[2]
    torch.manual_seed(7)
    options = {"optimizer": lambda p, lr: optimizer(p, lr=lr, weight_decay=0)}
    got = regression(kind, 0.4, steps=1500, lr=0.05, **options)[2]
    assert got.norm(dim=1).nonzero().flatten().tolist() == [0, 3]
    near(got, wanted, rtol=0, atol=1e-3)  # steps of Adam never quite settle


@each_penalty
@pytest.mark.parametrize(
    "options", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5, "dampening": 0.5}], ids=str
)
def test_momentum_ends_at_the_minimum_of_the_same_objective(kind, options):
    torch.manual_seed(7)
    wanted = regression(kind, 0.4)[2]
    torch.manual_seed(7)
    got = regression(kind, 0.4, steps=1500, lr=0.05, optimizer=lambda p, lr: torch.optim.SGD(p, lr=lr, **options))[2]
    near(got, wanted, rtol=0, atol=1e-4)  # steps fall by half every hundred


@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.NAdam])
def test_optimizers_whose_steps_are_not_known_are_told(optimizer):
    model = nn.Linear(3, 2)
    with pytest.warns(UserWarning, match=f"{optimizer.__name__} takes steps of its own size.*Use SGD, Adam or AdamW"):
        Steps(model, optimizer(model.parameters()), [GroupLasso({"weight": "rows"}, 0.1)])


def test_heads_are_dropped_whole_and_the_report_says_which():
    layer = EdgeNetConv(5, 4, heads=3, phi="attention")
    callback = GroupLasso({r"lift\.linear\.weight": ("rows", 3), r"phi\.att": "rows"}, 0.1, by_size=False)
    with torch.no_grad():
        layer.lift.linear.weight.weight[4:8] *= 1e-3
    loop = Steps(layer, torch.optim.SGD(layer.parameters(), lr=1.0), [callback])
    loop.step_on(0 * layer.bias.sum() + sum(0 * p.sum() for p in layer.parameters()))
    rows = {row.name: row for row in callback.sparsity(layer)}
    assert set(rows) == {"phi.att_source.weight", "phi.att_target.weight", "lift.linear.weight.weight"}
    lift = rows["lift.linear.weight.weight"]
    assert lift.kept.tolist() == [True, False, True] and lift.entries == 20 and lift.zeros == 1
    graph = GRAPHS["directed"]
    assert (layer(torch.randn(13, 5), graph)[:, 4:8] == layer.bias[4:8]).all()
    assert "| lift.linear.weight.weight | 3 | 20 | 1 (33%) |" in callback.report(layer)
    assert callback.report(layer).splitlines()[-1].startswith("| all | 9 |")


def test_hops_that_a_filter_does_not_need_are_dropped():
    graph, x = GRAPHS["directed"], torch.randn(13, 40).t().reshape(40, 13, 1)
    shift = EdgeNetConv(1, 1, order=3, phi="shift", normalize="rw", bias=False)
    with torch.no_grad():
        shift.taps.linear.weight.weight.copy_(torch.tensor([[0.0, 1.0, 0.0, -2.0]]))
        y = shift(x, graph)
    model = EdgeNetConv(1, 1, order=3, phi="shift", normalize="rw", bias=False)
    callback = GroupLasso({r"taps\.linear\.weight": ("columns", 4)}, 0.02)
    loop = Steps(model, torch.optim.SGD(model.parameters(), lr=0.3), [callback])
    for _ in range(600):
        loop.step_on((model(x, graph) - y).square().mean() / 2)
    assert callback.sparsity(model)[0].kept.tolist() == [False, True, False, True]


def test_the_relevant_functions_of_edge_weights_are_found():
    nodes, edges, relevant = 300, 1800, [2, 5, 11, 17]
    graph = Graph(torch.randint(nodes, (2, edges)), nodes)
    attr, x = torch.rand(edges, 20) * 2 - 1, torch.randn(8, nodes, 1)
    functions = [lambda u: torch.sin(3 * u), lambda u: 2 * u**2, lambda u: u, lambda u: torch.exp(-u)]
    weight = 0.5 + sum(f(attr[:, d]) - f(attr[:, d]).mean() for f, d in zip(functions, relevant, strict=True))
    y = torch.zeros(8, nodes, 1).index_add(1, graph.target, weight[:, None] * x[:, graph.source])
    y = y + 0.5 * torch.randn_like(y)
    layer = EdgeNetConv(1, 1, phi=Additive(edge_dim=20, endpoints="none"), self_tap=False, bias=False)
    layer.lift.linear.weight.weight.data.fill_(1.0).requires_grad_(False)
    callback = GroupLasso({r"phi\.functions\.edge": "functions"}, 0.25, by_size=False)
    trained = [p for p in layer.parameters() if p.requires_grad]
    loop = Steps(layer, torch.optim.SGD(trained, lr=0.1), [callback])
    for _ in range(60):
        loop.step_on((layer(x, graph, edge_attr=attr) - y).square().mean() / 2)
    kept = callback.sparsity(layer)[0].kept
    assert kept.nonzero().flatten().tolist() == relevant
    got = layer.phi.explain(None, graph, attr).values[0, :, 0]
    for f, d in zip(functions, relevant, strict=True):
        assert np.corrcoef(got[:, d], f(attr[:, d]))[0, 1] > 0.97


def test_on_the_functions_of_an_edge_weight_it_is_their_soft_threshold():
    layer = EdgeNetConv(5, 4, phi="additive")
    layer(torch.randn(13, 5), GRAPHS["directed"])
    with torch.no_grad():
        for functions in layer.phi.functions.values():
            functions.coefficients.normal_()
    want = [f.detach().clone() for f in layer.phi.parameters()]
    loop = Steps(
        layer, torch.optim.SGD(layer.parameters(), lr=0.5), [GroupLasso({"phi.functions": "functions"}, 4.0, False)]
    )
    loop.step_on(0 * sum(p.sum() for p in layer.parameters()))
    got = [f.detach().clone() for f in layer.phi.parameters()]
    with torch.no_grad():
        for parameter, value in zip(layer.phi.parameters(), want, strict=True):
            parameter.copy_(value)
    assert 0 < layer.phi.soft_threshold_(2.0).num_functions() < 10
    for a, b in zip(got, layer.phi.parameters(), strict=True):
        near(a, b.detach())


def test_learning_rates_are_those_of_the_step_and_the_first_steps_may_be_left_alone():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "lr": 1.0}]
    optimizer = torch.optim.SGD(groups)
    loop = Steps(model, optimizer, [GroupLasso({r"\d\.weight": "rows"}, 0.5, by_size=False, start=1)])
    before = [layer.weight.detach().clone() for layer in model]
    loop.step_on(0 * model[1].weight.sum())
    assert all(torch.equal(layer.weight, old) for layer, old in zip(model, before, strict=True))
    state = optimizer.state_dict()
    state["param_groups"][1]["lr"] = 0.2
    optimizer.load_state_dict(state)
    loop.step_on(0 * model[1].weight.sum())
    for layer, old, rate in zip(model, before, (0.1, 0.2), strict=True):
        near(layer.weight.detach(), GroupLasso(NONE, 1.0).prox(old, 0.5 * rate))


# ------------------------------------------------------------------- refusals
@each_penalty
@pytest.mark.parametrize(
    "penalty, start", [(-0.1, 0), (float("nan"), 0), (float("inf"), 0), (1.0, -1), ("1", 0), (1.0, None)]
)
def test_numbers_out_of_range_are_refused(kind, penalty, start):
    with pytest.raises(PlanError, match=f"{kind.__name__}: .* number, at least 0, got"):
        kind(NONE, penalty, start=start)


def test_parameters_that_cannot_be_penalised_are_refused():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    with pytest.raises(PlanError, match=r"'2\.weight' matches no parameter.*0\.weight"):
        Steps(model, torch.optim.SGD(model.parameters()), [GroupLasso({"2.weight": "rows"}, 1.0)])
    with pytest.raises(PlanError, match=r"'\(' is no regular expression: missing \)"):
        GroupLasso({"(": "rows"}, 1.0).report(model)
    with pytest.raises(PlanError, match=r"1\.weight is not trained"):
        Steps(model, torch.optim.SGD(model[0].parameters()), [GroupLasso({r"\d\.weight": "rows"}, 1.0)])
    turned = nn.Linear(2, 2, dtype=torch.complex128)
    loop = Steps(turned, torch.optim.Adam(turned.parameters()), [GroupLasso({"weight": "rows"}, 1.0)])
    with pytest.raises(PlanError, match="use SGD"):
        loop.step_on(turned.weight.abs().sum())
    lazy = EdgeNetConv(-1, 2, phi="shift")
    with pytest.raises(PlanError, match="run the model once"):
        GroupLasso({"taps": "rows"}, 1.0).report(lazy)
    model[1].weight.requires_grad_(False)
    with pytest.raises(PlanError, match=r"1\.weight is not trained"):
        Steps(model, torch.optim.SGD(model.parameters()), [GroupLasso({r"1\.weight": "rows"}, 1.0)])
