"""Trainings of every form of data and rule, killed at any moment and resumed, end in the bits of one left alone."""

import os
import signal
import time
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.loader import DataLoader as GraphLoader

from edgenet.models import NodeClassifier
from edgenet.pretrained.folder import read_config, read_tensors
from edgenet.train import Csv, fit, read_metrics, read_result, run_seeds

from train.small_data import nodes, ring  # isort: skip
from train.test_fit import Mine, Pooled, Windows, molecules, readings  # isort: skip

CHECKPOINTS = {"checkpoint_epochs": 1, "checkpoint_seconds": 0.0, "progress": False, "seed": 0}
LOW_RANK = {"structure": "low_rank", "rank": 1}


def own_loss(scores, target):
    return F.cross_entropy(scores, target, label_smoothing=0.1)


def dropped(model):
    return nn.Sequential(nn.Dropout(0.3), model)


def own_layers(**options):
    return fit(Mine(), nodes().train[0], loss=own_loss, epochs=9, scheduler="cosine", **options)


def loader_of_molecules(**options):
    """Two loaders with random numbers of their own, and one that draws from torch's."""
    train = GraphLoader(molecules(), 5, shuffle=True, generator=torch.Generator().manual_seed(4))
    val = GraphLoader(molecules(8, 1), 4, shuffle=True)
    return fit(Pooled(), train, val=val, epochs=9, patience=6, clip_norm=1.0, accumulate=2, **options)


def list_of_graphs(**options):
    make = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.7)
    graphs = {"val": molecules(8, 1), "test": molecules(8, 2), "batch_size": 7}
    return fit(Pooled(), molecules(), epochs=9, optimizer=make, scheduler=schedule, **graphs, **options)


def windows(**options):
    """Readings of sensors, with dropout, at half precision."""
    data, val = TensorDataset(*readings()), TensorDataset(*readings(12, seed=1))
    model = nn.Sequential(nn.Dropout(0.2), Windows(ring(7))).float()
    # so large that the first steps overflow float16, and the scale of the loss falls
    judged = {"val": val, "loss": lambda scores, target: 1000 * F.l1_loss(scores, target), "metric": "mae"}
    return fit(model, data, epochs=9, batch_size=8, precision="float16", **judged, **options)


def shuffled_windows(**options):
    data = DataLoader(TensorDataset(*readings()), 8, shuffle=True)
    return fit(Windows(ring(7)), data, val=TensorDataset(*readings(12, seed=1)), loss="l1", epochs=9, **options)


def ruled(tables, **options):
    model = NodeClassifier(4, 2, layer="gcn", hidden_channels=8, dropout=0.4)
    return fit(model, nodes(), tables, epochs=12, lr=0.02, **options)


def admm(**options):
    """ADMM, which puts the structures in after the sixth epoch."""
    rule = {"kind": "admm", "plan": {r"convs\.\d\.lift.*": LOW_RANK}, "rho": 0.5, "every": 2, "until": 6}
    return ruled({"callback": [rule]}, **options)


def compressed_and_annealed(**options):
    """Structures that come before the fourth epoch, whose density then falls."""
    plan = {r"convs\.0\.lift.*": {"structure": "doped", "base": LOW_RANK, "density": 0.5}}
    rule = {"kind": "anneal", "density": 0.1, "start": 5, "end": 9, "every": 2}
    return ruled({"compress": {"plan": plan, "epoch": 4}, "callback": [rule]}, **options)


def doped_with_row_dropout(**options):
    """Doped matrices drawn anew, whose rows drop out and whose entries share one budget; ADMM puts another in later."""
    plan = {r"convs\.0\.lift.*": {"structure": "doped", "base": LOW_RANK, "density": 1.0, "random": True}}
    pulled = {r"convs\.1\.lift.*": {"structure": "doped", "base": LOW_RANK, "density": 1.0, "dopant": "sparse"}}
    rules = [
        {"kind": "row_dropout", "rate": 0.3, "dopant": 0.2},
        {"kind": "admm", "plan": pulled, "rho": 0.1, "until": 4},
        {"kind": "anneal", "ratio": 1.5, "start": 0.1, "end": 0.8, "every": 1, "together": True},
    ]
    return ruled({"compress": {"plan": plan}, "callback": rules, "scheduler": {"name": "cosine"}}, **options)


