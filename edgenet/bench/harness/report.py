"""Tables of measured results, each beside the command that makes it."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from edgenet._version import __version__

# where large temporary tensors go decides how long they take: say which settings a time was measured under
ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "THP_MEM_ALLOC_ENABLE")


def command() -> str:
    """The command that is running, with the environment variables that matter, as one would type it."""
    names = ("OMP_NUM_THREADS", "EDGENET_NO_SCATTER", *ALLOCATOR)
    settings = [f"{name}={os.environ[name]}" for name in names if os.environ.get(name)]
    return " ".join([*settings, "edgenet", *(shlex.quote(word) for word in sys.argv[1:])])


def machine() -> str:
    """One sentence on where the numbers were measured."""
    import torch
    import torch_geometric

    from edgenet import ops

    allocator = "tuned, as in the command" if any(os.environ.get(name) for name in ALLOCATOR) else "default settings"
    return (
        f"Measured on {processor()} ({os.cpu_count()} cores), one thread a run; Python {platform.python_version()}, "
        f"torch {torch.__version__}, torch_geometric {torch_geometric.__version__}; backend of spmm: "
        f"{ops.available('spmm')[-1]}; memory allocator: {allocator}. "
        f"GPU: not measured."
    )


def settings() -> dict[str, Any]:
    """What a time that is measured now depends on, JSON-able."""
    import torch

    return {
        "edgenet": __version__,
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        **{name: os.environ[name] for name in ALLOCATOR if os.environ.get(name)},
    }


def measured_elsewhere(summaries: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence if some runs were made earlier, under other settings than those of one thread here and now, or under
    settings that nobody wrote down."""
    now = {**settings(), "threads": 1}
    others = [summary["measured"] for summary in summaries if summary["measured"] != now]
    if not others:
        return []
    known = sorted({", ".join(f"{name} {value}" for name, value in one.items()) for one in others if one})
    text = "; ".join(known + ["not recorded"] * (None in others))
    return [f"{len(others)} of {len(summaries)} runs were made earlier and only read; their settings: {text}."]


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def load_average() -> float | None:
    """How many processes wanted a core in the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def spread(values: Sequence[float], scale: float = 100, digits: int = 1) -> str:
    """Mean ± sample standard deviation, in percent by default."""
    mean = f"{scale * fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {scale * stdev(values):.{digits}f}"


def write(path: Path, title: str, parts: Sequence[str]) -> None:
    """A page of results: title, the command, the machine, and the parts."""
    head = f"# {title}\n\n```\n{command()}\n```\n\n{machine()}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "".join(f"\n{part}\n" for part in parts), encoding="utf-8")
