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
#: networks of a map and one walk, or of many layers between maps
_WALKS = ("dagnn", "appnp", "gpr", "gcnii", "grand")
_PATIENT = {"stop_by": "either", "ties": True, "keep_by": "loss"}
_CITATION |= {
    # Liu, Gao, Ji 2020: a map of two layers, ten hops
    "dagnn": {
        "model": {"hidden_channels": 64, "num_layers": 1, "dropout": 0.8, "options": {"before": 1, "order": 10}},
        "optimizer": {"lr": 0.01, "weight_decay": 5e-3},
        "training": {"epochs": 1000, "patience": 100, "stop_by": "window"},
    },
    # Klicpera, Bojchevski, Guennemann 2019; they decay the first map alone, and drop numbers of the walk too
    "appnp": {
        "model": {
            "hidden_channels": 64, "num_layers": 1, "dropout": 0.5,
            "options": {"before": 1, "order": 10, "alpha": 0.1},
        },
        "optimizer": {"lr": 0.01, "decay_on": {r"before\.": 5e-3}},
        "training": {"epochs": 10000, "patience": 100, **_PATIENT},
    },
    # Chien et al. 2021, who split the data otherwise
    "gpr": {
        "model": {
            "hidden_channels": 64, "num_layers": 1, "dropout": 0.5,
            "options": {"before": 1, "order": 10, "alpha": 0.1},
        },
        "optimizer": {"lr": 0.01, "weight_decay": 5e-4},
        "training": {"epochs": 1000, "patience": 200, "stop_by": "loss"},
    },
    # Chen et al. 2020, table 4
    "gcnii": {
        "model": {
            "hidden_channels": 64, "num_layers": 64, "dropout": 0.6,
            "options": {"before": 1, "after": 1, "alpha": 0.1, "theta": 0.5},
        },
        "optimizer": {"lr": 0.01, "weight_decay": 5e-4, "decay_on": {r"convs\.": 0.01}},
        "training": {"epochs": 1500, "patience": 100, "stop_by": "loss"},
    },
    # Feng et al. 2020, of their code: dropped nodes, eight hops, then a map of two layers
    "grand": {
        "model": {
            "hidden_channels": 32, "num_layers": 1, "dropout": 0.5,
            "options": {"order": 8, "lift": False, "after": 2, "input_dropout": 0.5, "node_dropout": 0.5},
        },
        "optimizer": {"lr": 0.01, "weight_decay": 5e-4},
        "training": {"epochs": 5000, "patience": 200, **_PATIENT},
        "callback": [{"kind": "consistency", "passes": 4, "temperature": 0.5, "weight": 1.0}],
    },
}  # fmt: skip
# GRAND that walks by attention, of 4 heads of 16; not published, and not chosen
_GRAND_ATTENTION = copy.deepcopy(_CITATION["grand"])
_GRAND_ATTENTION["model"] |= {"layer": "gcat", "hidden_channels": 16}
_GRAND_ATTENTION["model"]["options"] |= {"heads": 4, "taps": "mean", "after": 1}
_GRAND_ATTENTION["model"]["options"].pop("lift")
_CITESEER = copy.deepcopy(_CITATION)
_CITESEER["dagnn"]["model"]["dropout"], _CITESEER["dagnn"]["optimizer"]["weight_decay"] = 0.5, 0.02
_CITESEER["gcnii"]["model"].update(hidden_channels=256, num_layers=32, dropout=0.7)
_CITESEER["gcnii"]["model"]["options"]["theta"] = 0.6
_CITESEER["grand"]["model"]["dropout"] = 0.2
_CITESEER["grand"]["model"]["options"] |= {"order": 2, "input_dropout": 0.0}
_CITESEER["grand"]["callback"] = [{"kind": "consistency", "passes": 2, "temperature": 0.3, "weight": 0.7}]
_PUBMED = copy.deepcopy(_CITATION)
_PUBMED["dagnn"]["model"]["options"]["order"] = 20
_PUBMED["gcnii"]["model"].update(hidden_channels=256, num_layers=16, dropout=0.5)
_PUBMED["gcnii"]["model"]["options"]["theta"] = 0.4
_PUBMED["gcnii"]["optimizer"] = {"lr": 0.01, "weight_decay": 5e-4}
_PUBMED.pop("grand")  # its published settings have batch norms
for _layer in ("gat", "gatv2"):  # Velickovic et al. 2018, 3.3
    _PUBMED[_layer]["model"]["options"]["out_heads"] = 8
    _PUBMED[_layer]["optimizer"] = {"lr": 0.01, "weight_decay": 0.001}
# few features, no need for as much dropout
_SMALL = {name: copy.deepcopy(tables) for name, tables in _CITATION.items() if name not in _WALKS}
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

#: Settings by data set and layer, or by a name of their own where they say the layer. "" stands for all others.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "cora": {**_CITATION, "grand_attention": _GRAND_ATTENTION},
    "citeseer": _CITESEER,
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

    ``layer`` may be a name in ``PRESETS`` that is no layer's: its settings say which layer it has. A data set or layer
    without a preset gets the defaults of the tables and of the model. Where ``changes`` have a ``model.kind`` that
    is "module:name", a model of the user's, ``[model]`` holds what ``changes`` say and nothing else.

    Raises:
        ConfigError: as ``RunConfig.from_dict``.

    Example:
        >>> edgenet.presets.preset("cora", "gat").model.hidden_channels
        8
    """
    known, kind = PRESETS.get(dataset, {}), (changes or {}).get("model.kind")
    if kind is not None and ":" in kind:  # of the user's code, which has options of its own, and no layer
        tables = {name: table for name, table in copy.deepcopy(known.get("", {})).items() if name != "model"}
        tables["dataset"] = {"name": dataset}
        return RunConfig.from_dict(changed(tables, changes or {}), f"the preset for {kind} on {dataset}, with changes")
    layer = layer or (changes or {}).get("model.layer") or DEFAULT_LAYERS.get(dataset, "gat")
    tables = copy.deepcopy(known.get(layer, known.get("", {})))
    tables.setdefault("model", {}).setdefault("layer", layer)
    tables["dataset"] = {"name": dataset}
    changes = {name: value for name, value in (changes or {}).items() if (name, value) != ("model.layer", layer)}
    return RunConfig.from_dict(changed(tables, changes), f"the preset for {layer} on {dataset}, with changes")
