"""The section on graph recurrent networks of ``edgenet bench recurrent``: traffic, a known process, chickenpox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.results.recurrent_traffic_rows import DATA, SETTINGS, Row, rows
from edgenet.bench.results.recurrent_traffic_run import AT_ONCE, measured, still_and_usual
from edgenet.data import load
from edgenet.text import markdown_table

Results = Mapping[str, Any]
#: the results of a row at every seed, by its name
Found = Mapping[str, Sequence[Results]]
MINUTES = 5  # between readings
LIMITS = (
    "One week of traffic: published errors are of four months and are not comparable. Few seeds; rates were not "
    "searched. Differences below the spread of the seeds say nothing."
)


def results(
    seeds: int, runs: Path, processes: int, data_root: Path | None, chosen: Sequence[Row] | None = None
) -> Results:
    """Train what is not trained yet: the runs of every row, by data set and name, and what is foretold without any.

    Args:
        chosen: rows; all of them by default.
    """
    chosen = rows() if chosen is None else chosen
    jobs = [(row, seed, runs, data_root) for row in chosen for seed in range(seeds)]
    every = run_all(jobs, processes, measured)
    found: dict[str, Found] = {name: {} for name in DATA}
    for place, row in enumerate(chosen):
        found[row.dataset][row.name] = every[place * seeds : (place + 1) * seeds]
    plain = still_and_usual(data_root, DATA["metr_la"])
    info = load("chickenpox", data_root, **DATA["chickenpox"]).info
    return {
        "runs": found,
        "ahead": DATA["metr_la"]["ahead"],
        "plain": {name: list(map(float, errors)) for name, errors in plain.items()},
        "cases": {name: float(info[name][0]) for name in ("persistence_rmse", "mean_rmse")},
    }


def settings() -> dict[str, Any]:
    """What the rows are trained with, by data set."""
    return {"data": dict(DATA), "training": dict(SETTINGS)}


def claim(found: Results) -> str:
    """What was found: the best network of each data set, beside the best forecast that needs none."""
    minutes = f"{MINUTES * found['ahead'][-1]} minutes ahead"
    last = [errors[-1] for errors in found["plain"].values()]
    plain, said = {"metr_la": min(last), "chickenpox": min(found["cases"].values())}, []
    for name, (what, digits, key) in {"metr_la": (minutes, 2, "mae"), "chickenpox": ("chickenpox", 3, "rmse")}.items():
        means = {row: fmean(one[key][-1] for one in each) for row, each in found["runs"][name].items()}
        if means:
            best = min(means, key=lambda row: means[row])
            spread = _spread([one[key][-1] for one in found["runs"][name][best]], digits)
            said.append(f"{what} {spread} ({best}), where a forecast without a network has {plain[name]:.{digits}f}")
    return f"The least test errors: {'; '.join(said)}."


def parts(found: Results) -> list[str]:
    """The page's paragraphs and tables."""
    runs = found["runs"]
    seeds = len(next(each for rows in runs.values() for each in rows.values()))
    blocks = [
        "Every model is a `GraphRecurrent`; a row names its cell, the layer that both of its maps are, and its gate. "
        "The epoch of the best validation error is kept, and no training sees test data. The design of these "
        "rows did: after a trial of one epoch of each, which printed test errors too, the targets of the "
        "traffic became changes of the last reading. Epochs are as many as a budget of time allowed, the same for all "
        "rows of a data set; rates were not searched. Mean ± "
        f"sample standard deviation over {seeds} seeds (0 to {seeds - 1}); seconds are of processor time, of one "
        "training on one thread.",
    ]
    blocks += _traffic(runs["metr_la"], found["plain"], found["ahead"]) if runs["metr_la"] else []
    blocks += _process(runs["graph_process"]) if runs["graph_process"] else []
    return blocks + (_cases(runs["chickenpox"], found["cases"]) if runs["chickenpox"] else [])


