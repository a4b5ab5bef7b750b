"""The table of fit: every row trains by the one loop, and goes on to the same bits after a kill."""

import dataclasses
import json
import sys
import time

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from edgenet import checkpoint
from edgenet.bench.harness import report, worker
from edgenet.bench.pages.record import Record
from edgenet.bench.results import fit, fit_run, fit_trainings, molecules
from edgenet.bench.results.fit_rows import ROWS
from edgenet.bench.results.traffic import Traffic
from edgenet.cli import main

from train.small_data import graphs, nodes  # isort: skip

pytestmark = pytest.mark.float32  # as it is measured


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def rings(count=24):
    """Molecules that are rings of two elements; the energy counts the second one."""
    draw = np.random.default_rng(0)
    made = []
    for i in range(count):
        n = 3 + i % 4
        kind = torch.as_tensor(draw.integers(0, 2, n))
        a, b = torch.arange(n), (torch.arange(n) + 1) % n
        edges = torch.stack([torch.cat([a, b]), torch.cat([b, a])])
        y = kind.sum().float()[None]
        made.append(Data(x=torch.eye(2)[kind], edge_index=edges, edge_attr=torch.ones(2 * n, 1), y=y))
    return made[:12], made[12:18], made[18:]


def week(sensors=5, readings=400):
    """Speeds that wander, on a road that is a ring."""
    speed = 55 + np.random.default_rng(0).standard_normal((readings, sensors)).cumsum(0)
    ring = torch.arange(sensors)
    ones = torch.ones(sensors, 2, dtype=torch.float64)
    return Traffic(torch.as_tensor(speed), torch.stack([ring.roll(-1), ring]), ones, ones[:, 0])


def dataset(name, root=None, **options):
    if name == "ppi":
        made = dataclasses.replace(graphs(), info={"warnings": ["labels made up"]})
        for graph in (*made.train, *made.val, *made.test):
            graph.x, graph.y = graph.x.repeat(1, 13)[:, :50], graph.y.repeat(1, 41)[:, :121]
        return made
    made = nodes(60, x=torch.randn(60, 64, generator=torch.Generator().manual_seed(0)))
    return dataclasses.replace(made, num_features=64)


@pytest.fixture
def small(monkeypatch):
    """Small data; jobs run in this process, through JSON, and a kill is a checkpoint after which nothing follows."""
    monkeypatch.setattr(fit_trainings, "load", dataset)
    monkeypatch.setitem(fit_trainings.run_config.__globals__, "load", dataset)
    monkeypatch.setattr(fit_trainings, "split_molecules", rings)
    monkeypatch.setattr(fit_trainings, "traffic", lambda root: week())
    monkeypatch.setattr(fit, "left_out", lambda package: None)

    def here(job):
        return json.loads(json.dumps(worker.measured(json.loads(json.dumps(job)))))

    def killed(job, when):
        save = checkpoint.save

        def last(path, state):
            save(path, state)
            if when():
                raise Killed

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(checkpoint, "save", last)
            here(job)
        return True

    monkeypatch.setattr(fit_run, "in_its_own_process", here)
    monkeypatch.setattr(fit_run, "killed", killed)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_trains_and_comes_to_the_same_bits_after_a_kill(row, small, tmp_path):
    (result,) = fit_run.shown(row, 1, tmp_path, None, epochs=8)
    assert result["epochs"] == 8 and np.isfinite([result["test"], result["plain"], result["seconds"]]).all()
    assert result["killed"]["ended"] and result["killed"]["epoch"] == result["killed"]["went_on"] == 4
    assert all(result["killed"]["same"].values())
    assert fit_run.passed(result)


def test_the_page_holds_what_the_rows_came_to_and_trainings_that_are_done_are_read(small, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "ROWS", {name: ROWS[name] for name in ("loss", "windows")})
    monkeypatch.setattr(sys, "argv", ["edgenet", "bench", "fit"])
    out, runs = tmp_path / "page.md", tmp_path / "runs"
    fit.run(2, out, runs, 1, None, epochs=4)
    page = out.read_text(encoding="utf-8")
    for name in ("loss", "windows"):
        found = [json.loads((runs / f"{name}-{seed}.json").read_text())["result"] for seed in (0, 1)]
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {ROWS[name].data} |")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        digits = 1 if name == "loss" else 2
        test = report.spread([one["test"] for one in found], ROWS[name].scale, digits)
        assert cells[5] == f"**{test}**" and cells[2] == f"{found[0]['parameters']:,}"
        assert cells[-2:] == ["2, on from 2", "yes"]
        assert found[0]["tensors"] != found[1]["tensors"]
    assert 'kind = "admm"' in Record.read(out).provenance["settings"]["text"]
    assert "2 of 2 trainings" in page
    monkeypatch.setattr(fit_run, "in_its_own_process", lambda job: pytest.fail("this training is done"))
    fit.run(2, out, runs, 1, None, epochs=4)
    assert out.read_text(encoding="utf-8") == page


