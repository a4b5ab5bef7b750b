"""Settings that nobody has published: tried on few seeds, and chosen by Cora's validation nodes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from edgenet.bench.harness.jobs import run_all
from edgenet.presets import preset

#: seeds of a try, and what is chosen of: networks of any kind, and those whose edge weights are learned
SEEDS = 3
GROUPS = ("any", "learned")


@dataclass(frozen=True)
class Try:
    """A preset, and what is changed in it.

    Attributes:
        base: the preset.
        text: what is tried.
        changes: by dotted names, as of ``presets.preset``.
        learned: whether edge weights are learned.
    """

    base: str
    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    learned: bool = False


_LIFTED = {"model.options.lift": True, "model.options.after": 1}
_AGREE = {
    "callback": [{"kind": "consistency", "passes": 4, "temperature": 0.5, "weight": 1.0}],
    "model.options.node_dropout": 0.5, "training.epochs": 5000, "training.patience": 200, "training.stop_by": "either",
    "training.ties": True, "training.keep_by": "loss",
}  # fmt: skip


def _slow(rate: float) -> dict[str, Any]:
    return {"optimizer.rate_on": {r"convs\.0\.phi": rate}}


def _edges(rate: float) -> dict[str, Any]:
    """GRAND whose walk has a table of edge weights, which starts at the adjacency; decay would pull it to 0."""
    learned = {"model.options.learned": True, "optimizer.decay_on": {r"convs\.0\.phi": 0.0}}
    return {**_LIFTED, **learned, **_slow(rate)}


TRIES: dict[str, Try] = {
    "grand_lifted": Try("grand", "GRAND that drops words before the walk, and walks 32 channels", _LIFTED),
    "grand_lifted_64": Try("grand", "as grand_lifted, 64 channels", {**_LIFTED, "model.hidden_channels": 64}),
    "grand_lifted_words": Try(
        "grand", "as grand_lifted, no word dropped", {**_LIFTED, "model.options.input_dropout": 0.0}
    ),
    "attention": Try("grand_attention", "as grand_lifted, walked by attention of 4 heads of 16", {}, True),
    "attention_1": Try(
        "grand_attention", "as attention, one head of 32", {"model.hidden_channels": 32, "model.options.heads": 1}, True
    ),
    "attention_drop": Try(
        "grand_attention", "as attention, its weights dropped by 0.5", {"model.options.attention_dropout": 0.5}, True
    ),
    "attention_slow": Try("grand_attention", "as attention, which learns at 0.01 of the rate", _slow(0.01), True),
    "edges": Try("grand", "as grand_lifted, a weight for every edge and hop at 0.001 of the rate", _edges(0.001), True),
    "edges_3": Try("grand", "as edges, at 0.003 of the rate", _edges(0.003), True),
    "edges_64": Try("grand", "as edges, 64 channels", {**_edges(0.001), "model.hidden_channels": 64}, True),
    "gat_agree": Try("gat", "GAT with dropped nodes and passes that agree", _AGREE, True),
    "dagnn_agree": Try("dagnn", "DAGNN with dropped nodes and passes that agree", _AGREE),
    "dagnn_attention": Try(
        "dagnn", "as dagnn_agree, walked by attention",
        {**_AGREE, "model.layer": "gcat", "model.options.taps": "adaptive"}, True,
    ),
    "appnp_agree": Try("appnp", "APPNP with dropped nodes and passes that agree", _AGREE),
}  # fmt: skip


def tried(runs: Path, processes: int, data_root: Path | None) -> list[dict[str, Any]]:
    """Every try: validation accuracies of its seeds, and the seconds. What they come to on test nodes is not read."""
    configs = [
        preset(
            "cora", one.base, {**one.changes, "training.seeds": list(range(SEEDS)), "out": str(runs / name)}
        )
        for name, one in TRIES.items()
    ]  # fmt: skip
    summaries = run_all([(config, data_root) for config in configs], processes)
    return [
        {
            "name": name,
            "val": [seed["val"] for seed in summary["seeds"]],
            "seconds": [seed["seconds"] for seed in summary["seeds"]],
            "measured": summary["measured"],
        }
        for name, summary in zip(TRIES, summaries, strict=True)
    ]


def best(tries: Sequence[Mapping[str, Any]], group: str) -> str:
    """The name of the try with the best mean validation accuracy in a group; of equal ones the first."""
    among = [one for one in tries if group == "any" or TRIES[one["name"]].learned]
    return max(among, key=lambda one: fmean(one["val"]))["name"]
