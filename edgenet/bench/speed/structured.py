"""``edgenet bench structured``: forward time of structured matrices beside dense products and tensorly-torch."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from edgenet.bench.harness import report, worker
from edgenet.bench.harness.timing import LIMIT
from edgenet.bench.harness.worker import MALLOC, Job
from edgenet.bench.pages import publish
from edgenet.bench.speed import structured_measure, structured_page
from edgenet.errors import ConfigError
from edgenet.structured import STRUCTURES


def run(options: argparse.Namespace) -> int:
    """Measure, and write the page; where it would hold more than some tables, every table has a page of its own.

    Returns:
        The exit code: 1 if a check failed or something could not be measured, which the page says too.
    """
    shapes = [_shape(text) for text in _listed("shapes", options.shapes)]
    batches, threads = (_numbers(name, getattr(options, name)) for name in ("batches", "threads"))
    families = list(STRUCTURES) if options.families is None else _listed("families", options.families)
    for name, chosen, known in (("families", families, STRUCTURES), ("malloc", [options.malloc], MALLOC)):
        for one in chosen:
            if one not in known:
                raise ConfigError(f"--{name} has {one!r}; there are {', '.join(known)}.")
    if options.rounds < 1:
        raise ConfigError(f"--rounds is at least 1, got {options.rounds}.")
    common = {
        "measure": structured_measure.__name__,
        "malloc": options.malloc,
        "rounds": options.rounds,
        "families": families,
    }
    jobs = [
        {**common, "title": f"{n} -> {m}, threads: {t}", "shape": [m, n], "threads": t, "batches": batches}
        for t in threads
        for m, n in shapes
    ]
    load, start = report.load_average(), time.time()
    results = worker.all_measured(jobs)
    records = list(zip(jobs, results, strict=True))
    minutes, problems = (time.time() - start) / 60, _problems(records)
    own = len(records) > structured_page.MOST
    rows = {"load": load, "minutes": minutes, "rounds": options.rounds, "problems": problems, "records": records}
    names = [structured_page.name_of(options.out.stem, job) for job, _ in records] if own else []
    given = {"shapes": options.shapes, "batches": batches, "threads": threads, "families": families}
    said = {"settings": given, "seeds": [], "peers": ("tensorly-torch",), "facts": {"threads": threads}}
    publish(options.out, structured_page.TITLE, structured_page.content, {**rows, "pages": names}, **said)
    for name, record in zip(names, records, strict=False):
        one = {**rows, "problems": _problems([record]), "records": [record], "pages": []}
        title = f"{structured_page.TITLE}: {structured_page.title_of(record[0])}"
        publish(options.out.with_name(f"{name}.md"), title, structured_page.content, one, **said)
    print(f"{options.out.read_text(encoding='utf-8')}\nwritten: {options.out}")
    for problem in problems:
        print(f"edgenet: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _listed(option: str, text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigError(f"--{option} names none.")
    return names


def _numbers(option: str, text: str) -> list[int]:
    names = _listed(option, text)
    for name in names:
        if not name.isdecimal() or int(name) < 1:
            raise ConfigError(f"--{option} are whole numbers from 1, got {name!r}.")
    return [int(name) for name in names]


def _shape(text: str) -> tuple[int, int]:
    """(m, n) of INxOUT."""
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError(f"--shapes are INxOUT, as in 1024x4096, got {text!r}.")
    return int(sides[1]), int(sides[0])


def _problems(records: Sequence[tuple[Job, dict[str, Any]]]) -> list[str]:
    problems = []
    for job, result in records:
        if "failed" in result:
            problems.append(f"Not measured: {job['title']}: {result['failed']}")
            continue
        for row in result["rows"]:
            for batch, cell in row["batches"].items():
                where = f"{row['name']} in {job['title']}, batch {batch}"
                if cell["failed"] is not None:
                    problems.append(f"Not measured: {where}: {cell['failed']}")
                elif cell["error"] > LIMIT:
                    problems.append(f"WRONG: {where}: the error is {cell['error']:.1e}")
    return problems
