"""What cannot be right is refused in words, or done; never passed over in silence."""

import json
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.nn import GCNConv

from edgenet import checkpoint, fit
from edgenet.errors import CheckpointError, ConfigError, FolderInUseError, ShapeError
from edgenet.train import DivergenceError, run_seeds

from train.small_data import nodes  # isort: skip

QUICK = {"epochs": 2, "seed": 0, "progress": False}


def rows(count=12):
    random = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(count, 3, generator=random), torch.arange(count) % 2)


class Scaled(nn.Module):
    """A loss with a number of its own to learn."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, scores, target):
        return F.cross_entropy(scores * self.scale, target)


class Wide:
    def penalty(self, training):
        return training.model.weight.abs()


class Writes:
    def __init__(self, value):
        self.value = value

    def after_epoch(self, training):
        training.record["own"] = self.value


class Closure(torch.optim.SGD):
    def step(self, closure):
        return super().step(closure)


REFUSED = {
    "a loss that is a number": ({"loss": lambda scores, target: 1.0}, "loss is a tensor of one number.*1.0"),
    "a loss to be trained": ({"loss": Scaled()}, "Scaled has parameters that want a gradient"),
    "a penalty of many numbers": ({"callbacks": [Wide()]}, r"penalty of Wide is one number.*\(2, 3\)"),
    "a name for a callback": ({"callbacks": ["anneal"]}, "type str has none of the hooks"),
    "a text for callbacks": ({"callbacks": "anneal"}, "callbacks are a list"),
    "one callback": ({"callbacks": Wide()}, "callbacks are a list"),
    "a class of callbacks": ({"callbacks": [Wide]}, "Wide is a class"),
    "a record that is an object": ({"callbacks": [Writes(object())]}, "'own' is a object"),
    "a negative seed": ({"seed": -1}, r"seed is a whole number from 0 to 2\^32 - 1, got -1"),
    "a large seed": ({"seed": 2**40}, "seed is a whole number"),
    "a seed of text": ({"seed": "one"}, "seed is a whole number.*'one'"),
    "a path for a sink": ({"log": "curve.csv"}, r"no sink is called 'curve.csv'.*Csv\('curve.csv'\)"),
    "a closure": ({"optimizer": partial(Closure, lr=0.1)}, "Closure.step wants a closure"),
    "no scheduler": ({"scheduler": lambda optimizer: 5}, "a function that returns a scheduler, it gave 5"),
    "a rising plateau": ({"scheduler": partial(lr_scheduler.ReduceLROnPlateau, mode="max")}, "mode='min'"),
    "steps of batches": (
        {"scheduler": partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=200)},
        "made for 200 steps.*each of 2 epochs.*total_steps=2",
    ),
    "a metric without a number": ({"metric": lambda scores, target: scores[:, 0]}, "a metric is one number"),
    "a metric that is NaN": ({"metric": lambda scores, target: float("nan")}, "train data is nan.*no value"),
}


@pytest.mark.parametrize(("options", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_in_words(options, says):
    with pytest.raises(ConfigError, match=says):
        fit(nn.Linear(3, 2), rows(), **{**QUICK, **options})


def test_a_model_for_all_seeds_is_refused():
    with pytest.raises(ConfigError, match=r"new model for every seed: .*lambda: Linear"):
        run_seeds(nn.Linear(3, 2), rows(), progress=False)


def test_the_share_of_variance_of_one_number_has_no_value():
    one = TensorDataset(torch.ones(1, 3), torch.ones(1))
    with pytest.raises(ConfigError, match="the r2 of the val data is nan"):
        fit(nn.Linear(3, 1), TensorDataset(torch.rand(4, 3), torch.rand(4)), val=one, metric="r2", **QUICK)


def test_no_data_are_refused_in_words():
    with pytest.raises(ConfigError, match="train data are a NoneType"):
        fit(nn.Linear(3, 2), None, **QUICK)


@pytest.mark.parametrize(
    "make",
    [
        lambda at: fit(nn.Linear(3, 2), rows(), folder=at, **QUICK),
        lambda at: run_seeds(lambda: nn.Linear(3, 2), rows(), folder=at, progress=False),
    ],
)
def test_a_folder_that_cannot_be_made_is_an_error_in_words(tmp_path, make):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/run: cannot be made: Not a directory"):
        make(tmp_path / "file" / "run")


def test_classes_that_the_model_does_not_know_are_named():
    data = nodes().train[0]
    data.y[:] = -1
    with pytest.raises(ShapeError, match="2 scores a row, for classes 0 to 1, and the targets are -1 to -1"):
        fit(Conv(), data, **QUICK)


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = GCNConv(4, 2)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index)


class NamedOnly(Conv):
    def forward(this, *, edge_index, x):
        return this.conv(x, edge_index)


def test_arguments_that_are_given_by_name_only_are():
    assert fit(NamedOnly(), nodes(), **QUICK).val is not None


class TwoAnswers(nn.Linear):
    def forward(self, x):
        return super().forward(x), self.weight.square().sum()


def test_a_model_of_two_answers_wants_a_metric_that_reads_them():
    def loss(output, target):
        return F.cross_entropy(output[0], target) + 0.01 * output[1]

    for metric in (None, "auroc", lambda output, target: 0.0):
        with pytest.raises(ConfigError, match=r"model returns a tuple.*metric='loss'"):
            fit(TwoAnswers(3, 2), rows(), loss=loss, metric=metric, **QUICK)
    assert fit(TwoAnswers(3, 2), rows(), loss=loss, metric="loss", **QUICK).metric == "loss"


class Root(nn.Module):
    """Its gradient is infinite at 0."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 2))

    def forward(self, x):
        return x @ self.weight.abs().sqrt()


