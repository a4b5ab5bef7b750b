"""The rows of the section on graph recurrent networks: what is trained, on which data, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: data set -> its options; those of a row are put over them
DATA: dict[str, dict[str, Any]] = {
    "metr_la": {"ahead": [3, 12], "stride": 3, "time_of_day": True, "operators": 2},
    "graph_process": {"steps": 2000, "past": 4},
    "chickenpox": {"past": 8},
}
#: data set -> the settings of ``fit``
SETTINGS: dict[str, dict[str, Any]] = {
    "metr_la": {
        "training": {"epochs": 6, "batch_size": 16, "clip_norm": 5.0},
        "optimizer": {"lr": 0.01},
        "scheduler": {"name": "cosine"},
    },
    "graph_process": {
        "training": {"epochs": 20, "batch_size": 50, "clip_norm": 5.0},
        "optimizer": {"lr": 0.01},
        "scheduler": {"name": "cosine"},
    },
    "chickenpox": {
        "training": {"epochs": 30, "batch_size": 32, "clip_norm": 5.0},
        "optimizer": {"lr": 0.005, "weight_decay": 0.001},
        "scheduler": {"name": "cosine"},
    },
}


@dataclass(frozen=True)
class Row:
    """What is trained; all of it JSON-able.

    Attributes:
        dataset: a name in ``DATA``.
        name: what the page calls it.
        model: options of ``GraphRecurrent``.
        options: of the data set, beside those of ``DATA``.
    """

    dataset: str
    name: str
    model: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """For the names of its files."""
        return re.sub(r"[^\w.]+", "-", self.name).strip("-")


_ROADS = {"layer": "gcnn", "order": 2, "shifts": 2, "normalize": None}
_ALONE = {"layer": "gcnn", "order": 0}
_FREE = {"layer": "edge_varying", "bank": "heads", "order": 1, "heads": 2}
_HIDDEN = 16


def rows() -> list[Row]:
    """All rows, those that matter most first."""
    return [*traffic(), *process(), *cases()]


def traffic() -> list[Row]:
    """Of METR-LA."""
    one = {"operators": 1}
    gru = {"cell": "gru", "hidden_channels": _HIDDEN}
    elman = {"cell": "elman", "hidden_channels": _HIDDEN, **_ROADS}
    return [
        Row("metr_la", "GRU a sensor, no graph", {**gru, **_ALONE}, one),
        Row("metr_la", "GRU, shift operators", {**gru, **_ROADS}),
        Row("metr_la", "GRU, edge-varying", {**gru, **_FREE}, one),
        Row("metr_la", "GRU, attention", {**gru, "layer": "gat", "heads": 3}, one),
        Row("metr_la", "Elman, shift operators", elman),
        Row("metr_la", "Elman, time gate", {**elman, "gate": "time"}),
        Row("metr_la", "Elman, node gate", {**elman, "gate": "node"}),
        Row("metr_la", "Elman, edge gate", {**elman, "gate": "edge"}),
    ]


def process() -> list[Row]:
    """Of the process whose weights are known."""
    gru = {"cell": "gru", "hidden_channels": _HIDDEN}
    return [
        Row("graph_process", "GRU a node, no graph", {**gru, **_ALONE}),
        Row("graph_process", "GRU, shift operator", {**gru, "layer": "gcnn", "order": 2, "normalize": None}),
        Row("graph_process", "GRU, edge-varying", {**gru, **_FREE, "heads": 1}),
        Row("graph_process", "GRU, attention", {**gru, "layer": "gat", "heads": 3}),
    ]


def cases() -> list[Row]:
    """Of chickenpox."""
    gru = {"cell": "gru", "hidden_channels": _HIDDEN}
    return [
        Row("chickenpox", "GRU a county, no graph", {**gru, **_ALONE}),
        Row("chickenpox", "GRU, shift operator", {**gru, "layer": "gcnn", "order": 1}),
        Row("chickenpox", "GRU, edge-varying", {**gru, **_FREE, "heads": 1}),
    ]
