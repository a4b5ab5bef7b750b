"""The search finds what trying everything finds, keeps to its goals or says that it did not, and repeats itself."""

import itertools
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from edgenet.compress import Budget, compress_, knapsack, report, search, slots
from edgenet.compress.knapsack import front
from edgenet.compress.plan import resolve
from edgenet.compress.searching import curves, rungs
from edgenet.compress.searching.rungs import between
from edgenet.errors import PlanError, ShapeError
from edgenet.structured import STRUCTURES, StructuredLinear, StructuredMatrix, family, structure
from edgenet.structured.families import project

search = partial(search, progress=False)


def decaying(m, n, rate, seed):
    """A weight whose singular values fall off like exp(-rate k)."""
    generator = torch.Generator().manual_seed(seed)
    u, v = (torch.linalg.qr(torch.randn(k, k, generator=generator))[0] for k in (m, n))
    size = min(m, n)
    return (u[:, :size] * torch.exp(-rate * torch.arange(size))) @ v[:, :size].mT


def model():
    net = nn.Sequential(nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 8))
    with torch.no_grad():
        for layer, rate in ((net[0], 0.05), (net[2], 0.5), (net[4], 0.2)):
            layer.weight.copy_(decaying(*layer.weight.shape, rate, seed=1))
    return net


# ---------------------------------------------------------------- knapsack
choice = st.tuples(st.integers(0, 40), st.integers(0, 40))


@given(groups=st.lists(st.lists(choice, min_size=1, max_size=4), min_size=1, max_size=4), budget=st.integers(0, 120))
def test_the_front_is_what_trying_everything_finds(groups, budget):
    ways = list(itertools.product(*(range(len(group)) for group in groups)))
    totals = {way: tuple(sum(groups[g][i][k] for g, i in enumerate(way)) for k in (0, 1)) for way in ways}
    solutions = front(groups)
    index = solutions.within(budget)
    possible = [total for total in totals.values() if total[0] <= budget]
    assert (index is None) == (not possible)
    if index is not None:
        assert solutions.loss[index] == min(loss for _, loss in possible)
        assert totals[tuple(solutions.picks(index))] == (solutions.cost[index], solutions.loss[index])
    assert all(a < b for a, b in itertools.pairwise(solutions.cost))
    assert all(a > b for a, b in itertools.pairwise(solutions.loss))


def test_a_front_too_long_is_thinned_and_stays_near_the_best(monkeypatch):
    groups = []
    for _ in range(6):
        cost, loss = torch.rand(40).cumsum(0), torch.rand(40).sort(descending=True)[0]
        groups.append(list(zip(cost.tolist(), loss.tolist(), strict=True)))
    exact = front(groups)
    monkeypatch.setattr(knapsack, "_MOST", 200)
    thin = front(groups)
    assert len(thin.cost) <= 201 < len(exact.cost) and thin.cost[0] == exact.cost[0]
    for index in range(0, len(thin.cost), 10):
        total = [sum(groups[g][i][k] for g, i in enumerate(thin.picks(index))) for k in (0, 1)]
        assert total == pytest.approx([thin.cost[index], thin.loss[index]])
    monkeypatch.setattr(knapsack, "_MOST", 2)
    assert front([[(1.0, 9.0), (1.001, 8.0), (100.0, 0.0)]]).cost.tolist() == [1.0, 1.001, 100.0]
    for budget in (10, 30, 60):
        best = exact.loss[exact.within(budget)]
        assert best <= thin.loss[thin.within(budget)] <= 1.1 * best


