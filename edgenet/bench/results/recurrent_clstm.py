"""The section on C-LSTM of ``edgenet bench recurrent``: parameters, accuracy by block size, schedule, costs, code."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from edgenet.bench.harness import report, worker
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.results.recurrent_clstm_run import BATCH, RATE, SIDE, TUNING, Row, measured
from edgenet.clstm import Machine, Product, by_block, critical_path, lstm_graph, pipeline, schedule
from edgenet.clstm import cost as costs
from edgenet.clstm.google import LAYERS, OUTPUTS, PUBLISHED, in_blocks, parameters, weights
from edgenet.text import markdown_table

BLOCKS = (1, 2, 4, 8, 16)
DROP = 0.02  # of accuracy that the choice of block sizes may cost
LIMITS = (
    "TIMIT is licensed, and was not measured; no device was. Accuracy is of a small network on synthetic frames, with "
    "one rate for all rows."
)
MULTIPLIERS = 2760  # of the KU060, the smaller one of the paper's devices
_PAPER = "Wang et al. 2018"
_SIZES = tuple(LAYERS[0].matrices.values())


def rows() -> list[Row]:
    """Every row, those that matter most first."""
    return [*(Row(block) for block in (1, 8, 16, 4, 2)), Row(None, max_drop=DROP)]


def results(seeds: int, runs: Path, processes: int, data_root: Path | None) -> dict[str, Any]:
    """Train what is not trained yet, and measure products: the runs of every row by its number, and their times."""
    chosen = rows()
    jobs = [(row, seed, runs, data_root) for row in chosen if row.block for seed in range(seeds)]
    last = [(row, 0, runs, data_root) for row in chosen if row.block is None]  # which reads the trained dense network
    done = [*zip(jobs, run_all(jobs, processes, measured), strict=True)]
    done += zip(last, run_all(last, processes, measured), strict=True)
    return {
        "runs": [[result for (one, *_), result in done if one == row] for row in chosen],
        "products": _products(),
    }


def settings() -> dict[str, Any]:
    """What is trained and how."""
    return {"rows": [vars(row) for row in rows()], "rate": RATE, "batch": BATCH, "tuning": TUNING, "drop": DROP}


def claim(found: dict[str, Any]) -> str:
    """What was found."""
    trained = {row.block: each for row, each in zip(rows(), found["runs"], strict=True) if row.block}
    largest = max(trained)
    dense, small = trained[1], trained[largest]
    lost = 100 * (fmean(one["test"] for one in small) - fmean(one["test"] for one in dense))
    return (
        f"Block-circulant Google LSTMs have the published numbers of parameters. On frame labels blocks of {largest}, "
        f"{dense[0]['counted'] / small[0]['counted']:.1f} times smaller, change the frames right by {lost:+.1f} points."
    )


def parts(found: dict[str, Any]) -> list[str]:
    """The page's paragraphs and tables."""
    runs = dict(zip(rows(), found["runs"], strict=True))
    return [published_table(), *_accuracy(runs), schedule_text(), *_costs(found["products"])]


def published_table() -> str:
    """Parameters as the paper counts them, beside its own and its error rates."""
    first = weights(LAYERS[0])
    head = ("block", "parameters here, M", f"published, M ({_PAPER})", "weights of layer 1", "ratio",
            f"phone error on TIMIT, % ({_PAPER})", "here")  # fmt: skip
    lines = [
        (
            block,
            f"{parameters(in_blocks(LAYERS, block), OUTPUTS) / 1e6:.3f}",
            f"{PUBLISHED[block].parameters:.2f}",
            f"{weights(in_blocks(LAYERS, block)[0]):,}",
            f"{first / weights(in_blocks(LAYERS, block)[0]):.2f}",
            f"{PUBLISHED[block].error:.2f}",
            "not measured: licensed data",
        )
        for block in PUBLISHED
    ]
    text = (
        "### Parameters of the Google LSTM\n\nTwo layers of 1,024 cells with peepholes, projected to 512; 153 "
        "features, 61 outputs. Matrices are counted with their padding, one bias a gate, the last dense map with "
        "biases."
    )
    return f"{text}\n\n{markdown_table(head, lines)}"


def _accuracy(found: dict[Row, list[dict[str, Any]]]) -> list[str]:
    trained = {row: results for row, results in found.items() if row.block is not None}
    dense = next(results for row, results in trained.items() if row.block == 1)
    head = ("block", "parameters", "smaller", "validation", "frames right, test", "difference", "processor s")
    lines = []
    for row, results in sorted(trained.items(), key=lambda pair: pair[0].block or 0):
        test = [one["test"] for one in results]
        lost = 100 * (fmean(test) - fmean(one["test"] for one in dense))
        lines.append(
            (
                row.block,
                f"{results[0]['counted']:,}",
                f"{dense[0]['counted'] / results[0]['counted']:.1f}x",
                report.spread([one["val"] for one in results]),
                f"**{report.spread(test)}**",
                "" if row.block == 1 else f"{lost:+.1f}",
                f"{fmean(one['seconds'] for one in results):.0f}",
            )
        )
    row = next(iter(trained))
    text = (
        f"### Accuracy by block size\n\n[Frame labels](../../datasets/frame_labels/README.md), frames of {SIDE} "
        f"pixels: a Google LSTM of {row.layers} layers, {row.cells} cells, projection {row.projection}, trained from "
        f"scratch for {row.epochs} epochs (Adam, rate {RATE:g}, batch {BATCH}), the epoch of the best validation "
        f"score. No setting was searched: this one rate was looked at, for the dense network on validation sequences, "
        f"and all rows have it. Parameters as above."
    )
    return [f"{text}\n\n{markdown_table(head, lines)}", *(_choice(row, found[row]) for row in found if not row.block)]


