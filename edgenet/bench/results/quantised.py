"""``edgenet bench quantised``: binary, power-of-two, unified and fixed-point weights, inside structures of every kind.

Each part is measured alone, and has a page of its own.
"""

from __future__ import annotations

from pathlib import Path

from edgenet.bench.results import sections

#: part: (its heading, the module whose ``results(seeds, runs, processes, data_root)`` measures it; times need none)
PARTS = {
    "published": ("Quantised networks: what others report", "edgenet.bench.results.quantised_published"),
    "mnist": ("Quantised networks: digits", "edgenet.bench.results.quantised_digits"),
    "cora": ("Quantised networks: Cora", "edgenet.bench.results.quantised_cora"),
    "pretrained": ("Quantised networks: a network that others trained", "edgenet.bench.results.quantised_pretrained"),
    "speed": ("Quantised networks: speed", "edgenet.bench.speed.packed"),
}


def run(
    seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, parts: str = ",".join(PARTS)
) -> None:
    """Measure the parts that are named, and write the page of each.

    Raises:
        ConfigError: if a part is unknown.
    """
    picture = {"mnist": {"picture": out.with_name(f"{out.stem}_digits.png")}}
    sections.measure(out, PARTS, sections.chosen(PARTS, parts), seeds, runs, processes, data_root, more=picture)
