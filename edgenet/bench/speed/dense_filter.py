"""The edge-varying filter beside the dense form of the literature, a matrix of N x N for every filter and hop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from edgenet import ops
from edgenet.bench.harness.cells import error, milliseconds
from edgenet.bench.harness.graphs import Size, power_law
from edgenet.bench.harness.performance import Record, Settings
from edgenet.bench.harness.timing import BOTH, FORWARD, Implementation, Results, compared
from edgenet.bench.harness.worker import Job
from edgenet.bench.speed import compiling, fastest
from edgenet.bench.speed.layer_problem import fill_, implementation, peer_implementation
from edgenet.bench.speed.same_parameters import Parameters, PeerLayer
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, specializations
from edgenet.text import markdown_table

#: graphs by their number of nodes; 5.3 in-edges a node
GRAPHS = {100: Size(100, 530, 20, seed=5), 400: Size(400, 2_120, 40, seed=6)}
FEATURES, ORDER, BATCH = 8, 3, 16


def jobs(settings: Settings) -> list[Job]:
    """One for every allocator and graph."""
    return [
        settings.job(__name__, f"edge-varying filter on {nodes} nodes", malloc, nodes=nodes)
        for malloc in settings.malloc
        for nodes in GRAPHS
    ]


def measure(job: Job) -> dict[str, Any]:
    """Time ours and the dense forms on one graph."""
    size = GRAPHS[job["nodes"]]
    graph = Graph(torch.from_numpy(power_law(size)), size.nodes)
    problem = FilterProblem(graph, FEATURES, ORDER, BATCH)
    rows = compared(problem.implementations(), problem.reference, job["rounds"])
    sparse, dense = (sum(value.numel() for value in parameters.values())
                     for parameters in (problem.parameters, problem.dense_parameters(problem.parameters)))  # fmt: skip
    facts = {"nodes": size.nodes, "edges": size.edges, "made": True}
    return {"graph": facts, "rows": rows, "parameters": [sparse, *[dense] * len(DENSE)]}


class FilterProblem:
    """A bank of F x F edge-varying filters of order K, and B signals, from a fixed seed; float32."""

    def __init__(self, graph: Graph, features: int, order: int, batch: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.graph, self.features, self.order = graph, features, order
        self.layer = self._layer().float()
        fill_(self.layer, draw)
        self.parameters = {name: value.detach().clone() for name, value in self.layer.named_parameters()}
        signals = (batch, graph.num_nodes, features)
        self.x = torch.randn(signals, generator=draw, dtype=torch.float32).requires_grad_()
        self.direction = torch.randn(signals, generator=draw, dtype=torch.float32)

    def _layer(self) -> EdgeNetConv:
        return specializations.edge_varying(self.features, self.features, order=self.order).bind(self.graph)

    def implementations(self) -> list[Implementation]:
        """Ours, and the dense forms."""
        call = lambda x: self.layer(x, self.graph)  # noqa: E731
        ours = implementation("edgenet `edge_varying`", self.layer, call, self.x, self.direction)
        return [ours, *(self._dense(name, walk) for name, walk in DENSE.items())]

    def _dense(self, name: str, walk: Callable[[Tensor, Tensor], Tensor]) -> Implementation:
        layer = DenseFilter(self.features, self.order, self.graph.num_nodes, walk)
        call = compiling.compiled(layer) if name == COMPILED else layer
        peer = PeerLayer(name, layer, call, self.dense_parameters)
        return peer_implementation(peer, self.parameters, self.x, self.direction)

    def dense_parameters(self, ours: Parameters) -> dict[str, Tensor]:
        """Those of ``DenseFilter`` made of our tables' rows: edges at hops 1 to K, diagonals at hops 0 to K."""
        phi, graph, filters = self.layer.phi, self.graph, self.features**2
        edge = ours["phi.edge_table.weight"][phi.where.of_edges(graph, None)].unflatten(1, (self.order, filters))
        node = ours["phi.node_table.weight"][phi.where.of_nodes(graph)].unflatten(1, (self.order + 1, filters))
        every = torch.arange(graph.num_nodes)
        dense = edge.new_zeros(filters, self.order + 1, graph.num_nodes, graph.num_nodes)
        dense[:, 1:, graph.target, graph.source] = edge.permute(2, 1, 0)
        dense[:, :, every, every] = node.permute(2, 1, 0)
        return {"weight": dense.unflatten(0, (self.features, self.features)), "bias": ours["bias"]}

    def reference(self) -> Results:
        """Our layer in float64 on the reference backend."""
        layer = self._layer().double()
        with torch.no_grad():
            for name, value in layer.named_parameters():
                value.copy_(self.parameters[name])
        x = self.x.detach().double().requires_grad_()
        call = lambda x: layer(x, self.graph)  # noqa: E731
        with ops.use("reference"):
            return implementation("", layer, call, x, self.direction.double()).results()


