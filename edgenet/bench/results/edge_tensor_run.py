"""One run of ``edgenet bench edge_tensor``: two layers with a matrix on every edge, trained on Cora."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data

from edgenet.bench.harness.peak import high_water, settled
from edgenet.bench.harness.worker import Job
from edgenet.data import load
from edgenet.nn.specializations import edge_varying
from edgenet.structured import SparseSignal, sparse_features
from edgenet.train import Task, fit

RATE, TABLE_RATE, DROPOUT = 0.01, 0.001, 0.5


class Filters(nn.Module):
    """Full edge-varying layers of order 1, with ReLU and dropout between them.

    Args:
        widths: channels before the first layer, between layers, and after the last.
        data: with the edges that have a matrix.
        **options: of ``edge_varying``.
    """

    def __init__(self, widths: Sequence[int], data: Data, **options: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            edge_varying(fan, out, order=1, bank="siso", **options).bind(data) for fan, out in pairwise(widths)
        )

    def forward(self, x: SparseSignal, edge_index: Tensor) -> Tensor:
        """(N, F) -> (N, classes)."""
        hidden = self.layers[0](x.dropout(DROPOUT, self.training), edge_index)
        for layer in self.layers[1:]:
            hidden = layer(functional.dropout(hidden.relu(), DROPOUT, self.training), edge_index)
        return hidden


def measure(job: Job) -> dict[str, Any]:
    """Train two layers, 1433 -> 16 -> 7, and say how far the process grew, how long an epoch took, and what came out.

    The tables of edges and nodes have no weight decay: Adam would take edges that no labelled node sees to 0.
    """
    torch.manual_seed(job["seed"])
    data = load("cora", root=job["data_root"]).train[0]
    x = SparseSignal.of(sparse_features(data.x, density=1.0))
    widths = [data.x.shape[1], job["hidden"], int(data.y.max()) + 1]
    before = settled()
    network = Filters(widths, data, **job["options"])

    def adam(parameters: object) -> torch.optim.Optimizer:
        named = list(network.named_parameters())
        channels = [p for name, p in named if "channels" in name]
        others = [p for name, p in named if "channels" not in name]
        groups = [{"params": channels, "weight_decay": job["decay"]}, {"params": others, "lr": TABLE_RATE}]
        return torch.optim.Adam(groups, lr=RATE)

    masks = {name: data[name] for name in ("train_mask", "val_mask", "test_mask")}
    labels = Data(y=data.y, num_nodes=data.num_nodes, **masks)  # the features and edges are copied nowhere
    task = Task(labels, call=lambda model, batch: model(x, data.edge_index))
    found = fit(network, task, optimizer=adam, epochs=job["epochs"], progress=False)
    pairs = torch.unique(data.edge_index, dim=1).shape[1] + data.num_nodes
    return {
        "virtual": [pairs * fan * out for fan, out in pairwise(widths)],
        "parameters": found.parameters,
        "bytes": None if before is None else high_water() - before,
        "seconds": found.seconds / found.epochs,
        "val": found.val,
        "test": found.test,
    }