# ---------------------------------------------------------------- budgets
@pytest.mark.parametrize("kind, value", [("parameters", 500), ("bytes", 4000), ("ratio", 3.0)])
def test_the_choice_is_within_the_budget_and_no_worse_than_any_combination_of_rungs(kind, value):
    net, families = model(), ("low_rank", "kronecker")
    result = search(net, budget=Budget(**{kind: value}), families=families)
    made = result.report.total
    size = made.parameters if kind == "parameters" else made.bytes
    limit = made.bytes_before / value if kind == "ratio" else value
    assert result.satisfied and result.size == size <= limit and "NOT" not in result.text
    assert result.points[0].size < result.size < result.points[-1].size

    scale, tables = 1 if kind == "parameters" else 8, []
    for index in (0, 2, 4):
        weight = net[index].weight.detach()
        table = [(weight.numel() * scale, 0.0)]
        for name in families:
            for options in family(name).ladder(weight.shape):
                matrix = structure(name, **options)(weight)
                error = (weight - matrix.to_dense().detach()).norm() / weight.norm()
                table.append((matrix.num_parameters() * scale, float(error) ** 2))
        tables.append(table)
    biases = 56 * scale
    best = min(
        sum(loss for _, loss in way)
        for way in itertools.product(*tables)
        if biases + sum(cost for cost, _ in way) <= limit
    )
    chosen = min(result.points, key=lambda point: abs(point.size - result.size))
    assert chosen.predicted <= best * (1 + 1e-9)
    assert chosen.predicted == pytest.approx(sum((row.error or 0) ** 2 for row in result.report.rows))


def test_a_layer_whose_spectrum_falls_faster_gets_fewer_numbers():
    rows = search(model(), budget=Budget(ratio=2), families=("low_rank",)).report.rows
    assert rows[1].parameters < rows[0].parameters and rows[1].error < rows[0].error


def test_one_family_meets_a_ratio_closely():
    result = search(model(), budget=Budget(ratio=4), families="low_rank")
    total = result.report.total
    assert 4 <= total.ratio < 4.6 and {row.structure for row in result.report.rows} <= {"low_rank", "dense"}


def test_applying_the_plan_gives_the_model_of_the_search():
    net, x = model(), torch.randn(5, 24)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    result = search(net, budget=Budget(ratio=3))
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())
    made = result.apply_(net)
    torch.testing.assert_close(net(x), result.model(x))
    assert made.total.bytes == result.report.total.bytes == result.size


def test_a_budget_of_latency_is_measured():
    net = nn.Sequential(nn.Linear(200, 200))
    result = search(net, budget=Budget(latency=1e9, rows=4), families=("low_rank",))
    assert result.satisfied and result.plan.rules[0][1] == "keep" and "seconds" in result.text
    tight = search(net, budget=Budget(latency=1e-12), families=("low_rank",))
    assert not tight.satisfied and tight.size < result.size


def test_a_budget_that_cannot_be_met_is_said_and_the_smallest_model_is_given():
    result = search(model(), budget=Budget(parameters=60), families=("low_rank",))
    assert not result.satisfied and "the budget of 60 parameters is NOT met: 56 are in no slot" in result.text
    assert result.size == result.points[0].size == report(result.model).total.parameters


# ---------------------------------------------------------------- bits
def test_a_budget_of_bytes_chooses_structure_and_bits_together():
    """No combination of rungs and bits is better, and none of fewer ways to choose is as good."""
    net, budget = model(), Budget(bytes=1300)
    result = search(net, budget=budget, families=("low_rank", "uniform"), bits=(8, 4))
    made = result.report.total
    assert result.satisfied and result.size == made.bytes <= 1300
    specs = [spec for _, spec in result.plan.rules]
    assert {"low_rank", "uniform"} >= {spec["structure"] for spec in specs if spec != "keep"}

    tables = []
    for index in (0, 2, 4):
        weight = net[index].weight.detach()
        rungs = [{"structure": "uniform", **options} for options in family("uniform").ladder(weight.shape)]
        for options in family("low_rank").ladder(weight.shape):
            rungs += [{"structure": "low_rank", **options, **bits} for bits in ({}, {"bits": 8}, {"bits": 4})]
        found = [(8 * weight.numel(), 0.0)]
        for rung in rungs:
            matrix = resolve(rung, "a slot")(weight)
            found.append((matrix.bits() / 8, float((weight - matrix.to_dense().detach()).norm() / weight.norm()) ** 2))
        tables.append(found)
    left = 1300 - 8 * 56  # biases
    best = min(
        sum(loss for _, loss in way) for way in itertools.product(*tables) if sum(cost for cost, _ in way) <= left
    )
    loss = sum((row.error or 0) ** 2 for row in result.report.rows)
    assert loss <= best * (1 + 1e-9)
    for fewer in ({"families": ("low_rank",)}, {"families": ("uniform",)}, {"families": ("low_rank",), "bits": 8}):
        other = search(net, budget=budget, **fewer)
        assert not other.satisfied or sum((row.error or 0) ** 2 for row in other.report.rows) > loss
    compress_(net, result.plan)
    assert report(net).total.bytes == made.bytes