def test_numbers_that_the_last_step_broke_are_not_handed_out():
    with pytest.raises(DivergenceError, match="weight of the best model is not finite"):
        fit(Root(), rows(), **{**QUICK, "epochs": 1})


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_a_training_has_gradients_whatever_surrounds_it(around):
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    with around():
        fit(model, rows(), **QUICK)
    assert not torch.equal(before, model.weight)


def test_an_operation_without_a_fixed_order_warns():
    class Put(nn.Linear):
        def forward(self, x):
            x = x.clone().put_(torch.tensor([0]), x.new_ones(1))
            return super().forward(x)

    with pytest.raises(RuntimeError, match="put_ does not have"):  # of whoever has asked for errors, as these tests do
        fit(Put(3, 2), rows(), **QUICK)
    torch.use_deterministic_algorithms(False)
    try:
        with pytest.warns(UserWarning, match="put_ does not have a deterministic implementation"):
            fit(Put(3, 2), rows(), **QUICK)
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(True)


def test_weights_of_classes_have_the_dtype_of_the_model():
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0], dtype=torch.float32))
    assert fit(nn.Linear(3, 2).double(), rows(), loss=loss, **QUICK).history


def test_what_a_module_keeps_beside_its_tensors_is_kept_with_the_best_epoch():
    class Counts(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += self.training
            return super().forward(x)

        def get_extra_state(self):
            return {"calls": self.calls}

        def set_extra_state(self, state):
            self.calls = state["calls"]

    assert fit(Counts(3, 2), rows(), **QUICK).model.calls == 2


def test_records_hold_lists_and_numbers_that_are_not_finite(tmp_path):
    callbacks = [Writes(torch.arange(2)), type("Other", (), {"after_epoch": _nan})()]
    result = fit(nn.Linear(3, 2), rows(), callbacks=callbacks, folder=tmp_path / "run", **QUICK)
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert result.history[0]["own"] == line["own"] == [0, 1] and line["nan"] is None


def _nan(self, training):
    training.record["nan"] = float("nan")


class Starts(DataLoader):
    """Counts how often it is walked over, which starts workers."""

    walks = 0

    def __iter__(self):
        type(self).walks += 1
        return super().__iter__()


def test_a_loader_is_walked_over_once_an_epoch():
    Starts.walks = 0
    fit(nn.Linear(3, 2), Starts(rows(), 4), metric="accuracy", **QUICK)
    assert Starts.walks == 2


def test_keys_that_read_alike_have_tensors_of_their_own(tmp_path):
    state = {
        "a/b": torch.zeros(2),
        "a": {"b": torch.ones(2)},
        "c": {1: torch.full((1,), 2.0), "1": torch.full((1,), 3.0)},
    }
    checkpoint.save(tmp_path / "state.pt", state)
    again = checkpoint.load(tmp_path / "state.pt")
    assert again["a/b"].tolist() == [0, 0] and again["a"]["b"].tolist() == [1, 1]
    assert again["c"][1].item() == 2 and again["c"]["1"].item() == 3


# ---------------------------------------------------------------- going on with something else
class Stop:
    def __init__(self, at=0):
        self.at = at

    def before_epoch(self, training):
        if training.epoch == self.at:
            raise KeyboardInterrupt


class StopToo(Stop):
    pass


def other_loss(scores, target):
    return 5 * F.cross_entropy(scores, target)


CHANGED = {
    "optimizer": ({"optimizer": partial(torch.optim.NAdam, lr=0.01)}, "optimizer was Adam, and is NAdam"),
    "scheduler": (
        {"scheduler": partial(lr_scheduler.StepLR, step_size=1)},
        "scheduler was none, and is StepLR",
    ),
    "loss": ({"loss": other_loss}, "loss was class, and is other_loss"),
    "metric": ({"metric": "macro_f1"}, "metric was accuracy, and is macro_f1"),
    "callbacks": ({"callbacks": [StopToo()]}, r"callbacks \['Stop'\]; this run has \['StopToo'\]"),
}


@pytest.mark.parametrize(("change", "says"), CHANGED.values(), ids=CHANGED)
def test_a_training_is_not_gone_on_with_by_other_means(tmp_path, change, says):
    options = {**QUICK, "epochs": 4, "folder": tmp_path / "run", "checkpoint_epochs": 1}
    with pytest.raises(KeyboardInterrupt) as stopped:
        fit(nn.Linear(3, 2), rows(), callbacks=[Stop(3)], **options)
    assert "checkpoint.pt holds epoch 2; resume=True goes on" in stopped.value.__notes__[0]
    options["callbacks"] = [Stop()]
    with pytest.raises(CheckpointError, match=says):
        fit(nn.Linear(3, 2), rows(), resume=True, **{**options, **change})
    assert len(fit(nn.Linear(3, 2), rows(), resume=True, **options).history) == 4


def test_what_one_seed_has_done_is_not_handed_out_for_another(tmp_path):
    fit(nn.Linear(3, 2), rows(), folder=tmp_path / "run", **QUICK)
    with pytest.raises(CheckpointError, match="is of seed 0, and this is seed 1"):
        fit(nn.Linear(3, 2), rows(), folder=tmp_path / "run", resume=True, **{**QUICK, "seed": 1})


def test_two_trainings_do_not_write_in_one_folder(tmp_path):
    options = {**QUICK, "folder": tmp_path / "run", "resume": True}

    class Again:
        def before_epoch(self, training):
            fit(nn.Linear(3, 2), rows(), **options)

    with pytest.raises(FolderInUseError, match="run: this process is at work in it already"):
        fit(nn.Linear(3, 2), rows(), callbacks=[Again()], **options)
    assert fit(nn.Linear(3, 2), rows(), **options).epochs == 2  # whoever fails lets go


def test_a_hook_that_returns_no_batch_is_named():
    class Silent:
        def reads(self, training, batch):
            training.step  # noqa: B018  and nothing is returned

    with pytest.raises(ConfigError, match=r"Silent.reads returned None.*return the batch"):
        fit(nn.Linear(4, 2), nodes().train[0], callbacks=[Silent()], **QUICK)
