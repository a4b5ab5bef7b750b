"""Characters of ``edgenet bench recurrent`` at the smaller ratio: matrices 10 times smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenet.bench.results import recurrent_characters
from edgenet.bench.results.recurrent_characters_rows import RATIOS, rows

LIMITS = recurrent_characters.LIMITS
claim, parts, settings = recurrent_characters.claim, recurrent_characters.parts, recurrent_characters.settings


def results(seeds: int, runs: Path, processes: int, data_root: Path | None) -> dict[str, Any]:
    """Train what is not trained yet."""
    chosen = [row for row in rows() if row.ratio == min(RATIOS)]
    return recurrent_characters.results(seeds, runs, processes, data_root, chosen)
