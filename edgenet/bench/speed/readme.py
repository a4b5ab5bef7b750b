"""The README's table of speed, of the rows of the pages of layers and of training steps.

``python -m edgenet.bench.speed.readme`` puts it between its marks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgenet.bench.harness.timing import BOTH
from edgenet.bench.pages import FOLDER
from edgenet.bench.pages.marked import with_marked
from edgenet.bench.pages.record import Record
from edgenet.bench.speed import epoch, fastest, layers
from edgenet.bench.speed.networks import NETWORKS
from edgenet.errors import ConfigError
from edgenet.text import markdown_table
from edgenet.writing import write_text

MARK = "speed"
README = Path("README.md")
PAGES = ("performance_layers", "performance_epoch")
MALLOC = "tuned"
GRAPH = "arxiv"  # 169 thousand nodes, 2.3 million edges
#: layer: its name
LAYERS = {
    "gat": "GAT layer, 64 to 8 x 8, 2.3M edges",
    "gatv2": "GATv2 layer, 64 to 8 x 8, 2.3M edges",
    "gcn": "GCN layer, 64 to 64, 2.3M edges",
}


def table(of_layers: list[Any], of_steps: list[Any]) -> str:
    """The table: the fastest peer first, then the fastest form of each.

    Args:
        of_layers, of_steps: the records of their pages.

    Raises:
        ConfigError: if there is nothing to show.
    """
    lines = [*_layers(of_layers), *_steps(of_steps)]
    if not lines:
        raise ConfigError(f"measure first: edgenet bench layers --malloc {MALLOC}; edgenet bench epoch.")
    return markdown_table(("work", "edgenet, ms", "fastest peer", "× edgenet", "PyG, fastest form", "DGL"), lines)


def _layers(records: list[Any]) -> Iterator[tuple[str, ...]]:
    for job, result in records:
        here = (job["measure"], job["malloc"], job.get("graph")) == (layers.__name__, MALLOC, GRAPH)
        if here and job["shape"]["layer"] in LAYERS:
            yield LAYERS[job["shape"]["layer"]], *fastest.beside(result["rows"], BOTH)


def _steps(records: list[Any]) -> Iterator[tuple[str, ...]]:
    for job, result in records:
        if job["malloc"] == MALLOC:
            for features, rows in epoch.by_features(result["rows"]):
                title = f"training step, {NETWORKS[job['graph']].title.partition(':')[0]}, {features}"
                yield title, *fastest.beside(rows, epoch.STEP)


def records_of(name: str) -> list[Any]:
    """The records of a page of times; none where it was made by an older writer, which left none."""
    record = Record.read(FOLDER / f"{name}.md")
    return [] if record.content is None else record.rows["records"]


def main() -> None:
    """Write the table."""
    made = table(*map(records_of, PAGES))
    write_text(README, with_marked(README.read_text(encoding="utf-8"), MARK, made, str(README)))


if __name__ == "__main__":
    main()
