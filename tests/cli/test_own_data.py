"""Data and models of one's own: trained on, gone on with, and asked about."""

import csv
import importlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from edgenet.config import ModelTable, RunConfig
from edgenet.presets import preset

QUICK = ["--epochs", "3", "--no-pictures"]
CODE = """
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

class Net(nn.Module):
    def __init__(self, features, classes, width=4):
        super().__init__()
        self.first, self.last = GCNConv(features, width), GCNConv(width, classes)

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index).relu(), edge_index)

class Narrow(Net):
    def forward(self, x, edge_index):
        return x @ torch.ones(3, 2)

class Refuses(Net):
    def forward(self, x, edge_index):
        raise ValueError("on Mondays")

def graph(nodes=20):
    index = torch.arange(nodes)
    x = torch.stack([index % 2, 1 - index % 2], 1).float()
    return Data(x=x, y=index % 2, edge_index=torch.stack([index, (index + 2) % nodes]))

def wants(nodes): ...

def nothing(): ...

def again(): return again()

ready = Net(2, 2)
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A module of the user's, whose name no other test has."""
    name = f"mine_{tmp_path.name}"
    Path(f"{name}.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(name, None)


def write(name, rows):
    Path(name).write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")


@pytest.fixture
def tables():
    write("nodes.csv", [["id", "f", "label"], *[[f"n{i}", i % 2, ("red", "blue")[i % 2]] for i in range(20)]])
    edges = [[f"n{i}", f"n{(i + 2) % 20}", i % 2, 0.5 * i] for i in range(20)]
    write("edges.csv", [["source", "target", "fraud", "worth"], *edges])
    return ["--data", "edges.csv", "--nodes", "nodes.csv"]


def trained(run, *arguments):
    code, out, err = run("train", *arguments, *QUICK)
    assert code == 0, err
    return out, err


def predicted(run, *arguments):
    code, out, err = run("predict", *arguments)
    assert code == 0, err
    return list(csv.DictReader(io.StringIO(out)))


def test_nodes_of_tables_are_trained_on_and_predicted_by_the_names_of_their_classes(run, tables):
    out, _ = trained(run, *tables)
    assert "gat on edges" in out and "runs/edges-gat" in out
    rows = predicted(run, "runs/edges-gat", "edges.csv", "--nodes", "nodes.csv")
    assert [row["node"] for row in rows] == [f"n{i}" for i in range(20)]
    assert {row["prediction"] for row in rows} <= {"red", "blue"}
    assert all(abs(float(row["p(red)"]) + float(row["p(blue)"]) - 1) < 1e-5 for row in rows)  # six digits are printed
    write("others.csv", [["id", "f"], ["x", 1], ["y", 0]])
    write("between.csv", [["source", "target", "fraud", "worth"], ["x", "y", 0, 1]])
    assert [r["node"] for r in predicted(run, "runs/edges-gat", "between.csv", "--nodes", "others.csv")] == ["x", "y"]
    for place in ("runs/edges-gat/seed-0", "runs/edges-gat/seed-0/model"):
        assert predicted(run, place, "edges.csv", "--nodes", "nodes.csv") == rows


def test_edges_values_and_labels_are_learned(run, tables):
    trained(run, *tables, "--target", "fraud", "--out", "f")
    rows = predicted(run, "f", "edges.csv", "--nodes", "nodes.csv")
    assert list(rows[0]) == ["source", "target", "prediction", "p(0)", "p(1)"] and rows[1]["target"] == "n3"
    out, _ = trained(run, *tables, "--target", "worth", "--metric", "r2", "--out", "w")
    assert "val r2" in out and list(predicted(run, "w", "edges.csv", "--nodes", "nodes.csv")[0])[2:] == ["prediction"]
    write("nodes.csv", [["id", "f", "a", "b"], *[[f"n{i}", i, i % 2, 1 - i % 2] for i in range(20)]])
    trained(run, *tables, "--target", "a,b", "--out", "m")
    row = predicted(run, "m", "edges.csv", "--nodes", "nodes.csv")[0]
    assert row["prediction"] == ";".join(n for n in "ab" if float(row[f"p({n})"]) > 0.5)


def test_a_value_that_is_called_as_the_rows_are_leaves_their_names(run, tables):
    write("nodes.csv", [["id", "f", "node", "b"], *[[f"n{i}", i, 1.5 * i, 0.1 * i] for i in range(20)]])
    trained(run, *tables, "--target", "node,b", "--out", "v")
    rows = predicted(run, "v", "edges.csv", "--nodes", "nodes.csv")
    assert list(rows[0]) == ["node", "prediction(node)", "b"] and rows[3]["node"] == "n3"


def test_graphs_of_a_file_are_learned_of_and_written_as_json_and_arrays(run):
    path = torch.tensor([[0, 1], [1, 2]])
    graphs = [Data(x=torch.full((3, 2), float(g % 2)), y=torch.tensor([g % 2]), edge_index=path) for g in range(20)]
    torch.save(graphs, "many.pt")
    trained(run, "many.pt", "--model", "gcn")
    assert run("predict", "runs/many-gcn", "many.pt", "--out", "p.json")[0] == 0
    content = json.loads(Path("p.json").read_text())
    assert len(content["predictions"]) == 20 and content["kind"] == "class"
    assert run("predict", "runs/many-gcn", "many.pt", "--out", "p.npz")[0] == 0
    with np.load("p.npz", allow_pickle=False) as arrays:
        assert arrays["prediction"].tolist() == [row["prediction"] for row in content["predictions"]]
        np.testing.assert_allclose(arrays["p(1)"], [row["p(1)"] for row in content["predictions"]])
    code, _, err = run("predict", "runs/many-gcn", "many.pt", "--out", "p.npz")
    assert code == 2 and "p.npz exists" in err


def test_a_function_and_a_class_of_ones_own_are_named_and_named_again_to_go_on(run, code):
    out, _ = trained(run, "--data", f"{code}:graph", "--model", f"{code}:Net", "--set", "model.options.width=6")
    assert f"{code}:Net on graph, 32 parameters" in out
    again = ["train", "runs/graph-Net", "--resume", "--no-pictures"]
    codes, _, err = run(*again)
    assert codes == 2 and f"add --data {code}:graph" in err
    codes, _, err = run(*again, "--data", f"{code}:graph")
    assert codes == 2 and f"add --model {code}:Net" in err
    assert run(*again, "--data", f"{code}:graph", "--model", f"{code}:Net")[0] == 0
    asked = ["predict", "runs/graph-Net", f"{code}:graph"]
    assert f"add --model {code}:Net" in run(*asked)[2]
    assert len(predicted(run, *asked[1:], "--model", f"{code}:Net")) == 20


def test_a_model_of_ones_own_takes_no_layer_from_the_settings_of_a_data_set(run, code):
    trained(run, "karate", "--model", f"{code}:Net")
    config = RunConfig.from_toml("runs/karate-Net/config.toml")
    assert config.model == ModelTable(kind=f"{code}:Net")
    theirs = preset("ppi", changes={"model.kind": "mine:Net"})
    assert theirs.model.layer is None and theirs.training == preset("ppi", "gcn").training  # those of all models
    assert len(predicted(run, "runs/karate-Net", "karate", "--model", f"{code}:Net")) == 34
    code_, out, err = run("report", "runs/karate-Net")  # which needs no code
    assert code_ == 0 and "first.lin" in out, err
    code_, _, err = run("export", "runs/karate-Net")
    assert code_ == 2 and f"the code of {code}.Net is not here" in err


def test_a_class_of_pyg_gets_its_sizes_by_name(run, code):
    data = ["--data", f"{code}:graph", "--model", "torch_geometric.nn:GCN"]
    codes, _, err = run("train", *data)
    assert codes == 2 and "wants hidden_channels, num_layers. Add --set model.hidden_channels=VALUE" in err
    trained(run, *data, "--set", "model.hidden_channels=4", "--set", "model.num_layers=2")


def test_a_file_of_settings_stands_beside_data_and_runs_no_code_by_itself(run, tables, code):
    Path("my.toml").write_text('[dataset]\nname = "other"\n[model]\nlayer = "gcn"\nhidden_channels = 3\n')
    trained(run, "my.toml", *tables, "--out", "run")
    assert 'name = "edges.csv"' in Path("run/config.toml").read_text()
    Path("evil.toml").write_text(f'[dataset]\nname = "karate"\n[model]\nkind = "{code}:Net"\n')
    assert run("train", "evil.toml")[0] == 2 and code not in sys.modules
    Path("evil.toml").write_text('[dataset]\nname = "os:getcwd"\n[model]\nlayer = "gcn"\n')
    assert "a file runs no code by itself" in run("train", "evil.toml")[2]


def test_settings_that_a_data_set_lacks_are_said_to_be_defaults(run):
    code, _, err = run("train", "karate", "--preset", "dagnn", *QUICK)
    assert code == 0 and "edgenet: karate has no settings for dagnn: defaults train it; it has some for arma," in err
    code, _, err = run("train", "karate", "--preset", "dagn")
    assert code == 2 and "no layer is called 'dagn'" in err and "defaults" not in err
    assert "defaults" not in run("train", "karate", "--preset", "gcn", *QUICK)[2]


def test_sinks_are_chosen_and_warnings_told(run, tables):
    write("bare.csv", [["source", "target", "fraud"], *[[i, (i + 1) % 20, i % 2] for i in range(20)]])
    _, err = trained(run, "--data", "bare.csv", "--target", "fraud", "--log", "csv", "--log", "jsonl")
    assert "nodes have no features" in err
    assert len(Path("runs/bare-gat/seed-0/metrics.csv").read_text().splitlines()) == 4
    assert Path("runs/bare-gat/seed-0/log.jsonl").is_file()


# ---------------------------------------------------------------- what does not fit
def test_code_that_fails_is_one_line_with_its_place_and_in_words(run, code):
    data = ["train", "--data", f"{code}:graph", "--no-pictures", "--model"]
    line = run(*data, f"{code}:Narrow", "--out", "a")[2].splitlines()[-1]  # a bar came before
    assert f"{code}.py:17 (forward)" in line and "2 features, and the map that reads it takes 3" in line
    assert "mat1" not in line
    assert "ValueError: on Mondays" in run(*data, f"{code}:Refuses", "--out", "b")[2].splitlines()[-1]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--data", "CODE:grap"], "has no 'grap'. Did you mean 'graph'?"),
        (["--data", "no_such_module_of_mine:graph"], "there is no module 'no_such_module_of_mine'"),
        (["--data", "CODE:wants"], "is called without arguments"),
        (["--data", "CODE:Net"], "is called without arguments"),
        (["--data", "CODE:nets"], "has no 'nets'"),
        (["--data", "CODE:nothing"], "gave None"),
        (["--data", "CODE:again"], "RecursionError: it calls itself without an end"),
        (["--data", "CODE:ready"], "gave a Net"),
        (["--data", "CODE:graph", "--model", "CODE:ready"], "a class of modules is wanted"),
        (["--data", "CODE:graph", "--model", "CODE:nothing"], "features and of outputs, and takes ()"),
        (["--data", "CODE:graph", "--model", "CODE:graph"], "is called with the numbers of features and of outputs"),
        (["--data", "CODE:graph", "--model", "CODE:Net", "--set", "model.options.widht=3"], "Did you mean 'width'"),
        (["--data", "gone.csv"], "gone.csv: no such file"),
        (["--data", "gone.pt"], "gone.pt: no such file"),
        (["--data", "CODE:graph", "--nodes", "n.csv"], "names a table beside a file"),
        (["--data", "CODE:graph", "--split", "3"], "has no masks"),
        (["--data", "CODE:graph", "--split", "x"], "has no masks"),
        (["--data", "CODE:graph", "--task", "grpah"], "--task: invalid choice"),
        (["--data", "CODE:graph", "--kind", "value", "--metric", "accuracy"], "rmse, mae, r2"),
        (["--data", "CODE:graph", "--log", "tensorbord"], "Did you mean 'tensorboard'?"),
        (["--data", "CODE:graph", "--set", "training.batch_size=0"], "at least 1"),
        (["--data", "CODE:graph", "--set", "model.hidden_channels=0"], "hidden_channels"),
        (["--data", "CODE:graph", "--set", "model.options.heads=0"], "heads"),
        (["--data", "CODE:graph", "--model", "gat", "--preset", "gcn"], "not allowed with argument"),
        (["karate", "--data", "CODE:graph"], "are two data sets"),
        (["karate", "--target", "club"], "karate has no option 'target'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_arguments_that_do_not_fit_are_one_line_and_leave_no_folder(refused, code, arguments, says):
    assert says in refused("train", *(argument.replace("CODE", code) for argument in arguments))
    assert not Path("runs").exists()


def test_a_module_that_is_no_python_is_refused_with_its_line(refused, code):
    Path(f"{code}.py").write_text("import os\n\ndef f(:\n")
    assert f"in your code, {code}.py:3: SyntaxError" in refused("train", "karate", "--model", f"{code}:Net")


def test_predictions_of_what_does_not_fit_are_refused(run, refused, tables, code):
    trained(run, *tables)
    run("train", "karate", "--model", "gcn", *QUICK)
    torch.save(Data(x=torch.zeros(3, 2), edge_index=torch.zeros(2, 1).long()), "one.pt")
    run_, data = "runs/edges-gat", ["edges.csv", "--nodes", "nodes.csv"]
    for arguments, says in (
        (["nowhere", *data], "nowhere: no such model"),
        ([run_, "gone.csv"], "no such file"),
        ([run_, "one.pt"], "the model was trained on tables"),
        ([run_, "edges.csv"], "none has a table: --nodes FILE"),
        ([run_, "karate"], "does not run on karate|made for 1 input channels"),
        (["runs/karate-gcn", *data], "does not know what it was trained on"),
        (["runs/karate-gcn", "source_localisation"], "is of signals"),
        ([run_, *data, "--out", "x.txt"], "ends in .csv, .json, .npz"),
    ):
        line = refused("predict", *arguments)
        assert any(part in line for part in says.split("|")), line
    assert len(predicted(run, "runs/karate-gcn", "karate")) == 34
    assert "is called without arguments" in refused("predict", run_, f"{code}:Net")
    Path(run_, "data.json").write_text("{")
    assert "data.json: damaged" in refused("predict", run_, *data)


def test_compress_and_export_take_the_data_that_a_model_was_trained_on(run, refused, tables):
    trained(run, *tables, "--ignore", "worth", "--model", "gat", "--out", "run", "--set", "model.options.edge_dim=1")
    own = [*tables, "--ignore", "worth"]
    code, out, err = run("compress", "run", *own, "--form", "int8", "--fine-tune", 0, "--out", "small")
    assert code == 0, err
    assert "val accuracy on edges: " in out
    code, out, err = run("export", "run", *own, "--to", "pt2", "--json")
    assert code == 0, err
    assert json.loads(out)["inputs"] == {"x": ["nodes", 1], "edge_index": [2, "edges"], "edge_attr": ["edges", 1]}
    for command in (["compress", "run", "--times", 2, "--out", "other"], ["export", "run"]):
        assert "--target needs --data" in refused(*command, "--target", "label")