def _choice(row: Row, results: list[dict[str, Any]]) -> str:
    (result,) = results
    lines = [(name.removeprefix("rnn.").removesuffix(".weight"), size) for name, size in result["blocks"].items()]
    groups = "; ".join(" with ".join(group) for group in result["together"])
    work = [sum(one["multiply_adds"] for one in result[name]) for name in ("before", "after")]
    stored = [sum(one["parameters"] for one in result[name]) for name in ("before", "after")]
    return (
        f"### Block sizes chosen\n\n`choose_block_sizes` on the trained dense network of seed 0, for a drop of at most "
        f"{row.max_drop} in validation accuracy; a network that is tried is tuned for {TUNING['epochs']} epochs. "
        f"Matrices that share an input take one size: {groups}.\n\n{markdown_table(('matrix', 'block'), lines)}\n\n"
        f"Weights {stored[0]:,} to {stored[1]:,}, multiply-adds a frame {work[0]:,} to {work[1]:,}; {result['text']} "
        f"Frames right on test: {100 * result['test']:.1f} %. {result['seconds']:.0f} processor seconds."
    )


def schedule_text(block: int = 8) -> str:
    """The stages of the first layer, and what the analytical model makes of them."""
    graph = lstm_graph(in_blocks(LAYERS, block)[0])
    stages = schedule(graph)
    made = pipeline(stages, MULTIPLIERS)
    listed = [
        f"{number}. {stage.unit}: {', '.join(f'`{one.name}`' for one in stage.operators)}"
        for number, stage in enumerate(stages, start=1)
    ]
    path = " → ".join(f"`{one.name}`" for one in critical_path(graph))
    return (
        f"### Schedule\n\nOf the first layer in blocks of {block}: the operators in stages, most urgent first.\n\n"
        + "\n".join(listed)
        + f"\n\nCritical path: {path}.\n\nThe model of a device with {MULTIPLIERS:,} multipliers that each do one "
        f"multiply-add in a cycle of 5 ns; no device was measured:\n\n```\n{made}\n```\n\n"
        f"That is {made.frames_a_second:,.0f} frames a second. Published, on an FPGA: 18.8 times the throughput of "
        f"ESE, and 33.5 times its energy efficiency ({_PAPER}); here they are quoted only."
    )


def measure(job: worker.Job) -> dict[str, Any]:
    """Times of products: those that rates are fitted to, and those that are foretold."""
    told = [Product(*size, block, batch) for size in _SIZES for block in job["blocks"] for batch in job["batches"]]
    probes = [(list(_sizes(one)), costs.measured(one, job["shortest"], job["rounds"])) for one in costs.PROBES]
    shown = [(list(_sizes(one)), costs.measured(one, job["shortest"], job["rounds"])) for one in told]
    return {"probes": probes, "shown": shown}


def _sizes(one: Product) -> tuple[int, int, int, int]:
    return one.rows, one.columns, one.block, one.batch


def _products(shortest: float = 0.01, rounds: int = 5) -> dict[str, Any]:
    """The times of products, from a process of their own."""
    job = {
        "measure": __name__, "title": "products in circulant blocks", "malloc": "default", "threads": 1,
        "shortest": shortest, "rounds": rounds, "blocks": [1, 2, 4, 8, 16, 32, 64], "batches": [1, 16],
    }  # fmt: skip
    (result,) = worker.all_measured([job])
    return result


def _costs(result: dict[str, Any]) -> list[str]:
    if "failed" in result:
        return [f"### Cost model\n\n> Not measured: {result['failed']}"]
    return [cost_table(result)]


def cost_table(result: dict[str, Any]) -> str:
    """Foretold times of products beside measured ones."""
    machine = Machine.of((Product(*sizes), seconds) for sizes, seconds in result["probes"])
    layer = by_block(LAYERS[0], sorted({sizes[2] for sizes, _ in result["shown"]}), 1, machine)
    lines, ratios = [], []
    for block, cost in layer.items():
        cells = [f"{block}", f"{cost.parameters:,}", f"{100 * cost.padding:.1f} %", f"{cost.multiply_adds:,}",
                 f"{cost.bytes / 1e6:.2f}"]  # fmt: skip
        for batch in sorted({sizes[3] for sizes, _ in result["shown"]}):
            pairs = [(Product(*s), t) for s, t in result["shown"] if s[2] == block and s[3] == batch]
            ratios += [machine.seconds(one) / seconds for one, seconds in pairs]
            cells += [
                f"{1e3 * sum(machine.seconds(one) for one, _ in pairs):.3f}",
                f"{1e3 * sum(t for _, t in pairs):.3f}",
            ]
        lines.append(cells)
    head = ["block", "parameters", "padding", "multiply-adds a frame", "MB a frame"]
    for batch in sorted({sizes[3] for sizes, _ in result["shown"]}):
        head += [f"ms expected, batch {batch}", "ms measured"]
    within = sum(0.5 <= ratio <= 2 for ratio in ratios)
    text = (
        "### Cost model\n\nThe products of one step of the first layer: gates by input and state, projection. The "
        f"model takes times to be sums over calls, transforms, multiply-adds and bytes, and was fitted to "
        f"{len(result['probes'])} products of other sizes; of the {len(ratios)} products here {within} take between "
        f"half and twice the time expected. Processor time in float32, one thread, the least of some rounds."
    )
    return f"{text}\n\n{markdown_table(head, lines, right=range(len(head)))}"
