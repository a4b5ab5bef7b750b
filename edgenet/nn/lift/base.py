"""Lift: what makes the signal that walks of the features that come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn

from edgenet.errors import PlanError
from edgenet.phi.base import LayerSpec
from edgenet.structured import SparseSignal


class Lift(nn.Module, ABC):
    """(N, ..., F_in) features -> (N, ..., H, C), heads x channels, before the walk.

    Attributes:
        reads_sparse: whether ``forward`` takes sparse features (``SparseSignal``) as they are.
        copies_input: whether every head of the result is the input itself.
        is_linear: whether it is a linear map without a constant, head by head: then it commutes with sums over edges.

    Example:
        >>> class Twice(edgenet.nn.lift.Lift):
        ...     def forward(self, x):
        ...         return torch.stack([x, 2 * x], dim=-2)
        >>> Twice()(x).shape
        torch.Size([4, 2, 3])
    """

    reads_sparse: bool = False
    copies_input: bool = False

    @classmethod
    def for_layer(cls, spec: LayerSpec, *args: Any, **options: Any) -> Self:
        """The lift of the sources' signal in a layer of these sizes; by default what the constructor makes of the
        options."""
        return cls(*args, **options)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor | SparseSignal: ...

    @property
    def is_linear(self) -> bool:
        return False

    def walked_heads(self, heads: int, in_channels: int) -> int | None:
        """Heads of the lifted signal in a layer of so many ``heads``; None if the first input decides."""
        return heads

    def for_targets(self, channels: int) -> Lift | None:
        """A lift of its own for targets of a bipartite graph that have so many channels; None if this one serves."""
        return None

    @property
    def is_sized(self) -> bool:
        """Whether all its sizes are known."""
        return True

    def in_width(self) -> int | None:
        """F_in, where the parameters tell; else None."""
        return None

    def inner(self, x: Tensor, vectors: Tensor) -> Tensor | None:
        """(..., V * H) products of the lifted signal of ``x`` with (V, H, C) vectors, head by head, where they are
        cheaper had from ``x`` itself; else None. A shortcut: asked of plain lifts only."""
        return None

    def is_wider_than(self, x: Tensor) -> bool:
        """Whether the lifted signal has more numbers than the input of all its heads would."""
        return False

    def each_head(self, x: Tensor) -> Tensor:
        """(..., H, F) -> (..., H, C): every head lifts a signal of its own. Of linear lifts."""
        raise PlanError(f"a {type(self).__name__} lift does not lift head by head.")

    def used_heads(self) -> Tensor | None:
        """(H,) which heads of the lifted signal can be other than 0, whatever comes; None if all can."""
        return None

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""

    def keep_(self, heads: Sequence[int]) -> None:
        """Keep some heads, in place.

        Raises:
            PlanError: if this lift cannot do without the rest, or is compressed.
        """
        raise PlanError(f"no heads can be taken from a {type(self).__name__} lift; remove hops only.")

    def keep_inputs_(self, channels: Tensor) -> bool:
        """Keep some channels of the input, in place; whether that was up to this lift.

        Raises:
            PlanError: if it is compressed.
        """
        return False
