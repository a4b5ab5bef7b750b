"""Slots that belong together take one choice, the best of those that all of them have."""

import itertools
from functools import partial

import pytest
import torch
from torch import nn

from edgenet.compress import Budget, search, slots
from edgenet.compress.searching.curves import Choice, _unbeaten
from edgenet.compress.searching.together import grouped
from edgenet.errors import PlanError
from edgenet.structured import family, structure

search = partial(search, progress=False)
BLOCKS = ("block_circulant",)


def turned(m, n, block, noise, seed):
    """A weight near one in circulant blocks."""
    generator = torch.Generator().manual_seed(seed)
    weight = structure("block_circulant", block=block)(torch.randn(m, n, generator=generator)).to_dense().detach()
    return weight + noise * torch.randn(m, n, generator=generator)


def model():
    """The first two would choose different blocks; the last two differ in shape."""
    net = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 24), nn.Linear(24, 6))
    with torch.no_grad():
        for layer, block, noise in zip(net, (16, 2, 4, 2), (0.01, 0.1, 0.05, 0.05), strict=True):
            layer.weight.copy_(turned(*layer.weight.shape, block, noise, seed=block))
    return net


def chosen(result):
    """{slot: block size, or None where it stays}."""
    return {row.name: row.options.get("block") for row in result.report.rows}


def tables(net, names, families):
    """{slot: {options: (parameters, squared error)}} of every rung that the slots' ladders have."""
    found = {}
    for name in names:
        weight = net.get_parameter(name).detach()
        found[name] = {("keep", ""): (weight.numel(), 0.0)}
        for kind in families:
            for options in family(kind).ladder(weight.shape):
                matrix = structure(kind, **options)(weight)
                error = float((weight - matrix.to_dense().detach()).norm() / weight.norm()) ** 2
                found[name][(kind, str(options))] = (matrix.num_parameters(), error)
    return found


@pytest.mark.parametrize("families", [BLOCKS, ("block_circulant", "low_rank")])
@pytest.mark.parametrize("ratio", [1.3, 2.0, 3.0])
def test_the_choice_is_the_best_of_all_that_treat_a_group_alike(families, ratio):
    net = model()
    names = [f"{k}.weight" for k in range(4)]
    result = search(
        net, budget=Budget(ratio=ratio, of="parameters"), families=families, together=[r"[01]\.", r"2\.|3\."]
    )
    assert result.satisfied
    made = {row.name: (row.structure, row.options) for row in result.report.rows}
    assert made["0.weight"] == made["1.weight"] and made["2.weight"] == made["3.weight"]

    table, biases = tables(net, names, families), sum(layer.bias.numel() for layer in net)
    groups = [names[:2], names[2:]]
    common = [set(table[a]) & set(table[b]) for a, b in groups]
    best = min(
        sum(table[name][option][1] for group, option in zip(groups, way, strict=True) for name in group)
        for way in itertools.product(*common)
        if biases + sum(table[n][o][0] for g, o in zip(groups, way, strict=True) for n in g) <= result.size
    )
    loss = sum((row.error or 0) ** 2 for row in result.report.rows)
    assert loss <= best * (1 + 1e-9)  # below it where a size between two rungs is better


def test_without_the_constraint_the_same_slots_choose_apart():
    apart = chosen(search(model(), budget=Budget(ratio=2), families=BLOCKS))
    alike = chosen(search(model(), budget=Budget(ratio=2), families=BLOCKS, together=[r"[01]\."]))
    assert apart["0.weight"] != apart["1.weight"] and alike["0.weight"] == alike["1.weight"]


@pytest.mark.parametrize("goal", [{"budget": Budget(bytes=2500), "bits": 8}, {"max_drop": 0.5}])
def test_a_group_stays_alike_under_every_goal_at_every_point_of_the_list(goal):
    net, x = model(), torch.randn(7, 16)
    wanted = net(x).detach()

    def evaluate(candidate):
        return -float((candidate(x) - wanted).pow(2).mean().sqrt())

    result = search(net, evaluate, families=BLOCKS, together=[".*"], **goal)
    assert result.satisfied
    for point in result.points:
        specs = [spec for _, spec in point.plan.rules]
        assert all(spec == specs[0] for spec in specs)
    assert len({str(point.plan.rules[0][1]) for point in result.points}) > 1


