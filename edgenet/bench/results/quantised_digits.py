"""The section on digits of ``edgenet bench quantised``: tables, a picture, what was asked, and what decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgenet import plots
from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.results import quantised_table as tables
from edgenet.bench.results.quantised_ablations import questions
from edgenet.bench.results.quantised_mnist import DEMANDS, EPOCHS, PULLED, SHIFTS_AT, START, digits, rows
from edgenet.bench.results.quantised_run import Row, measured
from edgenet.text import markdown_table

SHORT = {"mlp": "perceptron", "conv": "convolutional"}
TITLES = {
    "mlp": "Perceptron, 784-512-512-10",
    "conv": "Convolutional network: three 3 x 3 layers of 16, 32 and 64 channels, two linear ones",
}


def parts(seeds: int, runs: Path, processes: int, data_root: Path | None, page: Path) -> list[str]:
    """Train what is not trained yet, and write it down; the picture stands beside the page."""
    chosen = {net: rows(net) for net in TITLES}
    tried = {net: questions(net) for net in TITLES}
    work = [(row, seed) for net in TITLES for row in chosen[net] for seed in range(seeds)]
    work += [(row, 0) for net in TITLES for answers in tried[net].values() for row in answers]
    work.sort(key=lambda one: one[0].of is not None)  # what is rounded needs the network that it is of
    jobs = [(digits, row, seed, runs, data_root) for row, seed in work]
    results = dict(zip(((row.file, seed) for row, seed in work), run_all(jobs, processes, measured), strict=True))
    found = {net: [[results[row.file, seed] for seed in range(seeds)] for row in chosen[net]] for net in TITLES}
    picture = plots.byte_curves(
        {SHORT[net]: tables.curves(chosen[net], found[net]) for net in TITLES},
        page.with_name(f"{page.stem}_digits.png"),
        "test accuracy",
    )
    text = [_introduction(seeds), f"![Accuracy against bytes]({picture.name})"]
    for net, title in TITLES.items():
        text += [f"### {title}", tables.table(chosen[net], found[net])]
    return [
        *text,
        tables.checks([*found["mlp"], *found["conv"]]),
        _NOTES,
        "### What was asked",
        "Points of test accuracy against the float network, over the same seeds, and how many may be lost.",
        tables.asked(*_demands(chosen, found)),
        "### What decides whether each trains",
        "Validation accuracy of one seed, of as many epochs as in the tables; one image is 0.1 points, and the "
        "standard error of 98 percent of 1,000 images is 0.4. The first answer to each question is what the tables "
        "use. ADMM's *residual*: the largest ||W - Z|| / ||W|| of a layer when the blocks are put in.",
        _decisions(tried, results),
        _settings(chosen),
        *report.measured_elsewhere(list(results.values())),
    ]


def _introduction(seeds: int) -> str:
    return (
        f"MNIST, 4,000 images to train on, 1,000 to choose settings and the best epoch by, and the 10,000 test images "
        "for the tables alone; no test image chose anything. Both networks have a batch norm behind every weight; all "
        "rows of a table train for equal epochs "
        f"({EPOCHS['mlp']} and {EPOCHS['conv']}), by `edgenet.fit` with Adam, a cosine and the callbacks below. Test "
        f"accuracy in percent, mean ± sample standard deviation over {seeds} seeds (0 to {seeds - 1}); *difference*: "
        f"mean of the differences to the float network of the same seed."
    )


_NOTES = "\n".join(
    (
        "- *10x*: low rank, Kronecker, tensor-train, block-term and hashed matrices, of 10 times fewer parameters "
        f"in all, put in before epoch {START}, and trained on; `hashed` has a pool a layer. *8 bits*, *4 bits*: the "
        "numbers of the same structures rounded, from then on. The last layer stays float there, and of the "
        "convolutional network the first.",
        "- *Smaller layers*: the float network with fewer channels, of about as few parameters.",
        "- *Rounded only*: the trained float network, with new statistics for its batch norms.",
        f"- *Unified*: all blocks, put in before epoch {START} at the nearest magnitudes; or when ADMM has pulled the "
        f"weights there, for {PULLED['mlp']} epochs of the perceptron and {PULLED['conv']} of the convolutional "
        "network. Layers without room for blocks of 16 stay float. Signs take a bit each.",
        "- *Q* is trained so from the start. *PS* takes the place of dense weights half way, before epoch "
        f"{SHIFTS_AT['mlp']} and {SHIFTS_AT['conv']}.",
        "- *Binary*: the BNN has signs for activations, too, no scale, and the squared hinge for a loss. Before an "
        "epoch is scored the statistics of its batch norms are estimated anew on training images, as small errors in "
        "them turn whole maps of signs.",
    )
)


def _demands(chosen: dict[str, list[Row]], found: dict[str, Any]) -> tuple[Any, Any, Any]:
    demands, results, wholes = [], {}, {}
    for net, wanted in DEMANDS.items():
        by_name = {row.name: (row, one) for row, one in zip(chosen[net], found[net], strict=True)}
        for name, points in wanted:
            row, one = by_name[name]
            demands.append((row.file, f"{SHORT[net]}: {row.group} {name}".replace("_", " "), points))
            results[row.file], wholes[row.file] = one, found[net][0]
    return demands, results, wholes


def _decisions(tried: dict[str, dict[str, list[Row]]], results: dict[tuple[str, int], Any]) -> str:
    lines = []
    for question in tried["mlp"]:
        for number, pair in enumerate(zip(*(tried[net][question] for net in SHORT), strict=True)):
            both = [results[row.file, 0] for row in pair]
            residuals = " and ".join(f"{one['residual']:.2f}" for one in both if "residual" in one)
            scores = [f"{100 * one['val']:.1f}" for one in both]
            lines.append((question if number == 0 else "", pair[0].name, *scores, residuals))
    return markdown_table(("question", "setting", *SHORT.values(), "residual"), lines, right=(2, 3, 4))


def _settings(chosen: dict[str, list[Row]]) -> str:
    lines = {f"{row.group} {row.name}": row.settings for row in chosen["conv"] if row.settings}
    text = "\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in lines.items())
    return f"### Settings of the convolutional network's rows\n\n```\n{text}\n```"
