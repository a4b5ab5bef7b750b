"""``edgenet bench scale``: graphs too large for one step. Each part is measured alone, and has a page of its own."""

from __future__ import annotations

from pathlib import Path

from edgenet.bench.results import sections

#: part: (its heading, the module whose ``results(seeds, runs, processes, data_root)`` measures it)
PARTS = {
    "sampling": ("Large graphs: drawing neighbours", "edgenet.bench.results.scale_sampling"),
    "cora": ("Large graphs: Cora by neighbours", "edgenet.bench.results.scale_cora"),
}


def run(
    seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, parts: str = ",".join(PARTS)
) -> None:
    """Measure the parts that are named, and write the page of each.

    Raises:
        ConfigError: if a part is unknown.
    """
    sections.measure(out, PARTS, sections.chosen(PARTS, parts), seeds, runs, processes, data_root)
