"""Benches on files of a user's own: tiny ones here."""

import sys

import pytest

from edgenet.bench.harness import jobs
from edgenet.bench.results import heterophilic, movielens
from edgenet.cli import main

from data.test_heterophilic import write as write_graph  # isort: skip
from data.test_movielens import OPTIONS, ratings_table, write as write_ratings  # isort: skip


@pytest.fixture
def in_this_process(monkeypatch):
    def one_after_the_other(configs, processes, run=jobs.trained):
        return [run(job) for job in configs]

    for module in (heterophilic, movielens):
        monkeypatch.setattr(module, "run_all", one_after_the_other)


def bench(name, tmp_path, monkeypatch, seeds=2):
    out = tmp_path / "page.md"
    arguments = ["bench", name, "--data-root", str(tmp_path / "data"), "--seeds", str(seeds), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["edgenet", *arguments])
    return main([*arguments, "--runs", str(tmp_path / "runs")]), out


@pytest.mark.float32
def test_movielens_is_measured_on_the_users_file(tmp_path, monkeypatch, in_this_process):
    monkeypatch.setattr(movielens, "OPTIONS", OPTIONS)
    monkeypatch.setattr(movielens, "EPOCHS", 2)
    write_ratings(tmp_path / "data" / "movielens", ratings_table())
    code, out = bench("movielens", tmp_path, monkeypatch)
    text = out.read_text(encoding="utf-8")
    assert code == 0 and text.count("\n| ") >= 6 and "edge varying, tables of rank 2" in text
    assert "0.747" in text.partition("## Limits")[2], "the anchor"


def test_movielens_without_a_file_says_where_it_was_looked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, out = bench("movielens", tmp_path, monkeypatch)
    assert code == 2 and not out.exists() and "read the terms" in capsys.readouterr().err


@pytest.mark.float32
def test_every_graph_below_the_root_is_measured(tmp_path, monkeypatch, in_this_process):
    monkeypatch.setattr(heterophilic, "CHANGES", {"training.epochs": 3})
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_graph(tmp_path / "data", "texas")
    write_graph(tmp_path / "data", "mine", folder="{}")
    code, out = bench("heterophilic", tmp_path, monkeypatch)
    text = out.read_text(encoding="utf-8")
    assert code == 0 and "### texas: 0 % of edges" in text and "### mine: 0 % of edges" in text
    assert text.count("| GAT, 8 heads of 8 |") == 2


def test_a_graph_without_edges_has_a_page_too():
    row = {"graph": "dust", "homophily": None, "split": "drawn", "seed": 0, "parameters": 9, "val": 0.5, "test": 0.5}
    rows = [{**row, "layer": layer, "seconds": 1.0} for layer in heterophilic.NETWORKS]
    assert heterophilic.content(rows).tables[0] == "### dust: it has no edges"


def test_more_seeds_than_splits_and_no_graph_at_all_are_told_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert bench("heterophilic", tmp_path, monkeypatch)[0] == 2
    assert "no graph found below" in capsys.readouterr().err
    write_graph(tmp_path / "data", "texas")
    assert bench("heterophilic", tmp_path, monkeypatch, seeds=3)[0] == 2
    assert "no split 2" in capsys.readouterr().err and not (tmp_path / "runs").exists()
