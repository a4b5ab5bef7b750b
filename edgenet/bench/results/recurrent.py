"""``edgenet bench recurrent``: recurrent networks over structured maps, unitary maps and graphs.

Each part measures one section of the page, and leaves the others alone.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from edgenet.bench.harness import page, report
from edgenet.errors import ConfigError
from edgenet.text import did_you_mean

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
    chosen = [name.strip() for name in parts.split(",") if name.strip()]
    for name in chosen:
        if name not in PARTS:
            raise ConfigError(f"--parts has {name!r}; there are {', '.join(PARTS)}.{did_you_mean(name, PARTS)}")
    if not chosen:
        raise ConfigError(f"--parts names none; there are {', '.join(PARTS)}.")
    for name in chosen:
        heading, module = PARTS[name]
        made = import_module(module)
        timed = module.startswith("edgenet.bench.speed.")
        found = made.parts() if timed else made.parts(seeds, runs, processes, data_root)
        head = [f"## {heading}", f"```\n{report.command()}\n```", report.machine()]
        page.write_section(out, TITLE, name, [*head, *found])
