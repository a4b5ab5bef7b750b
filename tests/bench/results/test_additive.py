"""The page of additive edge weights: penalties are chosen on validation nodes, its numbers are those of its runs."""

import json
import sys

import numpy as np
import pytest
import torch

from edgenet.bench.results import additive, additive_edges, additive_functions, additive_run
from edgenet.bench.results.additive_edges import Recovery
from edgenet.bench.results.additive_features import edge_features
from edgenet.bench.results.additive_run import restored
from edgenet.bench.results.spam_simulation import RELEVANT
from edgenet.cli import main
from edgenet.graph import Graph
from edgenet.phi.additive import Contributions


def test_the_penalty_is_chosen_on_validation_nodes_and_ties_go_to_the_sparser():
    path = {
        0.01: [{"val": 0.80, "test": 0.99}, {"val": 0.82, "test": 0.99}],
        0.02: [{"val": 0.82, "test": 0.10}, {"val": 0.84, "test": 0.10}],
        0.03: [{"val": 0.83, "test": 0.20}, {"val": 0.83, "test": 0.20}],
    }
    assert additive.chosen(path) == 0.03
    path[0.03] = [{"val": 0.82, "test": 0.99}, {"val": 0.82, "test": 0.99}]
    path[0.05] = [{"val": 0.81, "test": 0.99}, {"val": 0.81, "test": 0.99}]
    assert additive.chosen(path) == 0.02
    assert additive.sparsest(path, 0.02) == 0.03  # 0.83, less one standard error of 0.01, is 0.82


def test_features_of_edges_by_hand():
    # words: 0 has {a, b}, 1 has {b, c}, 2 has {b}; links 0-1, 0-2, 1-2, and a loop on 0
    x = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 1.0], [0.0, 0.2, 0.0]])
    graph = Graph(torch.tensor([[0, 1, 0, 2, 1, 2, 0], [1, 0, 2, 0, 2, 1, 0]]), 3)
    found = edge_features(x, graph)
    assert all(values.shape == (7,) and values.isfinite().all() for values in found.values())
    assert found["shared words"].tolist() == [1] * 7
    expected = [1 / 2, 1 / 2, 2**-0.5, 2**-0.5, 2**-0.5, 2**-0.5, (1 / 2 + 2**-0.5) / 2]
    np.testing.assert_allclose(found["cosine of words"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["Jaccard of words"][:2], [1 / 3, 1 / 3], rtol=1e-6)
    assert found["common neighbours"].tolist() == [1] * 7
    np.testing.assert_allclose(found["Adamic-Adar of neighbours"][:6], 1 / np.log(2), rtol=1e-6)
    assert found["is a self-loop"].tolist() == [0] * 6 + [1]
    assert found["words of source"].tolist() == [2, 2, 2, 1, 2, 1, 2]
    np.testing.assert_allclose(found["log PageRank of source"], np.log(1 / 3), rtol=1e-5)
    # among three nodes in a ring, walkers from 2 are as often at 0 as at 1, and 0.85 r = 2 x the share of each, r at 2
    np.testing.assert_allclose(found["log PageRank of source seen from target"][:6], np.log(0.85 / 2.85), atol=2e-3)


def test_shares_of_functions_are_of_what_differs_among_the_edges_into_one_node():
    target = torch.tensor([0, 0, 1, 1])
    values = torch.tensor([[1.0, 5.0, 0.0], [-1.0, 5.0, 0.0], [3.0, 9.0, 1.0], [-3.0, 9.0, -1.0]])
    parts = Contributions(values[None, :, None], torch.zeros(1, 1), ["a", "of target", "b"])
    # sums, centred: 1, -1, 4, -4, with squares 34; a has 2 + 24, b has 8
    torch.testing.assert_close(additive_functions.shares(parts, target), torch.tensor([26 / 34, 0.0, 8 / 34]))


@pytest.mark.float32
def test_the_page_says_what_its_runs_kept_and_runs_that_are_done_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(additive, "PENALTIES", (0.005, 10.0))
    monkeypatch.setattr(additive, "EPOCHS", 6)
    monkeypatch.setattr(additive, "DRAWS", 1)
    monkeypatch.setattr(additive_run, "HIDDEN", 4)
    monkeypatch.setattr(additive, "recovered", lambda job: Recovery([[3], RELEVANT], RELEVANT, [0.9, 1.0, 1.0, 1.0]))
    gat = {"seeds": [{"val": 0.5, "test": 0.5}] * 2, "measured": {}}
    calls = []

    def serial(jobs, processes, run=None):
        calls.append((jobs, run))
        return [gat] if run is None else [run(json.loads(json.dumps(job))) for job in jobs]

    monkeypatch.setattr(additive, "run_all", serial)
    monkeypatch.setattr(sys, "argv", ["edgenet", "bench", "additive"])
    out, runs = tmp_path / "page.md", tmp_path / "runs"
    additive.run(2, out, runs, 1, None, "karate")
    page = out.read_text(encoding="utf-8")
    stored = {p: [json.loads((runs / f"penalty-{p}-{k}.json").read_text()) for k in (0, 1)] for p in (0.005, 10.0)}
    sizes = [one["result"]["sizes"] for one in stored[0.005]]
    assert all(one["result"]["sizes"] == {} for one in stored[10.0]) and all(sizes)
    network, attr = restored(stored[0.005][1]["job"])
    assert network.phi.num_functions() == len(sizes[1]) and attr.shape[1] == 30
    (row,) = [line for line in page.splitlines() if line.startswith("| 0.005 |")]
    assert row.split("|")[3].strip() == f"{(len(sizes[0]) + len(sizes[1])) / 2:.1f}"
    assert "1 of 1 (passed)" in page and (tmp_path / "additive.png").stat().st_size > 1000
    best = additive.chosen({p: [one["result"] for one in stored[p]] for p in stored})
    assert f"| penalty {best:g}, the best on validation nodes |" in page
    monkeypatch.setattr(additive_run, "train", lambda job: pytest.fail("this run is done"))
    additive.run(2, out, runs, 1, None, "karate")
    assert out.read_text(encoding="utf-8") == page


def test_a_kept_network_scores_as_it_did(tmp_path):
    job = {
        "file": str(tmp_path / "run.json"), "dataset": "karate", "data_root": None, "seed": 0, "penalty": 0.001,
        "features": ["cosine of words", "common neighbours"], "epochs": 5,
    }  # fmt: skip
    torch.set_default_dtype(torch.float32)
    result = additive_run.trained(job)
    data, x, graph, _ = additive_run.problem("karate", None)
    network, attr = restored(job)
    right = (network(x, graph, attr).argmax(1) == data.y).double()
    assert float(right[data.val_mask].mean()) == result["val"] and float(right[data.test_mask].mean()) == result["test"]


def test_gradient_steps_find_the_features_that_decide_edge_weights_and_drop_the_noise(monkeypatch):
    monkeypatch.setattr(additive_edges, "FEATURES", 8)
    monkeypatch.setattr(additive_edges, "_DF", 6)
    monkeypatch.setattr(additive_edges, "_PENALTIES", 6)
    monkeypatch.setattr(additive_edges, "_REFIT", 100)
    found = additive_edges.recovery(0)
    assert RELEVANT in found.supports and found.chosen == RELEVANT
    assert found.supports[0] in ([], [3]) and min(found.correlations) > 0.98


def test_the_command_is_known(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "additive", "--help"])
    assert "functions one can read" in capsys.readouterr().out
