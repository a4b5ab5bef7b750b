"""Replicated: a table that every process holds whole, whose gradients are of the rows that were read."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenet.scale.row_table import Held
from edgenet.structured import StructuredMatrix


class _Rows(nn.Embedding):
    """An embedding of ours: torch's own would be taken for an adapter, and the whole table be read. DDP knows by its
    class that its gradient is sparse."""


class Replicated(StructuredMatrix):
    """``torch.nn.Embedding(sparse=True)`` as a table: W[index] has a sparse gradient, of the rows that were read.

    DDP sends these rows alone. Its parameter is one like others: an optimizer for sparse gradients trains it (SGD
    without momentum, Adagrad, SparseAdam), and Adam refuses it.

    Example:
        >>> table = edgenet.scale.Replicated(torch.randn(5, 2))
        >>> table.rows(torch.tensor([0, 3])).sum().backward()
        >>> table.embedding.weight.grad.is_sparse
        True
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.embedding = _Rows.from_pretrained(weight.detach().clone(), freeze=False, sparse=True)

    @property
    def shape(self) -> tuple[int, int]:
        return self.embedding.num_embeddings, self.embedding.embedding_dim

    def rows(self, index: Tensor) -> Tensor:
        return self.embedding(index)

    def held(self) -> Held:
        """All rows."""
        return Held(0, self.embedding.weight.detach(), None)

    def matmul(self, x: Tensor) -> Tensor:
        return F.linear(x, self.embedding.weight)

    def to_dense(self) -> Tensor:
        return self.embedding.weight

    def draw_(self, std: float) -> None:
        self.embedding.weight.data.normal_(std=std)

    @classmethod
    def from_dense(cls, weight: Tensor, *args: Any, **config: Any) -> Self:
        return cls(torch.as_tensor(weight))
