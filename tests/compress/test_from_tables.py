"""Training rules from TOML: every rule with its arguments, and every slip named with what there is."""

import tomllib

import pytest
import torch
from torch import nn

from edgenet.compress import (
    ADMM,
    CALLBACKS,
    Anneal,
    BinaryRecipe,
    Callback,
    Compress,
    Consistency,
    Distill,
    EndWhen,
    GroupLasso,
    L1Inf,
    RowDropout,
    ShiftRecipe,
    Unify,
    make_callbacks,
)
from edgenet.errors import ConfigError, PlanError, RankError
from edgenet.structured import Binary, PowerOfTwo, StructuredLinear

from compress.steps import Steps  # isort: skip

TOML = r"""
[compress.plan."0"]
structure = "doped"
density = 0.2

[compress.plan.'2\.']
structure = "keep"

[[callback]]
kind = "admm"
rho = 0.3
every = 2
until = 2
plan = { '2' = { structure = "low_rank", rank = 2 } }

[[callback]]
kind = "anneal"
density = 0.1
start = 1
end = 4
every = 1
initial = 0.5

[[callback]]
kind = "row_dropout"
rate = 0.2

[[callback]]
kind = "group_lasso"
penalty = 0.01
groups = { "3.weight" = ["rows", 2], "0.bias" = "rows" }

[[callback]]
kind = "l1_inf"
groups = { "3.weight" = "columns" }
penalty = 0.01
start = 3

[[callback]]
kind = "unify"
until = 2
plan = { "4" = { structure = "unified", block = [1, 4], ratio = 0.5 } }

[[callback]]
kind = "distill"
teacher = "runs/large"
weight = 0.5
perturb = 0.25

[[callback]]
kind = "end_when"
at_most = { epoch = 9 }
at_least = { epoch = 4 }

[[callback]]
kind = "binary_recipe"
rate = 2.0

[[callback]]
kind = "shift_recipe"
shift = 0.1

[[callback]]
kind = "consistency"
passes = 2
"""


def net():
    return nn.Sequential(
        nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6), nn.Linear(6, 4), nn.Linear(4, 4),
        StructuredLinear(Binary.random((4, 4))), StructuredLinear(PowerOfTwo.random((4, 4), form="sign_shift")),
    )  # fmt: skip


def test_every_rule_can_be_written_in_toml():
    tables, read = tomllib.loads(TOML), []

    def read_model(path):
        read.append(path)
        return net()

    made = make_callbacks(tables["callback"], {"plan": {"0": tables["compress"]["plan"]["0"]}}, read_model)
    known = [
        Compress, ADMM, Anneal, RowDropout, GroupLasso, L1Inf, Unify, Distill, EndWhen, BinaryRecipe, ShiftRecipe,
        Consistency,
    ]  # fmt: skip
    assert [type(rule) for rule in made] == known
    assert {type(rule) for rule in made} == set(CALLBACKS.values()) and read == ["runs/large"]
    assert made[known.index(Distill)].perturb.how == 0.25
    batches = [(torch.randn(5, 6), torch.randn(5, 4)) for _ in range(2)]
    training = Steps(net(), lambda p: torch.optim.SGD(p, lr=0.01), made)
    assert training.epochs(4, batches, nn.functional.mse_loss) == [3, 4]
    assert training.model[0].weight.dopant.density == pytest.approx(5 / 48) and training.model[2].weight.rank == 2
    assert training.model[4].weight.block == (1, 4)


def test_a_plan_in_a_table_has_its_rules_in_the_order_of_the_file():
    tables = tomllib.loads(TOML)
    (rule,) = make_callbacks((), {**tables["compress"], "epoch": 2})
    assert [pattern for pattern, _ in rule.plan.rules] == ["0", r"2\."] and rule.epoch == 2


def test_callbacks_are_new_ones_each_time():
    tables = tomllib.loads(TOML)["callback"]
    one, two = make_callbacks(tables), make_callbacks(tables)
    assert all(a is not b for a, b in zip(one, two, strict=True))
    assert tables == tomllib.loads(TOML)["callback"]


def test_a_folder_stays_a_folder_where_nobody_reads_it():
    (rule,) = make_callbacks([{"kind": "distill", "teacher": "runs/large"}])
    assert rule.teacher == "runs/large"


