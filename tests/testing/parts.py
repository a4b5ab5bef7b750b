"""Parts of a user's own that keep their contracts: what the broken ones are made of."""

import torch
from torch import nn

from edgenet import gso
from edgenet.errors import ShapeError
from edgenet.phi import Phi
from edgenet.structured import StructuredMatrix, checked


class Diagonal(StructuredMatrix):
    """Numbers on the diagonal alone."""

    def __init__(self, height, width, numbers):
        super().__init__()
        self.height, self.width = height, width
        self.numbers = nn.Parameter(numbers.detach().clone())

    @property
    def shape(self):
        return self.height, self.width

    def matmul(self, x):
        if x.shape[-1] != self.width:
            raise ShapeError(f"signals of {self.width} numbers are wanted, got {tuple(x.shape)}.")
        y = x[..., : len(self.numbers)] * self.numbers
        return nn.functional.pad(y, (0, self.height - y.shape[-1]))

    def to_dense(self):
        dense = torch.diag(self.numbers)
        return nn.functional.pad(dense, (0, self.width - len(dense), 0, self.height - len(dense)))

    @classmethod
    def from_dense(cls, weight):
        return cls(*checked(weight).shape, torch.diagonal(weight))

    def draw_(self, std):
        self.numbers.normal_(std=std * max(self.shape) ** 0.5)


class Averaging(Phi):
    """Phi^(k) = c_h D^(-1) A: a mean over in-neighbours, times a learned number for each head."""

    shares_hops = True
    reads_edge_attr = False

    def __init__(self, order=1, heads=1):
        super().__init__()
        self.order, self.heads = order, heads
        self.scale = nn.Parameter(torch.ones(heads))

    def forward(self, x, z, graph, edge_weight=None, edge_attr=None):
        mean = gso.random_walk(graph, edge_weight, self.scale.dtype)
        return (mean.unsqueeze(1) * self.scale).expand(self.order, -1, -1)

    def reset_parameters(self):
        nn.init.ones_(self.scale)
