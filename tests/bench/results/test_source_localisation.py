"""The page of source localisation holds what its runs measured, and its gates are judged by them."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch

from edgenet.bench.harness import report
from edgenet.bench.results import source_localisation
from edgenet.bench.results import source_localisation_page as page
from edgenet.bench.results.source_localisation_cases import NETWORKS, PROTOCOLS
from edgenet.cli import main


@pytest.fixture
def small(monkeypatch):
    """Every protocol at a size of seconds, in this process."""
    sizes = {"sizes": [40, 20, 20], "num_nodes": 12}
    tiny = {
        name: dataclasses.replace(protocol, options={**protocol.options, **sizes}, epochs=2)
        for name, protocol in PROTOCOLS.items()
    }
    for module in (source_localisation, page):
        monkeypatch.setattr(module, "PROTOCOLS", tiny)
    monkeypatch.setattr(source_localisation, "run_all", lambda jobs, processes, run: [run(job) for job in jobs])


@pytest.mark.slow  # 48 trainings
def test_every_row_is_of_its_own_runs(tmp_path, monkeypatch, small):
    monkeypatch.setattr(sys, "argv", ["edgenet", "bench", "source_localisation"])
    out, runs = tmp_path / "page.md", tmp_path / "runs"
    arguments = ["bench", "source_localisation", "--seeds", "2", "--out", str(out), "--runs", str(runs)]
    assert main(arguments) == 0
    text = out.read_text(encoding="utf-8")
    for name, protocol in PROTOCOLS.items():
        section = text.partition(f"### {protocol.title}")[2].partition("###")[0]
        for network in protocol.networks:
            (row,) = [line for line in section.splitlines() if line.startswith(f"| {NETWORKS[network][0]} |")]
            tests = [
                json.loads((runs / name / f"{network}-{seed}" / "summary.json").read_text())["test"]["mean"]
                for seed in (0, 1)
            ]
            assert f"**{report.spread(tests)}**" in row
    monkeypatch.setattr("torch.optim.Adam.step", lambda *args, **options: pytest.fail("these runs are done"))
    assert main(arguments) == 0
    assert out.read_text(encoding="utf-8") == text


def test_the_networks_of_the_page_have_the_sizes_that_the_gates_speak_of():
    from edgenet.data import load
    from edgenet.train.from_config import model_of
    from edgenet.train.task import Task

    hidden = PROTOCOLS["hidden"]
    data = load("hidden_conductance", sizes=[2, 2, 2])
    task = Task.of(data)
    task.prepare(torch.device("cpu"), torch.float64)
    count = {
        name: sum(p.numel() for p in model_of(hidden.config(name, 0, Path("runs")), data, task).parameters())
        for name in ("edge_varying", "low_rank", "matrices", "doped")
    }
    assert count["edge_varying"] / count["low_rank"] >= 9 and count["matrices"] / count["doped"] >= 12


def rows(live=5, **tests):
    """Rows of two graphs: of every network the test accuracy that is given as PROTOCOL__NETWORK, else 0.5."""
    weights = {"edge_varying": 14_471, "low_rank": 1_497, "matrices": 69_816, "doped": 5_755}
    found = []
    for name, protocol in PROTOCOLS.items():
        for network in protocol.networks:
            for seed, test in enumerate(tests.get(f"{name}__{network}", (0.5, 0.5))):
                found.append({
                    "protocol": name, "network": network, "seed": seed, "test": test, "val": test, "last": test,
                    "loss": 1.0, "live": live, "parameters": weights.get(network, 36), "seconds": 1.0, "ideal": 0.9,
                    "blind": None if name == "paper" else 0.6, "measured": {},
                })  # fmt: skip
    return found


GOOD = {
    "hidden__edge_varying": (0.60, 0.62), "hidden__gcnn_32": (0.42, 0.40), "hidden__low_rank": (0.60, 0.62),
    "hidden__doped": (0.59, 0.59), "hidden__matrices": (0.54, 0.53),
}  # fmt: skip


@pytest.mark.parametrize(
    "changes, missed",
    [
        ({}, []),
        ({"hidden__gcnn_32": (0.55, 0.55)}, ["edge varying at least 8"]),
        ({"hidden__low_rank": (0.55, 0.55)}, ["tables of rank 2"]),
        ({"hidden__doped": (0.5, 0.5)}, ["a tenth of the entries"]),
        ({"control__edge_varying": (0.47, 0.47)}, ["control"]),
    ],
)
def test_a_gate_that_is_missed_is_said_so_in_the_first_sentence_and_in_its_row(changes, missed):
    made = page.content(rows(**GOOD | changes))
    assert f"{4 - len(missed)} of 4 gates are met" in made.claim
    gates = [line for line in made.tables[0].splitlines()[2:]]
    assert len(gates) == 4
    for line in gates:
        name = line.split("|")[1].strip()
        assert ("**no**" in line) == any(name.startswith(part) for part in missed)
        assert (name in made.claim) == ("**no**" in line)


def test_differences_are_taken_graph_by_graph():
    found = rows(hidden__edge_varying=(0.6, 0.8), hidden__gcnn_32=(0.4, 0.5))
    mean, half = page._difference(found, "hidden", "edge_varying", "gcnn_32")
    assert abs(mean - 25) < 1e-9 and abs(half - 12.706 * 5) < 0.01  # of 20 and 30: t(1) = 12.706, sd / sqrt(2) = 5


@pytest.mark.parametrize(
    "tests, told",
    [
        ({"paper__gat": (0.2, 0.9), "paper__gcat": (0.21, 0.9)}, "both fail together."),
        ({"paper__gat": (0.2, 0.9), "paper__gcat": (0.9, 0.2)}, "2 of 2 graphs are lost by one of the two alone."),
        ({"paper__gat": (0.2, 0.2), "paper__gcat": (0.9, 0.2)}, "1 of 2 graphs"),
        ({}, "none of them fails here."),
        ({"live": 5}, "With an ELU nothing is dead."),
        ({"live": 4}, "With an ELU 4 of 4 runs have dead channels too."),
    ],
)
def test_what_is_said_of_attention_at_chance_is_counted(tests, told):
    assert told in "".join(page.content(rows(**tests)).tables)


def test_the_networks_that_tie_on_the_papers_protocol_are_counted():
    best = {f"paper__{name}": (1.0, 0.98) for name in ("edge_varying", "gcnn_32")}
    said = " ".join(page.content(rows(**best, paper__hybrid=(0.98, 0.97), paper__gcnn=(0.97, 0.96))).limits)
    assert "3 of 8 networks lie within 2 points of the best" in said
