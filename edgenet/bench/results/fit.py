"""``edgenet bench fit``: one ``fit`` for models, data and losses of many kinds, each killed once and gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from edgenet.bench.harness import report
from edgenet.bench.harness.peers import left_out
from edgenet.bench.results.fit_rows import ROWS
from edgenet.bench.results.fit_run import Result, passed, seconds, shown
from edgenet.bench.results.fit_trainings import CONFIG, proteins_warnings, rules
from edgenet.text import markdown_table


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, epochs: int | None = None) -> None:
    """Train every row, kill it, go on with it, and write the page."""
    missing = {} if (reason := left_out("ase")) is None else {"molecules": reason}
    names = [name for name in ROWS if name not in missing]
    with ThreadPoolExecutor(processes) as pool:
        found = list(tqdm(pool.map(lambda name: shown(name, seeds, runs, data_root, epochs), names),
                          total=len(names), unit="row", desc="bench"))  # fmt: skip
    header = ("data", "handed in", "parameters", "metric", "baseline", "test", "epochs", "s an epoch", "killed in",
              "same bits")  # fmt: skip
    parts = [
        "Every row is one call of `edgenet.fit` (the last one of `edgenet.train.run`, which calls it); no row has a "
        "loop of its own. Test scores at the epoch of the best validation score, mean ± sample standard deviation "
        f"over {seeds} seeds (0 to {seeds - 1}). Settings were not tuned, but where it says so.",
        markdown_table(header, [_row(name, results) for name, results in zip(names, found, strict=True)]),
        *missing.values(),
        "*Killed in*: seed 0 is trained once more in a process of its own, which SIGKILL ends in the middle, and a "
        "new process goes on from the checkpoint in its folder. The epoch it had come to, and the last one that it did "
        "not repeat. *Same bits*: all tensors of the model, the records of all epochs, scores and best epoch are "
        "equal, bit by bit, to those of the training that nobody killed. Seconds are processor time of one thread, "
        "the median epoch, evaluation included.",
        *_notes(names, data_root),
        f"## The last row\n\n```toml\n{CONFIG.strip()}\n{rules(epochs or ROWS['text'].epochs).rstrip()}\n```",
    ]
    report.write(out, "One fit for models and data of many kinds", parts)


def _row(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    row, first = ROWS[name], results[0]
    one = first["killed"]
    digits = 1 if row.scale == 100 else 2
    wrong = ", ".join(key for key, same in one["same"].items() if not same)
    return (
        row.data,
        row.handed,
        f"{first['parameters']:,}",
        row.metric,
        f"{row.scale * first['plain']:.{digits}f} ({row.baseline})",
        f"**{report.spread([result['test'] for result in results], row.scale, digits)}**",
        str(first["epochs"]),
        f"{seconds(results):.3f}",
        f"{one['epoch']}, on from {one['went_on']}" if one["ended"] else "**NOT KILLED**",
        "yes" if passed(first) else f"**NO**: {wrong or 'it began anew'}",
    )


def _notes(names: Sequence[str], data_root: Path | None) -> list[str]:
    notes = [f"- {ROWS[name].note}" for name in names if ROWS[name].note]
    warnings = [f"> {warning}" for warning in proteins_warnings(data_root)] if "graphs" in names else []
    return ["\n".join(lines) for lines in (notes, warnings) if lines]