def test_between_two_rungs_the_bits_stay():
    """A spectrum that falls slowly, so that what fits is between two ranks of the ladder."""
    result = search(model(), budget=Budget(bytes=2500), families=("low_rank",), bits=8)
    ranks = [spec["rank"] for _, spec in result.plan.rules if spec != "keep" and spec.get("bits") == 8]
    rungs = {options["rank"] for options in family("low_rank").ladder((24, 24))}
    assert set(ranks) - rungs


def test_bytes_may_be_saved_by_bits_and_parameters_may_not():
    net = model()
    few = search(net, budget=Budget(bytes=sum(p.numel() for p in net.parameters())))
    quantisers = {"uniform", "fixed_point", "power_of_two", "binary"}
    assert few.satisfied and any(spec["structure"] in quantisers for _, spec in few.plan.rules if spec != "keep")
    assert quantisers & set(rungs.fitting_families(slots(net).values(), "bytes")) == quantisers
    assert not quantisers & set(rungs.fitting_families(slots(net).values(), "parameters"))
    for asked in ({"families": ("uniform", "low_rank")}, {"families": ("low_rank",), "bits": 8}):
        with pytest.raises(PlanError, match=r"Budget\(bytes=\.\.\.\)"):
            search(net, budget=Budget(ratio=2, of="parameters"), **asked)
    for bits in (9, 1, (8, 2.5), "8", True):
        with pytest.raises(PlanError, match="bits to try are whole numbers from 2 to 8"):
            search(net, budget=Budget(bytes=2000), bits=bits)


# ---------------------------------------------------------------- sensitivity and drops
def alike(net):
    """Weights whose spectra fall off alike."""
    with torch.no_grad():
        net[0].weight.copy_(decaying(24, 24, 0.3, seed=4))
        net[2].weight.copy_(decaying(24, 24, 0.3, seed=2))
        net[4].weight.copy_(decaying(8, 24, 0.3, seed=3))
    return nn.ModuleDict({"main": net[0], "side": net[2], "head": net[4]})


