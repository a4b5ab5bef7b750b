"""Settings that nobody has published: tried on few seeds, and chosen by Cora's validation nodes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from edgenet.bench.harness.jobs import run_all
from edgenet.presets import preset

#: seeds of a try, and what is chosen of: networks of any kind, and those whose edge weights are learned
SEEDS = 3
GROUPS = ("any", "learned")


@dataclass(frozen=True)
class Try:
    """A preset, and what is changed in it.

    Attributes:
        base: the preset.
        text: what is tried.
        changes: by dotted names, as of ``presets.preset``.
        learned: whether edge weights are learned.
    """

    base: str
    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    learned: bool = False


TRIES: dict[str, Try] = {}


def tried(runs: Path, processes: int, data_root: Path | None) -> list[dict[str, Any]]:
    """Every try: validation accuracies of its seeds, and the seconds. What they come to on test nodes is not read."""
    configs = [
        preset(
            "cora", one.base, {**one.changes, "training.seeds": list(range(SEEDS)), "out": str(runs / name)}
        )
        for name, one in TRIES.items()
    ]  # fmt: skip
    summaries = run_all([(config, data_root) for config in configs], processes)
    return [
        {
            "name": name,
            "val": [seed["val"] for seed in summary["seeds"]],
            "seconds": [seed["seconds"] for seed in summary["seeds"]],
            "measured": summary["measured"],
        }
        for name, summary in zip(TRIES, summaries, strict=True)
    ]


def best(tries: Sequence[Mapping[str, Any]], group: str) -> str:
    """The name of the try with the best mean validation accuracy in a group; of equal ones the first."""
    among = [one for one in tries if group == "any" or TRIES[one["name"]].learned]
    return max(among, key=lambda one: fmean(one["val"]))["name"]
