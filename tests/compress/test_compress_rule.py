"""Compress: structures put in while a model trains are trained, saved with the training, and there again afterwards."""

import gc
import weakref
from functools import partial

import pytest
import torch
from torch import nn

from edgenet import checkpoint
from edgenet.compress import ADMM, Compress, GroupLasso, Training, report, slots
from edgenet.errors import CheckpointError, ConfigError, PlanError
from edgenet.structured import Hashed, LowRank

from compress.steps import Steps  # isort: skip

ADAM = partial(torch.optim.Adam, lr=0.01)
PLAN = {"0": {"structure": "low_rank", "rank": 2}}
WAYS = {
    "plan": {"plan": PLAN},
    "functions": {"plan": {"0": partial(LowRank.from_dense, rank=2)}},
    "ratio": {"ratio": 2},
    "families": {"ratio": 1.5, "families": ["sparse", "low_rank"], "pattern": "0|2"},
    "pool": {"pool": 3.0, "pattern": "0|2"},
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
each_epoch = pytest.mark.parametrize("epoch", [0, 1, 3])


def fresh(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 6), nn.Linear(6, 6))


def batches():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(60, 12, generator=generator)
    y = torch.randn(60, 6, generator=generator)
    return [(x[k : k + 20], y[k : k + 20]) for k in range(0, 60, 20)]


LOSS = nn.functional.mse_loss


