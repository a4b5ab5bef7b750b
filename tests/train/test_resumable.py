"""A checkpoint brings moments, counts and scores of its own training, and no hyper-parameter or shape of others."""

import copy
import json

import pytest
import torch

from edgenet import checkpoint
from edgenet.errors import CheckpointError
from edgenet.train import Callback, run

from train.small_data import config, nodes  # isort: skip


class Stop(Callback):
    """Ends the training in the middle of an epoch; never, at 0."""

    def __init__(self, at=0):
        self.at = at

    def penalty(self, training):
        if training.epoch == self.at:
            raise KeyboardInterrupt


class Rates(Stop):
    moves_rates = True


@pytest.fixture
def stopped(request, tmp_path):
    """The settings of a run that was stopped in its fifth epoch, its checkpoint, and how it goes on."""
    settings = config("gat", out=str(tmp_path / "run"), scheduler__name=getattr(request, "param", "cosine"))
    with pytest.raises(KeyboardInterrupt):
        run(settings, dataset=nodes(), progress=False, callbacks=[Stop(5)])
    file = tmp_path / "run" / "seed-0" / "checkpoint.pt"

    def go_on(rule=Stop):
        return run(settings, dataset=nodes(), progress=False, resume=True, callbacks=[rule()])

    return checkpoint.load(file), file, go_on


def put(*path, value):
    def change(state):
        *way, last = path
        for step in way:
            state = state[step]
        state[last] = value

    return change


def moments(name, change):
    def put(state):
        entries = state["optimizer"]["state"][0]
        entries[name] = change(entries[name])

    return put


GROUP, NUMPY = ("optimizer", "param_groups", 0), ("random", "numpy")
REFUSED = {
    "epoch of 1e9": (put("epoch", value=10**9), "its epoch is 1000000000, and this training has 6 at most"),
    "step of 1e9": (put("step", value=10**9), "its step is 1000000000"),
    "seconds without end": (put("seconds", value=float("inf")), "its seconds are inf"),
    "a rate of 5": (put(*GROUP, "lr", value=5.0), "the rate 5.0|lr = 5.0, and this training has 0.02"),
    "a rate below 0": (put(*GROUP, "lr", value=-1.0), "rate -1.0|lr = -1.0"),
    "uphill": (put(*GROUP, "maximize", value=True), "maximize = True, and this training has False"),
    "amsgrad": (put(*GROUP, "amsgrad", value=True), "amsgrad = True"),
    "no betas": (put(*GROUP, "betas", value=(0.0, 0.0)), "betas = "),
    "decay": (put(*GROUP, "weight_decay", value=1e9), "weight_decay = 1000000000.0"),
    "an option of none": (put(*GROUP, "danger", value=1), "other options"),
    "a best score of 1e9": (put("best", "val", value=1e9), r"scores 1000000000.0 .* metrics.jsonl does not"),
    "a highest score of 1e9": (put("best", "highest", value=(1e9, 0.0)), "a highest score"),
    "a lowest loss of none": (put("best", "lowest_loss", value=-1e9), "a lowest loss of -1000000000.0"),
    "waited for 1e9": (put("best", "waited", value=10**9), "its waited is 1000000000"),
    "a best epoch to come": (put("best", "epoch", value=6), "its epoch of the best is 6"),
    "a step of 1e30": (moments("step", lambda old: old * 0 + 1e30), "step of parameter 0 .* is 1e[+]30"),
    "a step below 0": (moments("step", lambda old: old * 0 - 1), "is -1"),
    "moments of another shape": (moments("exp_avg", lambda old: old[None, None].clone()), "and parameter 0 is"),
    "moments of another dtype": (moments("exp_avg", lambda old: old.half()), "is torch.float16"),
    "moments that are none": (moments("exp_avg", lambda old: old * float("nan")), "holds numbers that cannot be"),
    "squares below 0": (moments("exp_avg_sq", lambda old: old - 1), "holds numbers that cannot be"),
    "text for moments": (moments("exp_avg", lambda old: "x"), "exp_avg of parameter 0 in its optimizer is x"),
    "moments of no parameter": (put("optimizer", "state", 99, value={}), "state of parameters that this training has"),
    "numpy beyond its end": (put(*NUMPY, 2, value=10**9), "numpy's random numbers stands at 1000000000 of 624"),
    "numpy of few words": (put(*NUMPY, 1, value=torch.zeros(3, dtype=torch.int64)), "numpy's random numbers is none"),
    "numpy of another kind": (put(*NUMPY, 0, value="PCG64"), "numpy's random numbers is none"),
    "another dtype": (
        lambda state: state["model"].update({k: v.double() for k, v in state["model"].items()}),
        "is of torch.float64, and the model has torch.float32",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_this_training_cannot_have_come_to_is_refused(stopped, case):
    change, says = REFUSED[case]
    state, file, go_on = stopped
    state = copy.deepcopy(state)
    change(state)
    checkpoint.save(file, state)
    with pytest.raises(CheckpointError, match=rf"checkpoint\.pt: .*({says})"):
        go_on()


SCHEDULES = {
    "an epoch to come": (put("scheduler", "last_epoch", value=10**9), "its scheduler"),
    "a first rate of 5": (lambda state: state["scheduler"].update(base_lrs=[5.0], min_lrs=[5.0]), "its scheduler"),
    "text": (put("scheduler", "last_epoch", value="x"), "its scheduler, last_epoch is x"),
    "rates of 5": (lambda state: state["scheduler"].update(_last_lr=[5.0], factor=5.0), "its scheduler"),
    "no entries": (put("scheduler", value={}), "other entries"),
}


@pytest.mark.parametrize("stopped", ["cosine", "plateau"], indirect=True)
@pytest.mark.parametrize("case", SCHEDULES)
def test_a_schedule_is_that_of_the_configuration(stopped, case):
    change, says = SCHEDULES[case]
    state, file, go_on = stopped
    change(state)
    checkpoint.save(file, state)
    with pytest.raises(CheckpointError, match=rf"checkpoint\.pt: .*{says}"):
        go_on()


@pytest.mark.parametrize("stopped", ["none"], indirect=True)
def test_without_a_schedule_the_rate_is_that_of_the_configuration(stopped):
    state, file, go_on = stopped
    put(*GROUP, "lr", value=0.019)(state)
    checkpoint.save(file, state)
    with pytest.raises(CheckpointError, match=r"lr = 0.019, and this training has 0.02\. Resume with the configuration"):  # noqa: E501
        go_on()


def test_a_callback_may_say_that_it_sets_rates(stopped, tmp_path):
    state, file, go_on = stopped
    put(*GROUP, "lr", value=0.5)(state)
    state["made"]["callbacks"] = ["Rates"]
    checkpoint.save(file, state)
    go_on(Rates)


def test_records_that_tell_of_other_scores_are_seen(stopped):
    _, file, go_on = stopped
    lines = (file.parent / "metrics.jsonl").read_text().splitlines()
    lines = [json.dumps({**json.loads(line), "val": 0.123}) for line in lines]
    (file.parent / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(CheckpointError, match="tells of a best epoch with the scores"):
        go_on()