def binary_by_a_recipe(**options):
    """Signs that come before the fourth epoch, with latents drawn anew, and rates that fall."""
    plan = {r"convs\.\d\.lift.*": {"structure": "dense", "quantiser": "binary", "per": "none"}}
    rules = {"compress": {"plan": plan, "epoch": 4}, "callback": [{"kind": "binary_recipe", "start": "uniform"}]}
    return ruled({**rules, "scheduler": {"name": "exponential", "factor": 0.9}}, **options)


def powers_of_two_by_a_recipe(**options):
    """Signs and shifts with rates of their own, from the start."""
    plan = {r"convs\.\d\.lift.*": {"structure": "dense", "quantiser": "power_of_two", "form": "sign_shift"}}
    rule = {"kind": "shift_recipe", "start": "uniform", "decay": 0.01}
    tables = {"compress": {"plan": plan}, "callback": [rule], "scheduler": {"name": "cosine"}}
    return ruled({**tables, "optimizer": {"name": "radam"}}, **options)


def unified(**options):
    """Blocks that are pulled for three epochs, fixed in the next four, and put in before the eighth."""
    plan = {r"convs\.\d\.lift.*": {"structure": "unified", "entries": 4, "ratio": 0.8, "prune": 0.2}}
    rule = {"kind": "unify", "plan": plan, "pull": 3, "until": 7, "start": 0.4, "every": 2, "grow_every": 2}
    return ruled({"callback": [rule]}, **options)


class Waiting:
    """Puts into the record what decides whether there will be more epochs."""

    def after_epoch(self, training):
        best = training.best
        training.record |= {"waited": best.waited, "highest": list(best.highest), "losses": list(best.losses)}


def passes_that_agree(callbacks=(), **options):
    """Several passes a step, a decay for each part, and the end that a window of losses decides."""
    tables = {
        "callback": [{"kind": "consistency", "passes": 3, "temperature": 0.4}],
        "optimizer": {"weight_decay": 0.01, "decay_on": {r"convs\.0": 0.1}},
        "training": {"stop_by": "window", "patience": 4},
    }
    return ruled(tables, callbacks=[Waiting(), *callbacks], **options)


def patience_with_ties(callbacks=(), **options):
    tables = {"training": {"stop_by": "either", "keep_by": "loss", "ties": True, "patience": 3}}
    return ruled(tables, callbacks=[Waiting(), *callbacks], **options)


CASES = [
    own_layers, loader_of_molecules, list_of_graphs, windows, shuffled_windows, admm, compressed_and_annealed,
    doped_with_row_dropout, binary_by_a_recipe, powers_of_two_by_a_recipe, unified,
    passes_that_agree, patience_with_ties,
]  # fmt: skip


def trained(case, folder, **options):
    torch.manual_seed(11)
    return case(folder=folder, **CHECKPOINTS, **options)


def outcome(folder):
    """All that must be equal: tensors, numbers, records; less the seconds."""
    records, numbers = read_metrics(folder / "metrics.jsonl"), {**vars(read_result(folder))}
    for one in [*records, numbers]:
        one.pop("seconds")
    tensors = read_tensors(folder / "model", read_config(folder / "model"))
    assert [record["epoch"] for record in records] == list(range(1, len(records) + 1))
    assert not (folder / "checkpoint.pt").exists()
    return records, numbers, {name: value.detach().numpy().tobytes() for name, value in tensors.items()}


