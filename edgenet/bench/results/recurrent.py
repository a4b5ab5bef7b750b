"""``edgenet bench recurrent``: recurrent networks over structured maps, unitary maps and graphs.

Each part is measured alone, and has a page of its own.
"""

from __future__ import annotations

from pathlib import Path

from edgenet.bench.results import sections

#: part: (its heading, the module whose ``results(seeds, runs, processes, data_root)`` measures it; times need none)
PARTS = {
    "copying": ("Long memory: copying and adding", "edgenet.bench.results.recurrent_copying"),
    "characters": ("Characters", "edgenet.bench.results.recurrent_characters"),
    "characters_10x": ("Characters, 10 times smaller", "edgenet.bench.results.recurrent_characters_10x"),
    "adaptation": ("Co-matrix adaptation", "edgenet.bench.results.recurrent_adaptation"),
    "clstm": ("C-LSTM", "edgenet.bench.results.recurrent_clstm"),
    "generated": ("C-LSTM: generated code", "edgenet.bench.speed.generated_lstm"),
    "traffic": ("Graph recurrent networks", "edgenet.bench.results.recurrent_traffic"),
    "speed": ("Speed of recurrent networks", "edgenet.bench.speed.recurrent"),
}


def run(
    seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, parts: str = ",".join(PARTS)
) -> None:
    """Measure the parts that are named, and write the page of each.

    Raises:
        ConfigError: if a part is unknown.
    """
    sections.measure(out, PARTS, sections.chosen(PARTS, parts), seeds, runs, processes, data_root)
