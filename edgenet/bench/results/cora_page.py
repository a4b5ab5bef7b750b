"""The page of citation graphs, made from its rows."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.pages import Content
from edgenet.bench.results.cora_tries import GROUPS, SEEDS, TRIES
from edgenet.text import markdown_table

SPELLED = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}
#: what a network is; whether its edge weights are given or learned; and published accuracies with their source
NETWORKS: dict[str, tuple[str, str, dict[str, str]]] = {
    "gat": (
        "GAT form: 2 layers, 8 heads of 8",
        "attention",
        {name: f"{value} (Velickovic et al. 2018)" for name, value in
         {"cora": "83.0 ± 0.7", "citeseer": "72.5 ± 0.7", "pubmed": "79.0 ± 0.3"}.items()},
    ),
    "gcn": (
        "GCN form: 2 layers of 16",
        "given",
        {name: f"{value} (Kipf and Welling 2017)" for name, value in
         {"cora": "81.5", "citeseer": "70.3", "pubmed": "79.0"}.items()},
    ),
    "gcnn": ("GCNN of order 2", "given", {}),
    "gcat": ("GCAT of order 2, 8 heads of 8", "attention", {}),
    "edge_varying_gat": ("edge-varying GAT of order 2, 8 heads of 8", "attention a hop", {}),
    "node_varying": ("node-varying of order 2, by groups of nodes", "given", {}),
    "hybrid": ("hybrid edge-varying of order 2", "a table, and given", {}),
    "appnp": ("APPNP form: a map, 10 hops that return", "given", {}),
    "gpr": ("GPR-GNN form: a map, 10 hops with learned weights", "given", {}),
    "dagnn": (
        "DAGNN form: a map, 10 hops, adaptive taps",
        "given",
        {name: f"{value} (Liu, Gao, Ji 2020)" for name, value in
         {"cora": "84.4 ± 0.5", "citeseer": "73.3 ± 0.6", "pubmed": "80.5 ± 0.5"}.items()},
    ),
    "gcnii": (
        "GCNII form: 64 layers (CiteSeer 32, PubMed 16)",
        "given",
        {name: f"{value} (Chen et al. 2020)" for name, value in
         {"cora": "85.5 ± 0.5", "citeseer": "73.4 ± 0.6", "pubmed": "80.2 ± 0.4"}.items()},
    ),
    "grand": (
        "GRAND form: dropped nodes, the mean of 8 hops (CiteSeer 2), a map; passes agree",
        "given",
        {name: f"{value} (Feng et al. 2020)" for name, value in
         {"cora": "85.4 ± 0.4", "citeseer": "75.4 ± 0.4"}.items()},
    ),
}  # fmt: skip
#: (graph, what is asked of, test accuracy in percent)
AIMS = (("cora", "any", 85.5), ("cora", "learned", 85.0), ("citeseer", "any", 75.4), ("citeseer", "gat", 72.5))


def content(rows: Mapping[str, Any]) -> Content:
    """The page."""
    networks, tries, chosen = rows["networks"], rows["tries"], rows["chosen"]
    graphs = list(dict.fromkeys(one["graph"] for one in networks))
    counts = sorted({len(one["seeds"]) for one in networks})
    tables = []
    for graph in graphs:
        own = [one for one in networks if one["graph"] == graph]
        tables += [f"### {SPELLED[graph]}", _table(own)]
    absent = [SPELLED[graph] for graph in SPELLED if graph not in graphs]
    limits = [
        "One split of each graph: the spread over seeds says nothing of other splits, where ranks change "
        "(Shchur et al. 2018). Published numbers are quoted, not measured here. Seconds are of runs side by side on "
        "a machine with other work."
    ]
    if absent:
        limits.append(f"Not measured, for want of their files: {', '.join(absent)}.")
    return Content(
        claim=_claim(networks),
        tables=[*tables, f"### What was tried on {SEEDS} seeds, by validation alone", _tries(tries, chosen)],
        protocol=[
            f"Test accuracy in percent on the public split (row-normalised features), mean ± sample standard deviation "
            f"over {' or '.join(map(str, counts))} seeds from 0. Settings are the published ones where a publication "
            f"is named; those of the last rows were chosen by the mean validation accuracy of the table of tries, for "
            f"which no test label was read. They are used on the other graphs as they are. An epoch is kept by "
            f"validation accuracy or loss, as the published code has it. Test nodes choose nothing.",
        ],
        limits=limits,
    )


def _claim(networks: list[Mapping[str, Any]]) -> str:
    """What the network of the best mean validation accuracy comes to on test nodes, and whether another had more."""
    said = []
    for graph, what, aim in AIMS:
        own = {one["name"]: one for one in networks if one["graph"] == graph}
        own = {name: one for name, one in own.items() if what in ("any", name, _edges(name))}
        if not own:
            continue
        val, test = ({name: fmean(_of(one, key)) for name, one in own.items()} for key in ("val", "test"))
        name, highest = (max(own, key=scores.__getitem__) for scores in (val, test))
        kind = {"any": "the best network", "learned": "the best one that learns its edge weights"}.get(what)
        chosen = f"{kind} by validation, `{name}`," if kind else f"`{name}`"
        met = "met" if 100 * test[name] >= aim else "missed"
        said.append(
            f"On {SPELLED[graph]} {chosen} reaches {100 * test[name]:.2f} % of the test nodes; the aim of {aim} is "
            f"{met}."
        )
        if highest != name:
            said.append(f"Seen on test nodes, which choose nothing, `{highest}` has more, {100 * test[highest]:.2f} %.")
    return " ".join(said)


def _edges(name: str) -> str:
    """Whether the edge weights of a network are given or learned."""
    learned = TRIES[name].learned if name in TRIES else NETWORKS[name][1] != "given"
    return "learned" if learned else "given"


def _of(one: Mapping[str, Any], key: str) -> list[float]:
    return [seed[key] for seed in one["seeds"]]


def _table(networks: list[Mapping[str, Any]]) -> str:
    header = ("network", "preset", "edge weights", "parameters", "validation", "test", "range", "published", "epochs",
              "seconds")  # fmt: skip
    rows = []
    for one in networks:
        name, test = one["name"], _of(one, "test")
        if name in TRIES:
            title, edges, published = TRIES[name].text, _edges(name), {}
        else:
            title, edges, published = NETWORKS[name]
        rows.append((
            title, f"`{name}`", edges, f"{one['seeds'][0]['parameters']:,}", report.spread(_of(one, "val")),
            f"**{report.spread(test, digits=2)}**", f"{100 * min(test):.1f} to {100 * max(test):.1f}",
            published.get(one["graph"], ""), report.spread(_of(one, "epochs"), 1, 0),
            report.spread(_of(one, "seconds"), 1, 0),
        ))  # fmt: skip
    return markdown_table(header, rows)


def _tries(tries: list[Mapping[str, Any]], chosen: Mapping[str, str]) -> str:
    words = {"any": "of all", "learned": "of those that learn edge weights"}
    rows = []
    for one in tries:
        name = one["name"]
        groups = [words[group] for group in GROUPS if chosen[group] == name]
        rows.append((
            TRIES[name].text, f"`{name}`", report.spread(one["val"], digits=2), report.spread(one["seconds"], 1, 0),
            "best " + " and ".join(groups) if groups else "",
        ))  # fmt: skip
    return markdown_table(("network", "name", "validation", "seconds", "chosen"), rows)
