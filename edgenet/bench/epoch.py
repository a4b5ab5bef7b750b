"""``edgenet bench epoch``: one training step of a whole network beside the same network of PyG's and DGL's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.bench.graphs import Sample, sample
from edgenet.bench.layer_problem import fill_
from edgenet.bench.peer_layers import Edges, Parameters, PeerLayer, as_ours, dgl_gat, hold_, pyg_gat
from edgenet.bench.reference import LayerShape
from edgenet.bench.speed import Record, Settings, described, error, milliseconds, times_ours
from edgenet.bench.timing import Implementation, Results, compared
from edgenet.bench.worker import Job
from edgenet.graph import Graph
from edgenet.models import NodeClassifier
from edgenet.structured import sparse_features
from edgenet.text import markdown_table

TITLE = "Training steps"
STEP = "step"
BUILDERS: dict[str, Callable[..., PeerLayer]] = {"pyg": pyg_gat, "dgl": dgl_gat}
Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Network:
    """A network of GAT layers, of published settings.

    Attributes:
        title: for the page.
        features, outputs: at a node.
        hidden: channels of each head of the hidden layers.
        layers: how many.
        heads, out_heads: of the hidden layers, side by side; of the last, averaged.
        dropout: of features and of attention.
        skip: a linear map of each layer's input is added to its output.
        lr, weight_decay: of Adam.
    """

    title: str
    features: int
    outputs: int
    hidden: int
    layers: int
    heads: int
    out_heads: int
    dropout: float
    skip: bool
    lr: float
    weight_decay: float

    def shapes(self) -> list[LayerShape]:
        shapes, width = [], self.features
        for depth in range(self.layers):
            last = depth == self.layers - 1
            channels, heads = (self.outputs, self.out_heads) if last else (self.hidden, self.heads)
            shapes.append(LayerShape("gat", width, channels, heads))
            width = channels * heads
        return shapes

    def ours(self) -> NodeClassifier:
        return NodeClassifier(
            self.features, self.outputs, layer="gat", hidden_channels=self.hidden, num_layers=self.layers,
            dropout=self.dropout, attention_dropout=self.dropout, heads=self.heads, out_heads=self.out_heads,
            skip=self.skip, activation="elu",
        )  # fmt: skip


#: graph: the network that is trained on it (Velickovic et al. 2018, 3.3)
NETWORKS = {
    "cora": Network("Cora: 8 heads of 8, then 1 of 7, dropout 0.6", 1433, 7, 8, 2, 8, 1, 0.6, False, 0.005, 5e-4),
    "ppi": Network("PPI's size: 4 x 256, 4 x 256, 6 x 121 averaged, skips", 50, 121, 256, 3, 4, 6, 0.0, True, 0.005, 0),
}
WORDS = 0.0127  # share of Cora's features that are not 0, for a made graph in its place


class PeerNetwork(nn.Module):
    """What ``NodeClassifier`` is, of another library's layers."""

    def __init__(self, network: Network, build: Callable[..., PeerLayer], edges: Edges) -> None:
        super().__init__()
        shapes = network.shapes()
        self.layers = [build(shape, edges, concat=shape is not shapes[-1], dropout=network.dropout) for shape in shapes]
        self.convs = nn.ModuleList(layer.module for layer in self.layers)
        widths = [shape.channels if shape is shapes[-1] else shape.width for shape in shapes]
        maps = [nn.Linear(shape.in_channels, width) for shape, width in zip(shapes, widths, strict=True)]
        self.skips = nn.ModuleList(maps if network.skip else [])
        self.dropout = network.dropout

    def forward(self, x: Tensor) -> Tensor:
        for depth, layer in enumerate(self.layers):
            x = F.dropout(x, self.dropout, self.training)
            y = layer.call(x)
            if len(self.skips):
                y = y + self.skips[depth](x)
            x = y if depth == len(self.layers) - 1 else F.elu(y)
        return x

    def mapping(self, ours: Parameters) -> dict[str, Tensor]:
        """All parameters made of ours."""
        found = {name: value for name, value in ours.items() if name.startswith("skips.")}
        for depth, layer in enumerate(self.layers):
            prefix = f"convs.{depth}."
            own = {name.removeprefix(prefix): value for name, value in ours.items() if name.startswith(prefix)}
            found |= {prefix + name: value for name, value in layer.mapping(own).items()}
        return found


# ---------------------------------------------------------------- in the worker
def jobs(settings: Settings) -> list[Job]:
    """One for every network and allocator."""
    return [
        settings.job("epoch", f"training step on {graph}", malloc, graph=graph)
        for malloc in settings.malloc
        for graph in settings.graphs
        if graph in NETWORKS
    ]


def measure(job: Job) -> dict[str, Any]:
    """Time a step of every form of the network."""
    found = sample(job["graph"], job["data_root"])
    x, loss = task(job["graph"], found)
    problem = StepProblem(NETWORKS[job["graph"]], Graph(found.edge_index, found.num_nodes), x, loss)
    rows = compared(problem.implementations(job["peers"]), problem.reference, job["rounds"])
    return {"graph": found.facts(), "rows": rows}


