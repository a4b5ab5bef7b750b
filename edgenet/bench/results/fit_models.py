"""Models of a user's own, which ``edgenet bench fit`` trains: they know nothing of training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, GINEConv, global_add_pool

from edgenet.nn import specializations


class Citations(nn.Module):
    """Two of PyG's ``GCNConv`` with dropout, the network of Kipf and Welling 2017."""

    def __init__(self, in_channels: int, classes: int, hidden: int = 16) -> None:
        super().__init__()
        self.first, self.second = GCNConv(in_channels, hidden), GCNConv(hidden, classes)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """(N, F) -> (N, classes)."""
        hidden = self.first(F.dropout(x, 0.5, self.training), edge_index).relu()
        return self.second(F.dropout(hidden, 0.5, self.training), edge_index)


class Energy(nn.Module):
    """The energy of a molecule: a sum over its atoms, after three of PyG's ``GINEConv``, which read the bonds' lengths.

    Every element has an energy of its own, too, to which the layers add.
    """

    def __init__(self, elements: int, hidden: int = 48, layers: int = 3) -> None:
        super().__init__()
        self.element = nn.Linear(elements, 1)
        self.embedding = nn.Linear(elements, hidden)
        self.convs = nn.ModuleList(
            GINEConv(nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden)), edge_dim=1)
            for _ in range(layers)
        )
        self.out = nn.Linear(hidden, 1)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor) -> Tensor:
        """(N, elements), (2, E), (E, 1), (N,) -> (graphs,) energies."""
        hidden = self.embedding(x)
        for conv in self.convs:
            hidden = hidden + conv(hidden, edge_index, edge_attr).relu()
        return global_add_pool(self.element(x) + self.out(hidden), batch).squeeze(1)


class Forecast(nn.Module):
    """Speeds at all sensors in the next readings: the last reading, and what two filters on the roads add to it.

    Args:
        edge_index, edge_weight: (2, E) and (E, 2), the roads, walked downstream and upstream.
        past, ahead: readings.
        mean, std: of the training speeds, in the unit of the speeds.
    """

    def __init__(
        self, edge_index: Tensor, edge_weight: Tensor, past: int, ahead: int, mean: float, std: float, hidden: int = 32
    ) -> None:
        super().__init__()
        self.register_buffer("edge_index", edge_index)
        self.register_buffer("edge_weight", edge_weight)
        self.mean, self.std = mean, std
        self.first = specializations.gcnn(past, hidden, 2, shifts=2, normalize=None)
        self.second = specializations.gcnn(hidden, ahead, 2, shifts=2, normalize=None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, past) -> (B, N, ahead), miles an hour."""
        hidden = self.first((x - self.mean) / self.std, self.edge_index, self.edge_weight).relu()
        return x[..., -1:] + self.std * self.second(hidden, self.edge_index, self.edge_weight)


def focal(scores: Tensor, target: Tensor, sharpness: float = 2.0) -> Tensor:
    """Cross-entropy, each node's times (1 - the probability of its class)^sharpness (Lin et al. 2017)."""
    loss = F.cross_entropy(scores, target, reduction="none")
    return ((1 - torch.exp(-loss)) ** sharpness * loss).mean()


def masked_mae(scores: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the readings that there are: 0 stands for none (Li et al. 2018)."""
    known = target > 0
    return (scores - target)[known].abs().mean()
