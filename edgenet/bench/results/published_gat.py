"""The published GAT for Cora: the model, its graph, and how another model's scores compare with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from edgenet.convert.published import gat_cora
from edgenet.data import load
from edgenet.data.places import lacks_files, not_found, places, search
from edgenet.graph import Graph
from edgenet.structured import sparse_features

FILE = "gat_cora_pyg.npz"


@dataclass(frozen=True)
class Problem:
    """The published model, its graph, and its scores there.

    Attributes:
        model: in eval mode.
        x: features, sparse where that pays.
        scores: (N, classes) of the model.
    """

    model: nn.Module
    data: Data
    x: Tensor
    graph: Graph
    scores: Tensor

    @classmethod
    def of(cls, model: nn.Module, data: Data) -> Problem:
        x, graph = sparse_features(data.x), Graph(data.edge_index, data.num_nodes)
        with torch.no_grad():
            return cls(model.eval(), data, x, graph, model(x, graph))

    @torch.no_grad()
    def judged(self, scores: Tensor) -> dict[str, float]:
        """Accuracy on validation and test nodes, and the share of nodes that get the class of the published model."""
        found, theirs = scores.argmax(1), self.scores.argmax(1)
        right, same = found == self.data.y, found == theirs
        return {
            "val": right[self.data.val_mask].double().mean().item(),
            "test": right[self.data.test_mask].double().mean().item(),
            "agreement": same.double().mean().item(),
            "agreement_test": same[self.data.test_mask].double().mean().item(),
        }


def published(root: Path | None) -> Problem:
    """The published GAT on Cora.

    Raises:
        DatasetNotFoundError: if its file is nowhere; the text says where it was looked for.
    """
    looked = search(places(root), (".",), lacks_files([FILE]))
    if looked.found is None:
        how = (
            "convert pre_trained/cora of https://github.com/PetarV-/GAT to the arrays that "
            "edgenet.convert.published.gat_cora reads, and pass --data-root or set $EDGENET_DATA."
        )
        raise not_found("the published GAT for Cora", FILE, looked.tried, how)
    return Problem.of(gat_cora(looked.found / FILE), load("cora", root=root).train[0])