def test_a_choice_that_is_better_for_one_slot_of_a_group_stays():
    row = lambda *pairs: tuple(Choice("", cost, error) for cost, error in pairs)  # noqa: E731
    left, good, other, worse, large = (
        row((9, 0.0), (9, 0.0)), row((2, 0.2), (2, 0.3)), row((3, 0.4), (2, 0.1)), row((4, 0.4), (2, 0.3)),
        row((1, 0.0), (17, 0.0)),
    )  # fmt: skip
    assert _unbeaten(left, [large, worse, other, good]) == [good, other]


def test_patterns_that_share_a_slot_make_one_group():
    found = slots(model())
    apart = [("0.weight",), ("1.weight",), ("2.weight",), ("3.weight",)]
    assert grouped(found) == apart
    assert grouped(found, [r"[03]"]) == [("0.weight", "3.weight"), *apart[1:3]]
    assert grouped(found, [r"[13]", r"[23]"]) == [apart[0], ("1.weight", "2.weight", "3.weight")]
    assert grouped(found, [r"[23]", r"[01]", r"[13]"]) == [("0.weight", "1.weight", "2.weight", "3.weight")]


@pytest.mark.parametrize(
    ("together", "says"),
    [
        ([r"0\."], r"'0\\\\.' of together matches 0.weight alone"),
        ([r"4\."], "matches no slot"),
        (r"0\.|1\.", "together is a list of patterns"),
        (5, "together is a list of patterns"),
        (["("], "no regular expression"),
    ],
)
def test_a_group_that_binds_nothing_is_refused(together, says):
    with pytest.raises(PlanError, match=says):
        search(model(), budget=Budget(ratio=2), together=together)


def test_slots_that_no_size_fits_alike_are_refused():
    net = nn.Sequential(nn.Linear(9, 4), nn.Linear(4, 25))
    with pytest.raises(PlanError, match=r"no size of kronecker fits 0.weight and 1.weight alike"):
        search(net, budget=Budget(ratio=2), families=("kronecker",), together=[".*"])


# ---------------------------------------------------------------- sizes of one's own
def test_a_size_that_some_slots_do_not_take_is_tried_in_the_others():
    net = nn.Sequential(nn.Linear(24, 24), nn.Linear(24, 2))
    ladder = {"kronecker": [{"factor": [2, 4]}, {"factor": [4, 6]}]}  # 4 rows do not divide 2
    result = search(net, budget=Budget(ratio=2.5), families=("kronecker",), ladders=ladder)
    found = {(name, spec["factor"][0]) for p in result.points for name, spec in p.plan.rules if spec != "keep"}
    assert found == {(r"0\.weight$", 2), (r"0\.weight$", 4), (r"1\.weight$", 2)}


def test_only_the_sizes_that_are_named_are_tried():
    sizes = [{"block": 8}, {"block": 3}]
    for ratio in (2, 2.9, 5):
        result = search(model(), budget=Budget(ratio=ratio), families=BLOCKS, ladders={"block_circulant": sizes})
        assert set(chosen(result).values()) <= {8, 3, None} and len(result.points) > 3
    assert {3, 8} <= {spec["block"] for p in result.points for _, spec in p.plan.rules if spec != "keep"}


@pytest.mark.parametrize(
    ("ladders", "says"),
    [
        ({"low_rank": [{"rank": 1}]}, "'low_rank', which is not searched; there are block_circulant"),
        ({"block_circulant": []}, r"list of options such as .*got \[\]"),
        ({"block_circulant": [4]}, r"got \[4\]"),
        ({"block_circulant": "4"}, "got '4'"),
        ({"block_circulant": 4}, "got 4"),
        ([{"block": 4}], r"ladders are \{family: list of options\}, got \[\{'block': 4\}\]"),
        ({"block_circulant": [{"structure": "low_rank", "rank": 1}]}, "got .*'low_rank'"),
        ({"block_circulant": [{"block": 4}, {"blok": 8}]}, r"no slot takes \{'blok': 8\}.*no option 'blok'"),
        ({"block_circulant": [{"block": 4}, {"block": -1}]}, r"no slot takes \{'block': -1\}"),
    ],
)
def test_sizes_that_are_none_are_refused(ladders, says):
    with pytest.raises(PlanError, match=says):
        search(model(), budget=Budget(ratio=2), families=BLOCKS, ladders=ladders)
