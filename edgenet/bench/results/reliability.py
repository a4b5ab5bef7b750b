"""``edgenet bench reliability``: damaged files, killed processes, long runs, and what checking costs.

The programs are those of ``tests/reliability``, which are in a checkout and not in the package.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.harness.kept import kept
from edgenet.bench.pages import publish
from edgenet.bench.results import reliability_gate as gate
from edgenet.bench.results.reliability_page import KINDS, TITLE, content
from edgenet.bench.results.sections import chosen
from edgenet.errors import ConfigError

FILES, KILLS, STEPS = 1000, 50, 10_000  # damaged files a seed, kills of each kind, steps of each way
PARTS = {name: ("", "") for name in ("files", "kills", "soak", "gate")}
_NAME = 32  # characters of a row of the table of files, that are its reader
_TESTS = Path(__file__).resolve().parents[3] / "tests"


def run(
    seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, parts: str = ",".join(PARTS)
) -> None:
    """Make the parts that are named, and write the page of all that were made.

    Args:
        seeds: of the damage, each of 1,000 files.

    Raises:
        ConfigError: if a part is unknown, there is no checkout, or a program failed.
    """
    makers: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
        "files": ({"files": FILES, "seeds": seeds}, lambda: _damaged(seeds)),
        "kills": ({"kills": KILLS}, lambda: _lines("crash.py", str(KILLS))),
        "soak": ({"steps": STEPS}, lambda: _table(_lines("soak.py", str(STEPS)))),
        "gate": ({"rounds": gate.ROUNDS}, lambda: gate.results(data_root)),
    }
    named, rows = chosen(PARTS, parts), {}
    for name, (job, make) in makers.items():
        file = runs / f"{name}.json"
        if name in named or file.exists():
            rows[name] = kept(file, job, lambda make=make: {"found": make(), "measured": report.settings()})
    settings = {"files": FILES * seeds, "kills": KILLS, "steps": STEPS}
    publish(out, TITLE, content, rows, settings=settings, seeds=range(seeds))


def _damaged(seeds: int) -> list[dict[str, Any]]:
    """What became of the files, a row a reader, over all seeds."""
    total: dict[str, dict[str, Any]] = {}
    for seed in range(seeds):
        _, *lines, _ = _lines("-m", "reliability.fuzz", str(FILES), str(seed))
        for line in lines:
            own = total.setdefault(line[:_NAME].strip(), dict.fromkeys(KINDS, 0))
            for kind, number in zip(KINDS, line[_NAME:].split(), strict=False):  # the last one is seconds
                own[kind] += int(number)
    return [{"reader": reader, **row} for reader, row in total.items()]


def _table(lines: list[str]) -> list[dict[str, str]]:
    """The rows of a table in Markdown."""
    head, _, *rest = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|"))
    return [dict(zip(head, cells, strict=True)) for cells in rest]


def _lines(program: str, *arguments: str) -> list[str]:
    """What a program of the tests prints; what it says on stderr goes there.

    Raises:
        ConfigError: if it is not there, or found a fault.
    """
    if not _TESTS.is_dir():
        raise ConfigError(f"{_TESTS} is not there: this experiment runs in a checkout of edgenet.")
    file = [program] if program == "-m" else [str(_TESTS / "reliability" / program)]
    paths = os.pathsep.join([str(_TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *file, *arguments], cwd=_TESTS, stdout=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        raise ConfigError(f"{' '.join([*file, *arguments])} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout.splitlines()
