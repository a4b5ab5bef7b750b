"""What the benchmarks of speed and memory share: options, settings of their jobs, and the section of a page."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edgenet.bench.harness import page, peers, report, timing, worker
from edgenet.bench.harness.graphs import GRAPHS
from edgenet.bench.harness.peers import PEERS
from edgenet.bench.harness.worker import MALLOC, Job
from edgenet.errors import ConfigError

PAGE = "Performance"
Record = tuple[Job, dict[str, Any]]  # a job and its result


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        peers: names in ``PEERS`` that import here.
        graphs: names in ``GRAPHS``.
        malloc: names in ``worker.MALLOC``.
        rounds: at most so many of each case.
        page: the page to write; pictures stand beside it.
        data_root: folder to look for Cora in first.
    """

    peers: list[str]
    graphs: list[str]
    malloc: list[str]
    rounds: int
    page: Path
    data_root: str | None = None

    def job(self, measure: str, title: str, malloc: str, threads: int = 1, **options: Any) -> Job:
        """A job with these settings."""
        common = {"rounds": self.rounds, "peers": self.peers, "data_root": self.data_root}
        return {"measure": measure, "title": title, "malloc": malloc, "threads": threads, **common, **options}


def run(name: str, module: ModuleType, options: argparse.Namespace) -> int:
    """Measure, and write the section ``name`` of the page, and the raw numbers if asked to.

    Args:
        module: has the TITLE of the section, its ``jobs`` and its ``parts``.

    Returns:
        The exit code: 1 if a check failed or something could not be measured, which the page says too.
    """
    chosen = {key: _chosen(key, getattr(options, key), known) for key, known in
              (("peers", PEERS), ("graphs", GRAPHS), ("malloc", MALLOC))}  # fmt: skip
    for key in ("graphs", "malloc"):
        if not chosen[key]:
            raise ConfigError(f"--{key} names none; there are {', '.join(GRAPHS if key == 'graphs' else MALLOC)}.")
    if options.rounds < 1:
        raise ConfigError(f"--rounds is at least 1, got {options.rounds}.")
    if options.out.exists():
        page.without_section(options.out, options.out.read_text(encoding="utf-8"), name)  # raises now, not afterwards
    data_root = None if options.data_root is None else str(options.data_root)
    settings = Settings(**chosen, rounds=options.rounds, page=options.out, data_root=data_root)
    here = worker.in_its_own_process(settings.job(peers.__name__, "what is here", chosen["malloc"][0]))
    if "failed" in here:
        raise ConfigError(f"nothing can be measured: the first process ended with {here['failed']}")
    settings = Settings(**{**vars(settings), "peers": [name for name in settings.peers if name not in here["missing"]]})
    load = report.load_average()
    jobs = module.jobs(settings)
    results = worker.all_measured(jobs)
    records = list(zip(jobs, results, strict=True))
    measured = [record for record in records if "failed" not in record[1]]
    problems = _problems(records)
    parts = [f"## {module.TITLE}", f"```\n{report.command()}\n```", machine(here, settings, load)]
    parts += [f"{PEERS[peer][0]} is left out: {reason}." for peer, reason in here["missing"].items()]
    parts += [part for part in module.parts(measured, settings) if part] + [f"> {problem}" for problem in problems]
    print(page.write_section(options.out, PAGE, name, parts))
    print(f"written: {options.out}")
    if options.json is not None:
        raw = {"command": report.command(), "machine": {"processor": report.processor(), "cores": os.cpu_count()},
               "here": here, "malloc": MALLOC, "load": load,
               "records": [{"job": job, "result": result} for job, result in records]}  # fmt: skip
        options.json.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
        print(f"written: {options.json}")
    for problem in problems:
        print(f"edgenet: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _chosen(option: str, text: str, known: Iterable[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ConfigError(f"--{option} has {name!r}; there are {', '.join(known)}.")
    return list(dict.fromkeys(names))


def machine(here: dict[str, Any], settings: Settings, load: float | None) -> str:
    """The sentences on where and how the numbers were measured."""
    versions = ", ".join(f"{name} {number}" for name, number in here["packages"].items() if number)
    tuned = " ".join(f"{name}={value}" for name, value in MALLOC["tuned"].items())
    busy = "" if load is None else f", load average {load:.1f} at the start"
    allocators = {"default": "nothing set", "tuned": f"`{tuned}`"}
    return (
        f"Measured on {report.processor()} ({os.cpu_count()} cores{busy}); Python {here['python']}, {versions}, "
        f"edgenet {here['edgenet']} (backend {here['backend']}, {here['instructions']}). Every case runs in a process "
        f"of its own with one thread, where nothing else is said: processor time of the process, implementations in "
        f"turn, two calls to warm up, then up to {settings.rounds} rounds (fewer, at least {timing.FEWEST}, where a "
        f"round takes long); the minimum is shown. Allocator: "
        + "; ".join(f"*{name}*: {allocators[name]}" for name in settings.malloc)
        + ". *Forward* runs without gradients. GPU: not measured.\n\n"
        f"All numbers are float32. *Error*: over the value and every gradient of the same call, the worst root mean "
        f"square of the difference from edgenet in float64 on its reference backend, over the root mean square of the "
        f"latter. It is checked before anything is timed; up to {timing.LIMIT:.0e} passes, and nothing else is timed. "
        f"*× edgenet*: the time over edgenet's, in the same run and of the same inputs, in bold where edgenet is "
        f"slower. torch.compile compiles for the shapes at hand; its compiling is not timed."
    )


def _problems(records: Sequence[Record]) -> list[str]:
    problems = []
    for job, result in records:
        if "failed" in result:
            problems.append(f"Not measured: {worker.title(job)}: {result['failed']}")
            continue
        for row in result["rows"]:
            if row["failed"] is not None:
                problems.append(f"Not measured: {row['name']} in {worker.title(job)}: {row['failed']}")
            elif not timing.passed(row):
                bad = max(row["errors"], key=row["errors"].get)
                problems.append(
                    f"WRONG: {row['name']} in {worker.title(job)}: the error of {bad} is {row['error']:.1e}"
                )
    return problems


def described(records: list[Record], settings: Settings) -> str:
    """What the graphs of these records are."""
    facts = {job["graph"]: result["graph"] for job, result in records if "graph" in job}
    lines = []
    for name in settings.graphs:
        if name in facts:
            fact = facts[name]
            kind = "made, power law" if fact["made"] else "the real citation graph"
            if name == "cora" and fact["made"]:
                kind += ", for want of Cora's files: `edgenet data prepare cora` fetches them"
            lines.append(f"*{name}*: {fact['nodes']:,} nodes, {fact['edges']:,} edges ({kind})")
    if not lines:
        return ""
    return f"Graphs: {'; '.join(lines)}. Edges are sorted by target; the node numbers of made ones carry no locality."
