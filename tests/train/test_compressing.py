"""compress: one call converts, searches, fine-tunes, judges and saves, and test data decide nothing."""

import copy
from pathlib import Path

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import TensorDataset

from edgenet import NodeClassifier
from edgenet.compress import report
from edgenet.errors import ConfigError, PlanError
from edgenet.nn import EdgeNetConv
from edgenet.pretrained import from_pretrained
from edgenet.train import Task, compress, fit
from edgenet.train.withheld import examples_of, outputs_of

from train.small_data import nodes  # isort: skip

QUICK = {"families": ("low_rank", "uniform"), "epochs": 4, "progress": False}


@pytest.fixture
def dataset():
    return nodes(60)


@pytest.fixture
def model(dataset):
    model = NodeClassifier(4, 2, layer="gcn", hidden_channels=16, dropout=0.0)
    fit(model, dataset, epochs=20, lr=0.05, progress=False)
    return model.eval()


def test_it_makes_a_model_small_judges_it_and_saves_it(dataset, model, tmp_path):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = compress(model, dataset, times=3, out=tmp_path / "small", **QUICK)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert made.satisfied and made.report.total.bytes * 3 <= report(model).total.bytes
    content = Path(tmp_path / "small", "model.safetensors").read_bytes()
    assert made.report.total.bytes == len(content) - 8 - int.from_bytes(content[:8], "little")
    assert set(made.before) == set(made.after) == {"val", "test"}
    x, edges = dataset.train[0].x.double(), dataset.train[0].edge_index
    with torch.no_grad():
        torch.testing.assert_close(from_pretrained(tmp_path / "small")(x, edges), made.model(x, edges))
    assert (tmp_path / "small" / "report.json").is_file() and "| structure |" in made.table
    assert "times fewer than before" in made.text


def test_test_data_change_nothing(dataset, model):
    """Neither their labels, nor what the given model says of them."""

    class Lies(nn.Module):
        """The model, which says something else of test nodes."""

        def __init__(self, inner, mask):
            super().__init__()
            self.inner, self.mask, self.lies = inner, mask, False

        def forward(self, x, edge_index):
            scores = self.inner(x, edge_index)
            return torch.where(self.mask[:, None], -7 * scores, scores) if self.lies else scores

    data = dataset.train[0]
    honest = Lies(model, data.test_mask)
    lying, other = copy.deepcopy(honest), data.clone()
    lying.lies = True
    other.y = torch.where(data.test_mask, 1 - data.y, data.y)
    first = compress(honest, data, times=3, **QUICK)
    second = compress(lying, other, times=3, **QUICK)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert first.after["val"] == second.after["val"] and first.text == second.text


def test_outputs_are_of_all_nodes_but_test_nodes_and_examples_of_validation_nodes(dataset, model):
    task, data = Task.of(dataset), dataset.train[0]
    task.evaluate(model)
    with torch.no_grad():
        scores = model(data.x.double(), data.edge_index)
        (found,) = outputs_of(task)(model)
        torch.testing.assert_close(found, scores[~data.test_mask])
        right = examples_of(task)(model)
    assert torch.equal(right, (scores.argmax(1) == data.y)[data.val_mask].double())


def test_layers_of_pyg_become_edgenets(dataset):
    model = pyg.GAT(4, 8, 2, 2, heads=2)
    made = compress(model, dataset, bytes=report(model).total.bytes / 2, **QUICK)
    assert any(isinstance(module, EdgeNetConv) for module in made.model.modules())
    assert made.satisfied and made.report.total.bytes * 2 <= report(model).total.bytes


def test_batch_norms_are_recalibrated():
    torch.manual_seed(1)
    x = 3 + torch.randn(120, 12)
    y = (x[:, 0] > 3).long()
    model = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    task = Task(TensorDataset(x[:80], y[:80]), TensorDataset(x[80:], y[80:]))
    fit(model, task, epochs=20, lr=0.02, progress=False)
    made = compress(model, task, times=4, **{**QUICK, "epochs": 0})
    assert not torch.equal(made.model[1].running_mean, model[1].running_mean)
    assert set(made.after) == {"val"}


def test_drops_and_forms_and_plans(dataset, model):
    made = compress(model, dataset, max_drop=0.5, **QUICK)
    assert made.after["val"] >= made.before["val"] - 0.5 and made.search.interval is not None
    few = compress(model, dataset, form="int4", epochs=0, progress=False)
    assert few.search is None and "converted to int4" in few.text and few.report.total.bytes < report(model).total.bytes
    planned = compress(model, plan={"convs": {"structure": "low_rank", "rank": 1}}, progress=False)
    assert {row.structure for row in planned.report.rows} == {"low_rank"} and planned.before == {}


@pytest.mark.parametrize(
    "options, says",
    [
        ({}, "one goal"),
        ({"times": 2, "bytes": 100}, "times and bytes"),
        ({"form": "int8", "times": 2}, "form and times"),
        ({"tolerance": 0.1}, "tolerance wants data with a validation split"),
        ({"times": 2, "epochs": 3}, "epochs wants data"),
        ({"form": "int", "bits": (4, 8)}, "one number of bits"),
        ({"plan": {"convs": 4}, "bits": 4}, "bits is for a search, and a plan says itself"),
        ({"form": "int8", "families": "low_rank", "pattern": "a"}, "families and pattern is for a search"),
        ({"times": 2, "epochs": -1}, "a whole number from 0 up, got -1"),
        ({"times": 2, "epochs": 0, "lr": 0.1}, "there is none"),
        ({"times": 2, "out": __file__}, "is a file"),
    ],
)
def test_goals_that_do_not_go_together_are_refused(model, options, says):
    with pytest.raises(ConfigError, match=says):
        compress(model, progress=False, **options)


@pytest.mark.parametrize("times", [0, -1, 0.5, "7", float("nan")])
def test_a_model_is_made_smaller_or_refused(model, times):
    with pytest.raises(PlanError, match="a budget of ratio wants a number above 1"):
        compress(model, times=times, progress=False)


def test_what_cannot_be_copied_is_told(model):
    prune.l1_unstructured(model.convs[0].lift.linear.weight, "weight", 0.5)
    model(torch.randn(3, 4), torch.tensor([[0, 1], [1, 2]]))
    for goal in ({"times": 2}, {"plan": {"convs": {"structure": "low_rank", "rank": 1}}}):
        with pytest.raises(PlanError, match="cannot be copied"):
            compress(model, progress=False, **goal)


def test_a_frozen_model_is_compressed_and_not_fine_tuned(dataset, model):
    made = compress(model.requires_grad_(False), dataset, times=3, **QUICK)
    assert made.satisfied and "no parameter of the model wants a gradient" in made.text
    assert not any(p.requires_grad for p in made.model.parameters())


def test_a_slot_under_a_hook_stays_as_it_is(dataset):
    model = pyg.GAT(4, 8, 2, 2, heads=2)
    model.convs[1].lin.register_forward_hook(lambda module, inputs, output: output)
    made = compress(model, dataset, times=1.5, **QUICK)
    assert "not converted" in made.text
    assert {row.name: row.structure for row in made.report.rows}["convs.1.lin.weight"] == "dense"
