"""What the gate before compiled code costs: calls with its checks, beside calls that hand addresses on unlooked at.

A part of ``edgenet bench reliability``: seconds of processor time, one thread, the two in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.bench.harness.graphs import sample
from edgenet.bench.harness.timing import Implementation, timed
from edgenet.graph import Graph
from edgenet.nn import specializations as nets
from edgenet.ops import native
from edgenet.ops.native import gate
from edgenet.ops.pinned import Pinned

ROUNDS = 60
CHECKED, UNCHECKED = "checked", "unchecked"


def _call(function: str, *arguments: Any) -> int:
    pointers = ((None if a[0] is None else a[0].data_ptr()) if type(a) is tuple else a for a in arguments)
    return getattr(native.library(), function)(*pointers)


@contextmanager
def unchecked() -> Iterator[None]:
    """The gate and what is pinned for backward left out: for measuring alone."""
    before = gate.call, gate.plain, Pinned.of, Pinned.check
    gate.call, gate.plain = _call, Tensor.contiguous
    Pinned.of, Pinned.check = (staticmethod(lambda *_: _EMPTY)), lambda *_: None
    try:
        yield
    finally:
        gate.call, gate.plain = before[:2]
        Pinned.of, Pinned.check = before[2:]


_EMPTY = Pinned(None, ())


class Network(nn.Module):
    """GAT's network for Cora (Velickovic et al. 2018): 8 heads of 8 channels, then the classes."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = nets.gat(features, 8, heads=8), nets.gat(64, classes)

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        return self.second(F.elu(self.first(x, graph)), graph)


def calls(data_root: Path | None) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    ten, x = Graph(torch.randint(0, 10, (2, 30)), 10), torch.randn(10, 16)
    layer = nets.gat(16, 8, heads=4)

    def forward() -> None:
        with torch.no_grad():
            layer(x, ten)

    cora = sample("cora", data_root)
    graph = Graph(cora.edge_index, cora.num_nodes)
    features, label = torch.rand(cora.num_nodes, 1433), torch.randint(0, 7, (cora.num_nodes,))
    network = Network(1433, 7)

    def gradients(network: nn.Module, x: Tensor, graph: Graph, loss: Callable[[Tensor], Tensor]) -> None:
        torch.autograd.grad(loss(network(x, graph)), list(network.parameters()))

    return {
        "a GAT layer on 10 nodes, forward": forward,
        "a GAT layer on 10 nodes, forward and backward": partial(gradients, layer, x, ten, torch.sum),
        "GAT's network on Cora, forward and backward": partial(
            gradients, network, features, graph, lambda y: F.cross_entropy(y, label)
        ),
    }


def results(data_root: Path | None) -> list[dict[str, Any]]:
    """Median seconds of every call, with the checks and without."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    every = calls(data_root)

    def past(call: Callable[[], object]) -> None:
        with unchecked():
            call()

    ways = {CHECKED: lambda call: call, UNCHECKED: lambda call: partial(past, call)}
    timings = [Implementation(way, {n: wrap(c) for n, c in every.items()}, dict) for way, wrap in ways.items()]
    rows = timed(timings, ROUNDS)
    return [
        {"call": name, **{way: row["times"][name]["median"] for way, row in zip(ways, rows, strict=True)}}
        for name in every
    ]
