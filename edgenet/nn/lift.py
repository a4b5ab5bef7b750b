"""Lifts: from (N, ..., F_in) features to (N, ..., H, C) heads x channels, before the walk."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.structured import Dense, SparseSignal, StructuredLinear


class Identity(nn.Module):
    """The features as they are, or a copy for each of H heads (several shift operators): (..., F) -> (..., H, F)."""

    def __init__(self, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor | SparseSignal) -> Tensor | SparseSignal:
        if isinstance(x, SparseSignal):  # for a first hop that reads it as it is
            return x
        return x.unsqueeze(-2).expand(*x.shape[:-1], self.heads, x.shape[-1])

    def extra_repr(self) -> str:
        return f"heads={self.heads}"


class LinearLift(nn.Module):
    """A linear map to every head: (..., F) -> (..., H, C).

    Args:
        linear: F -> H * C, head-major.
        heads: H.
    """

    def __init__(self, linear: StructuredLinear, heads: int = 1) -> None:
        super().__init__()
        self.linear, self.heads = linear, heads

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(-1, (self.heads, -1))

    def inner(self, x: Tensor | SparseSignal, vectors: Tensor) -> Tensor | None:
        """(..., V * H) products of the lifted signal of ``x`` with (V, H, C) vectors, head by head.

        They come from V * H vectors in the space of ``x``, where the lift is dense and that is no wider than its own;
        else None: take them from the lifted signal.
        """
        matrix, (_, heads, channels) = self.linear.weight, vectors.shape
        if (
            isinstance(x, SparseSignal)
            or not isinstance(matrix, Dense)
            or matrix.is_lazy
            or x.shape[-1] > heads * channels
        ):
            return None
        weight = matrix.weight.unflatten(0, (heads, channels))
        folded = torch.einsum("vhc,hcf->vhf", vectors, weight).flatten(0, 1)
        bias = self.linear.bias
        if bias is not None:
            bias = (vectors * bias.unflatten(0, (heads, channels))).sum(-1).flatten()
        return ops.linear(x, folded, bias)

    def each_head(self, x: Tensor) -> Tensor:
        """(..., H, F) -> (..., H, C): every head lifts a signal of its own."""
        weight = self.linear.weight.to_dense().unflatten(0, (self.heads, -1))
        return torch.einsum("...hf,hcf->...hc", x, weight)

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()


class Fan(nn.Module):
    """A head for every (output, input) pair, which carries that input: (..., F_in) -> (..., F_out * F_in, 1).

    With ``SumFan`` taps, the bank of F_out F_in scalar filters of the full edge-varying EdgeNet.

    Args:
        fans: how many heads carry each input: F_out, or F_out times the number of filters in parallel.
    """

    def __init__(self, fans: int) -> None:
        super().__init__()
        self.fans = fans

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-2).expand(*x.shape[:-1], self.fans, x.shape[-1]).flatten(-2).unsqueeze(-1)

    def extra_repr(self) -> str:
        return f"fans={self.fans}"
