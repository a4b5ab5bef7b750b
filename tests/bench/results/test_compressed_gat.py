"""The page on the compressed GAT holds what was measured, and nothing in it was chosen by a test node."""

import copy
import json
import sys

import pytest
import torch

from edgenet.bench.harness import report
from edgenet.bench.results import compressed_gat as page
from edgenet.bench.results import compressed_gat_cases as cases
from edgenet.bench.results import compressed_gat_run as work
from edgenet.bench.results import published_gat
from edgenet.bench.results.compressed_gat_run import SLOTS, Case
from edgenet.bench.results.published_gat import Problem
from edgenet.cli import main
from edgenet.errors import ConfigError, DatasetNotFoundError
from edgenet.models import NodeClassifier
from edgenet.structured import family

from train.small_data import nodes  # isort: skip

LOW_RANK = Case({SLOTS[0]: {"structure": "low_rank", "rank": 1}})


def problem(data=None):
    torch.manual_seed(3)
    model = NodeClassifier(4, 2, layer="gat", hidden_channels=2, heads=2, dropout=0.5).float()
    return Problem.of(model, nodes().train[0] if data is None else data)


@pytest.fixture
def small(monkeypatch):
    """A ring with a random network, and few cases, in this process."""
    monkeypatch.setitem(work.SETTINGS, "epochs", 12)
    for module in (page, work):
        monkeypatch.setattr(module, "published", lambda root: problem())
    monkeypatch.setattr(page, "run_all", lambda jobs, processes, run: [run(job) for job in jobs])
    monkeypatch.setattr(cases, "FAMILIES", {"low_rank": [{"rank": 1}], "sparse": [{"density": 0.25}]})
    monkeypatch.setattr(page, "AIMS", ((1.01, 1.0),))
    monkeypatch.setattr(page, "PARTS", [("labels", Case(LOW_RANK.structure, "labels")), ("whole", LOW_RANK)])


def test_every_row_is_of_its_own_runs(tmp_path, monkeypatch, small):
    out, runs = tmp_path / "page.md", tmp_path / "runs"
    arguments = ["bench", "compressed_gat", "--seeds", "2", "--out", str(out), "--runs", str(runs)]
    monkeypatch.setattr(sys, "argv", ["edgenet", *arguments])
    assert main(arguments) == 0
    text = out.read_text(encoding="utf-8")
    for name, (_, case) in zip(("low_rank", "sparse"), cases.cases(), strict=True):
        own = json.loads((runs / f"{case.name}.json").read_text(encoding="utf-8"))
        held = Case(case.structure, "held out")
        other = json.loads((runs / f"{held.name}.json").read_text(encoding="utf-8"))
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
        cells = [cell.strip() for cell in row.split("|")][1:-1]
        facts = own["projection"]
        assert cells[2:5] == [
            f"{facts['parameters']:,}",
            f"{facts['parameters_before'] / facts['parameters']:.1f}x",
            f"{facts['bytes_before'] / facts['bytes']:.1f}x",
        ]
        assert cells[8:] == [
            f"**{report.spread([seed['test'] for seed in own['seeds']])}**",
            report.spread([seed["agreement"] for seed in own["seeds"]]),
            report.spread([seed["test"] for seed in other["seeds"]]),
        ]
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG") and "(page.png)" in text
    monkeypatch.setattr(work, "finetuned", None)  # runs that are done are read
    assert main(arguments) == 0
    assert out.read_text(encoding="utf-8") == text


def test_what_is_reached_is_read_off_the_largest_model_that_is_small_enough():
    def result(parameters, *test):
        projection = {"parameters": parameters, "parameters_before": 1000}
        return {"projection": projection, "seeds": [{"test": value} for value in test]}

    names = ["sparse", "sparse", "sparse", "hashed"]
    main_rows = [result(50, 0.9), result(30, 0.8), result(40, 0.78, 0.80), result(35, 0.798)]
    text = page._reached(names, main_rows, {row: result(1, 0.7) for row in (0, 2, 3)}, 0.8)
    lines = [line for line in text.splitlines() if line.startswith("- At 25x")]
    assert lines[0].endswith("with all scores: `hashed` (-0.20). Not: `sparse` (-1.00).")
    assert lines[1].endswith("withheld: no family. Not: `sparse` (-10.00), `hashed` (-10.00).")


