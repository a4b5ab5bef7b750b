"""``edgenet bench edge_tensor``: the full edge-varying layer on Cora, a matrix on every edge, trained in factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm

from edgenet.bench.harness import report
from edgenet.bench.harness.kept import kept
from edgenet.bench.harness.worker import Job, in_its_own_process
from edgenet.bench.pages import Content, publish
from edgenet.bench.results import edge_tensor_run
from edgenet.bench.results.edge_tensor_run import DROPOUT, RATE, TABLE_RATE
from edgenet.errors import ConfigError
from edgenet.text import markdown_table

HIDDEN, EPOCHS = 16, 200
#: title: options of ``edge_varying``, and the weight decay of the channels
FORMS: dict[str, tuple[dict[str, Any], float]] = {
    "CP, rank 8": ({"form": "cp"}, 5e-3),
    "CP, rank 2": ({"form": "cp", "rank": 2}, 5e-3),
    "node-bilinear, rank 8": ({"form": "node_bilinear"}, 5e-3),
    "Kronecker channels, rank 8": ({"form": "kronecker"}, 5e-5),
    "tensor train, ranks 8": ({"form": "tensor_train"}, 5e-3),
    "hashed, 8 times fewer": ({"form": "hashed"}, 5e-3),
    "CP, rank 8, and 0.01 % of the entries": ({"form": "doped", "base": "cp", "density": 1e-4}, 5e-3),
    "shared taps, and 0.1 % of the entries": ({"form": "doped"}, 5e-3),
    "shared taps: no weight of an edge's own": ({"form": "shared"}, 5e-3),
}


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Train every form and write the page. Runs that are done already are read."""
    jobs = [
        {
            "measure": edge_tensor_run.__name__, "title": f"{title}, seed {seed}", "malloc": "default", "threads": 1,
            "seed": seed, "data_root": None if data_root is None else str(data_root), "options": options,
            "decay": decay, "hidden": HIDDEN, "epochs": EPOCHS,
        }
        for title, (options, decay) in FORMS.items()
        for seed in range(seeds)
    ]  # fmt: skip
    with ThreadPoolExecutor(processes) as pool:
        results = list(tqdm(pool.map(lambda job: _result(job, runs), jobs), total=len(jobs), unit="run", desc="bench"))
    found = {title: results[k * seeds : (k + 1) * seeds] for k, title in enumerate(FORMS)}
    given = {"forms": FORMS, "hidden": HIDDEN, "epochs": EPOCHS, "rate": RATE, "table rate": TABLE_RATE}
    publish(out, "The full edge-varying layer on Cora", content, found, settings=given, seeds=range(seeds))


def content(found: Mapping[str, Sequence[dict[str, Any]]]) -> Content:
    """The page, of the results of every form at every seed."""
    first, second = next(iter(found.values()))[0]["virtual"]
    seeds = len(next(iter(found.values())))
    tests = {title: fmean(one["test"] for one in results) for title, results in found.items()}
    best = max(tests, key=lambda title: tests[title])
    plain = list(found)[-1]
    header = ("form", "parameters", "times fewer", "memory, MB", "s an epoch", "validation", "test")
    return Content(
        f"A matrix on every edge of Cora, {(first + second) / 1e6:.0f} million weights, trains in factors of "
        f"{min(results[0]['parameters'] for results in found.values()):,} numbers and more. The best form on test "
        f"nodes, {best}, reaches {_scores(found[best])}; {plain}: {_scores(found[plain])}.",
        markdown_table(header, [_row(title, results) for title, results in found.items()]),
        [
            f"Two layers of order 1 with a matrix on every edge and node: 1433 -> {HIDDEN} -> 7 channels, {first:,} "
            f"and {second:,} weights. As a dense float32 table those take {4 * (first + second) / 1e9:.2f} GB, and "
            f"with their gradients and the two moments of Adam {16 * (first + second) / 1e9:.1f} GB.",
            f"Public split (140 / 500 / 1000 nodes, row-normalised sparse features), accuracy in percent at the epoch "
            f"of the best validation accuracy among {EPOCHS} (ties: lower validation loss), mean ± sample standard "
            f"deviation over {seeds} seeds (0 to {seeds - 1}). Every run has a process of its own; memory is how far "
            f"that grows in training over what it has after reading the data (VmHWM over VmRSS), the largest of the "
            f"seeds. Adam, {RATE} for channels and {TABLE_RATE} for tables of edges and nodes, these without weight "
            f"decay: it would take the weights of edges that no labelled node sees to 0. Dropout {DROPOUT}.",
        ],
        "The last row has no weight of an edge's own. Learning rates and decays were chosen by the validation "
        "accuracy of seed 0, from seven settings for CP of rank 8, four for Kronecker channels, two or three for "
        "node-bilinear, tensor train, hashed and doped taps, and one for the rest, the last row among them: a lead "
        "of CP over that row is partly tuning. [Cora](cora.md) has tuned networks.",
    )


def _result(job: Job, runs: Path) -> dict[str, Any]:
    """The result of a job, kept in a file."""
    name = "-".join(str(value) for value in (*job["options"].values(), job["seed"]))

    def measured() -> dict[str, Any]:
        result = in_its_own_process(job)
        if "failed" in result:
            raise ConfigError(f"{job['title']} ended without a result: {result['failed']}")
        return result

    return kept(runs / f"{name}.json", job, measured)


def _row(title: str, results: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    parameters, grown = results[0]["parameters"], [result["bytes"] for result in results]
    return (
        title,
        f"{parameters:,}",
        f"{sum(results[0]['virtual']) / parameters:,.0f}",
        "-" if None in grown else f"{max(grown) / 1e6:.0f}",
        f"{fmean(result['seconds'] for result in results):.3f}",
        report.spread([result["val"] for result in results]),
        f"**{_scores(results)}**",
    )


def _scores(results: Sequence[dict[str, Any]]) -> str:
    return report.spread([result["test"] for result in results])
