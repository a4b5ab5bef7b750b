"""``edgenet bench recurrent``: recurrent networks over structured maps, unitary maps and graphs.

Each part measures one section of the page, and leaves the others alone.
"""

from __future__ import annotations

from pathlib import Path

from edgenet.bench.results import sections

#: section: (its heading, the module whose ``parts(seeds, runs, processes, data_root)`` measures it; times need none)
PARTS = {
    "copying": ("Long memory: copying and adding", "edgenet.bench.results.recurrent_copying"),
    "characters": ("Characters", "edgenet.bench.results.recurrent_characters"),
    "characters_10x": ("Characters, 10 times smaller", "edgenet.bench.results.recurrent_characters_10x"),
    "adaptation": ("Co-matrix adaptation", "edgenet.bench.results.recurrent_adaptation"),
    "clstm": ("C-LSTM", "edgenet.bench.results.recurrent_clstm"),
    "generated": ("C-LSTM: generated code", "edgenet.bench.speed.generated_lstm"),
    "traffic": ("Graph recurrent networks", "edgenet.bench.results.recurrent_traffic"),
    "speed": ("Speed", "edgenet.bench.speed.recurrent"),
}
TITLE = "Recurrent networks"


def run(
    seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, parts: str = ",".join(PARTS)
) -> None:
    """Measure the parts that are named, and rewrite their sections of the page.

    Raises:
        ConfigError: if a part is unknown, or the page has half a section.
    """
    sections.measure(out, TITLE, PARTS, sections.chosen(PARTS, parts), seeds, runs, processes, data_root)
