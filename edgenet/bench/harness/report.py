"""Tables of measured results, each beside the command that makes it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from edgenet.bench.pages.provenance import ALLOCATOR, command, processor, settings

__all__ = ["ALLOCATOR", "command", "load_average", "machine", "measured_elsewhere", "processor", "settings", "spread",
           "write"]  # fmt: skip


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
