"""``edgenet bench compressed_gat``: the published GAT for Cora with structured matrices of every family in its lift."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from edgenet import plots
from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.results.compressed_gat_cases import ENTRIES, PARTS, cases
from edgenet.bench.results.compressed_gat_run import LABELS_ALONE, SETTINGS, SLOTS, Case, measured
from edgenet.bench.results.published_gat import published
from edgenet.text import markdown_table

#: (ratio, points of accuracy that may be lost)
AIMS = ((25, 0.5), (10, 0.1))


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Compress and fine-tune every case, write the page, and draw the picture beside it."""
    problem = published(data_root)
    whole = problem.judged(problem.scores)
    named = cases()

    def results(chosen: Sequence[Case]) -> list[dict[str, Any]]:
        return run_all([(case, runs, seeds, data_root) for case in chosen], processes, measured)

    main = results([case for _, case in named])
    names = [family for family, _ in named]
    # of each family its largest model that is small enough: what is read off must not be chosen by test nodes
    chosen = sorted({number for ratio, _ in AIMS for number in _largest(names, main, ratio).values()})
    withheld = results([replace(named[number][1], targets="held out") for number in chosen])
    held = dict(zip(chosen, withheld, strict=True))
    parts = results([case for _, case in PARTS])
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, result in zip(names, main, strict=True):
        curves.setdefault(name.replace("_", " "), []).append((_ratio(result), _mean(result, "test")))
    picture = plots.size_curves(
        curves, out.with_suffix(".png"), "test accuracy", whole["test"], "The published GAT for Cora, compressed"
    )
    report.write(
        out,
        "The published GAT for Cora, compressed",
        [
            _introduction(whole, seeds, main[0]),
            f"![Accuracy against size]({picture.name})",
            _reached(names, main, held, whole["test"]),
            "## Every family",
            _COLUMNS,
            _table(names, main, held),
            "## What the parts of the recipe are worth",
            "The first row of each four is that of the table above. Where labels alone train, nothing is learned from "
            "the published model but the start, and its own regularisation (dropout 0.6, weight decay) is back.",
            _parts(parts),
            _settings(float(problem.scores.softmax(1).amax(1).mean())),
            *report.measured_elsewhere([*main, *withheld, *parts]),
        ],
    )


_COLUMNS = (
    "Numbers are of the whole model: attention vectors, biases and the second lift (670 numbers in all) stay as they "
    "are. *Smaller*: parameters, and bytes of the tensors on disk, before over after; a sparse matrix also stores "
    "where its entries are. *Error*: ||W - W'|| / ||W|| of the nearest (or a good) matrix W' of the family, and "
    "||X (W - W')^T|| / ||X W^T|| on the features X after W' is fitted to them. *Untrained*: test accuracy with the "
    "nearest matrix, and with the fitted one. *Agrees*: nodes, of all, that get the class that the published model "
    "gives them. *Withheld*: test accuracy where the published model's scores at the test nodes are kept from "
    "the training, for each family's largest models that reach an aim's ratio. Not in the table: `unitary`, which is "
    "square, and `csr`, the packed form of `sparse`."
)


def _introduction(whole: Mapping[str, float], seeds: int, result: Mapping[str, Any]) -> str:
    return (
        f"The pre-trained GAT of Velickovic et al. 2018 ({result['projection']['parameters_before']:,} parameters, "
        f"accuracy {100 * whole['test']:.1f} on the 1000 test nodes and {100 * whole['val']:.1f} on the 500 validation "
        f"nodes), converted to an EdgeNet. Of its parameters {ENTRIES:,} are the first lift, 64 x 1433; a structured "
        f"matrix takes its place, is fitted to the features, and the whole model is fine-tuned on the scores of the "
        f"published one. Accuracies are in percent on the test nodes, mean ± sample standard deviation over {seeds} "
        f"seeds (0 to {seeds - 1}), which draw the nodes of each step; all else is without chance.\n\n"
        f"The published model saw the features of all nodes and the classes of 140. So does the fine-tuning: its "
        f"targets are the published model's scores, at test nodes too, and never a class of a test node. The epoch "
        f"that agrees with the published model on the most validation nodes is kept (ties: lower loss there). A small "
        f"model can learn those scores node by node, which says little of nodes it was not fitted to; the last column "
        f"of the table withholds the scores at the test nodes, and is the number to compare for new nodes."
    )


def _largest(names: Sequence[str], main: Sequence[Any], ratio: float) -> dict[str, int]:
    """The row of every family's largest model that is so many times smaller, where it has one."""
    largest: dict[str, int] = {}
    for row, (name, result) in enumerate(zip(names, main, strict=True)):
        if ratio <= _ratio(result) < (_ratio(main[largest[name]]) if name in largest else float("inf")):
            largest[name] = row
    return largest


