"""A run that is killed at any moment and resumed ends in the same bits as one that was left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from edgenet import checkpoint
from edgenet.errors import CheckpointError
from edgenet.pretrained.folder import read_config, read_tensors
from edgenet.train import Callback, read_result, run

from train.small_data import DATASETS, config, nodes  # isort: skip


class Slow(Callback):
    """Gives a killer time, and has a state that decides the numbers."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def on_start(self, training):
        self.strength = torch.tensor(0.001)

    def penalty(self, training):
        time.sleep(self.seconds)
        return self.strength * sum(p.square().sum() for p in training.model.parameters())

    def after_step(self, training):
        self.strength = self.strength * 1.1

    def state_dict(self):
        return {"strength": self.strength}

    def load_state_dict(self, state):
        self.strength = state["strength"]


def outcome(folder):
    """All that must be equal: tensors and results of the models, metrics; less the seconds."""
    found = {}
    for own in sorted(folder.glob("seed-*")):
        lines = [json.loads(line) for line in (own / "metrics.jsonl").read_text().splitlines()]
        numbers = {**vars(read_result(own))}
        read = read_tensors(own / "model", read_config(own / "model"))
        tensors = {name: value.detach().numpy().tobytes() for name, value in read.items()}
        for record in [*lines, numbers]:
            record.pop("seconds")
        assert [record["epoch"] for record in lines] == list(range(1, len(lines) + 1))
        found[own.name] = (lines, numbers, tensors)
    assert not list(folder.rglob("checkpoint.pt"))
    return found


def killed(run, folder, epochs, delay):
    """Call ``run()`` in a process of its own, and kill -9 it ``delay`` seconds after it has written so many epochs;
    whether it was still running."""

    def written():
        return sum(file.read_bytes().count(b"\n") for file in folder.glob("seed-*/metrics.jsonl"))

    before, give_up = written(), time.monotonic() + 60
    child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(0)
    while written() < before + epochs:
        assert time.monotonic() < give_up
        if os.waitpid(child, os.WNOHANG)[0]:
            return False  # it was done before
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)  # until it is waited for, its number is nobody else's
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def killed_at(run, number):
    """Call ``run()`` in a process of its own, which kills itself where it would put its n-th file in place; whether it
    came so far."""
    child = os.fork()
    if child == 0:
        try:
            replace, calls = os.replace, iter(range(1, 1000))

            def deadly(*paths):
                if next(calls) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                replace(*paths)

            os.replace = deadly
            run()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


CASES = [
    ("nodes", "gat", {"heads": 2, "attention_dropout": 0.5}, 1),
    ("nodes", "edge_varying", {"bank": "heads", "heads": 2}, 3),
    ("graphs", "gcnn", {}, 2),
    ("signals", "edge_varying", {"readout": "flatten"}, 1),
]


def whole_and_broken(folder, name, layer, options, every):
    """A run that is left alone, in ``whole``; what begins or resumes the same in ``broken``. Two seeds, early stopping
    on, dropout or shuffling at work, a callback with a state."""
    data = DATASETS[name]()
    settings = config(
        layer, training__seeds=[0, 1], training__epochs=14, training__patience=9, training__batch_size=8,
        training__checkpoint_epochs=every, model__options=options, model__dropout=0.5,
    )  # fmt: skip
    run(settings.replaced(out=str(folder / "whole")), dataset=data, progress=False, callbacks=[Slow()])
    broken = settings.replaced(out=str(folder / "broken"))
    return lambda slow=0.0: run(broken, dataset=data, progress=False, callbacks=[Slow(slow)], resume=True)


