"""Readouts: what makes one signal of a graph of those of its nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import ShapeError


class Readout(nn.Module, ABC):
    """(N, F) signals of the nodes of B graphs -> (B, F'), or (B, N, F) signals on one graph -> (B, F').

    Attributes:
        keeps_channels: whether every number of the result is made of one channel, in their order.

    Example:
        >>> issubclass(edgenet.models.READOUTS["mean"], edgenet.models.Readout)
        True
    """

    keeps_channels = False

    def out_width(self, channels: int) -> int:
        """F' for so many channels F; -1 if only a first input can tell, as it is for F = -1."""
        return channels

    @abstractmethod
    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        """What is read.

        Args:
            x: (N, F), or (B, N, F) where ``batch`` is None.
            batch: (N,) graph of every node, in any order, each in [0, size).
            size: B; graphs may be without nodes.

        Returns:
            (B, F'). A graph without nodes gets zeros where it can be read at all.
        """


class Mean(Readout):
    """The mean over the nodes. Numbers of 16 bits are added up in 32."""

    keeps_channels = True

    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        wide = widened(x)
        if batch is None:
            y = wide.mean(1) if x.shape[1] else wide.sum(1)
        else:
            y = _summed(wide, batch, size) / _counts(batch, size).clamp_min(1).unsqueeze(1)
        return y.to(x.dtype)


class Sum(Readout):
    """The sum over the nodes, made in 32 bits of numbers of 16; it may still be too large for those."""

    keeps_channels = True

    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        wide = widened(x)
        return (wide.sum(1) if batch is None else _summed(wide, batch, size)).to(x.dtype)


class Max(Readout):
    """The largest number over the nodes, channel by channel."""

    keeps_channels = True

    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        if batch is None:
            return x.amax(1) if x.shape[1] else x.sum(1)
        index = batch.unsqueeze(1).expand_as(x)
        return x.new_zeros(size, x.shape[1]).scatter_reduce(0, index, x, "amax", include_self=False)


class Attention(Readout):
    """A mean over the nodes, weighed by a softmax of a learned score (Li et al. 2016, eq. 7, with the signals as they
    are): y = sum over i of a_i x_i,   a = softmax over the nodes of the graph of gate(x_i).

    Args:
        channels: F, or -1 to read it off the first input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.LazyLinear(1) if channels == -1 else nn.Linear(channels, 1)

    def arguments(self) -> dict[str, Any]:
        return {"channels": self.gate.in_features}

    def reset_parameters(self) -> None:
        """Draw the score anew."""
        self.gate.reset_parameters()

    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        score, wide = widened(self.gate(x)), widened(x)
        if batch is None:
            return (score.softmax(1) * wide).sum(1).to(x.dtype)
        share = ops.segment_softmax(score, batch, size)
        return _summed(share * wide, batch, size).to(x.dtype)


class Flatten(Readout):
    """The signals of all nodes side by side, in their order: for graphs of one size.

    Args:
        num_nodes: N of every graph.
    """

    def __init__(self, num_nodes: int) -> None:
        super().__init__()
        self.num_nodes = num_nodes

    def out_width(self, channels: int) -> int:
        return -1 if channels == -1 else channels * self.num_nodes

    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        if batch is not None:
            order, count = _by_graph(batch, size)
            wrong = (count != self.num_nodes).nonzero().flatten()
            if len(wrong):
                found = int(count[wrong[0]])
                raise ShapeError(
                    f"the 'flatten' readout was made for {self.num_nodes} nodes, and graph {int(wrong[0])} of the "
                    f"batch has {found}."
                )
            x = x[order].view(size, self.num_nodes, x.shape[1])  # which -1 could not tell of no graphs
        if x.shape[1] != self.num_nodes:
            raise ShapeError(f"the 'flatten' readout was made for {self.num_nodes} nodes and got {x.shape[1]}.")
        return x.flatten(1)


class Node(Readout):
    """The signal of one node.

    Args:
        target_node: its number, in every graph.
    """

    keeps_channels = True

    def __init__(self, target_node: int) -> None:
        super().__init__()
        self.target_node = target_node

    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        if batch is None:
            self._check(x.shape[1])
            return x[:, self.target_node]
        order, count = _by_graph(batch, size)
        if size:
            self._check(int(count.min()))
        return x[order[count.cumsum(0) - count + self.target_node]]

    def _check(self, nodes: int) -> None:
        if not 0 <= self.target_node < nodes:
            raise ShapeError(f"the 'node' readout reads node {self.target_node}, and the graph has {nodes} nodes.")


class Several(Readout):
    """What several readouts give, side by side.

    Args:
        readouts: in their order.
    """

    def __init__(self, readouts: Sequence[Readout]) -> None:
        super().__init__()
        self.readouts = nn.ModuleList(readouts)

    def out_width(self, channels: int) -> int:
        widths = [readout.out_width(channels) for readout in self.parts()]
        return -1 if -1 in widths else sum(widths)

    def parts(self) -> list[Any]:
        """The readouts."""
        return list(self.readouts)

    def reset_parameters(self) -> None:
        """Draw the parameters of all that have some anew."""
        for readout in self.parts():
            if hasattr(readout, "reset_parameters"):
                readout.reset_parameters()

    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        return torch.cat([readout(x, batch, size) for readout in self.readouts], dim=-1)


def widened(x: Tensor) -> Tensor:
    """Numbers of 16 bits in 32, in which many of them can be added up."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _summed(x: Tensor, batch: Tensor, size: int) -> Tensor:
    return x.new_zeros(size, x.shape[1]).index_add(0, batch, x)


def _by_graph(batch: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(N,) the nodes, graph by graph and in their order in each; and (B,) how many each graph has."""
    return batch.argsort(stable=True), _counts(batch, size)


def _counts(batch: Tensor, size: int) -> Tensor:
    """(B,) how many nodes each graph has."""
    return batch.new_zeros(size).index_add(0, batch, torch.ones_like(batch))
