"""NodeBatches: nodes of one graph, some at a time, with neighbours that are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.sampling import NeighborLoader
from edgenet.train.batches import Batch
from edgenet.train.sources import OneGraph, Source

DEFAULT = 10  # neighbours at a hop


class NodeBatches(Source):
    """What is learned from the pieces around a graph's nodes. What is looked at, or scored, is the graph.

    Args:
        graph: all of it, and which nodes count.
        fan_out: how many neighbours at each hop; empty: ``DEFAULT`` at each that the model walks.
        size: nodes of a batch.
    """

    def __init__(self, graph: OneGraph, fan_out: Sequence[int], size: int) -> None:
        self.graph, self.fan_out, self.size = graph, list(fan_out), size
        whole, target, rows, kind = graph.batch.whole, graph.batch.target, graph.batch.rows, graph.batch.kind
        nodes = whole.num_nodes if kind is None else whole[kind].num_nodes
        if rows is None and len(target) != nodes:
            raise ShapeError(
                f"batches of drawn neighbours are for what is learned of nodes: there are {nodes}, and {len(target)} "
                f"answers."
            )
        self.seeds = torch.arange(nodes) if rows is None else rows.cpu()
        self.steps = -(-len(self.seeds) // size)
        self.loader = NeighborLoader(whole, self.fan_out, self.seeds if kind is None else (kind, self.seeds))

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        batch = self.graph.batch
        self.loader.node_sampler.seed = int(torch.empty((), dtype=torch.long).random_(generator=generator))
        for chosen in torch.randperm(len(self.seeds), generator=generator).split(self.size):
            target = batch.target[chosen.to(batch.target.device)]
            yield Batch(self.loader(chosen), target, torch.arange(len(chosen), device=target.device), batch.kind)

    def ordered(self) -> Iterator[Batch]:
        return self.graph.ordered()

    def check(self, model: nn.Module) -> None:
        hops = getattr(model, "hops", None)
        if not isinstance(hops, int):
            if not self.fan_out:
                raise ConfigError(f"a {type(model).__name__} does not tell how many hops it walks: give fan_out.")
        elif not self.fan_out:
            self.loader.node_sampler.num_neighbors = [DEFAULT] * hops
        elif hops > len(self.fan_out):
            raise ConfigError(
                f"the model walks {hops} hops, and batches reach {len(self.fan_out)}: fan_out = {self.fan_out} wants "
                f"{hops} numbers."
            )