@pytest.mark.parametrize(
    "table, error, says",
    [
        ({"kind": "aneal"}, ConfigError, r"\[\[callback\]\] number 1: no rule is called 'aneal'; .*'anneal'"),
        ({"kind": 3}, ConfigError, "no rule is called 3; there are admm, anneal, binary_recipe, compress, consist"),
        ({}, ConfigError, "number 1 lacks its kind, one of admm, anneal"),
        (
            {"kind": "admm", "plan": {}, "rh": 1},
            ConfigError,
            "no argument 'rh'; it has the arguments plan, rho, .*'rho'",
        ),
        ({"kind": "admm", "rho": 0.1}, ConfigError, "the argument 'plan' is missing; it has"),
        ({"kind": "anneal"}, PlanError, "Anneal: give one of density and ratio, got None and None"),
        ({"kind": "row_dropout", "rate": 1}, PlanError, "RowDropout: rate is a share of the rows, below 1, got 1"),
        ({"kind": "admm", "plan": {"0": "dense"}, "rho": "x"}, PlanError, "ADMM: rho is a number, above 0, got 'x'"),
        ({"kind": "admm", "plan": {"0": "dense"}, "every": 0.5}, PlanError, "every is a whole number, at least 1"),
        ({"kind": "admm", "plan": {"0": "dense"}, "until": 0}, PlanError, "until is a whole number, at least 1, got 0"),
        ({"kind": "admm", "plan": {"0": "dence"}}, PlanError, "no structure is called 'dence'.*'dense'"),
        ({"kind": "admm", "plan": "x.toml"}, PlanError, "x.toml: cannot be read"),
        ({"kind": "anneal", "density": "x", "start": 1, "end": 2}, RankError, "got 'x'"),
        ({"kind": "anneal", "density": 0.1, "start": "1", "end": 2}, PlanError, "Anneal: start is a whole number"),
        ({"kind": "anneal", "density": 0.1, "start": 1, "end": 2, "pattern": "("}, PlanError, "no regular expression"),
        ({"kind": "anneal", "density": 0.1, "start": 1, "end": 2, "pattern": 3}, PlanError, "no regular expression"),
        ({"kind": "group_lasso", "groups": "rows", "penalty": 1}, PlanError, "GroupLasso: groups are .*got 'rows'"),
        ({"kind": "group_lasso", "groups": {}, "penalty": 1}, PlanError, "GroupLasso: .* one pattern at least, got {}"),
        (
            {"kind": "l1_inf", "groups": {}, "penalty": "x"},
            PlanError,
            "L1Inf: penalty is a number, at least 0, got 'x'",
        ),
        ({"kind": "l1_inf", "groups": {"0": "rows"}, "penalty": 1, "by_size": "yes"}, PlanError, "by_size is true"),
        ({"kind": "distill", "teacher": "a", "rows": 1, "weight": True}, PlanError, "weight is a number"),
        ({"kind": "binary_recipe", "rate": "xavier"}, PlanError, "rate is 'glorot' or a factor of .*, got 'xavier'"),
        ({"kind": "binary_recipe", "rate": 0}, PlanError, "BinaryRecipe: rate is a number, above 0, got 0"),
        ({"kind": "binary_recipe", "start": "zero"}, PlanError, "start is one of stretch, uniform, keep, got 'zero'"),
        ({"kind": "binary_recipe", "clip": 1}, PlanError, "BinaryRecipe: clip is true or false, got 1"),
        ({"kind": "shift_recipe", "shift": 0}, PlanError, "ShiftRecipe: shift is a number, above 0, got 0"),
        ({"kind": "shift_recipe", "decay": -1}, PlanError, "ShiftRecipe: decay is a number, at least 0, got -1"),
        ({"kind": "shift_recipe", "start": "stretch"}, PlanError, "start is one of keep, uniform, got 'stretch'"),
        ({"kind": "shift_recipe", "pattern": "("}, PlanError, "ShiftRecipe: the pattern '\\(' is no regular"),
        ({"kind": "compress", "plan": {"0": "dense"}, "epoch": "3"}, PlanError, "epoch is a whole number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_slip_is_named_with_what_there_is(table, error, says):
    with pytest.raises(error, match=says):
        make_callbacks([table])


def test_the_table_of_compress_is_named_too():
    with pytest.raises(ConfigError, match=r"\[compress\]: there is no argument 'ration'; .*Did you mean 'ratio'"):
        make_callbacks([], {"ration": 2})
    with pytest.raises(PlanError, match="got none"):
        make_callbacks([], {})
    with pytest.raises(ConfigError, match=r"write \[\[callback\]\]"):
        make_callbacks({"kind": "admm"})
    with pytest.raises(ConfigError, match=r"write \[\[callback\]\]"):
        make_callbacks(["admm"])


def test_rules_of_the_users_have_their_arguments_too(monkeypatch):
    class Plain(Callback):
        pass

    class Anything(Callback):
        def __init__(self, first, **more):
            self.more = {"first": first, **more}

    monkeypatch.setitem(CALLBACKS, "plain", Plain)
    monkeypatch.setitem(CALLBACKS, "anything", Anything)
    plain, anything = make_callbacks([{"kind": "plain"}, {"kind": "anything", "first": 1, "second": 2}])
    assert type(plain) is Plain and anything.more == {"first": 1, "second": 2}
    with pytest.raises(ConfigError, match=r"number 1, plain: there is no argument 'x'; it has no arguments"):
        make_callbacks([{"kind": "plain", "x": 1}])
    with pytest.raises(ConfigError, match="'first' is missing"):
        make_callbacks([{"kind": "anything"}])
