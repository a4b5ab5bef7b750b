"""The pages of estimators hold what was computed."""

import dataclasses
import sys
from statistics import fmean

import numpy as np
import pytest
import torch

from edgenet.bench.harness import worker
from edgenet.bench.pages import check
from edgenet.bench.results import intervals, quantile_path, spam, spam_pygam, spam_simulation, spam_skglm
from edgenet.bench.results.quantile_program import dual, least, primal, solve
from edgenet.bench.results.traffic import Traffic
from edgenet.cli import main
from edgenet.estimators import SpAM


def called(module, name, monkeypatch):
    """The results of all calls of a function, in a list that grows."""
    function, results = getattr(module, name), []

    def noting(*arguments, **options):
        results.append(function(*arguments, **options))
        return results[-1]

    monkeypatch.setattr(module, name, noting)
    return results


def bench(name, out, seeds, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["edgenet", "bench", name])
    assert main(["bench", name, "--seeds", str(seeds), "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def rows(page, beginning):
    return [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith(f"| {beginning}")]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The sections in seconds."""
    monkeypatch.setattr(quantile_path, "SIZES", {(30, 8, 2): 0.5, (20, 12, 3): 7.0})
    for name, value in (("PENALTIES", 4), ("ROUNDS", 1), ("PICTURE", (30, 8, 2))):
        monkeypatch.setattr(quantile_path, name, value)
    monkeypatch.setattr(intervals, "FIT", 14)
    monkeypatch.setattr(intervals, "CALIBRATE", 9)
    monkeypatch.setattr(intervals, "traffic", lambda root: week())
    for name, value in (
        ("RECOVERY", (80, 6)),
        ("SIZES", (60, 80)),
        ("CURVES", (5,)),
        ("TIMED", [("regression", 60, 6)]),
    ):
        monkeypatch.setattr(spam, name, value)
    monkeypatch.setattr(spam_skglm, "ROUNDS", 1)
    monkeypatch.setattr(spam_skglm, "PROBLEMS", [("regression", 60, 6), ("classification", 60, 5)])
    monkeypatch.setattr(spam_pygam, "GAMS", [("regression", 60, 6), ("classification", 60, 5)])
    monkeypatch.setattr(spam_pygam, "in_its_own_process", lambda job: {"seconds": 1.25, "quality": 0.5, "kept": 3})


def week(sensors=33, seed=0):
    """Speeds that wander, on a road that is a ring."""
    rng = np.random.default_rng(seed)
    speed = 55 + rng.standard_normal((40, sensors)).cumsum(0)
    ring = torch.arange(sensors)
    edges, ones = torch.stack([ring.roll(-1), ring]), torch.ones(sensors, 2, dtype=torch.float64)
    return Traffic(torch.as_tensor(speed), edges, ones, ones[:, 0])


# --- quantile_path ----------------------------------------------------------------------------------------------------
def test_both_forms_of_the_program_have_one_value():
    x, y, groups = quantile_path.draw(25, 6, 2, 0)
    weight = np.array([1.0, 2.0, 0.5])
    for tau, penalty in ((0.5, 3.0), (0.1, 0.5)):
        wanted = least(x, y, tau, groups, weight, penalty=penalty)
        assert solve(primal(x, y, tau, groups, weight, penalty=penalty)) == pytest.approx(wanted, rel=1e-9)
        assert -solve(dual(x, y, tau, groups, weight, penalty=penalty)) == pytest.approx(wanted, rel=1e-9)


def test_the_table_of_paths_holds_the_means_of_its_comparisons(tmp_path, monkeypatch):
    results = called(quantile_path, "compare", monkeypatch)
    page = bench("quantile_path", tmp_path / "page.md", 2, monkeypatch)
    assert len(results) == 4  # two sizes, two seeds
    for (row,), some, quoted in (
        (rows(page, "30 x 8, 2"), results[:2], "0.5"),
        (rows(page, "20 x 12, 3"), results[2:], "7"),
    ):
        path, programs = fmean(one["path"] for one in some), fmean(one["primal"] for one in some)
        assert row[1:3] == [f"{fmean(one['vertices'] for one in some):.0f}", f"{path:.3f}"]
        assert row[3:6] == [f"{1000 * programs / 4:.1f}", f"{programs:.2f}", f"{programs / path:.1f}"]
        assert row[9:] == [f"{max(one['gap'] for one in some):.0e}", quoted]
    assert "1e-08. Largest found" in page and (tmp_path / "quantile_path.png").stat().st_size > 1000


def test_a_path_that_differs_from_the_programs_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(quantile_path, "solve", lambda program: solve(program) * (1 + 1e-6))
    assert "Largest found: 1e-06, FAILED" in bench("quantile_path", tmp_path / "page.md", 1, monkeypatch)


# --- intervals --------------------------------------------------------------------------------------------------------
def test_the_table_of_intervals_holds_what_its_splits_cover(tmp_path, monkeypatch):
    outcomes = called(intervals, "outcome", monkeypatch)
    page = bench("intervals", tmp_path / "page.md", 3, monkeypatch)
    for (model, state), name in (
        (("quantiles", "calibrated"), "quantiles, calibrated"),
        (("quantiles", "as fitted"), "quantiles, as fitted"),
        (("median", "calibrated"), "median, calibrated"),
    ):
        ((*_, coverage, spread, _, width, slow, fast),) = rows(page, f"{name} ")
        low, high = (np.stack([one.ends[model, state][:, k] for one in outcomes]) for k in (0, 1))
        held = (low <= [one.y for one in outcomes]) & ([one.y for one in outcomes] <= high)
        shares = 100 * held.mean(1)
        assert coverage == f"{shares.mean():.1f} ± {shares.std(ddof=1):.1f}"
        assert spread == f"{shares.min():.0f} to {shares.max():.0f}"
        assert width == f"{np.maximum(high - low, 0).mean():.1f}"
        now = np.stack([one.now for one in outcomes])
        assert slow == (f"{100 * held[now < 50].mean():.1f}" if (now < 50).any() else "-")
        assert fast == f"{100 * held[now >= 50].mean():.1f}"
    used = rows(page, "hop 0")[0]
    assert used[2] == f"{fmean('hop 0' in one.hops[1] for one in outcomes):.2f}"
    assert (tmp_path / "intervals.png").exists()


def test_the_parts_of_a_split_are_all_sensors_and_answers_of_test_sensors_are_not_used():
    split = intervals.Split.draw(week(), 5)
    parts = [split.fit, split.calibrate, split.test]
    assert [len(part) for part in parts] == [14, 9, 10] and sorted(np.concatenate(parts)) == list(range(33))
    other = split.y.copy()
    other[split.test] += 100
    before, after = (intervals.outcome(dataclasses.replace(split, y=y), 5).ends for y in (split.y, other))
    for key, ends in before.items():
        np.testing.assert_array_equal(after[key], ends)
    for name in ("quantiles", "quantiles, Schwarz's choice"):
        moved = before[name, "calibrated"] - before[name, "as fitted"]
        np.testing.assert_allclose(moved, np.outer(np.ones(10), [-moved[0, 1], moved[0, 1]]), atol=1e-9)


# --- spam -------------------------------------------------------------------------------------------------------------
def test_libraries_that_are_missing_are_left_out_with_a_sentence(tmp_path, monkeypatch):
    for package in ("skglm", "pygam"):
        monkeypatch.setitem(sys.modules, package, None)
    found = called(spam, "recovery", monkeypatch)
    page = bench("spam", tmp_path / "page.md", 2, monkeypatch)
    assert "skglm is left out: ModuleNotFoundError" in page and "pygam is left out: ModuleNotFoundError" in page
    assert not rows(page, "regression, 60 x 6 | skglm") and not rows(page, "regression, 60 x 6 | pyGAM")
    (row,) = rows(page, "spline")
    exact, contains, size = found[0]
    verdict = "passed" if exact >= 0.95 else "FAILED"
    assert row[1:] == [f"{exact:.2f}", verdict, f"{contains:.2f}", f"{size:.1f}"]
    assert rows(page, "5 |")[0][1:] == [f"{one[0]:.2f}" for one in found[2:]]
    assert rows(page, "regression, 60 x 6 | edgenet")[1][2:] == ["1.25", "0.500", "3"]


def test_a_model_that_takes_too_long_is_told(monkeypatch):
    ended = {"failed": "the process was ended by SIGXCPU"}
    monkeypatch.setattr(spam_pygam, "left_out", lambda package: None)
    monkeypatch.setattr(spam_pygam, "version", lambda package: "0")
    monkeypatch.setattr(spam_pygam, "in_its_own_process", lambda job: ended)
    table = spam_pygam.beside_pygam()[1]
    assert rows(table, "classification, 60 x 5 | pyGAM") == [
        ["classification, 60 x 5", "pyGAM", "ended after 120", "-", "-"]
    ]


def test_a_model_is_measured_in_a_process_of_its_own():
    job = {"measure": spam_pygam.__name__, "title": "", "malloc": "default", "threads": 1, "limit": 60}
    job |= {"library": "edgenet", "task": "regression", "n": 150, "p": 6}
    result = worker.in_its_own_process(job)
    assert result["quality"] > 0.85 and result["kept"] >= 4 and 0 < result["seconds"] < 10


def test_our_solutions_have_the_objective_they_minimise():
    x, y = spam_simulation.draw_task("classification", 60, 5, 0)
    problem = spam_skglm.Problem("classification", x, y)
    problem.ours("edgenet")
    objectives = problem.objectives("edgenet")
    path = SpAM("classification").fit(x, y).path_
    np.testing.assert_allclose(objectives, path.deviance / 2 + path.penalties * path.norms(5).sum(1), rtol=1e-9)
    assert objectives[0] == pytest.approx(np.log(2))  # nothing but the intercept, and classes of one size
    assert (np.diff(objectives) < 0).all()


@pytest.mark.slow  # numba compiles
@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("known", [False, True])
def test_skglm_finds_the_same_minimum(task, known):
    pytest.importorskip("skglm")
    problem = spam_skglm.Problem(task, *spam_simulation.draw_task(task, 60, 5, 0))
    problem.ours("edgenet")
    problem.skglm("skglm", known, 1e-8)
    np.testing.assert_allclose(problem.objectives("skglm"), problem.objectives("edgenet"), rtol=1e-9)


# --- the page ---------------------------------------------------------------------------------------------------------
def test_estimates_are_what_their_rows_make_with_a_claim_and_limits(tmp_path, monkeypatch):
    for package in ("skglm", "pygam"):
        monkeypatch.setitem(sys.modules, package, None)
    for name in ("intervals", "spam", "quantile_path"):
        bench(name, tmp_path / f"{name}.md", 1, monkeypatch)
    assert len(check.problems(tmp_path)) == 1  # there is no index
    pages = {page.stem: page.read_text(encoding="utf-8") for page in tmp_path.glob("*.md")}
    assert "What carries the guarantee" in pages["intervals"].partition("## Limits")[2]
    assert "Not claimed" in pages["quantile_path"].partition("## Limits")[2]
    assert "in 100 % of 1 draws by splines" in pages["spam"].partition("\n|")[0]
