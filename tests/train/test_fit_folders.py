"""What fit writes: sinks, folders and models."""

import copy
import csv
import json
import math

import pytest
import torch
from torch import nn

from edgenet.errors import CheckpointError, ConfigError
from edgenet.models import NodeClassifier
from edgenet.pretrained import from_pretrained
from edgenet.train import (
    Csv,
    JsonLines,
    Task,
    TensorBoard,
    fit,
    read_metrics,
    read_result,
    read_run_model,
    run_seeds,
)

from train.small_data import nodes  # isort: skip
from fitting import QUIET, Watch, line, trained


# ---------------------------------------------------------------- sinks
def test_records_go_to_every_sink(tmp_path):
    seen = []
    sinks = [seen.append, Csv(tmp_path / "a.csv"), JsonLines(tmp_path / "a.jsonl")]
    result, _ = trained(log=sinks, val=line())
    assert seen == result.history == read_metrics(tmp_path / "a.jsonl")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [list(record) for record in seen]
    assert [float(row["loss"]) for row in rows] == [record["loss"] for record in seen]
    trained(log=seen.append)
    assert len(seen) == 8
    with pytest.raises(ConfigError, match="a sink is called with the record of every epoch"):
        trained(log=[5])
    with pytest.raises(ConfigError, match="the sink 'csv' writes into the folder"):
        trained(log=["csv"])


def test_a_table_of_records_goes_on_where_a_checkpoint_was_taken(tmp_path):
    for kind, name in ((Csv, "a.csv"), (JsonLines, "a.jsonl")):
        whole, broken = kind(tmp_path / f"whole-{name}"), tmp_path / name
        for sink, epochs in ((whole, range(1, 5)), (kind(broken), range(1, 4))):
            sink.start(0)
            for epoch in epochs:
                sink({"epoch": epoch, "loss": 1 / epoch})
            sink.close()
        again = kind(broken)
        again.start(2)  # the checkpoint knows two of the three
        for epoch in (3, 4):
            again({"epoch": epoch, "loss": 1 / epoch})
        again.close()
        assert broken.read_text() == whole.path.read_text()


def test_curves_for_tensorboard_are_written_where_its_package_is_there(tmp_path):
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="pip install tensorboard"):
            TensorBoard(tmp_path)
        return
    trained(log=[TensorBoard(tmp_path / "curves")])
    assert any((tmp_path / "curves").iterdir())


# ---------------------------------------------------------------- folders
def test_a_folder_holds_metrics_model_and_result(tmp_path):
    folder = tmp_path / "a" / "mine"
    torch.manual_seed(0)
    model = NodeClassifier(4, 2, layer="gat", hidden_channels=4)
    result = fit(model, nodes(), epochs=3, folder=folder, **QUIET)
    assert sorted(p.name for p in folder.iterdir()) == ["metrics.jsonl", "model", "result.json"]
    assert read_result(folder) == result.numbers(0)
    x, edges = nodes().train[0].x.double(), nodes().train[0].edge_index
    with torch.no_grad():
        assert torch.equal(from_pretrained(folder / "model")(x, edges), model(x, edges))


def test_what_stands_in_a_folder_is_not_touched_unless_told(tmp_path):
    first, weights = trained(folder=tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match=r"holds a training already\. Continue it with resume=True, .*overwrite=True"):
        trained(folder=tmp_path / "run")
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
    model = nn.Linear(4, 2)
    again = fit(model, line(), loss="mse", epochs=4, batch_size=8, folder=tmp_path / "run", resume=True, **QUIET)
    assert again.history == first.history and again.model is model  # was read, not run
    assert torch.equal(torch.cat([p.detach().flatten() for p in model.parameters()]), weights)
    with pytest.raises(CheckpointError, match=r"result\.json: is of another configuration: .*epochs was 4, is 5"):
        trained(folder=tmp_path / "run", epochs=5, resume=True)
    trained(folder=tmp_path / "run", epochs=5, overwrite=True)
    assert read_result(tmp_path / "run").epochs == 5
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(ConfigError, match="holds files, and no training"):
            trained(folder=tmp_path / "mine", **options)
    with pytest.raises(ConfigError, match="is a file"):
        trained(folder=tmp_path / "mine" / "thesis.txt")


def test_a_model_that_could_not_be_saved_is_refused_before_it_is_trained(tmp_path):
    model = nn.Sequential(nn.Linear(4, 2))
    model[0].register_forward_hook(lambda module, inputs, output: output + 1)
    steps = Watch(lambda training: training.step)
    with pytest.raises(CheckpointError, match="it has a hook"):
        trained(model, folder=tmp_path / "run", callbacks=[steps])
    assert not steps.seen


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(4, 2)

    def forward(self, x):
        return self.map(x)


def test_seeds_of_a_module_of_ones_own_are_run_and_read_back(tmp_path):
    options = {"epochs": 3, "batch_size": 8, "progress": False, "folder": tmp_path / "run"}
    task = Task(line(), val=line(), loss="mse", metric="mae")
    result = run_seeds(Own, task, seeds=[0, 3], **options)
    assert [r.seed for r in result.seeds] == [0, 3] and result.metric == "mae" and result.seeds[0].test is None
    assert math.isnan(result.mean()) and result.mean("val") > 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["test"] == {"mean": None, "std": None}
    again = run_seeds(Own, task, seeds=[0, 3], resume=True, **options)
    for seed in (0, 3):
        a, b = result.models[seed].state_dict(), again.models[seed].state_dict()
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    best = min(result.seeds, key=lambda r: r.val).seed
    found = read_run_model(tmp_path / "run", Own())
    assert torch.equal(found.map.weight, result.models[best].map.weight)
    alone = run_seeds(Own, task, seeds=[3], **{**options, "folder": None})
    assert torch.equal(alone.models[3].map.weight, result.models[3].map.weight)


def test_a_copy_of_a_model_is_not_trained_along():
    model = nn.Linear(4, 2)
    kept = copy.deepcopy(model)
    before = {name: value.clone() for name, value in kept.state_dict().items()}
    trained(model)
    assert all(torch.equal(value, before[name]) for name, value in kept.state_dict().items())