def bits(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def in_two_parts(make_callbacks, first, second, path, make=ADAM):
    """The model of a training that was stopped after ``first`` epochs and resumed with a fresh model."""
    one = Steps(fresh(), make, make_callbacks())
    one.epochs(first, batches(), LOSS)
    state = {
        "callbacks": one.callback_states(),
        "model": dict(one.model.state_dict()),
        "optimizer": one.optimizer.state_dict(),
    }
    checkpoint.save(path, state)
    state = checkpoint.load(path)
    two = Steps(fresh(seed=9), make, make_callbacks(), state["callbacks"])
    two.model.load_state_dict(state["model"])
    two.optimizer.load_state_dict(state["optimizer"])
    two.epoch, two.step = one.epoch, one.step
    two.epochs(second, batches(), LOSS)
    return two


@each_way
@each_epoch
def test_what_is_put_in_is_trained(way, epoch):
    training = Steps(fresh(), ADAM, [Compress(**way, epoch=epoch)])
    settled = training.epochs(max(1, epoch), batches(), LOSS)
    assert settled == [max(1, epoch)]  # its own epoch is the first
    assert sum(not slot.is_dense for slot in slots(training.model).values()) >= 1
    held = {id(p) for group in training.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in training.model.parameters()}
    before = bits(training.model)
    training.epochs(2, batches(), LOSS)
    after = bits(training.model)
    assert all(not torch.equal(after[name], before[name]) for name, p in training.model.named_parameters())


def test_the_optimizer_keeps_what_it_knows_of_parameters_that_stay():
    training = Steps(fresh(), ADAM, [Compress(PLAN, epoch=3)])
    training.epochs(2, batches(), LOSS)
    bias, weight = training.model[0].bias, training.model[0].weight
    training.epochs(1, batches(), LOSS)
    state = training.optimizer.state
    assert training.model[0].bias is bias and state[bias]["step"] == 9 and weight not in state
    assert state[training.model[0].weight.left]["step"] == 3


@pytest.mark.parametrize("way", ["plan", "functions", "families", "pool"])
@each_epoch
@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_training_that_is_resumed_goes_on_to_the_same_bits(way, epoch, stop, tmp_path):
    rules = lambda: [Compress(**WAYS[way], epoch=epoch)]  # noqa: E731
    whole = Steps(fresh(), ADAM, rules())
    whole.epochs(6, batches(), LOSS)
    resumed = in_two_parts(rules, stop, 6 - stop, tmp_path / "state.pt")
    assert equal(bits(whole.model), bits(resumed.model)) and resumed.settled()


@each_epoch
def test_the_weights_of_before_are_not_held(epoch):
    model = fresh()
    weight = weakref.ref(model[0].weight)
    training = Steps(model, ADAM, [Compress(PLAN, epoch=epoch)])
    training.epochs(max(1, epoch), batches(), LOSS)
    training.batch = training.output = None
    gc.collect()
    assert weight() is None


def test_nothing_is_searched_or_projected_twice_where_a_training_is_resumed(monkeypatch):
    rules = lambda: [Compress(ratio=1.2, families="low_rank", pattern="0"), ADMM({"2": PLAN["0"]})]  # noqa: E731
    training = Steps(fresh(), ADAM, rules())
    training.epochs(1, batches(), LOSS)

    def fails(*_, **__):
        raise AssertionError("asked for again")

    monkeypatch.setattr("edgenet.compress.compress_rule.search", fails)
    monkeypatch.setattr("edgenet.compress.admm.fit", fails)
    again = Steps(fresh(), ADAM, rules(), training.callback_states())
    assert again.settled() and type(again.model[0].weight) is type(training.model[0].weight)
    assert torch.equal(again.callbacks[1].auxiliary["2.weight"], training.callbacks[1].auxiliary["2.weight"])


def test_a_plan_of_a_file_is_the_plan_in_it(tmp_path):
    (tmp_path / "plan.toml").write_text('[[rule]]\npattern = "0"\nstructure = "low_rank"\nrank = 2\n')
    model = fresh()
    Steps(model, ADAM, [Compress(str(tmp_path / "plan.toml"))])
    assert model[0].weight.rank == 2
    with pytest.raises(PlanError, match=r"plam\.toml: cannot be read"):
        Compress("plam.toml")


def test_a_ratio_is_that_of_the_whole_model_and_a_pool_that_of_its_slots():
    model = fresh()
    before = sum(p.numel() for p in model.parameters())
    Steps(model, ADAM, [Compress(ratio=2)])
    assert sum(p.numel() for p in model.parameters()) <= before / 2
    model = fresh()
    Steps(model, ADAM, [Compress(pool=4)])
    views = [slot.matrix for slot in slots(model).values()]
    entries = 12 * 16 + 16 * 6 + 6 * 6
    assert all(isinstance(view, Hashed) and view.pool is views[0].pool for view in views)
    assert sum(p.numel() for p in model.parameters()) - 28 <= entries / 4


def test_the_search_gives_the_model_that_it_chose():
    model = fresh()
    Steps(model, ADAM, [Compress(ratio=2, families="low_rank")])
    rows = [row for row in report(model).rows if row.structure != "dense"]
    assert rows and {row.structure for row in rows} == {"low_rank"}


def test_a_ratio_that_cannot_be_met_is_refused():
    with pytest.raises(PlanError, match=r"Compress: .*NOT met"):
        Steps(fresh(), ADAM, [Compress(ratio=50)])


def test_two_seeds_begin_anew_with_one_object():
    rule = Compress(PLAN, epoch=2)
    first = Steps(fresh(), ADAM, [rule])
    assert first.epochs(3, batches(), LOSS) == [2, 3]
    second = Steps(fresh(seed=1), ADAM, [rule])
    assert second.epochs(3, batches(), LOSS) == [2, 3] and isinstance(second.model[0].weight, LowRank)


def test_arguments_that_make_no_sense_are_refused():
    for arguments, says in [
        ({}, "one of plan, ratio and pool, got none"),
        ({"plan": PLAN, "ratio": 2}, "got plan and ratio"),
        ({"ratio": 1}, "ratio is a number, above 1, got 1"),
        ({"ratio": "x"}, "ratio is a number, above 1, got 'x'"),
        ({"pool": -1}, "pool is a number, above 1"),
        ({"plan": PLAN, "epoch": -1}, "epoch is a whole number, at least 0, got -1"),
        ({"plan": PLAN, "epoch": 1.5}, "epoch is a whole number"),
        ({"plan": PLAN, "families": ["low_rank"]}, "families are what a search with ratio"),
        ({"plan": PLAN, "pattern": "0"}, "a plan has patterns of its own"),
        ({"ratio": 2, "families": ["low_rnak"]}, "Did you mean 'low_rank'"),
        ({"ratio": 2, "families": 3}, "families are names of structures, got 3"),
        ({"plan": {"0": {"structure": "low_rank"}}}, "needs the option 'rank'"),
        ({"plan": 3}, "a plan is"),
    ]:
        with pytest.raises(PlanError, match=says):
            Compress(**arguments)


@each_epoch
def test_a_plan_that_does_not_fit_is_refused_at_the_start(epoch):
    for arguments in ({"plan": {"7": PLAN["0"]}}, {"pool": 2, "pattern": "7"}, {"ratio": 2, "pattern": "7"}):
        with pytest.raises(PlanError, match="matches no slot"):
            Steps(fresh(), ADAM, [Compress(**arguments, epoch=epoch)])


def test_a_loop_that_cannot_make_its_optimizer_anew_is_told():
    model = fresh()
    training = Steps(model, ADAM(model.parameters()), [Compress(PLAN, epoch=2)])
    with pytest.raises(ConfigError, match="cannot make its optimizer anew"):
        training.epochs(2, batches(), LOSS)


def test_a_state_of_another_model_is_refused():
    training = Steps(fresh(), ADAM, [Compress(PLAN)])
    other = nn.Sequential(nn.Linear(12, 8))
    with pytest.raises(CheckpointError, match=r"\[16, 12\] in 0\.weight, which is \(8, 12\)"):
        Steps(other, ADAM, [Compress(PLAN)], training.callback_states())
    with pytest.raises(PlanError, match="on_start comes before"):
        Compress(PLAN).load_state_dict({"structures": None})


def test_what_the_start_put_in_gives_way_to_what_the_state_has():
    def begun(states):  # by a loop that does not say that it resumes
        training = Training(fresh(), [Compress(PLAN)])
        training.call("on_start")
        assert [slot.is_dense for slot in slots(training.model).values()] == [False, True, True]
        training.load_callback_states(states)
        return training

    again = begun([{"structures": None}])
    assert type(again.model[0]) is nn.Linear and not again.settled()
    again = begun(Steps(fresh(), ADAM, [Compress({"2": PLAN["0"]})]).callback_states())
    assert [slot.is_dense for slot in slots(again.model).values()] == [True, False, True] and again.settled()


# ---------------------------------------------------------------- with penalties
@pytest.mark.parametrize("kind", [GroupLasso])
def test_a_penalty_follows_the_parameters_that_are_put_in(kind):
    # both names are there from the epoch on; before it only the weight of the tensor is
    lasso = kind({r"0\.(weight\.left|weight)": "rows", "2": "rows"}, 0.1)
    training = Steps(fresh(), partial(torch.optim.SGD, lr=0.1), [lasso, Compress(PLAN, epoch=2)])
    training.epochs(1, batches(), LOSS)
    assert [name for name, _, _ in lasso._found][:1] == ["0.weight"]
    training.epochs(1, batches(), LOSS)
    assert [name for name, _, _ in lasso._found][:2] == ["0.weight.left", "0.weight.right"]
    before = training.model[0].weight.left.detach().clone()
    training.step_on(0 * sum(p.sum() for p in training.model.parameters()))
    amount = 0.1 * 0.1 * 2**0.5
    size = before.norm(dim=1, keepdim=True)
    torch.testing.assert_close(training.model[0].weight.left.detach(), before * (1 - amount / size).clamp_min(0))


def test_a_penalty_on_a_parameter_that_goes_is_refused_when_it_goes():
    training = Steps(fresh(), ADAM, [GroupLasso({r"0\.weight$": "rows"}, 0.1), Compress(PLAN, epoch=2)])
    with pytest.raises(PlanError, match=r"'0\\\\.weight\$' matches no parameter"):
        training.epochs(2, batches(), LOSS)


def test_rules_for_one_slot_do_not_pass_each_other_unseen():
    with pytest.raises(PlanError, match=r"0\.weight is compressed already"):
        Steps(fresh(), ADAM, [ADMM(PLAN), Compress(PLAN)])
    with pytest.raises(PlanError, match=r"0\.weight is compressed already"):
        Steps(fresh(), ADAM, [ADMM(PLAN), Compress(PLAN, epoch=2)]).epochs(2, batches(), LOSS)
