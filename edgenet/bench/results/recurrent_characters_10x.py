"""The section on characters of ``edgenet bench recurrent`` at the smaller ratio: matrices 10 times smaller."""

from __future__ import annotations

from pathlib import Path

from edgenet.bench.results import recurrent_characters
from edgenet.bench.results.recurrent_characters_rows import RATIOS, rows


def parts(seeds: int, runs: Path, processes: int, data_root: Path | None) -> list[str]:
    """Train what is not trained yet, and write it down."""
    chosen = [row for row in rows() if row.ratio == min(RATIOS)]
    return recurrent_characters.parts(seeds, runs, processes, data_root, chosen)
