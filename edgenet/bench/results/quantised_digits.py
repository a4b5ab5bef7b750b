"""The section on digits of ``edgenet bench quantised``: tables, a picture, what was asked, and what decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenet import plots
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.results import quantised_table as tables
from edgenet.bench.results.quantised_ablations import questions
from edgenet.bench.results.quantised_mnist import DEMANDS, EPOCHS, PULLED, SHIFTS_AT, START, digits, rows
from edgenet.bench.results.quantised_run import Row, measured
from edgenet.text import markdown_table

Results = dict[str, Any]
LIMITS = "4,000 training images and two small networks. What decides whether each trains is told by one seed."
SHORT = {"mlp": "perceptron", "conv": "convolutional"}
TITLES = {
    "mlp": "Perceptron, 784-512-512-10",
    "conv": "Convolutional network: three 3 x 3 layers of 16, 32 and 64 channels, two linear ones",
}


def results(seeds: int, runs: Path, processes: int, data_root: Path | None, picture: Path) -> Results:
    """Train what is not trained yet, and draw the picture: the runs of every row by the name of its file."""
    chosen = {net: rows(net) for net in TITLES}
    tried = {net: questions(net) for net in TITLES}
    work = [(row, seed) for net in TITLES for row in chosen[net] for seed in range(seeds)]
    work += [(row, 0) for net in TITLES for answers in tried[net].values() for row in answers]
    work.sort(key=lambda one: one[0].of is not None)  # what is rounded needs the network that it is of
    jobs = [(digits, row, seed, runs, data_root) for row, seed in work]
    runs_of: dict[str, list[dict[str, Any]]] = {}
    done = zip(work, run_all(jobs, processes, measured), strict=True)
    for (row, _), one in sorted(done, key=lambda pair: pair[0][1]):  # by seed
        runs_of.setdefault(row.file, []).append(one)
    found = {net: [runs_of[row.file][:seeds] for row in chosen[net]] for net in TITLES}
    curves = {SHORT[net]: tables.curves(chosen[net], found[net]) for net in TITLES}
    return {"seeds": seeds, "picture": plots.byte_curves(curves, picture, "test accuracy").name, "runs": runs_of}


def settings() -> dict[str, Any]:
    """Of the convolutional network's rows."""
    return {f"{row.group} {row.name}": row.settings for row in rows("conv") if row.settings}


def _of_tables(results: Results) -> dict[str, list[list[dict[str, Any]]]]:
    """The runs of the tables' rows, by network."""
    return {net: [results["runs"][row.file][: results["seeds"]] for row in rows(net)] for net in TITLES}


def claim(results: Results) -> str:
    """What was found: what of the demands was met, and what was not."""
    demands, mine, wholes = _demands({net: rows(net) for net in TITLES}, _of_tables(results))
    lost = {text: (tables.lost(wholes[file], mine[file]), points) for file, text, points in demands}
    missed = [f"{text} ({value:+.2f}, -{points:.1f} allowed)" for text, (value, points) in lost.items()
              if not tables.within(value, points)]  # fmt: skip
    return (
        f"Of {len(lost)} demands on how much accuracy formats of few bits may lose on MNIST, "
        f"{len(lost) - len(missed)} are met. Missed: {'; '.join(missed) or 'none'}."
    )


def parts(results: Results) -> list[str]:
    """The page's paragraphs and tables."""
    chosen, tried = ({net: of(net) for net in TITLES} for of in (rows, questions))
    found = _of_tables(results)
    text = [_introduction(results["seeds"]), tables.checks([*found["mlp"], *found["conv"]]), _NOTES]
    text.append(f"![Accuracy against bytes]({results['picture']})")
    for net, title in TITLES.items():
        text += [f"### {title}", tables.table(chosen[net], found[net])]
    return [
        *text,
        "### What was asked",
        "Points of test accuracy against the float network, over the same seeds, and how many may be lost.",
        tables.asked(*_demands(chosen, found)),
        "### What decides whether each trains",
        "Validation accuracy of one seed, of as many epochs as in the tables; one image is 0.1 points, and the "
        "standard error of 98 percent of 1,000 images is 0.4. The first answer to each question is what the tables "
        "use. ADMM's *residual*: the largest ||W - Z|| / ||W|| of a layer when the blocks are put in.",
        _decisions(tried, results["runs"]),
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


def _decisions(tried: dict[str, dict[str, list[Row]]], runs: dict[str, list[dict[str, Any]]]) -> str:
    lines = []
    for question in tried["mlp"]:
        for number, pair in enumerate(zip(*(tried[net][question] for net in SHORT), strict=True)):
            both = [runs[row.file][0] for row in pair]
            residuals = " and ".join(f"{one['residual']:.2f}" for one in both if "residual" in one)
            scores = [f"{100 * one['val']:.1f}" for one in both]
            lines.append((question if number == 0 else "", pair[0].name, *scores, residuals))
    return markdown_table(("question", "setting", *SHORT.values(), "residual"), lines, right=(2, 3, 4))
