"""The pages of results hold what the runs behind them measured."""

import json
import sys

import pytest

from edgenet.bench.harness import jobs, report
from edgenet.bench.results import EXPERIMENTS, ppi
from edgenet.cli import main
from edgenet.presets import preset

from train.small_data import graphs  # isort: skip


@pytest.fixture
def in_this_process(monkeypatch):
    """Runs without a process of their own each."""

    def one_after_the_other(configs, processes, run=jobs.trained):
        return [run(job) for job in configs]

    monkeypatch.setattr(ppi, "run_all", one_after_the_other)


def test_mean_and_spread_are_of_the_sample():
    assert report.spread([0.81, 0.83]) == "82.0 ± 1.4"
    assert report.spread([0.5]) == "50.0"
    assert report.spread([1.0, 2.0, 3.0], 1, 0) == "2 ± 1"


def test_the_command_is_quoted_as_one_would_type_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/some/where/edgenet", "bench", "cora", "--out", "a page.md"])
    monkeypatch.setenv("MALLOC_TOP_PAD_", "67108864")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    text = "OMP_NUM_THREADS=1 MALLOC_TOP_PAD_=67108864 edgenet bench cora --out 'a page.md'"
    assert (
        report.command().endswith(text.removeprefix("OMP_NUM_THREADS=1 ")) and "OMP_NUM_THREADS=1" in report.command()
    )


def test_pyg_stands_where_our_layer_stands_with_its_weights(monkeypatch):
    """Both draw the same numbers, and leave the same ones to be drawn."""
    import torch

    from edgenet.graph import Graph
    from edgenet.nn import SPECIALIZATIONS

    graph = Graph(torch.randint(0, 9, (2, 30)), 9)
    x, drawn, values = torch.randn(9, 5), [], []
    for make in (SPECIALIZATIONS["gat"], ppi.PyGLayer):
        torch.manual_seed(3)
        layer = make(5, 4, heads=3)
        drawn.append(torch.rand(4))
        values.append(layer(x, graph.edge_index))
    torch.testing.assert_close(*drawn, rtol=0, atol=0)
    torch.testing.assert_close(*values)


def test_networks_of_ppi_that_begin_apart_are_told_apart(monkeypatch):
    from edgenet.nn import SPECIALIZATIONS

    monkeypatch.setitem(SPECIALIZATIONS, "pyg_gat", ppi.PyGLayer)
    config = preset("ppi", "gat", {"training.seeds": [4]})
    assert ppi.difference_at_start(config, graphs()) < 1e-5
    monkeypatch.setattr(ppi, "hold_", lambda *arguments: None)  # PyG's own weights
    assert ppi.difference_at_start(config, graphs()) > 0.1


def test_every_bench_has_a_module_that_runs_it():
    from importlib import import_module

    for name, (text, seeds) in EXPERIMENTS.items():
        assert callable(import_module(f"edgenet.bench.results.{name}").run) and text and seeds > 0


def test_the_traceback_is_shown_on_demand_before_and_behind_the_name(capsys):
    for arguments in (
        ["--debug", "cora", "--seeds", "0"],
        ["cora", "--seeds", "0", "--debug"],
        ["cora", "--seeds", "0"],
    ):
        assert main(["bench", *arguments]) == 2
        assert ("Traceback" in capsys.readouterr().err) == ("--debug" in arguments)


def row_of(page, title):
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {title} |")]
    return row


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))["seeds"]


def test_every_row_of_ppi_is_of_its_own_runs(tmp_path, monkeypatch, in_this_process):
    from edgenet.nn import SPECIALIZATIONS

    monkeypatch.setitem(SPECIALIZATIONS, "pyg_gat", ppi.PyGLayer)  # taken out again after the test
    monkeypatch.setattr("edgenet.data.load", lambda name, root=None, **options: graphs())
    ppi.run(2, tmp_path / "page.md", tmp_path / "runs", 1, None, epochs=2)
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    shown = []
    for layer, title in ppi.NETWORKS.items():
        results = [summary_of(tmp_path / "runs" / f"{layer}-{seed}-equal")[0] for seed in (0, 1)]
        shown.append(report.spread([result["test"] for result in results], digits=2))
        assert [result["seed"] for result in results] == [0, 1] and f"**{shown[-1]}**" in row_of(page, title)
    assert "From the same weights" in page and "the scores of both differ by" in page
    monkeypatch.setattr("torch.optim.Adam.step", lambda *args, **options: pytest.fail("this run is done"))
    ppi.run(2, tmp_path / "page.md", tmp_path / "runs", 1, None, epochs=2)
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page
