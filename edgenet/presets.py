"""Settings for a layer on a data set: published ones where there are any."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from edgenet.config import RunConfig, changed

_SIGNALS = {"optimizer": {"lr": 0.001}, "training": {"epochs": 40, "batch_size": 100}}
_SIGNAL_MODEL = {"hidden_channels": 8, "num_layers": 1, "options": {"readout": "flatten"}}
_GAT = {"dropout": 0.6, "activation": "elu", "hidden_channels": 8, "num_layers": 2}
_GAT_TRAINING = {"epochs": 1000, "patience": 100, "stop_by": "either"}
_DROP = {"attention_dropout": 0.6}
_CITATION: dict[str, dict[str, Any]] = {
    # Velickovic et al. 2018, 3.3; they allow 100000 epochs, and patience ends all runs long before 1000
    "gat": {
        "model": {**_GAT, "options": {"heads": 8, "out_heads": 1, **_DROP}},
        "optimizer": {"lr": 0.005, "weight_decay": 5e-4},
        "training": _GAT_TRAINING,
    },
    # Kipf and Welling 2017, 5.2; they decay the first layer alone
    "gcn": {
        "model": {"hidden_channels": 16, "num_layers": 2, "dropout": 0.5, "activation": "relu"},
        "optimizer": {"lr": 0.01, "weight_decay": 5e-4, "decay_on": "first"},
        "training": {"epochs": 200},
    },
}
_CITATION["gatv2"] = _CITATION["gat"]
for _layer in ("gcat", "edge_varying_gat"):
    _CITATION[_layer] = copy.deepcopy(_CITATION["gat"])
    _CITATION[_layer]["model"]["options"]["order"] = 2
    _CITATION[_layer]["training"]["stop_by"] = "metric"  # no published rule; this one takes a third of the epochs
for _layer, _options in (
    ("gcnn", {"order": 2}),
    ("tag", {"order": 2}),
    ("sgc", {"order": 2}),
    ("arma", {}),
    ("node_varying", {"order": 2, "groups": 2}),
    # a table of edge weights for each of 1433 inputs would not fit: one table for each head of a linear lift instead
    ("edge_varying", {"order": 2, "bank": "heads", "heads": 8}),
    ("hybrid", {"order": 2, "bank": "heads", "nodes": 0.02}),
):
    _CITATION[_layer] = copy.deepcopy(_CITATION["gcn"])
    _CITATION[_layer]["model"]["options"] = _options
    _CITATION[_layer]["optimizer"]["decay_on"] = "all"
_CITATION["edge_varying"]["model"].update(hidden_channels=8, dropout=0.6)
# decay would pull the edge weights to 0, and the graph away
_CITATION["edge_varying"]["optimizer"] = {"lr": 0.003, "weight_decay": 0.0}
_PUBMED = copy.deepcopy(_CITATION)
for _layer in ("gat", "gatv2"):  # Velickovic et al. 2018, 3.3
    _PUBMED[_layer]["model"]["options"]["out_heads"] = 8
    _PUBMED[_layer]["optimizer"] = {"lr": 0.01, "weight_decay": 0.001}
_SMALL = copy.deepcopy(_CITATION)  # few features, no need for as much dropout
for _layer in _SMALL:
    _SMALL[_layer]["model"]["dropout"] = 0.3
    _SMALL[_layer]["model"].get("options", {}).pop("attention_dropout", None)
    _SMALL[_layer]["optimizer"] = {"lr": 0.01, "weight_decay": 5e-4}
    _SMALL[_layer]["training"] = {"epochs": 200, "patience": 60}
# decay would pull the edge weights to 0, and the graph away
_SMALL["edge_varying"]["optimizer"] = {"lr": 0.003, "weight_decay": 0.0}
_SMALL["edge_varying"]["model"]["dropout"] = 0.6
_PPI = {
    # Velickovic et al. 2018, 3.3: skip connections, no dropout, no decay, two graphs a step
    "gat": {
        "model": {
            "hidden_channels": 256, "num_layers": 3, "dropout": 0.0, "activation": "elu",
            "options": {"heads": 4, "out_heads": 6, "skip": True},
        },
        "optimizer": {"lr": 0.005},
        "training": {"epochs": 200, "batch_size": 2, "patience": 100},
    },
    "": {
        "model": {"hidden_channels": 256, "num_layers": 3, "dropout": 0.0, "activation": "elu"},
        "optimizer": {"lr": 0.005},
        "training": {"epochs": 200, "batch_size": 2, "patience": 100},
    },
}  # fmt: skip
_PPI["gatv2"] = _PPI["gat"]
_HIDDEN_CONDUCTANCE = {
    "model": {"kind": "NodeChoice", "hidden_channels": 5, "num_layers": 1},
    "optimizer": {"lr": 0.005},
    "training": {"epochs": 20, "batch_size": 100},
}
_MOVIELENS = {
    "model": {"hidden_channels": 32, "num_layers": 1, "options": {"readout": "node"}},
    "optimizer": {"lr": 0.005},
    "training": {"epochs": 40, "batch_size": 5},
}

#: Settings by data set and layer. The layer "" stands for all that are not named.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "cora": _CITATION,
    "citeseer": _CITATION,
    "pubmed": _PUBMED,
    "ppi": _PPI,
    "digits": _SMALL,
    "csbm": _SMALL,
    "heterophilic": _CITATION,
    "karate": _SMALL,
    "source_localisation": {"": {"model": _SIGNAL_MODEL, **_SIGNALS}},
    "hidden_conductance": {"": _HIDDEN_CONDUCTANCE},
    "movielens": {"": _MOVIELENS},
}
#: The layer that is trained where none is named.
DEFAULT_LAYERS = {"source_localisation": "edge_varying", "hidden_conductance": "edge_varying", "movielens": "gcnn"}


def preset(dataset: str, layer: str | None = None, changes: Mapping[str, Any] | None = None) -> RunConfig:
    """The settings for a layer on a data set, published ones where there are any, after ``changes``.

    A data set or layer without a preset gets the defaults of the tables and of the model.

    Raises:
        ConfigError: as ``RunConfig.from_dict``.
    """
    layer = layer or (changes or {}).get("model.layer") or DEFAULT_LAYERS.get(dataset, "gat")
    known = PRESETS.get(dataset, {})
    tables = copy.deepcopy(known.get(layer, known.get("", {})))
    tables.setdefault("model", {})["layer"] = layer
    tables["dataset"] = {"name": dataset}
    return RunConfig.from_dict(changed(tables, changes or {}), f"the preset for {layer} on {dataset}, with changes")
