"""``edgenet bench epoch``: one training step of a whole network beside the same network of PyG's and DGL's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.bench.harness.beside import beside_the_fastest, times
from edgenet.bench.harness.cells import error, milliseconds
from edgenet.bench.harness.graphs import Sample, sample
from edgenet.bench.harness.performance import Record, Settings, described
from edgenet.bench.harness.timing import Implementation, Results, compared
from edgenet.bench.harness.worker import Job
from edgenet.bench.speed import compiling, fastest
from edgenet.bench.speed.layer_problem import fill_
from edgenet.bench.speed.networks import NETWORKS, Network, PeerNetwork
from edgenet.bench.speed.peer_edges import Edges
from edgenet.bench.speed.peer_layers import peer_forms
from edgenet.bench.speed.same_parameters import Parameters, as_ours, hold_
from edgenet.graph import Graph
from edgenet.structured import sparse_features
from edgenet.text import markdown_table

TITLE = "Training steps"
STEP = "step"
SPARSE, DENSE = "sparse features", "dense features"
WORDS = 0.0127  # share of Cora's features that are not 0, for a made graph in its place
Loss = Callable[[Tensor], Tensor]


# ---------------------------------------------------------------- in the worker
def jobs(settings: Settings) -> list[Job]:
    """One for every network and allocator."""
    return [
        settings.job(__name__, f"training step on {graph}", malloc, graph=graph)
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
        """All with sparse features where they are sparse, then all with dense ones: ours, and then the peers' forms."""
        sparse, found, edges = sparse_features(self.x), [], Edges(self.graph)
        for words, x in ((SPARSE, sparse), (DENSE, self.x)):
            if words == SPARSE and sparse.layout == torch.strided:
                continue
            ours = self.network.ours().float()
            found.append(self._implementation(f"edgenet, {words}", ours, _on(ours, x, self.graph.edge_index), dict))
            for form in peer_forms("gat", peers):
                net = PeerNetwork(self.network, form, edges).float()
                call = compiling.compiled(net, whole=words == DENSE) if form.compiled else net
                name = f"{net.layers[0].name}, {words}"
                found.append(self._implementation(name, net, _on(call, x), net.mapping))
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


def _on(model: Callable[..., Tensor], *inputs: Any) -> Callable[[], Tensor]:
    return lambda: model(*inputs)


def _named(grads: Mapping[str, Tensor]) -> Results:
    return {f"gradient in {name}": grad for name, grad in grads.items()}


# ---------------------------------------------------------------- on the page
LIMITS = (
    "Seconds of one step say nothing of how many steps a training takes. Peers are given the forms that are named; "
    "other forms of the same layers were not timed. torch.compile leaves products with sparse tensors to Python. One "
    "thread."
)


def claim(records: list[Record], settings: Settings) -> str:
    """What was found."""
    cases = (times(mine, STEP) for _, result in records for _, mine in by_features(result["rows"]))
    return beside_the_fastest(cases, "a training step on equal inputs")


def by_features(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(which features, the rows of those that were given them), ours first in each."""
    split = ((words, [row for row in rows if row["name"].endswith(words)]) for words in (SPARSE, DENSE))
    return [(words, mine) for words, mine in split if mine]


def parts(records: list[Record], settings: Settings) -> list[str]:
    """The section's paragraphs and tables."""
    text = [
        "One step: forward, loss, backward, Adam. The check compares logits and the gradients of the loss in all "
        "parameters, in evaluation mode, before any step. In all forms but PyG's `edge_index`, graphs are "
        "prepared beforehand; what edgenet sorts and adds in its first step, a warm-up, it keeps.",
        described(records, settings),
    ]
    rows, short = [], []
    for job, result in records:
        for words, mine in by_features(result["rows"]):
            where = (NETWORKS[job["graph"]].title, words, job["malloc"])
            short.append((*where, *fastest.beside(mine, STEP)))
            for row in mine:
                cells = (milliseconds(row, STEP), fastest.ratio(row, mine[0], STEP), error(row))
                rows.append((*where, fastest.form(row), *cells))
    if not rows:
        return text
    where = ("network", "features", "allocator")
    return [
        *text,
        markdown_table((*where, *fastest.columns("step, ms")), short),
        fastest.losses(short, len(where)),
        "### Every form",
        markdown_table((*where, "implementation", "step, ms", "× edgenet", "error"), rows),
    ]
