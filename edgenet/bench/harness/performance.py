"""What the benchmarks of speed and memory share: options, settings of their jobs, and the page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from edgenet.bench.harness import peers, report, timing, worker
from edgenet.bench.harness.graphs import GRAPHS
from edgenet.bench.harness.peers import PEERS
from edgenet.bench.harness.worker import MALLOC, Job
from edgenet.bench.pages import Content, from_parts, publish
from edgenet.errors import ConfigError

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


def run(module: ModuleType, options: argparse.Namespace) -> int:
    """Measure, and write the page.

    Args:
        module: has the TITLE of the page, its ``jobs``, ``claim``, ``parts`` and LIMITS; ``pictures``, if there are
            any, draws them.

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
    data_root = None if options.data_root is None else str(options.data_root)
    settings = Settings(**chosen, rounds=options.rounds, page=options.out, data_root=data_root)
    here = worker.in_its_own_process(settings.job(peers.__name__, "what is here", chosen["malloc"][0]))
    if "failed" in here:
        raise ConfigError(f"nothing can be measured: the first process ended with {here['failed']}")
    settings = Settings(**{**vars(settings), "peers": [name for name in settings.peers if name not in here["missing"]]})
    load = report.load_average()
    jobs = module.jobs(settings)
    results = worker.all_measured(jobs)
    # where data were on this machine says nothing to others
    records = [({**job, "data_root": None}, result) for job, result in zip(jobs, results, strict=True)]
    asked = {**asdict(settings), "page": options.out.name, "data_root": None}
    rows = {"module": module.__name__, "settings": asked, "here": here, "load": load, "records": records}
    if hasattr(module, "pictures"):
        module.pictures(_measured(records), settings)
    packages = [package for package, _ in PEERS.values() if here["packages"].get(package)]
    facts = {"backend": here["backend"], "threads": 1, "allocator": " and ".join(settings.malloc)}
    given = {key: asked[key] for key in ("peers", "graphs", "malloc", "rounds")}
    publish(options.out, module.TITLE, content, rows, settings=given, seeds=[], peers=packages, facts=facts)
    print(f"{options.out.read_text(encoding='utf-8')}\nwritten: {options.out}")
    problems = _problems(records)
    for problem in problems:
        print(f"edgenet: {problem}", file=sys.stderr)
    return 1 if problems else 0


def content(rows: dict[str, Any]) -> Content:
    """The page of a benchmark, of its records alone."""
    module = import_module(rows["module"])
    settings = Settings(**{**rows["settings"], "page": Path(rows["settings"]["page"])})
    measured = _measured(rows["records"])
    left_out = [f"{PEERS[peer][0]} is left out: {reason}." for peer, reason in rows["here"]["missing"].items()]
    parts = [method(settings, rows["load"]), *left_out, *module.parts(measured, settings)]
    problems = [f"> {problem}" for problem in _problems(rows["records"])]
    claim = "\n\n".join([module.claim(measured, settings), *problems])
    return from_parts(claim, parts, module.LIMITS)


def _measured(records: Sequence[Record]) -> list[Record]:
    return [(job, result) for job, result in records if "failed" not in result]


def _chosen(option: str, text: str, known: Iterable[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ConfigError(f"--{option} has {name!r}; there are {', '.join(known)}.")
    return list(dict.fromkeys(names))


def method(settings: Settings, load: float | None) -> str:
    """The sentences on how the numbers were measured."""
    tuned = " ".join(f"{name}={value}" for name, value in MALLOC["tuned"].items())
    busy = "" if load is None else f" Load average at the start: {load:.1f}."
    allocators = {"default": "nothing set", "tuned": f"`{tuned}`"}
    return (
        f"Every case runs in a process of its own with one thread, where nothing else is said: processor time of the "
        f"process, implementations in turn, one warm-up, then up to {settings.rounds} rounds (fewer, at least "
        f"{timing.FEWEST}, where a round takes long); the minimum is shown.{busy} Allocator: "
        + "; ".join(f"*{name}*: {allocators[name]}" for name in settings.malloc)
        + f". *Forward* runs without gradients.\n\n"
        f"All numbers are float32. *Error*: over the value and every gradient of the same call, the worst root mean "
        f"square of the difference from edgenet in float64 on its reference backend, over the root mean square of the "
        f"latter. Up to {timing.LIMIT:.0e} passes. *× ours*: the time over edgenet's, in the same run."
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