class Unequal(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = alike(model())

    def forward(self, x):
        return self.parts["head"](self.parts["main"](x) + 0.01 * self.parts["side"](x))


@pytest.mark.parametrize("by", ["evaluate", "inputs"])
def test_a_slot_that_hardly_counts_is_compressed_harder(by):
    net, x = Unequal().eval(), torch.randn(50, 24)
    with torch.no_grad():
        y = net(x)
    measure = {"inputs": (x,)} if by == "inputs" else {"evaluate": lambda m: -float((m(x) - y).square().mean())}
    plain = search(net, budget=Budget(ratio=2.5), families=("low_rank",))
    result = search(net, budget=Budget(ratio=2.5), families=("low_rank",), **measure)
    sizes = {row.name: row.parameters for row in result.report.rows}
    assert sizes["parts.side.weight"] < sizes["parts.main.weight"] / 3
    assert result.sensitivity["parts.side.weight"] < 0.01 * result.sensitivity["parts.main.weight"]
    with torch.no_grad():
        assert (result.model(x) - y).norm() < 0.8 * (plain.model(x) - y).norm()


def quality(x, y):
    def evaluate(net):
        assert not net.training and not any(m.training for m in net.modules())
        with torch.no_grad():
            return -float((net(x) - y).square().mean())

    return evaluate


def test_a_drop_gives_the_smallest_model_of_the_list_that_keeps_to_it():
    net, x = model(), torch.randn(60, 24)
    evaluate = quality(x, net.eval()(x).detach())
    result = search(net.train(), evaluate, max_drop=0.002, families=("low_rank",))
    assert result.satisfied and result.baseline == 0 and result.metric >= -0.002
    smaller = [point for point in result.points if point.size < result.size]
    assert smaller and all(point.metric < -0.002 for point in smaller)
    assert evaluate(result.model.eval()) == pytest.approx(result.metric)


def test_a_drop_that_the_budget_forbids_is_said():
    net, x = model(), torch.randn(60, 24)
    evaluate = quality(x, net.eval()(x).detach())
    result = search(net, evaluate, Budget(ratio=6), max_drop=1e-9, families=("low_rank",))
    assert not result.satisfied and "permitted drop of 1e-09 is NOT met" in result.text
    assert result.report.total.ratio >= 6


def test_fine_tuning_counts_for_the_drop_and_is_in_the_model():
    net, x = model(), torch.randn(60, 24)
    y = net.eval()(x).detach()

    def tune(m):
        assert m.training
        optimizer = torch.optim.Adam(m.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            (m(x) - y).square().mean().backward()
            optimizer.step()

    plain = search(net, quality(x, y), max_drop=0.001, families=("low_rank",))
    tuned = search(net, quality(x, y), max_drop=0.001, families=("low_rank",), fine_tune=tune)
    assert tuned.satisfied and tuned.size < plain.size and tuned.metric >= -0.001
    assert quality(x, y)(tuned.model.eval()) == pytest.approx(tuned.metric)
    budgeted = search(net, quality(x, y), Budget(ratio=4), families=("low_rank",), fine_tune=tune)
    point = min(budgeted.points, key=lambda p: abs(p.size - budgeted.size))
    assert budgeted.metric > point.metric


@pytest.mark.parametrize("budget", [Budget(ratio=2), Budget(ratio=8)], ids=str)
def test_sensitivity_is_the_loss_at_squared_error_one_whatever_the_probe(budget):
    """A loss that is quadratic in the error has one sensitivity, at small probes and at large ones."""
    net, eye = nn.Sequential(nn.Linear(24, 24, bias=False)), torch.eye(24)
    with torch.no_grad():
        net[0].weight.copy_(decaying(24, 24, 0.1, seed=1))
        start = net[0].weight.clone()

    def squared_error(m):
        with torch.no_grad():
            return float((m(eye).mT - start).square().sum() / start.square().sum())

    told = search(net, lambda m: 3 - 7 * squared_error(m), budget, families=("low_rank",))
    assert told.sensitivity == {"0.weight": pytest.approx(7, rel=1e-9)}
    assert told.points[0].predicted == pytest.approx(3 - told.points[0].metric, rel=1e-9), "and tells of other errors"
    changed = search(net, budget=budget, families=("low_rank",), inputs=(eye,))
    assert changed.sensitivity == {"0.weight": pytest.approx(1, rel=1e-9)}


class OneSize(StructuredMatrix):
    """A matrix whose rows are all the same: a family of a user's, of one size only."""

    def __init__(self, row, rows):
        super().__init__()
        self.row, self.count = nn.Parameter(row), rows

    @property
    def shape(self):
        return self.count, len(self.row)

    def matmul(self, x):
        return (x @ self.row).unsqueeze(-1).expand(*x.shape[:-1], self.count)

    def to_dense(self):
        return self.row.expand(self.count, -1)

    @classmethod
    def from_dense(cls, weight):
        return cls(weight.mean(0), len(weight))

    def draw_(self, std):
        self.row.normal_(0, std)

    @classmethod
    def ladder(cls, shape):
        return [{}] if shape[0] > 2 else []


def test_a_family_of_one_size_that_a_user_registered_is_searched_by_name_and_without(monkeypatch):
    net = nn.Sequential(nn.Linear(50, 3, bias=False))  # too flat for most families: a ladder of one shape tells nothing
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(50).expand(3, 50))
    monkeypatch.setitem(STRUCTURES, "one_size", OneSize)
    for families in (None, "one_size"):
        result = search(net, budget=Budget(parameters=50), families=families)
        assert result.satisfied and result.plan.rules[0][1] == {"structure": "one_size"} and result.size == 50
        assert isinstance(result.model[0].weight, OneSize)


def test_a_fault_in_a_family_is_seen_and_a_misfit_is_passed_by(monkeypatch):
    class Faulty(OneSize):
        @classmethod
        def from_dense(cls, weight):
            return [][0]

    class Misfit(OneSize):
        @classmethod
        def from_dense(cls, weight):
            raise ShapeError("no")

    monkeypatch.setitem(STRUCTURES, "misfit", Misfit)
    assert search(model(), budget=Budget(ratio=2), families=("misfit", "low_rank")).satisfied
    monkeypatch.setitem(STRUCTURES, "faulty", Faulty)
    with pytest.raises(PlanError, match=r"0\.weight, 24 x 24: its structure raises IndexError"):
        search(model(), budget=Budget(ratio=2), families=("faulty", "low_rank"))


def test_what_fine_tuning_adds_is_counted():
    def grow(m):
        m.extra = nn.Linear(40, 40)

    result = search(model(), budget=Budget(ratio=2), families=("low_rank",), fine_tune=grow)
    assert result.size == 8 * sum(p.numel() for p in result.model.parameters()) and not result.satisfied
    assert "NOT met" in result.text


@pytest.mark.parametrize("touch", ["prune", "old weight norm", "new weight norm", "hook"])
def test_slots_that_can_take_no_matrix_stay_and_a_model_that_cannot_be_copied_is_refused(touch):
    net = nn.Sequential(StructuredLinear.dense(24, 24), nn.Linear(24, 24))
    matrix = net[0].weight
    {
        "prune": lambda: prune.l1_unstructured(matrix, "weight", amount=0.5),
        "old weight norm": lambda: nn.utils.weight_norm(matrix),
        "new weight norm": lambda: nn.utils.parametrizations.weight_norm(matrix),
        "hook": lambda: matrix.register_forward_hook(lambda *_: None),
    }[touch]()
    if touch in ("prune", "old weight norm"):
        with pytest.raises(PlanError, match=r"Sequential cannot be copied.*prune\.remove"):
            search(net, budget=Budget(parameters=900), families="low_rank")
        return
    result = search(net, budget=Budget(parameters=900), families="low_rank")
    assert list(result.sensitivity) == ["1.weight"] and result.satisfied
    assert result.size == sum(p.numel() for p in result.model.parameters()) <= 900


# ---------------------------------------------------------------- the same again
def test_the_same_search_gives_the_same_result_and_draws_no_random_numbers_outside():
    net, x = model(), torch.randn(40, 24)
    y = net.eval()(x).detach()

    def noisy(m):
        with torch.no_grad():
            return -float((m(x + 0.01 * torch.randn_like(x)) - y).square().mean())

    state = torch.get_rng_state()
    first = search(net, noisy, Budget(ratio=4))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    second = search(net, noisy, Budget(ratio=4))
    assert (first.plan, first.points, first.metric) == (second.plan, second.points, second.metric)
    assert first.sensitivity == second.sensitivity and len(first.plan.rules) == 3
    assert first.points[-1].metric == first.baseline  # the uncompressed model, and the same draws


def test_recurrent_layers_embeddings_and_tied_weights_are_searched_too():
    net = nn.ModuleDict({"table": nn.Embedding(40, 16), "rnn": nn.GRU(16, 16), "out": nn.Linear(16, 40)})
    net["out"].weight = net["table"].weight
    result = search(net, budget=Budget(ratio=3))
    assert result.satisfied and result.model["out"].weight is result.model["table"].weight
    assert result.apply_(net).total.bytes == result.size


def test_what_is_compressed_already_stays_and_counts():
    net = model()
    compress_(net, {"0": {"structure": "low_rank", "rank": 2}})
    result = search(net, budget=Budget(parameters=500), families=("low_rank",))
    assert list(result.sensitivity) == ["2.weight", "4.weight"] and result.report.total.parameters <= 500
    with pytest.raises(PlanError, match="compressed already"):
        search(net, budget=Budget(ratio=2), pattern="0")
    torch.testing.assert_close(
        project(net[0].weight.to_dense(), structure("low_rank", rank=2)), result.model[0].weight.to_dense().detach()
    )


def test_families_that_iterate_are_tried_in_large_slots_where_they_are_named(monkeypatch):
    net, asked = nn.Sequential(nn.Linear(24, 24)), []

    def heard(spec, where):
        asked.append(spec["structure"])
        return resolve(spec, where)

    monkeypatch.setattr(curves, "resolve", heard)
    monkeypatch.setattr(curves, "_LARGE", 500)
    search(net, budget=Budget(ratio=2))
    assert "low_rank" in asked and not {"doped", "block_term"} & set(asked)
    search(net, budget=Budget(ratio=2), families=("doped",))
    assert "doped" in asked


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "options, says",
    [
        ({}, "wants a goal"),
        ({"max_drop": 0.1}, "max_drop wants evaluate"),
        ({"budget": Budget(ratio=2), "families": ("low_rnk",)}, "Did you mean 'low_rank'"),
        ({"budget": Budget(ratio=2), "families": ()}, "wants families"),
        ({"budget": Budget(ratio=2), "families": ("dense",)}, "none of the families dense"),
        ({"budget": Budget(ratio=2), "pattern": "conv"}, "'conv' matches no slot"),
        ({"budget": Budget(ratio=2), "evaluate": lambda m: float("nan")}, "evaluate returned nan"),
    ],
)
def test_a_search_that_cannot_be_is_refused(options, says):
    with pytest.raises(PlanError, match=says):
        search(model(), **options)