def test_an_interrupted_case_goes_on_with_the_seeds_that_are_missing(tmp_path, small, monkeypatch):
    whole = work.measured((LOW_RANK, tmp_path / "a", 3, None))
    first = work.measured((LOW_RANK, tmp_path / "b", 1, None))
    asked = []
    real = work.finetuned
    monkeypatch.setattr(work, "finetuned", lambda p, m, c, seed: (asked.append(seed), real(p, m, c, seed))[1])
    later = work.measured((LOW_RANK, tmp_path / "b", 3, None))
    assert asked == [1, 2] and later["seeds"][0] == first["seeds"][0]
    for mine, theirs in zip(whole["seeds"], later["seeds"], strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}


def test_a_case_of_other_settings_is_refused(tmp_path, small, monkeypatch):
    work.measured((LOW_RANK, tmp_path, 1, None))
    monkeypatch.setitem(work.SETTINGS, "temperature", 1.0)
    with pytest.raises(ConfigError, match=r"low_rank-rank-1-all\.json: is of other settings\. Remove it"):
        work.measured((LOW_RANK, tmp_path, 1, None))


def trained(given, targets, seed=0):
    case = Case(LOW_RANK.structure, targets)
    model, _ = work.projected(given, case)
    return work.finetuned(given, model, case, seed), model


@pytest.mark.parametrize("targets", ["all", "held out", "labels"])
def test_no_class_of_a_test_node_decides_anything(targets, monkeypatch):
    monkeypatch.setitem(work.SETTINGS, "epochs", 12)
    data = nodes().train[0]
    other = copy.copy(data)
    other.y = torch.where(data.test_mask, 1 - data.y, data.y)
    (mine, model), (theirs, same) = trained(problem(data), targets), trained(problem(other), targets)
    assert mine["test"] == pytest.approx(1 - theirs["test"])  # the change is seen where it is measured
    assert mine["epoch"] == theirs["epoch"] and mine["val"] == theirs["val"]
    for a, b in zip(model.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)


def test_scores_at_test_nodes_teach_only_where_they_are_not_held_out(monkeypatch):
    monkeypatch.setitem(work.SETTINGS, "epochs", 12)
    given = problem()
    changed = given.scores + 5 * given.data.test_mask[:, None] * torch.randn(2, dtype=torch.float32)
    other = Problem(given.model, given.data, given.x, given.graph, changed)
    for targets, alike in (("held out", True), ("labels", True), ("all", False)):
        mine, theirs = (trained(one, targets)[1].state_dict() for one in (given, other))
        assert all(torch.equal(mine[key], theirs[key]) for key in mine) == alike


def test_a_seed_decides_the_run(monkeypatch):
    monkeypatch.setitem(work.SETTINGS, "epochs", 12)
    runs = [trained(problem(), "all", seed)[1].convs[0].lift.linear.weight.to_dense() for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_a_small_network_learns_the_scores_of_a_large_one(monkeypatch):
    monkeypatch.setitem(work.SETTINGS, "epochs", 60)
    given = problem()
    model, facts = work.projected(given, LOW_RANK)
    assert facts["parameters"] < facts["parameters_before"] and 0 < facts["error_on_features"] < 1
    result = work.finetuned(given, model, LOW_RANK, 0)
    assert result["agreement"] >= max(facts["refitted"]["agreement"], 0.9)


@pytest.mark.parametrize("name", cases.FAMILIES)
def test_every_family_has_a_size_for_every_aim_and_sizes_in_order(name):
    rest, whole = 670, 92382
    sizes = [family(name).from_config({"shape": [64, 1433], **options}) for options in cases.FAMILIES[name]]
    ratios = [whole / (matrix.num_parameters() + rest) for matrix in sizes]
    assert ratios == sorted(ratios, reverse=True)
    assert any(25 <= ratio < 45 for ratio in ratios) and any(10 <= ratio < 15 for ratio in ratios)


def test_the_published_model_is_found_or_asked_for(data_root, tmp_path, monkeypatch):
    if not (data_root / published_gat.FILE).is_file():
        pytest.skip(f"no published GAT: {data_root / published_gat.FILE} is no file")
    given = work.published(data_root)
    found = given.judged(given.scores)
    assert (found["test"], found["val"], found["agreement"]) == (pytest.approx(0.844), pytest.approx(0.818), 1.0)
    monkeypatch.delenv("EDGENET_DATA")
    with pytest.raises(DatasetNotFoundError, match=r"gat_cora_pyg\.npz"):
        work.published(tmp_path)