def _reached(names: Sequence[str], main: Sequence[Any], held: Mapping[int, Any], whole: float) -> str:
    lines = []
    for ratio, points in AIMS:
        rows = _largest(names, main, ratio)
        for text, results in (("with all scores", main), ("with those at test nodes withheld", held)):
            lost = {name: 100 * (whole - _mean(results[row], "test")) for name, row in rows.items()}
            fine = [f"`{name}` ({-value:+.2f})" for name, value in lost.items() if value <= points + 1e-9]
            short = [f"`{name}` ({-value:+.2f})" for name, value in lost.items() if value > points + 1e-9]
            lines.append(
                f"- At {ratio}x or more, within {points} points of the published model, {text}: "
                f"{', '.join(fine) or 'no family'}. Not: {', '.join(short) or 'none'}."
            )
    spread = 100 * (whole * (1 - whole) / 1000) ** 0.5
    note = (
        f"Points of accuracy that each family gains or loses, on average over the seeds, by its largest model that "
        f"is small enough. One test node is 0.1 points, and the standard error of an accuracy of {100 * whole:.1f} on "
        f"1000 nodes {spread:.1f} points: differences of a few tenths are of these nodes and seeds."
    )
    return "\n".join(["## What is reached\n", *lines, "", note])


def _table(names: Sequence[str], main: Sequence[Any], held: Mapping[int, Any]) -> str:
    header = (
        "family", "options", "parameters", "smaller", "bytes smaller", "error", "on features", "untrained",
        "fine-tuned", "agrees", "withheld",
    )  # fmt: skip
    rows = []
    for row, (name, result) in enumerate(zip(names, main, strict=True)):
        facts = result["projection"]
        rows.append(
            (
                f"`{name}`",
                _options(result["case"]["structure"][SLOTS[0]]),
                f"{facts['parameters']:,}",
                f"{_ratio(result):.1f}x",
                f"{facts['bytes_before'] / facts['bytes']:.1f}x",
                f"{facts['error']:.2f}",
                f"{facts['error_on_features']:.2f}",
                f"{100 * facts['nearest']['test']:.1f}, {100 * facts['refitted']['test']:.1f}",
                f"**{_spread(result, 'test')}**",
                f"{_spread(result, 'agreement')}",
                _spread(held[row], "test") if row in held else "",
            )
        )
    return markdown_table(header, rows)


def _parts(results: Sequence[Any]) -> str:
    header = ("", "parameters", "smaller", "untrained", "fine-tuned", "agrees")
    rows = []
    for (text, _), result in zip(PARTS, results, strict=True):
        facts = result["projection"]
        rows.append(
            (
                text,
                f"{facts['parameters']:,}",
                f"{_ratio(result):.1f}x",
                f"{100 * facts['refitted']['test']:.1f}",
                f"**{_spread(result, 'test')}**",
                _spread(result, "agreement"),
            )
        )
    return markdown_table(header, rows)


def _settings(confidence: float) -> str:
    text = json.dumps({**SETTINGS, "labels alone": LABELS_ALONE}, indent=2)
    return (
        f"## Settings\n\nOne recipe for all: L-BFGS on the features (of low rank the closed form), then Adam with a "
        f"linear warm-up and a cosine to zero, without dropout or weight decay, on the distillation loss of Hinton, "
        f"Vinyals, Dean 2015 at a share of the nodes drawn anew each step. The scores of the published model lie close "
        f"together (the class it finds has a probability of {confidence:.2f} on average), hence a temperature below "
        f"1. The recipe was chosen by the share of nodes, test nodes among them, that get the published model's class: "
        f"by no class of a test node, but not without the scores that the last column withholds.\n\n"
        f"```json\n{text}\n```"
    )


def _options(spec: Mapping[str, Any]) -> str:
    """In short, for a table."""
    parts = []
    for key, value in spec.items():
        if key == "density":
            parts.append(f"{round(value * ENTRIES):,} entries")
        elif key == "base":
            parts.append(f"{value['structure']}({_options(value)})")
        elif key == "factors":
            parts.append("factors " + ", ".join("x".join(map(str, factor)) for factor in value))
        elif key != "structure":
            parts.append(f"{key} {'x'.join(map(str, value)) if isinstance(value, list | tuple) else value}")
    return ", ".join(parts)


def _ratio(result: Mapping[str, Any]) -> float:
    return result["projection"]["parameters_before"] / result["projection"]["parameters"]


def _mean(result: Mapping[str, Any], key: str) -> float:
    return fmean(seed[key] for seed in result["seeds"])


def _spread(result: Mapping[str, Any], key: str) -> str:
    return report.spread([seed[key] for seed in result["seeds"]])
