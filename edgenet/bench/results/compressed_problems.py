"""The networks that ``edgenet bench compressed`` makes small: attention networks on four graphs, trained here, and one
that was published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from edgenet.bench.results import published_gat
from edgenet.compress import slots
from edgenet.data import Dataset, load
from edgenet.graph import Graph
from edgenet.models import NodeClassifier
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.structured import sparse_features
from edgenet.train import fit

FIRST = "convs.0.lift.linear.weight"
_LARGE = 2048  # entries of a weight that a structure takes the place of; others are made small by few bits alone
_CITATION = {
    "hidden_channels": 8,
    "num_layers": 2,
    "heads": 8,
    "out_heads": 1,
    "dropout": 0.6,
    "attention_dropout": 0.6,
}
_PUBMED = {**_CITATION, "out_heads": 8}


@dataclass(frozen=True)
class Recipe:
    """How a teacher is made.

    Attributes:
        data: the name of its data set.
        model: options of ``NodeClassifier``, attention layers with ELUs between.
        training: arguments of ``fit``; the epoch of the best validation score is kept.
    """

    data: str
    model: Mapping[str, Any]
    training: Mapping[str, Any]


_GAT = {"epochs": 1000, "lr": 0.005, "weight_decay": 5e-4, "patience": 100, "stop_by": "either"}
#: Velickovic et al. 2018, 3.3, on citations; the demonstration's network on digits; a quarter of their width on PPI
RECIPES = {
    "cora": Recipe("cora", _CITATION, _GAT),
    "citeseer": Recipe("citeseer", _CITATION, _GAT),
    "pubmed": Recipe("pubmed", _PUBMED, {**_GAT, "lr": 0.01, "weight_decay": 0.001}),
    "digits": Recipe(
        "digits",
        {"hidden_channels": 32, "num_layers": 2, "heads": 8, "out_heads": 8, "dropout": 0.5},
        {"epochs": 200, "lr": 0.005, "weight_decay": 5e-4},
    ),
    "ppi": Recipe(
        "ppi",
        {"hidden_channels": 64, "num_layers": 3, "heads": 4, "out_heads": 6, "dropout": 0.0, "skip": True},
        {"epochs": 40, "lr": 0.005, "batch_size": 2},
    ),
    "published": Recipe("cora", _CITATION, {}),
}


@dataclass(frozen=True)
class Problem:
    """A teacher and its data.

    Attributes:
        name: in ``RECIPES``.
        model: the teacher, in eval mode.
        dataset: as ``fit`` takes it.
    """

    name: str
    model: nn.Module
    dataset: Dataset

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.name]

    @property
    def first(self) -> Data:
        """The graph; of several the first one that is trained on."""
        return self.dataset.train[0]

    def large(self) -> dict[str, tuple[int, int]]:
        """Names and shapes of the weights that a structure takes the place of."""
        return {name: slot.shape for name, slot in slots(self.model).items() if slot.shape[0] * slot.shape[1] >= _LARGE}

    def known(self) -> Tensor:
        """(nodes, features) of what is no test node, of the graph or the first one."""
        data = self.first
        return data.x if self.is_inductive else data.x[~data.test_mask]

    @property
    def is_inductive(self) -> bool:
        """Whether test nodes are on graphs of their own."""
        return "test_mask" not in self.first

    def parts(self, split: str) -> Iterator[tuple[Tensor, Graph, Tensor, Tensor | slice]]:
        """(features, graph, answers, which nodes) of a split, graph by graph."""
        for data in getattr(self.dataset, split):
            rows = slice(None) if self.is_inductive else data[f"{split}_mask"]
            yield sparse_features(data.x), Graph(data.edge_index, data.num_nodes), data.y, rows

    @torch.no_grad()
    def scores(self, model: nn.Module, split: str) -> tuple[Tensor, Tensor]:
        """A model's scores of the nodes of a split, and the answers."""
        found = [(model(x, graph)[rows], y[rows]) for x, graph, y, rows in self.parts(split)]
        return torch.cat([scores for scores, _ in found]), torch.cat([y for _, y in found])


def make(name: str, dataset: Dataset, features: int | None = None, **changes: Any) -> NodeClassifier:
    """A new network as the teacher's, of so many features, with some options changed."""
    options = {"layer": "gat", "activation": "elu", **RECIPES[name].model, **changes}
    return NodeClassifier(dataset.num_features if features is None else features, dataset.num_outputs, **options)


def problem(name: str, seed: int, folder: Path, root: Path | None) -> Problem:
    """A teacher of some seed, from the folder where it is there; else trained, and put there.

    Raises:
        DatasetNotFoundError: if its files are nowhere.
    """
    recipe = RECIPES[name]
    dataset = load(recipe.data, root=root)
    if name == "published":
        return Problem(name, published_gat.published(root).model, dataset)
    place = folder / f"{name}-{seed}"
    if not (place / "config.json").exists():
        torch.manual_seed(seed)
        model = make(name, dataset)
        fit(model, dataset, seed=seed, progress=False, **recipe.training)
        save_pretrained(model, place)
    return Problem(name, from_pretrained(place), dataset)