def killed(work, when):
    """Do some work in a process of its own, which kills itself where ``when(path)`` says so of a file that is put in
    place; whether it came so far."""
    child = os.fork()
    if child == 0:
        try:
            replace = os.replace

            def deadly(source, target):
                if when(str(target)):
                    os.kill(os.getpid(), signal.SIGKILL)
                replace(source, target)

            os.replace = deadly
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def nth(number):
    calls = iter(range(1, 10_000))
    return lambda path: next(calls) == number


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_killed_while_it_writes_a_training_ends_in_the_same_bits(tmp_path, case):
    trained(case, tmp_path / "whole")
    broken = tmp_path / "broken"
    # the first checkpoint; after two more; after three more; then while the model and while the result is written
    for when in (nth(1), nth(3), nth(4), lambda path: path.endswith("README.md"), lambda path: "result.json" in path):
        assert killed(lambda when=when: trained(case, broken, resume=True), when)
    trained(case, broken, resume=True)
    assert outcome(broken) == outcome(tmp_path / "whole")
    assert not list(broken.rglob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_killed_at_any_moment_a_training_ends_in_the_same_bits(tmp_path, case):
    trained(case, tmp_path / "whole")
    broken, kills = tmp_path / "broken", 0
    for epochs, delay in ((1, 0.001), (2, 0.004), (2, 0.0), (3, 0.01), (1, 0.007)):
        kills += killed_after(lambda: trained(case, broken, resume=True, callbacks=[Slow()]), broken, epochs, delay)
    assert kills >= 3
    trained(case, broken, resume=True, callbacks=[Slow()])
    assert outcome(broken) == outcome(tmp_path / "whole")


class Slow:
    """Gives a killer time."""

    def after_step(self, training):
        time.sleep(0.003)


def killed_after(work, folder, epochs, delay):
    """Do some work in a process of its own, and kill it ``delay`` seconds after so many more epochs; whether it ran."""

    def written():
        file = folder / "metrics.jsonl"
        return file.read_bytes().count(b"\n") if file.exists() else 0

    before, give_up = written(), time.monotonic() + 60
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    while written() < before + epochs:
        assert time.monotonic() < give_up
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def test_a_resumed_training_has_the_structures_and_moments_of_the_one_that_was_interrupted(tmp_path):
    """Interrupted after the structures came, and again while their density falls."""

    class Stop:
        def __init__(self, at):
            self.at, self.seen = at, []

        def before_epoch(self, training):
            if training.epoch == self.at:
                raise KeyboardInterrupt

        def after_step(self, training):
            matrices = [m for m in training.model.modules() if hasattr(m, "num_parameters")]
            self.seen.append(sorted({type(m).__name__ for m in matrices}))

    whole = Stop(0)
    trained(compressed_and_annealed, tmp_path / "whole", callbacks=[whole])
    pieces = [Stop(5), Stop(8), Stop(0)]
    for stop in pieces[:-1]:
        with pytest.raises(KeyboardInterrupt):
            trained(compressed_and_annealed, tmp_path / "run", resume=True, callbacks=[stop])
    trained(compressed_and_annealed, tmp_path / "run", resume=True, callbacks=[pieces[-1]])
    assert [seen for stop in pieces for seen in stop.seen] == whole.seen
    assert "Sparse" in whole.seen[-1] and "Sparse" not in whole.seen[0]
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_table_beside_the_run_goes_on_with_it(tmp_path):
    class Stop:
        def __init__(self, at=0):
            self.at = at

        def before_epoch(self, training):
            if training.epoch == self.at:
                raise KeyboardInterrupt

    trained(own_layers, tmp_path / "whole", log=Csv(tmp_path / "whole.csv"))
    with pytest.raises(KeyboardInterrupt):
        trained(own_layers, tmp_path / "run", log=Csv(tmp_path / "run.csv"), callbacks=[Stop(5)])
    trained(own_layers, tmp_path / "run", log=Csv(tmp_path / "run.csv"), callbacks=[Stop()], resume=True)
    whole, again = ((tmp_path / f"{name}.csv").read_text().splitlines() for name in ("whole", "run"))
    assert whole[0] == again[0] == "epoch,loss,train,val,test,val_loss,lr,seconds" and len(whole) == 10
    assert [row.rsplit(",", 1)[0] for row in whole] == [row.rsplit(",", 1)[0] for row in again]


def test_a_loaders_numbers_begin_anew_with_every_seed(tmp_path):
    rows = torch.utils.data.TensorDataset(torch.randn(20, 3), torch.arange(20) % 2)
    generator = torch.Generator()
    loader = torch.utils.data.DataLoader(rows, 4, shuffle=True, generator=generator)

    def losses(seeds):
        outcome = run_seeds(lambda: torch.nn.Linear(3, 2), loader, seeds=seeds, epochs=2, progress=False)
        return [record["loss"] for record in outcome.histories[seeds[-1]]]

    assert losses([0, 1]) == losses([1])  # as where seed 0 was done before a kill