def _traffic(found: Found, plain: Results, steps: Sequence[int]) -> list[str]:
    ahead = [f"{MINUTES * step} minutes" for step in steps]
    lines = [
        ("the last reading", *(f"{error:.2f}" for error in plain["last"]), "0", ""),
        ("the mean of the time of day", *(f"{error:.2f}" for error in plain["usual"]), "0", ""),
    ]
    for name, results in found.items():
        errors = (_spread([one["mae"][place] for one in results]) for place in range(len(ahead)))
        lines.append((name, *errors, f"{results[0]['parameters']:,}", _seconds(results)))
    table = SETTINGS["metr_la"]
    return [
        "### Traffic",
        "A week of METR-LA, speeds at 207 sensors: an hour is seen, and the speeds 15 and 60 minutes later are "
        "foretold, both by one model, as changes of the last reading. Five days train, by every third window; a day "
        "and a half tests. Published errors are of four months of training data and are not comparable. *Shift "
        "operators*: a filter of order 2 over the averages downstream and upstream. *Edge-varying*: each map learns "
        "two weights for every road. *Gates* are those of Ruiz, Gama, Ribeiro 2020, on the Elman cell. "
        f"{table['training']['epochs']} epochs of batches of {table['training']['batch_size']}, Adam at a rate of "
        f"{table['optimizer']['lr']} that falls by a cosine.",
        markdown_table(
            ("mean absolute error, miles an hour", *ahead, "parameters", "seconds"),
            lines,
            right=range(1, 3 + len(ahead)),
        ),
        *_best(found, ahead),
    ]


def _best(found: Found, ahead: Sequence[str]) -> list[str]:
    """Who wins at each horizon, of means over the seeds."""
    said = []
    for place, horizon in enumerate(ahead):
        means = {name: fmean(one["mae"][place] for one in results) for name, results in found.items()}
        order = sorted(means, key=lambda name: means[name])
        said.append(f"- {horizon}, from the best: {', '.join(f'{name} {means[name]:.2f}' for name in order)}.")
    return ["\n".join(said)]


def _process(found: Found) -> list[str]:
    first = next(iter(found.values()))
    lines = [
        ("the mean, 0", _spread([one["none"] for one in first], 3), "", "0", ""),
        ("the true weights", _spread([one["ideal"] for one in first], 3), "1", "", ""),
    ]
    for name, results in found.items():
        felt = [one["correlation"] for one in results]
        told = "none" if None in felt else _spread(felt)
        error = _spread([one["rmse"][0] for one in results], 3)
        lines.append((name, error, told, f"{results[0]['parameters']:,}", _seconds(results)))
    return [
        "### Known weights",
        "x_{t+1} = Phi x_t + noise on a graph of 20 nodes, where every edge has a weight of its own, of either sign; "
        "the models are told the edges and not the weights. *Correlation*: of the true weights of the edges with what "
        f"the model makes of them, the mean of d y_i / d x_j over {AT_ONCE} test windows. A polynomial "
        "of one operator treats all edges alike, so it cannot follow them; an edge-varying layer can.",
        markdown_table(
            ("", "root mean square error", "correlation", "parameters", "seconds"), lines, right=range(1, 5)
        ),
    ]


def _cases(found: Found, plain: Results) -> list[str]:
    lines = [
        ("the last week", f"{plain['persistence_rmse']:.3f}", "0", ""),
        ("the mean of the training weeks", f"{plain['mean_rmse']:.3f}", "0", ""),
    ]
    for name, results in found.items():
        error = _spread([one["rmse"][0] for one in results], 3)
        lines.append((name, error, f"{results[0]['parameters']:,}", _seconds(results)))
    return [
        "### Chickenpox",
        "Weekly cases in 20 counties of Hungary, standardised as published; 8 weeks are seen, the next is foretold.",
        markdown_table(("", "root mean square error", "parameters", "seconds"), lines, right=range(1, 4)),
    ]


def _spread(values: Sequence[float], digits: int = 2) -> str:
    return report.spread(values, scale=1, digits=digits)


def _seconds(results: Sequence[Results]) -> str:
    return f"{fmean(one['seconds'] for one in results):.0f}"
