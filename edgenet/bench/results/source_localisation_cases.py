"""Networks and tasks of source localisation: what is trained on what, and how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgenet.config import RunConfig
from edgenet.presets import preset

_AS_GIVEN = {"order": 4, "normalize": "none"}  # the data set's shift operator is A / lambda_max already
_EDGES = {"order": 4}  # five taps, as in the paper
_MATRICES = {"order": 4, "bank": "mimo"}
_LOW_RANK = {"structure": {"structure": "low_rank", "rank": 2}}

#: name: title, layer, features, options of the layer, activation
NETWORKS: dict[str, tuple[str, str, int, dict[str, Any], str]] = {
    "gcnn": ("GCNN, 5 features", "gcnn", 5, _AS_GIVEN, "relu"),
    "gcnn_32": ("GCNN, 32 features", "gcnn", 32, _AS_GIVEN, "relu"),
    "node_varying": ("node varying", "node_varying", 5, _AS_GIVEN, "relu"),
    "hybrid": ("hybrid, a tenth of the nodes", "hybrid", 5, {**_AS_GIVEN, "nodes": 0.1}, "relu"),
    "edge_varying": ("edge varying", "edge_varying", 5, _EDGES, "relu"),
    "low_rank": ("edge varying, tables of rank 2", "edge_varying", 5, {**_EDGES, **_LOW_RANK}, "relu"),
    "matrices": ("a matrix on every edge", "edge_varying", 5, _MATRICES, "relu"),
    "doped": (
        "shared matrices, a tenth of all entries free",
        "edge_varying",
        5,
        {**_MATRICES, "form": "doped", "density": 0.1},
        "relu",
    ),
    "gat": ("GAT, one head", "gat", 5, {}, "relu"),
    "gcat": ("GCAT, one head", "gcat", 5, _EDGES, "relu"),
    "gat_elu": ("GAT, one head, ELU", "gat", 5, {}, "elu"),
    "gcat_elu": ("GCAT, one head, ELU", "gcat", 5, _EDGES, "elu"),
}


@dataclass(frozen=True)
class Protocol:
    """What the networks are trained on.

    Attributes:
        title: of its table.
        dataset: a name in ``edgenet.data``, with ``options``.
        networks: names in ``NETWORKS``.
        epochs, lr: of Adam, on batches of 100 signals; validated after every epoch.
        model: options of the model, and its readout.
    """

    title: str
    dataset: str
    options: dict[str, Any]
    networks: tuple[str, ...]
    epochs: int
    lr: float
    model: dict[str, Any] = field(default_factory=dict)

    def config(self, network: str, seed: int, runs: Path) -> RunConfig:
        """The run of a network on the graph of a seed, in a folder of its own below ``runs``."""
        _, layer, features, options, activation = NETWORKS[network]
        return preset(
            self.dataset,
            layer,
            {
                "dataset.options": {**self.options, "seed": seed},
                "model.hidden_channels": features,
                "model.activation": activation,
                "model.options": {**self.model, **options},
                "optimizer.lr": self.lr,
                "training.epochs": self.epochs,
                "training.seeds": [seed],
                "out": str(runs / f"{network}-{seed}"),
            },
        )


_ON_EDGES = ("edge_varying", "low_rank", "matrices", "doped")
#: name: what is trained
PROTOCOLS = {
    "hidden": Protocol(
        "Hidden conductances, 4,000 signals",
        "hidden_conductance",
        {"sizes": [4000, 1000, 2000]},
        ("gcnn", "gcnn_32", "node_varying", "gat", "gcat", *_ON_EDGES),
        20,
        0.005,
    ),
    "few": Protocol(
        "Hidden conductances, 1,000 signals",
        "hidden_conductance",
        {"sizes": [1000, 1000, 2000]},
        ("gcnn_32", *_ON_EDGES),
        40,
        0.005,
    ),
    "control": Protocol(
        "The control: every edge conducts alike",
        "hidden_conductance",
        {"sizes": [4000, 1000, 2000], "spread": 0.0},
        ("gcnn", "gcnn_32", *_ON_EDGES),
        20,
        0.005,
    ),
    # 2,000 steps with a look at the validation signals every 20: only 250 signals differ, whatever their number
    "paper": Protocol(
        "The paper's protocol: SBM of 50 nodes",
        "source_localisation",
        {"protocol": "paper", "sizes": [2000, 400, 1000]},
        ("gcnn", "gcnn_32", "hybrid", "edge_varying", "gat", "gcat", "gat_elu", "gcat_elu"),
        100,
        0.001,
        {"readout": "flatten"},
    ),
}
