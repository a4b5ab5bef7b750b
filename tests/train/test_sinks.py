"""Sinks by name, of one training and of several seeds."""

import csv
import json
import sys
import types

import pytest
import torch
from torch_geometric.data import Data

import edgenet
from edgenet.errors import ConfigError, ShapeError
from edgenet.train import SINKS, predict, run_seeds


def rows():
    return torch.utils.data.TensorDataset(torch.rand(20, 4), torch.rand(20, 1))


def fit(**options):
    return edgenet.fit(torch.nn.Linear(4, 1), rows(), val=rows(), epochs=3, progress=False, **options)


def test_names_write_into_the_folder_of_a_training(tmp_path):
    result = fit(folder=tmp_path / "one", log=["csv", "jsonl", "csv"])  # a name that comes twice is one sink
    with (tmp_path / "one" / "metrics.csv").open() as file:
        read = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "one" / "log.jsonl").read_text().splitlines()]
    assert [float(row["loss"]) for row in read] == [r["loss"] for r in lines] == [r["loss"] for r in result.history]


def test_every_seed_has_its_own_and_functions_see_all(tmp_path):
    seen = []
    make = lambda: torch.nn.Linear(4, 1)  # noqa: E731
    run_seeds(make, rows(), epochs=2, seeds=[0, 1], folder=tmp_path / "r", log=["csv", seen.append], progress=False)
    assert [record["epoch"] for record in seen] == [1, 2, 1, 2]
    for seed in (0, 1):
        assert len((tmp_path / "r" / f"seed-{seed}" / "metrics.csv").read_text().splitlines()) == 3


def test_curves_for_tensorboard_are_files_in_the_folder_which_a_new_training_clears(tmp_path):
    pytest.importorskip("tensorboard", reason="the sink is for those who have it")
    for _ in range(2):
        fit(folder=tmp_path / "one", log="tensorboard", overwrite=True)
        assert len(list((tmp_path / "one" / "tensorboard").glob("events.out.tfevents.*"))) == 1


def test_weights_and_biases_gets_the_numbers_of_every_epoch(tmp_path, monkeypatch):
    calls = []
    package = types.ModuleType("wandb")
    package.init = lambda **options: calls.append(("init", options["name"], options["resume"])) or object()
    package.log = lambda numbers, step: calls.append(("log", step, sorted(numbers)))
    package.finish = lambda: calls.append(("finish",))
    monkeypatch.setitem(sys.modules, "wandb", package)
    fit(folder=tmp_path / "one", log="wandb")
    assert calls[0] == ("init", f"{tmp_path.name}/one", None) and calls[-1] == ("finish",)
    assert [call[1] for call in calls[1:-1]] == [1, 2, 3] and "val_loss" in calls[1][2]


def test_what_cannot_be_written_is_refused_before_a_folder_is_made(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no sink is called 'cvs'\. Did you mean 'csv'\?"):
        fit(folder=tmp_path / "one", log="cvs")
    with pytest.raises(ConfigError, match="hand in folder="):
        fit(log="csv")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        fit(folder=tmp_path / "one", log="wandb")
    assert not list(tmp_path.iterdir()) and set(SINKS) == {"csv", "jsonl", "tensorboard", "wandb"}


def test_predictions_are_scores_of_all_rows_answers_unread():
    graphs = [Data(x=torch.randn(n, 4), edge_index=torch.zeros(2, 0).long()) for n in (3, 5)]
    model = edgenet.GraphClassifier(4, 2, layer="gcn").double()
    want = torch.cat([model.eval()(g.x.double(), g.edge_index) for g in graphs])
    torch.testing.assert_close(predict(model.train(), graphs), want)
    nodes = edgenet.NodeClassifier(4, 2, layer="gcn")
    assert predict(nodes, graphs[1]).shape == (5, 2) and not nodes.training and "y" not in graphs[1]
    with pytest.raises(ShapeError, match="there are 5 rows to predict"):
        predict(edgenet.GraphClassifier(4, 2, layer="gcn"), graphs[1])


@pytest.mark.parametrize(
    ("of_one", "told"),
    [
        (lambda graph: [graph], "there are 1 rows to predict, one for every graph of the list; for one for every node"),
        (lambda graph: [graph.x], "a Data of PyG is wanted, or a list of them, a row each; got Tensor"),
        (lambda graph: [], "got none"),
        (lambda graph: None, "got NoneType"),
    ],
)
def test_what_is_predicted_of_is_a_graph_or_a_list_of_graphs(of_one, told):
    graph = Data(x=torch.randn(5, 4), edge_index=torch.zeros(2, 0).long())
    with pytest.raises(ShapeError, match=told):
        predict(edgenet.NodeClassifier(4, 2, layer="gcn"), of_one(graph))
