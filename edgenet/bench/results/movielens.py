"""``edgenet bench movielens``: edge-varying filters beside GCNNs, on the ratings that a user has got for themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenet.bench.harness.jobs import run_all, trained
from edgenet.bench.harness.report import spread
from edgenet.bench.pages import publish
from edgenet.bench.pages.content import Content
from edgenet.data import load
from edgenet.presets import preset
from edgenet.text import markdown_table

_AS_GIVEN = {"order": 4, "normalize": "none"}  # the data set's shift operator is W / lambda_max already
#: name: title, layer, features, options
NETWORKS: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "gcnn": ("GCNN, 5 features", "gcnn", 5, _AS_GIVEN),
    "gcnn_32": ("GCNN, 32 features", "gcnn", 32, _AS_GIVEN),
    "edge_varying": ("edge varying, 5 features", "edge_varying", 5, {"order": 4}),
    "low_rank": (
        "edge varying, tables of rank 2",
        "edge_varying",
        5,
        {"order": 4, "structure": {"structure": "low_rank", "rank": 2}},
    ),
}
EPOCHS = 10
OPTIONS: dict[str, Any] = {}  # of the data set: Star Wars, 200 movies


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Train every network on as many splits of the users as there are seeds, and write the page."""
    load("movielens", root=data_root, **OPTIONS)  # a miss is told before anything is made
    cases = [(network, seed) for network in NETWORKS for seed in range(seeds)]
    jobs = []
    for network, seed in cases:
        _, layer, features, options = NETWORKS[network]
        changes = {
            "dataset.options": {**OPTIONS, "seed": seed},
            "model.hidden_channels": features,
            "model.options": {"readout": "node", **options},
            "training.epochs": EPOCHS,
            "training.seeds": [seed],
            "out": str(runs / f"{network}-{seed}"),
        }
        jobs.append((preset("movielens", layer, changes), data_root))
    rows = [
        {
            "network": network,
            **summary["seeds"][0],
            "mean_predictor": summary["info"]["mean_predictor_rmse"],
            "measured": summary["measured"],
        }
        for (network, _), summary in zip(cases, run_all(jobs, processes, trained), strict=True)
    ]
    settings = {"epochs": EPOCHS, "networks": {name: entry[1:] for name, entry in NETWORKS.items()}, **OPTIONS}
    publish(out, "MovieLens", content, rows, settings=settings, seeds=range(seeds))


def content(rows: list[dict[str, Any]]) -> Content:
    """The page."""
    of = {name: [row for row in rows if row["network"] == name] for name in NETWORKS}
    mean = [row["mean_predictor"] for row in of["gcnn"]]
    errors = {name: [row["test"] for row in own] for name, own in of.items()}
    body = [("the mean rating of training users", "-", "-", f"**{spread(mean, 1, 3)}**", "-")]
    body += [
        (
            NETWORKS[name][0],
            f"{own[0]['parameters']:,}",
            spread([row["val"] for row in own], 1, 3),
            f"**{spread(errors[name], 1, 3)}**",
            spread([row["seconds"] for row in own], 1, 0),
        )
        for name, own in of.items()
    ]
    ahead = sum(a < b for a, b in zip(errors["edge_varying"], errors["gcnn"], strict=True))
    return Content(
        f"A user's rating of one movie from their others: error {spread(errors['edge_varying'], 1, 3)} with a weight "
        f"on every edge, {spread(errors['gcnn'], 1, 3)} with a convolution of as many features; the first is smaller "
        f"on {ahead} of {len(mean)} splits.",
        markdown_table(("network", "weights", "validation", "test", "seconds"), body),
        f"Root mean square error of the test users, mean ± sample standard deviation over {len(mean)} splits of the "
        f"users. The graph of movies is made of the training users' ratings alone. One layer of order 4, ReLU, and a "
        f"linear map at the movie that is asked for; Adam at 0.005, batches of 5, smooth L1 loss. The epoch of the "
        f"smallest validation error is kept.",
        "Few users: an error moves by some hundredths with the split. The authors' code, which leaves a product out of "
        "its correlations and so has another graph, came to 0.747 with edge-varying filters and 0.827 with a GCNN.",
    )
