"""Where results come from: commit, command, machine, versions."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgenet._version import __version__
from edgenet.bench.pages import syntax

# where large temporary tensors go decides how long they take: say which settings a time was measured under
ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "THP_MEM_ALLOC_ENABLE")


def command() -> str:
    """The command that is running, with the environment variables that matter, as one would type it."""
    names = ("OMP_NUM_THREADS", "EDGENET_NO_SCATTER", *ALLOCATOR)
    settings = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    return " ".join([*settings, "edgenet", *(shlex.quote(word) for word in sys.argv[1:])])


def begin() -> None:
    """Note the code as it is now: what is edited while a command runs did not make its results."""
    commit()
    code()


@cache
def code() -> syntax.Sources:
    """The package's code when this process first asked."""
    return syntax.sources()


@cache
def commit() -> str:
    """The commit of the code that runs, `` + changes`` where files of the package differ from it; "unknown" where the
    package is in no checkout: one that is installed inside somebody's repository is none of its files."""
    try:
        _git("ls-files", "--error-unmatch", "_version.py")
        at = _git("rev-parse", "--short=7", "HEAD")
        changed = _git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return at + " + changes" * bool(changed)


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=syntax.PACKAGE, capture_output=True, check=True, text=True)
    return done.stdout.strip()


def facts(peers: Sequence[str]) -> dict[str, Any]:
    """What a page says of its making, JSON-able.

    Args:
        peers: packages whose versions matter beside torch's.
    """
    import torch

    from edgenet import ops

    return {
        "command": command(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "edgenet": __version__,
        "backend": ops.available("spmm")[-1],
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "allocator": {name: os.environ[name] for name in ALLOCATOR if os.environ.get(name)} or "default",
        "python": platform.python_version(),
        "packages": {name: found for name in ("torch", *peers) if (found := package_version(name))},
    }


def package_version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def settings() -> dict[str, Any]:
    """What a run that is measured now depends on, JSON-able: a run keeps it under "measured"."""
    import torch

    return {
        "edgenet": __version__,
        "commit": commit(),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        **{name: os.environ[name] for name in ALLOCATOR if os.environ.get(name)},
    }


def runs(rows: Any) -> dict[str, int]:
    """How many of the runs in these rows, which say under "measured" what they were made with, were made with what."""
    told = (", ".join(f"{name} {value}" for name, value in (one or {}).items()) for one in _measured(rows))
    return dict(Counter(text or "not recorded" for text in told).most_common())


def _measured(rows: Any) -> Iterator[dict[str, Any] | None]:
    if isinstance(rows, dict):
        if "measured" in rows and (rows["measured"] is None or isinstance(rows["measured"], dict)):
            yield rows["measured"]
        for value in rows.values():
            yield from _measured(value)
    elif isinstance(rows, list | tuple):
        for value in rows:
            yield from _measured(value)