def task(graph: str, found: Sample) -> tuple[Tensor, Loss]:
    """(N, F) features, and the loss of (N, outputs) logits: the real ones where there are some, else random ones.

    Bags of words are 0 or 1, and random features multiples of 2^-4: the first layer's scores are then exact in float32,
    and none rounds to the other side of the LeakyReLU's kink (see ``fill_``).
    """
    network, draw = NETWORKS[graph], torch.Generator().manual_seed(0)
    nodes = found.num_nodes
    if graph == "ppi":
        y = (torch.rand(nodes, network.outputs, generator=draw, dtype=torch.float32) < 0.3).float()
        x = torch.randn(nodes, network.features, generator=draw, dtype=torch.float32).mul_(16).round_().div_(16)
        return x, lambda logits: F.binary_cross_entropy_with_logits(logits, y.to(logits))
    if found.x is None:
        x = torch.rand(nodes, network.features, generator=draw, dtype=torch.float32) < WORDS
        y, train = torch.randint(network.outputs, (nodes,), generator=draw), torch.arange(nodes) < 140
    else:
        x, y, train = found.x > 0, found.y, found.train_mask
    return x.float(), lambda logits: F.cross_entropy(logits[train], y[train])


class StepProblem:
    """A network of ours with random parameters, a graph, features and a loss; float32."""

    def __init__(self, network: Network, graph: Graph, x: Tensor, loss: Loss) -> None:
        self.network, self.graph, self.x, self.loss = network, graph, x, loss
        model = network.ours().float()
        fill_(model, torch.Generator().manual_seed(0))
        with torch.no_grad():  # where all scores are nearly alike, gradients in att_target cancel to rounding errors
            first = model.convs[0].lift.linear.weight.weight
            first.mul_(2.0 ** -F.linear(x, first).std().log2().round())
        self.parameters = {name: value.detach().clone() for name, value in model.named_parameters()}

    def implementations(self, peers: list[str]) -> list[Implementation]:
        """Ours, with sparse features first where they are sparse; then the peers'."""
        sparse = sparse_features(self.x)
        forms = {"edgenet, sparse features": sparse, "edgenet, dense features": self.x}
        if sparse.layout == torch.strided:
            forms = {"edgenet": self.x}
        found = []
        for name, x in forms.items():
            model = self.network.ours().float()
            found.append(self._implementation(name, model, _on(model, x, self.graph.edge_index), dict))
        edges = Edges(self.graph)
        for peer, build in BUILDERS.items():
            if peer in peers:
                net = PeerNetwork(self.network, build, edges).float()
                name = "PyG `GATConv`" if peer == "pyg" else "DGL `GATConv`"
                found.append(self._implementation(name, net, _on(net, self.x), net.mapping))
        return found

    def _implementation(
        self, name: str, model: nn.Module, call: Callable[[], Tensor], mapping: Callable[[Parameters], Mapping]
    ) -> Implementation:
        adam = torch.optim.Adam(model.parameters(), lr=self.network.lr, weight_decay=self.network.weight_decay)
        hold_(model, mapping, self.parameters)

        def step() -> None:
            model.train()
            adam.zero_grad()
            self.loss(call()).backward()
            adam.step()

        def results() -> Results:
            hold_(model, mapping, self.parameters)  # the steps have moved them
            model.eval()
            logits, grads = self._gradients(call, model)
            return {"logits": logits} | _named(as_ours(grads, mapping, self.parameters))

        return Implementation(name, {STEP: step}, results)

    def _gradients(self, call: Callable[[], Tensor], model: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
        own = dict(model.named_parameters())
        logits = call()
        return logits.detach(), dict(zip(own, torch.autograd.grad(self.loss(logits), tuple(own.values())), strict=True))

    def reference(self) -> Results:
        """Our network in float64 on the reference backend, with dense features."""
        model = self.network.ours().double().eval()
        hold_(model, dict, self.parameters)
        with ops.use("reference"):
            logits, grads = self._gradients(_on(model, self.x.double(), self.graph), model)
        return {"logits": logits} | _named(grads)


def _on(model: nn.Module, *inputs: Any) -> Callable[[], Tensor]:
    return lambda: model(*inputs)


def _named(grads: Mapping[str, Tensor]) -> Results:
    return {f"gradient in {name}": grad for name, grad in grads.items()}


# ---------------------------------------------------------------- on the page
def parts(records: list[Record], settings: Settings) -> list[str]:
    """The section's paragraphs and tables."""
    text = [
        "One step: forward, loss, backward, Adam. The check compares logits and the gradients of the loss in all "
        "parameters, in evaluation mode, before any step.",
        described(records, settings),
    ]
    header = ("network", "allocator", "implementation", "step, ms", "× ours", "error")
    rows = []
    for job, result in records:
        ours = result["rows"][0]
        for row in result["rows"]:
            cells = (milliseconds(row, STEP), times_ours(row, ours, STEP), error(row))
            rows.append((NETWORKS[job["graph"]].title, job["malloc"], row["name"], *cells))
    return [*text, markdown_table(header, rows)] if rows else text
