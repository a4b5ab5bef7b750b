"""``edgenet bench fit``: one ``fit`` for models, data and losses of many kinds, each killed once and gone on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgenet.bench.harness import report
from edgenet.bench.harness.peers import left_out
from edgenet.bench.pages import Content, publish
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
    rows = {
        "found": dict(zip(names, found, strict=True)),
        "missing": list(missing.values()),
        "warnings": proteins_warnings(data_root) if "graphs" in names else [],
    }
    given = {"text": f"{CONFIG.strip()}\n{rules(epochs or ROWS['text'].epochs).rstrip()}"}
    publish(out, "One fit for models and data of many kinds", content, rows, settings=given, seeds=range(seeds))


def content(rows: Mapping[str, Any]) -> Content:
    """The page, of the results of every row at every seed."""
    found: Mapping[str, Sequence[Result]] = rows["found"]
    seeds = len(next(iter(found.values())))
    same = sum(passed(results[0]) for results in found.values())
    header = ("data", "handed in", "parameters", "metric", "baseline", "test", "epochs", "s an epoch", "killed in",
              "same bits")  # fmt: skip
    notes = "\n".join(f"- {ROWS[name].note}" for name in found if ROWS[name].note)
    return Content(
        f"One `fit` trains own modules, losses, loaders, lists of graphs and TOML; {same} of {len(found)} trainings "
        "that were killed in the middle came to the same bits as those that were not.",
        markdown_table(header, [_row(name, results) for name, results in found.items()]),
        [
            "Every row is one call of `edgenet.fit` (the last one of `edgenet.train.run`, which calls it); no row has "
            "a loop of its own. Test scores at the epoch of the best validation score, mean ± sample standard "
            f"deviation over {seeds} seeds (0 to {seeds - 1}). Settings were not tuned, but where it says so.",
            "*Killed in*: seed 0 is trained once more in a process of its own, which SIGKILL ends in the middle, and a "
            "new process goes on from the checkpoint in its folder. The epoch it had come to, and the last one that it "
            "did not repeat. *Same bits*: all tensors of the model, the records of all epochs, scores and best epoch "
            "are equal, bit by bit, to those of the training that nobody killed. Seconds are processor time of one "
            "thread, the median epoch, evaluation included.",
            notes,
        ],
        [
            *rows["missing"],
            *(f"> {warning}" for warning in rows["warnings"]),
            "The rows show that one call serves them all. They are no comparison of models: settings were not tuned, "
            "but where it says so.",
        ],
    )


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
