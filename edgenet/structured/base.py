"""StructuredMatrix: a matrix that multiplies, and a family that a dense weight can be projected onto."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class StructuredMatrix(nn.Module, ABC):
    """An (m, n) matrix W stored in its own way. It acts on row vectors: x -> x W^T.

    A plain module: optimizers, ``state_dict``, ``deepcopy``, ``torch.compile`` and ``weights_only`` loading need
    nothing from here. A family implements ``shape``, ``matmul``, ``to_dense`` and ``from_dense``, and ``config`` where
    ``from_dense`` takes options.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(m, n)."""

    @abstractmethod
    def matmul(self, x: Tensor) -> Tensor:
        """x W^T: (..., n) -> (..., m), by the cheapest contraction for this batch."""

    @abstractmethod
    def to_dense(self) -> Tensor:
        """W as an (m, n) tensor, differentiable in the parameters."""

    @classmethod
    @abstractmethod
    def from_dense(cls, weight: Tensor, **config: Any) -> Self:
        """The nearest (or, where that is hard, a good) member of the family to an (m, n) weight; exact at full rank."""

    def config(self) -> dict[str, Any]:
        """JSON-able: ``from_config`` makes of it an empty matrix of the same make, for a ``state_dict`` to fill."""
        return {"shape": list(self.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A matrix of zeros (or the family's nearest) with the make that ``config()`` tells."""
        options = dict(config)
        return cls.from_dense(torch.zeros(options.pop("shape")), **options)

    def forward(self, x: Tensor) -> Tensor:
        """Same as ``matmul``."""
        return self.matmul(x)

    def rows(self, index: Tensor) -> Tensor:
        """W[index]: (I,) -> (I, n). Tables of edge weights are read through this."""
        return self.to_dense()[index]

    def num_parameters(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.parameters())

    def bits(self) -> int:
        """Bits at rest: what the tensors of ``pack()`` take on disk, indices and codebooks included."""
        return 8 * sum(t.numel() * t.element_size() for t in self.pack().state_dict().values())

    def pack(self) -> StructuredMatrix:
        """The form for storage and inference. Most families are their own."""
        return self

    @torch.no_grad()
    def reset_parameters(self, dense: Tensor | None = None) -> None:
        """Start again from the projection of ``dense``; by default from a Glorot-uniform weight."""
        if dense is None:
            like = next(self.parameters())
            dense = nn.init.xavier_uniform_(torch.empty(self.shape, dtype=like.dtype, device=like.device))
        options = {key: value for key, value in self.config().items() if key != "shape"}
        self.load_state_dict(type(self).from_dense(dense, **options).state_dict())

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.config().items())


#: What makes a structured matrix of a dense weight: ``partial(Kronecker.from_dense, factor=(8, 8))``.
Structure = Callable[[Tensor], StructuredMatrix]


def project(weight: Tensor, structure: Structure) -> Tensor:
    """The dense matrix of the family member that ``structure`` makes of an (m, n) weight. Carries no gradient."""
    with torch.no_grad():
        return structure(weight.detach()).to_dense().detach()  # a dense one is a parameter