def test_weights_that_are_not_finite_and_lazy_ones_are_refused():
    net = model()
    with torch.no_grad():
        net[2].weight[0, 0] = torch.inf
    with pytest.raises(ShapeError, match=r"2\.weight: 1 of the 576"):
        search(net, budget=Budget(ratio=2))
    with pytest.raises(PlanError, match="run the model once first"):
        search(nn.Sequential(nn.LazyLinear(4)), budget=Budget(ratio=2))


@pytest.mark.parametrize(
    "options",
    [{}, {"ratio": 2, "bytes": 3}, {"ratio": 1}, {"bytes": 0}, {"latency": float("nan")}, {"ratio": 2, "of": "rows"}],
)
def test_a_budget_is_one_sensible_number(options):
    with pytest.raises(PlanError, match="a budget"):
        Budget(**options)


def test_sizes_between_two_rungs_change_one_number():
    assert [o["rank"] for o in between({"rank": 4}, {"rank": 8})] == [5, 6, 7]
    assert between({"rank": 1}, {"rank": 2}) == [] == between({"a": 1, "b": 1}, {"a": 2, "b": 2})
    assert [o["density"] for o in between({"density": 0.1}, {"density": 0.2})] == pytest.approx([0.125, 0.15, 0.175])


@pytest.mark.parametrize("value", [None, "good", torch.ones(2, 2), torch.tensor([1.0, torch.inf]), float("nan")])
def test_what_is_no_number_of_quality_is_refused(value):
    model = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(PlanError, match=r"(?s)evaluate returned .*finite number"):
        search(model, lambda _: value, Budget(ratio=2))
