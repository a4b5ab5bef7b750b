"""``edgenet bench cora``: networks of all kinds on the public splits of citation graphs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgenet.bench.harness.jobs import run_all
from edgenet.bench.pages import publish
from edgenet.bench.results.cora_page import content
from edgenet.bench.results.cora_tries import GROUPS, TRIES, best, tried
from edgenet.config import RunConfig
from edgenet.data import load
from edgenet.errors import DataError
from edgenet.presets import PRESETS, preset

#: where a network comes from: the graphs of one layout, of which those are read whose files are there
GRAPHS = ("cora", "citeseer", "pubmed")
#: networks with a preset, in the order of the table
NETWORKS = (
    "gat", "gcn", "gcnn", "gcat", "edge_varying_gat", "node_varying", "hybrid", "appnp", "gpr", "dagnn", "gcnii",
    "grand",
)  # fmt: skip


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Try what is to be chosen on Cora's validation nodes, then train every network and write the page."""
    tries = tried(runs / "tries", processes, data_root)
    chosen = {group: best(tries, group) for group in GROUPS}
    configs: dict[tuple[str, str], RunConfig] = {}
    for graph in GRAPHS:
        if not present(graph, data_root):
            continue
        for name in NETWORKS:
            if name in PRESETS[graph]:
                configs[graph, name] = preset(graph, name, _changes(seeds, runs, graph, name))
        for name in dict.fromkeys(chosen.values()):
            base, changes = TRIES[name].base, TRIES[name].changes
            if base in PRESETS[graph]:
                configs[graph, name] = preset(graph, base, {**changes, **_changes(seeds, runs, graph, name)})
    summaries = run_all([(config, data_root) for config in configs.values()], processes)
    networks = [
        {"graph": graph, "name": name, "seeds": summary["seeds"], "measured": summary["measured"]}
        for (graph, name), summary in zip(configs, summaries, strict=True)
    ]
    settings = {f"{graph}, {name}": config.replaced(out=None).to_dict() for (graph, name), config in configs.items()}
    rows = {"networks": networks, "tries": tries, "chosen": chosen}
    publish(out, "Cora", content, rows, settings=settings, seeds=range(seeds))


def _changes(seeds: int, runs: Path, graph: str, name: str) -> Mapping[str, Any]:
    folder = runs / name if graph == "cora" else runs / f"{graph}-{name}"
    return {"training.seeds": list(range(seeds)), "out": str(folder)}


def present(graph: str, data_root: Path | None) -> bool:
    """Whether the files of a graph are on this machine; nothing is fetched for the page. Cora must be there."""
    try:
        load(graph, root=data_root, download=False)
    except DataError:
        if graph == "cora":
            raise
        return False
    return True
