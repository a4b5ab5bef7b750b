"""What fit takes beside model and data: optimizers, schedules, clipping, accumulation, precision, sinks, folders."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from edgenet.config import SchedulerTable, Settings
from edgenet.data import load
from edgenet.errors import ConfigError, ShapeError
from edgenet.models import GraphClassifier, NodeClassifier
from edgenet.train import (
    DivergenceError,
    fit,
    read_metrics,
    run_seeds,
)
from edgenet.train.optimizers import share

from train.small_data import nodes  # isort: skip
from fitting import QUIET, Watch, line, trained


# ---------------------------------------------------------------- optimizers
def test_an_optimizer_is_a_name_a_table_or_a_function_of_the_parameters():
    found = []
    for options in (
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9},
        {"settings": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}},
        {"settings": Settings.from_dict({"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}})},
        {"optimizer": partial(torch.optim.SGD, lr=0.1, momentum=0.9)},
        {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9)},
    ):
        found.append(trained(**options)[1])
    for weights in found:  # torch's fused steps round differently in the last place
        torch.testing.assert_close(weights, found[0], atol=1e-13, rtol=0)


def test_a_finished_optimizer_is_refused_with_the_way_to_hand_one_in():
    model = nn.Linear(4, 2)
    with pytest.raises(ConfigError, match=r"functools\.partial\(torch\.optim\.Adam, lr="):
        trained(model, optimizer=torch.optim.Adam(model.parameters()))
    with pytest.raises(ConfigError, match="a name or a function of the parameters"):
        trained(optimizer=3)
    with pytest.raises(ConfigError, match="returns an optimizer, it gave 3"):
        trained(optimizer=lambda parameters: 3)
    with pytest.raises(ConfigError, match="LBFGS asks for the loss several times"):
        trained(optimizer=torch.optim.LBFGS)
    with pytest.raises(ConfigError, match="one of adam, adamw, sgd"):
        trained(optimizer="lion")


def test_a_rate_beside_a_function_that_makes_the_optimizer_is_refused():
    for number in ({"lr": 0.5}, {"weight_decay": 0.1}):
        name, value = next(iter(number.items()))
        with pytest.raises(ConfigError, match=rf"{name}={value} is not read where a function makes the optimizer"):
            fit(nn.Linear(4, 2), line(), optimizer=partial(torch.optim.SGD, lr=0.1), **number, **QUIET)
        with pytest.raises(ConfigError, match="is not read"):
            run_seeds(
                lambda: nn.Linear(4, 2), line(), optimizer=partial(torch.optim.SGD, lr=0.1), progress=False, **number
            )


def test_a_model_without_parameters_or_without_a_first_layer_is_said_so():
    with pytest.raises(ConfigError, match="Identity has no parameters to train"):
        trained(nn.Identity())
    with pytest.raises(ConfigError, match=r"a Linear has no convs"):
        trained(decay_on="first")
    model = nn.Linear(4, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match="depends on no parameter that wants a gradient"):
        trained(model)


def test_a_parameter_that_the_optimizer_lacks_is_named_before_a_step():
    class Swap:
        """Puts a new weight in, and forgets to say so."""

        def __init__(self, hook, renew=False):
            self.renew = renew
            setattr(self, hook, self.swap)

        def swap(self, training):
            if training.epoch == 2 and training.step < 8:
                training.model.weight, self.epoch = nn.Parameter(torch.zeros(2, 4)), lambda: training.epoch
                if self.renew:
                    training.renew_optimizer()

    for hook in ("before_epoch", "penalty", "after_backward"):
        swap = Swap(hook)
        with pytest.raises(ConfigError, match=r"weight wants a gradient, .*training\.renew_optimizer\(\)"):
            trained(callbacks=[swap])
        assert swap.epoch() == 2  # before the next step
    with pytest.raises(ConfigError, match=r"bias wants a gradient"):
        trained(optimizer=lambda parameters: torch.optim.SGD(parameters[:1], 0.1))
    result, weights = trained(callbacks=[Swap("before_epoch", renew=True)], epochs=40, lr=0.05)
    assert result.history[-1]["loss"] < 0.1 * result.history[1]["loss"] and weights[:8].abs().min() > 0


def test_an_optimizer_that_holds_what_is_no_longer_the_models_is_refused():
    class Drop:
        def before_epoch(self, training):
            if training.epoch == 2:
                training.model.bias = None

    with pytest.raises(ConfigError, match=r"holds 1 parameters that are no longer the model's"):
        trained(callbacks=[Drop()])


def test_a_renewed_optimizer_keeps_the_moments_of_parameters_that_stayed():
    class Renew:
        def before_epoch(self, training):
            if training.epoch == 3:
                training.renew_optimizer()

    class Swap:
        def before_epoch(self, training):
            if training.epoch == 3:
                kept = {name: training.optimizer.state[p]["exp_avg"] for name, p in training.model.named_parameters()}
                training.model.weight = nn.Parameter(training.model.weight.detach().clone())
                training.renew_optimizer()
                assert training.model.weight not in training.optimizer.state
                assert training.optimizer.state[training.model.bias]["exp_avg"] is kept["bias"]
                self.done = True

    for scheduler in ("none", "cosine"):
        plain, renewed = (trained(scheduler=scheduler, callbacks=c)[1] for c in ([], [Renew()]))
        assert torch.equal(plain, renewed)
    swap = Swap()
    trained(callbacks=[swap])
    assert swap.done


def test_the_best_epoch_of_another_structure_is_not_kept():
    class Grow:
        """After the second epoch, which is as good as any, the model has another shape."""

        def before_epoch(self, training):
            if training.epoch == 3:
                training.model.extra = nn.Linear(2, 2)
                training.renew_optimizer()

    result, _ = trained(callbacks=[Grow()], data=line(), val=line(), lr=1e-30, epochs=5)
    assert result.best_epoch == 3


# ---------------------------------------------------------------- schedules
@pytest.mark.parametrize(
    "table, epochs, wanted",
    [
        ({"name": "none"}, 4, [1, 1, 1, 1]),
        ({"name": "cosine"}, 4, [1, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 - math.cos(math.pi / 4)) / 2]),
        ({"name": "cosine", "lowest": 0.5}, 2, [1, 0.75]),
        ({"name": "step", "every": 2, "factor": 0.1}, 5, [1, 1, 0.1, 0.1, 0.01]),
        ({"name": "exponential", "factor": 0.5}, 3, [1, 0.5, 0.25]),
        ({"name": "exponential", "factor": 0.5, "lowest": 0.4}, 3, [1, 0.5, 0.4]),
        ({"name": "linear"}, 4, [1, 0.75, 0.5, 0.25]),
        ({"name": "cosine", "warmup": 3}, 5, [0.25, 0.5, 0.75, 1, 0.5]),
    ],
    ids=str,
)
def test_the_rate_of_every_epoch_by_hand(table, epochs, wanted):
    own = SchedulerTable(**table)
    assert [share(own, done, epochs) for done in range(epochs)] == pytest.approx(wanted)
    rates = Watch(lambda training: training.optimizer.param_groups[0]["lr"] / 0.01)
    trained(settings={"scheduler": table}, lr=0.01, epochs=epochs, batch_size=32, callbacks=[rates])
    assert rates.seen == pytest.approx(wanted)


def test_a_plateau_waits_for_a_lower_validation_loss():
    rates = Watch(lambda training: training.optimizer.param_groups[0]["lr"])
    table = {"name": "plateau", "patience": 1, "factor": 0.5, "lowest": 0.2}
    trained(
        settings={"scheduler": table}, lr=1e-30, epochs=9, batch_size=32, val=line(), callbacks=[rates], optimizer="sgd"
    )  # fmt: skip
    assert [rate / 1e-30 for rate in rates.seen] == pytest.approx([1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2])
    falling = Watch(lambda training: training.optimizer.param_groups[0]["lr"])
    trained(settings={"scheduler": table}, lr=0.01, epochs=9, val=line(), callbacks=[falling], optimizer="sgd")
    assert set(falling.seen) == {0.01}


def test_a_scheduler_may_be_a_function_of_the_optimizer():
    rates = Watch(lambda training: training.optimizer.param_groups[0]["lr"])
    kind = torch.optim.lr_scheduler.MultiStepLR
    result, _ = trained(
        scheduler=lambda o: kind(o, [1, 2], 0.1), optimizer="sgd", lr=0.1, epochs=3, batch_size=32, callbacks=[rates]
    )  # fmt: skip
    assert rates.seen == pytest.approx([0.1, 0.01, 0.001])
    assert [record["lr"] for record in result.history] == pytest.approx([0.1, 0.01, 0.001])
    made = kind(torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1), [1])
    with pytest.raises(ConfigError, match="which fit makes itself"):
        trained(scheduler=made)
    with pytest.raises(ConfigError, match="not with 'plateau'"):
        trained(settings={"scheduler": {"name": "plateau", "warmup": 3}})


# ---------------------------------------------------------------- steps
def test_gradients_are_cut_to_the_longest_length_that_is_allowed():
    length = lambda training: math.sqrt(sum(p.grad.square().sum().item() for p in training.model.parameters()))  # noqa: E731
    free, cut = Watch(length), Watch(length)
    trained(callbacks=[free], optimizer="sgd", lr=1e-3)
    trained(callbacks=[cut], optimizer="sgd", lr=1e-3, clip_norm=0.5)
    assert min(free.seen) > 0.6 and max(cut.seen) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("batches, size", [(4, 8), (2, 16)])
def test_gathered_batches_step_as_one_big_batch(batches, size):
    whole, gathered = Watch(lambda t: t.step), Watch(lambda t: t.step)
    _, big = trained(batch_size=32, callbacks=[whole], epochs=5)
    _, small = trained(batch_size=size, accumulate=batches, callbacks=[gathered], epochs=5)
    assert whole.seen == gathered.seen == [1, 2, 3, 4, 5]
    torch.testing.assert_close(small, big, atol=1e-10, rtol=0)


def test_an_epoch_that_accumulation_does_not_divide_ends_in_a_step_of_fewer_batches():
    class Same:
        """The gradient of the penalty is that of a step, however many batches make one."""

        def __init__(self):
            self.grads = []

        def penalty(self, training):
            return training.model.weight.sum()

        def after_backward(self, training):
            self.grads.append(training.model.weight.grad.clone())

    same = Same()
    zero = TensorDataset(torch.zeros(24, 4), torch.zeros(24, 2))  # the loss itself has no gradient at the weight
    trained(data=zero, accumulate=2, epochs=1, callbacks=[same])
    assert len(same.grads) == 2
    for grad in same.grads:
        torch.testing.assert_close(grad, torch.ones(2, 4), atol=1e-12, rtol=0)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_lower_precision_learns_nearly_the_same(precision):
    kinds = Watch(lambda training: training.model.weight.dtype)
    full, _ = trained(nn.Linear(4, 2).float(), epochs=60, lr=0.05)
    low, _ = trained(nn.Linear(4, 2).float(), epochs=60, lr=0.05, precision=precision, callbacks=[kinds])
    assert set(kinds.seen) == {torch.float32} and full.history[0]["loss"] != low.history[0]["loss"]
    assert low.history[-1]["loss"] < 0.01 * low.history[0]["loss"]


def test_a_lower_precision_is_that_of_the_models_products():
    seen = []

    class Look(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(4, 2)

        def forward(self, x):
            seen.append(self.map(x).dtype)
            return self.map(x)

    model = Look().float()
    trained(model, precision="bfloat16", epochs=1, val=line())
    assert set(seen) == {torch.bfloat16}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("layer", ["gcn", "gat", "gcnn"])
def test_models_of_the_library_train_at_a_lower_precision(layer, precision):
    torch.manual_seed(0)
    model = NodeClassifier(4, 2, layer=layer, hidden_channels=8, dropout=0.0).float()
    result = fit(model, nodes(), precision=precision, epochs=40, lr=0.05, **QUIET)
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]


def test_gradients_that_overflow_float16_are_skipped_and_the_scale_falls():
    class Huge:
        def __init__(self):
            self.before, self.scales, self.taken = None, [], []

        def penalty(self, training):
            self.before = training.model.weight.detach().clone()
            return 1e38 * training.model.weight.sum() if training.step == 1 else None

        def after_step(self, training):
            self.taken.append(training.step)

        def after_epoch(self, training):
            self.scales.append(training.scaler.get_scale())
            assert torch.equal(self.before, training.model.weight) == (training.step == 1)

    huge = Huge()
    trained(nn.Linear(4, 2).float(), precision="float16", epochs=2, batch_size=1000, callbacks=[huge])
    assert huge.scales[0] < 65536 and huge.taken == [2]  # a rule that follows steps must not act where none was taken


def test_a_loss_that_diverges_names_the_rate_of_the_optimizer_that_was_handed_in():
    with pytest.raises(DivergenceError, match=r"epoch \d+, step \d+ \(seed 0\).*optimizer\.lr=1e\+29, it is 1e\+30"):
        trained(optimizer=partial(torch.optim.SGD, lr=1e30), epochs=100)


# ---------------------------------------------------------------- callbacks
def test_hooks_come_in_the_promised_order():
    class Notes:
        def __init__(self):
            self.notes = []

        def note(self, name, training):
            self.notes.append(f"{name} {training.epoch}.{training.step}")

    begin = ("on_start", "rates", "on_optimizer", "before_epoch")
    for name in (*begin, "penalty", "after_backward", "after_step", "after_epoch"):
        setattr(Notes, name, lambda self, training, name=name: self.note(name, training))
    notes = Notes()
    trained(epochs=2, batch_size=16, callbacks=[notes])
    hooks = ("penalty", "after_backward", "after_step")
    steps = lambda epoch, *steps: [f"{hook} {epoch}.{step}" for step in steps for hook in hooks]  # noqa: E731
    assert notes.notes == [
        "on_start 0.0", "rates 0.0", "on_optimizer 0.0",
        "before_epoch 1.0", *steps(1, 1, 2), "after_epoch 1.2",
        "before_epoch 2.2", *steps(2, 3, 4), "after_epoch 2.4",
    ]  # fmt: skip


def test_callbacks_see_the_batch_and_what_the_model_said_of_it():
    class Look:
        def penalty(self, training):
            again = training.call_model(training.model, training.batch)
            assert torch.equal(again, training.output) and len(training.output) == 24  # all nodes, not the rows alone
            assert training.batch.rows.tolist() == training.batch.train_mask.nonzero().squeeze(1).tolist()
            self.batch = training.batch

    data = nodes().train[0]
    look = Look()
    fit(NodeClassifier(4, 2, layer="gcn", dropout=0.0), data, epochs=2, callbacks=[look], **QUIET)
    assert look.batch.x.shape == (24, 4)


def test_what_callbacks_add_to_a_record_is_written(tmp_path):
    class Norm:
        def after_epoch(self, training):
            training.record["norm"] = training.model.weight.norm()

    result, _ = trained(callbacks=[Norm()], folder=tmp_path / "run")
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert records == result.history and all(type(record["norm"]) is float for record in records)


def test_an_epoch_that_is_not_settled_is_not_the_best_and_patience_does_not_count_it():
    class From:
        def __init__(self, epoch):
            self.epoch = epoch

        def settled(self, training):
            return training.epoch >= self.epoch

    options = {"val": line(), "optimizer": partial(torch.optim.SGD, lr=0.05), "epochs": 12}
    assert trained(callbacks=[From(6)], **options)[0].best_epoch >= 6
    still = {**options, "optimizer": partial(torch.optim.SGD, lr=1e-30), "patience": 2}
    result, _ = trained(callbacks=[From(6)], **still)
    assert (result.best_epoch, result.epochs) == (6, 8)
    with pytest.warns(UserWarning, match="From had not come to an end after 12 epochs: the last model is kept"):
        assert trained(callbacks=[From(100)], **options)[0].best_epoch == 12


# ---------------------------------------------------------------- what nobody reads
@pytest.mark.parametrize(
    "tables, says",
    [
        ({"scheduler": {"factor": 0.1}}, r"scheduler.factor is for 'step', 'exponential', 'plateau'; 'none' does not"),
        ({"scheduler": {"name": "cosine", "every": 3}}, "scheduler.every is for 'step'; 'cosine' does not read it"),
        ({"scheduler": {"name": "step", "patience": 3}}, "scheduler.patience is for 'plateau'"),
        ({"optimizer": {"name": "adamw", "momentum": 0.5}}, "optimizer.momentum is for 'sgd'; 'adamw' has"),
    ],
    ids=str,
)
def test_a_setting_that_the_named_optimizer_or_schedule_does_not_read_is_refused(tables, says):
    with pytest.raises(ConfigError, match=says):
        Settings.from_dict(tables)


def test_a_model_without_a_score_for_every_node_is_told_so():
    with pytest.raises(ShapeError, match=r"the model returns \(1, 4\): a score for every node is wanted"):
        fit(GraphClassifier(34, 4), load("karate"), epochs=1, dtype="float32", progress=False)