@pytest.mark.parametrize("name, layer, options, every", CASES)
def test_killed_while_it_writes_a_run_ends_in_the_same_bits(tmp_path, name, layer, options, every):
    run = whole_and_broken(tmp_path, name, layer, options, every)
    # 1 is config.toml; the later ones are checkpoints, cut metrics, models
    kills = [killed_at(run, number) for number in (1, 3, 2, 4, 5)]
    assert all(kills) and list(tmp_path.rglob(".*.tmp"))
    run()
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")
    assert not list(tmp_path.rglob("seed-*/.*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("name, layer, options, every", CASES)
def test_killed_again_and_again_a_run_ends_in_the_same_bits(tmp_path, name, layer, options, every):
    run, moments = whole_and_broken(tmp_path, name, layer, options, every), random.Random(0)
    step = 0.002 if name == "signals" else 0.005
    # so many epochs that a checkpoint is among them, and then at any moment of the next
    kills = [
        killed(lambda: run(step), tmp_path / "broken", every + number % 3, moments.uniform(0, 0.03))
        for number in range(4)
    ]
    assert sum(kills) >= 2
    run()
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")


def test_the_command_line_killed_and_resumed_ends_in_the_same_bits(tmp_path):
    settings = ["train", "karate", "--model", "gat", "--seeds", "0,1", "--epochs", "60", "--no-pictures"]
    changes = ("patience=0", "checkpoint_epochs=7", "checkpoint_seconds=0", "dtype=float64")
    settings += [word for change in changes for word in ("--set", f"training.{change}")]
    # config.toml, 8 checkpoints and 4 files of the end of seed 0, 3 checkpoints of seed 1; the next never comes
    dying = (
        "import os, signal, sys\n"
        "from edgenet.cli import main\n"
        "replace, calls = os.replace, iter(range(1, 1000))\n"
        "os.replace = lambda *paths: os.kill(os.getpid(), 9) if next(calls) == 17 else replace(*paths)\n"
        "main(sys.argv[1:])\n"
    )
    process = [sys.executable, "-c", dying, *settings, "--out", tmp_path / "killed"]
    assert subprocess.run(process, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert checkpoint.load(tmp_path / "killed" / "seed-1" / "checkpoint.pt")["epoch"] == 21
    first_seed = (tmp_path / "killed" / "seed-0" / "result.json").stat().st_mtime_ns
    command = [sys.executable, "-m", "edgenet", "train", tmp_path / "killed", "--resume", "--no-pictures"]
    resumed = subprocess.run(command, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "killed" / "seed-0" / "result.json").stat().st_mtime_ns == first_seed  # was not run again

    from edgenet.cli import main

    assert main([*settings, "--out", str(tmp_path / "whole")]) == 0
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def interrupted(folder, layer="gat", at=5, **changes):
    """A run that was stopped in the middle of epoch ``at``, and its settings."""

    settings = config(layer, out=str(folder), **changes)
    with pytest.raises(KeyboardInterrupt):
        run(settings, dataset=nodes(), progress=False, callbacks=[Stop(at)])
    assert (folder / "seed-0" / "checkpoint.pt").exists()
    return settings


class Stop(Callback):
    """Ends the training in the middle of an epoch; never, at 0."""

    def __init__(self, at=0):
        self.at = at

    def penalty(self, training):
        if training.epoch == self.at:
            raise KeyboardInterrupt


def resume(settings, **options):
    return run(settings, dataset=nodes(), progress=False, resume=True, **{"callbacks": [Stop()], **options})


def test_metrics_written_after_the_checkpoint_and_half_lines_are_cut_off(tmp_path):
    settings = interrupted(tmp_path / "run", training__checkpoint_epochs=2)
    file = tmp_path / "run" / "seed-0" / "metrics.jsonl"
    assert file.read_text().count("\n") == 4
    with file.open("a") as stream:
        stream.write('{"epoch": 5, "loss": 1}\n{"epoch": 6, "lo')
    resume(settings)
    run(settings.replaced(out=str(tmp_path / "whole")), dataset=nodes(), progress=False, callbacks=[Stop()])
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_resumed_run_has_waited_as_long_as_one_that_was_left_alone(tmp_path):
    """Early stopping counts the epochs without improvement from before the interruption, too."""
    changes = {"optimizer__lr": 1e-30, "training__patience": 6, "training__epochs": 20}  # nothing improves
    settings = interrupted(tmp_path / "run", at=5, **changes)
    resumed = resume(settings)
    alone = run(settings.replaced(out=str(tmp_path / "whole")), dataset=nodes(), progress=False, callbacks=[Stop()])
    assert [r["epoch"] for r in resumed.histories[0]] == [r["epoch"] for r in alone.histories[0]] == [*range(1, 8)]


def test_metrics_that_lack_what_the_checkpoint_has_seen_are_refused(tmp_path):
    settings = interrupted(tmp_path / "run")
    (tmp_path / "run" / "seed-0" / "metrics.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: lacks epochs.*1 to 4"):
        resume(settings)


def test_a_kill_between_the_last_model_and_the_checkpoints_end_does_no_harm(tmp_path):
    settings = interrupted(tmp_path / "run")
    kept = tmp_path / "checkpoint.pt"
    shutil.copy(tmp_path / "run" / "seed-0" / "checkpoint.pt", kept)
    resume(settings)
    before = outcome(tmp_path / "run")
    shutil.copy(kept, tmp_path / "run" / "seed-0" / "checkpoint.pt")
    resume(settings)
    assert outcome(tmp_path / "run") == before


def test_a_run_without_a_checkpoint_yet_begins_anew(tmp_path):
    settings = interrupted(tmp_path / "run")
    (tmp_path / "run" / "seed-0" / "checkpoint.pt").unlink()
    result = resume(settings)
    assert [r["epoch"] for r in result.histories[0]] == [1, 2, 3, 4, 5, 6]
    assert len(resume(settings.replaced(out=str(tmp_path / "new"))).histories[0]) == 6


def test_more_seeds_may_be_added_to_a_run(tmp_path):
    settings = interrupted(tmp_path / "run")
    resume(settings)
    result = resume(settings.replaced(training__seeds=[0, 1]))
    assert [r.seed for r in result.seeds] == [0, 1]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["seeds"][1]["seed"] == 1


@pytest.mark.parametrize(
    "change, says",
    [
        ({"optimizer__lr": 0.5}, r"optimizer\.lr was 0\.02, is 0\.5"),
        ({"model__hidden_channels": 4}, r"model\.hidden_channels was 8, is 4"),
        ({"training__epochs": 60}, r"training\.epochs was 6, is 60"),
        ({"model__options": {"heads": 2}}, r"model\.options\.heads was None, is 2"),
    ],
)
def test_another_configuration_is_refused_and_the_difference_named(tmp_path, change, says):
    settings = interrupted(tmp_path / "run")
    with pytest.raises(CheckpointError, match=rf"config\.toml: is of another configuration: {says}"):
        resume(settings.replaced(**change))
    (tmp_path / "run" / "config.toml").write_text(settings.replaced(**change).to_toml())  # who edits the file ...
    with pytest.raises(CheckpointError, match=rf"checkpoint\.pt: is of another configuration: {says}"):
        resume(settings.replaced(**change))


def test_another_model_seed_or_set_of_callbacks_is_refused(tmp_path):
    settings = interrupted(tmp_path / "run")
    file = tmp_path / "run" / "seed-0" / "checkpoint.pt"
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: is of .* callbacks \['Stop'\]; this run has \[\]"):
        resume(settings, callbacks=[])
    state = checkpoint.load(file)
    for broken, says in [
        ({**state, "model": {name: value[:1] for name, value in state["model"].items()}}, "does not fit"),
        ({**state, "seed": 3}, "is of seed 3"),
        ({key: value for key, value in state.items() if key != "random"}, "is no state of a training run"),
        ({**state, "optimizer": {}}, "its optimizer has other groups"),
        ([1], "is no state of a training run"),
        ({**state, "optimizer": {**state["optimizer"], "param_groups": []}}, "its optimizer has other groups"),
        ({**state, "random": {**state["random"], "numpy": [1]}}, "is no state of a training run"),
        ({**state, "random": {**state["random"], "torch": torch.zeros(3)}}, "is no state of a training run"),
        ({**state, "random": {**state["random"], "python": [3, torch.arange(5), None]}}, "is no state"),
        ({**state, "epoch": "x"}, "is no state of a training run: TypeError: epoch is 'x'"),
        ({**state, "epoch": -3}, "is no state of a training run: TypeError: epoch is -3"),
        ({**state, "seconds": None}, "is no state of a training run"),
        ({**state, "best": {**state["best"], "val": "x"}}, "is no state of a training run"),
        ({**state, "best": {**state["best"], "state": {}}}, "does not fit"),
        ({key: value for key, value in state.items() if key != "threads"}, "is no state of a training run"),
    ]:
        checkpoint.save(file, broken)
        with pytest.raises(CheckpointError, match=rf"checkpoint\.pt: {says}"):
            resume(settings)


def test_a_truncated_or_malicious_checkpoint_is_refused(tmp_path):
    settings = interrupted(tmp_path / "run")
    file = tmp_path / "run" / "seed-0" / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: no whole file of torch.save .500 bytes"):
        resume(settings)


def test_a_checkpoint_is_written_by_time_too(tmp_path):
    changes = {"training__checkpoint_epochs": 0, "training__checkpoint_seconds": 1e-9}
    interrupted(tmp_path / "run", **changes)
    assert checkpoint.load(tmp_path / "run" / "seed-0" / "checkpoint.pt")["epoch"] == 4


def test_a_checkpoint_knows_its_number_of_threads(tmp_path):
    settings = interrupted(tmp_path / "run")
    file = tmp_path / "run" / "seed-0" / "checkpoint.pt"
    checkpoint.save(file, {**checkpoint.load(file), "threads": 7})
    with pytest.warns(UserWarning, match="written with 7 threads"):
        resume(settings)
    assert read_result(tmp_path / "run" / "seed-0").epochs == 6
