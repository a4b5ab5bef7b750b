"""``edgenet bench heterophilic``: edge-varying filters, GCNNs and GATs on a user's own graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenet.bench.harness.jobs import run_all, trained
from edgenet.bench.harness.report import spread
from edgenet.bench.pages import publish
from edgenet.bench.pages.content import Content
from edgenet.data import heterophilic
from edgenet.data.places import places
from edgenet.errors import ConfigError, DatasetNotFoundError
from edgenet.presets import preset
from edgenet.text import markdown_table

#: layer: title; each with its settings for citation graphs
NETWORKS = {
    "gcnn": "GCNN of order 2",
    "gat": "GAT, 8 heads of 8",
    "edge_varying": "edge varying of order 2, 8 heads",
    "hybrid": "hybrid edge varying of order 2",
}
CHANGES: dict[str, Any] = {}  # of all settings


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Train every network on every graph that is found, on as many of its splits as there are seeds; write the page.

    Raises:
        DatasetNotFoundError: if no folder has a graph.
        ConfigError: if a graph has fewer splits.
    """
    where = places(data_root)
    found = list(dict.fromkeys(name for place in where for name in heterophilic.graphs(place.path)))
    if not found:
        looked = ", ".join(str(place.path) for place in where)
        raise DatasetNotFoundError(f"heterophilic: no graph found below {looked}.\n{heterophilic.FACTS.how_to_get}")
    for name in found:  # what cannot be read is told before anything is trained
        try:
            heterophilic.make(where, graph=name, split=seeds - 1)
        except ConfigError as error:
            raise ConfigError(f"{error} Ask for fewer: --seeds.") from error
    cases = [(name, layer, split) for name in found for layer in NETWORKS for split in range(seeds)]
    jobs = []
    for name, layer, split in cases:
        changes = {
            **CHANGES,
            "dataset.options": {"graph": name, "split": split},
            "training.seeds": [split],
            "out": str(runs / f"{name}-{layer}-{split}"),
        }
        jobs.append((preset("heterophilic", layer, changes), data_root))
    rows = [
        {
            "graph": name,
            "layer": layer,
            **summary["seeds"][0],
            "homophily": summary["info"]["homophily"],
            "split": summary["info"]["split"],
            "measured": summary["measured"],
        }
        for (name, layer, _), summary in zip(cases, run_all(jobs, processes, trained), strict=True)
    ]
    settings = {layer: preset("heterophilic", layer, CHANGES).to_dict() for layer in NETWORKS}
    publish(out, "Heterophilic graphs", content, rows, settings=settings, seeds=range(seeds))


def content(rows: list[dict[str, Any]]) -> Content:
    """The page."""
    tables, best = [], []
    for name in dict.fromkeys(row["graph"] for row in rows):
        own = [row for row in rows if row["graph"] == name]
        tests = {layer: [row["test"] for row in own if row["layer"] == layer] for layer in NETWORKS}
        top = max(tests, key=lambda layer: sum(tests[layer]))
        best.append(f"{name} {NETWORKS[top]} ({spread(tests[top])})")
        tables += [
            f"### {name}: {_within(own[0]['homophily'])}",
            markdown_table(
                ("network", "weights", "validation", "test", "seconds"),
                [
                    (
                        title,
                        f"{next(row['parameters'] for row in own if row['layer'] == layer):,}",
                        spread([row["val"] for row in own if row["layer"] == layer]),
                        f"**{spread(tests[layer])}**",
                        spread([row["seconds"] for row in own if row["layer"] == layer], 1, 0),
                    )
                    for layer, title in NETWORKS.items()
                ],
            ),
        ]
    splits = len({row["seed"] for row in rows})
    return Content(
        f"The best test accuracy, in percent: {'; '.join(best)}.",
        tables,
        f"Accuracy in percent, mean ± sample standard deviation over {splits} splits ({rows[0]['split']} and so on), "
        f"each with initial weights of its own. Two layers; every network has its settings for citation graphs, which "
        f"nobody has tuned to these. The epoch of the best validation accuracy is kept; test nodes choose nothing.",
        "Networks of one page have different numbers of weights. Graphs of some hundred nodes have some dozen test "
        "nodes: differences of a few points are noise unless most splits agree.",
    )


def _within(homophily: float | None) -> str:
    return "it has no edges" if homophily is None else f"{100 * homophily:.0f} % of edges lie within a class"