class DenseFilter(nn.Module):
    """The same bank as matrices: a weight (F_out, F_in, K + 1, N, N) of Phi^(k)[i, j], zeros off the graph's edges."""

    def __init__(self, features: int, order: int, nodes: int, walk: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, features, order + 1, nodes, nodes))
        self.bias = nn.Parameter(torch.empty(features))
        self.walk = walk

    def forward(self, x: Tensor) -> Tensor:
        return self.walk(self.weight, x) + self.bias


def all_at_once(weight: Tensor, x: Tensor) -> Tensor:
    """(F_out, F_in, K + 1, N, N) weights, (B, N, F_in) -> (B, N, F_out), the batch as the columns of one matrix."""
    z = x.permute(2, 1, 0)  # (F_in, N, B)
    total = torch.zeros((), dtype=x.dtype)
    for k in range(weight.shape[2]):
        z = torch.matmul(weight[:, :, k], z)  # (F_out, F_in, N, B)
        total = total + z
    return total.sum(1).permute(2, 1, 0)


def signal_by_signal(weight: Tensor, x: Tensor) -> Tensor:
    """The same, as alegnn's EVGF has it: every signal of the batch is a vector that every matrix is multiplied by."""
    z = x.permute(0, 2, 1)[:, None, :, :, None]  # (B, 1, F_in, N, 1)
    total = torch.zeros((), dtype=x.dtype)
    for k in range(weight.shape[2]):
        z = torch.matmul(weight[:, :, k], z)  # (B, F_out, F_in, N, 1)
        total = total + z
    return total.sum(2).squeeze(-1).permute(0, 2, 1)


COMPILED = "dense, all signals at once, torch.compile"
#: the dense forms, by the name that the table has
DENSE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dense, all signals at once": all_at_once,
    COMPILED: all_at_once,
    "dense, signal by signal": signal_by_signal,
}


def parts(records: list[Record]) -> list[str]:
    """The table of the edge-varying filter."""
    rows = []
    for job, result in records:
        if job["measure"] != __name__:
            continue
        ours = result["rows"][0]
        for row, count in zip(result["rows"], result["parameters"], strict=True):
            rows.append(
                (
                    job["nodes"],
                    job["malloc"],
                    row["name"],
                    f"{count:,}",
                    milliseconds(row, FORWARD),
                    fastest.ratio(row, ours, FORWARD),
                    milliseconds(row, BOTH),
                    fastest.ratio(row, ours, BOTH),
                    error(row),
                )
            )
    if not rows:
        return []
    header = ("nodes", "allocator", "implementation", "weights", "forward, ms", "× edgenet", "forward + backward, ms",
              "× edgenet", "error")  # fmt: skip
    return [
        "### Edge-varying filter",
        f"{FEATURES} -> {FEATURES} features, order {ORDER}, {BATCH} signals on power-law graphs with 5.3 in-edges a "
        f"node. Dense: an N x N matrix for every pair of features and hop, zeros off the graph, multiplied hop by hop; "
        f"signal by signal is the form of alegnn, the library of the paper's authors. Gradients are those in the "
        f"signals and in all weights; the check compares them on the graph's edges.",
        markdown_table(header, rows),
    ]