def test_the_page_warns_of_data_that_are_not_the_published_ones(small, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "ROWS", {"graphs": ROWS["graphs"]})
    fit.run(1, tmp_path / "page.md", tmp_path / "runs", 1, None, epochs=2)
    assert "\n> labels made up\n" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_other_bits_and_a_beginning_from_the_start_are_no_pass(small, tmp_path, monkeypatch):
    here = fit_run.in_its_own_process

    def forgets(job):
        if job["folder"].endswith("-killed"):
            for file in (tmp_path / "loss-0-killed").rglob("*.*"):
                file.unlink()
            clock = time.perf_counter  # records tell apart by their seconds, in which small epochs may be alike
            monkeypatch.setattr(time, "perf_counter", lambda: 3 * clock())
        return here(job)

    monkeypatch.setattr(fit_run, "in_its_own_process", forgets)
    (result,) = fit_run.shown("loss", 1, tmp_path, None, epochs=4)
    assert all(result["killed"]["same"].values()) and result["killed"]["went_on"] == 0 and not fit_run.passed(result)

    def other(job):
        result = here(job)
        return {**result, "tensors": "0"} if job["folder"].endswith("-killed") else result

    monkeypatch.setattr(fit_run, "in_its_own_process", other)
    (result,) = fit_run.shown("loss", 1, tmp_path / "b", None, epochs=4)
    assert not fit_run.passed(result) and "**NO**: tensors" in fit._row("loss", [result])


def test_a_digest_is_of_every_bit_and_name():
    model = torch.nn.Linear(2, 1)
    before = fit_run.digest(model)
    assert fit_run.digest(model) == before
    with torch.no_grad():
        model.bias.copy_(torch.nextafter(model.bias, torch.tensor(9.0)))
    assert fit_run.digest(model) != before


def test_without_ase_the_molecules_are_left_out_with_a_sentence(small, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "left_out", lambda package: f"{package} is left out: it is not here.")
    monkeypatch.setattr(fit, "ROWS", {name: ROWS[name] for name in ("loss", "molecules")})
    fit.run(1, tmp_path / "page.md", tmp_path / "runs", 1, None, epochs=2)
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "ase is left out: it is not here." in page and "zero-point" not in page


def test_bonds_join_atoms_that_are_near_and_say_how_far():
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 3.5]])
    edges, length = molecules.bonds(positions, np.array([0.4, 0.41, 1.0]))
    assert edges.tolist() == [[1, 0], [0, 1]] and length.flatten().tolist() == [1.0, 1.0]


def test_the_molecules_are_the_148_of_g2():
    pytest.importorskip("ase")
    found = molecules.molecules()
    assert len(found) == 148 and sum(graph.num_nodes for graph in found) == 846
    assert all(graph.x.sum(1).eq(1).all() for graph in found)


def test_windows_do_not_cross_from_one_split_into_another(small, tmp_path):
    sets, _ = fit_trainings.windows(fit_trainings.Place(tmp_path, None, 1))
    speed = week().speed.float()
    for name, low, high in (("train", 0, 280), ("val", 280, 320), ("test", 320, 400)):
        x, y = sets[name].tensors
        assert torch.equal(x[0, :, 0], speed[low]) and torch.equal(y[-1, :, -1], speed[high - 1])
        assert torch.equal(torch.cat([x[0], y[0]], 1), speed[low : low + 24].t())


def test_readings_that_are_missing_do_not_count_in_the_error():
    target, scores = torch.tensor([[50.0, 0.0]]), torch.tensor([[48.0, 30.0]])
    assert float(fit_trainings.masked_mae(scores, target)) == 2.0


@pytest.mark.slow  # four processes
def test_a_training_that_sigkill_ends_comes_to_the_same_bits(tmp_path):
    (result,) = fit_run.shown("loss", 1, tmp_path, None, epochs=60)
    assert result["killed"]["ended"] and 30 <= result["killed"]["epoch"] <= 60 and fit_run.passed(result)


def test_the_command_is_known(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "fit", "--help"])
    assert "one fit for models" in capsys.readouterr().out
