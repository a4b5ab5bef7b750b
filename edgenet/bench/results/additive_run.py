"""A network on Cora whose edge weights are sums of functions of readable edge features, and one training run of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

from edgenet.bench.harness.kept import kept
from edgenet.bench.results.additive_features import edge_features, noise_features
from edgenet.compress import GroupLasso
from edgenet.data import load
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.phi import Additive
from edgenet.structured import SparseSignal, sparse_features
from edgenet.train import Task, fit
from edgenet.writing import write_atomically

Job = dict[str, Any]
HIDDEN, EPOCHS, DF, NOISE = 64, 300, 3, 10
RATE, FUNCTION_RATE, DECAY, DROPOUT, EDGE_DROPOUT = 0.005, 0.003, 5e-4, 0.6, 0.6


class Network(nn.Module):
    """Two layers that walk the graph by the same edge weights, softmax over in-edges of f_1(a_e1) + ... + f_D(a_eD).

    With all functions at zero every node averages its in-neighbours and itself. In training some edges are dropped, as
    GAT drops attention.

    Args:
        in_channels, out_channels: features and classes.
        features: D; 0 for no functions at all.
    """

    def __init__(self, in_channels: int, out_channels: int, features: int) -> None:
        super().__init__()
        self.phi = Additive(1, 1, edge_dim=max(1, features), endpoints="none", link="softmax", df=DF)
        common = {"phi": self.phi, "self_tap": False, "add_self_loops": False}
        self.first = EdgeNetConv(in_channels, HIDDEN, **common)
        self.second = EdgeNetConv(HIDDEN, out_channels, **common)

    def fit_basis(self, graph: Graph, attr: Tensor) -> Network:
        """Make the basis of the functions, of features that do not change from now on."""
        self.phi.fit_basis(None, graph, attr)
        functions = self.phi.functions["edge"]
        functions._splines = _remembered(functions._splines)
        return self

    def forward(self, x: SparseSignal, graph: Graph, attr: Tensor) -> Tensor:
        """(N, F), E edges with their self-loops, (E, D) -> (N, classes)."""
        hidden = F.elu(self.first(x.dropout(DROPOUT, self.training), graph, self._dropped(graph), attr))
        hidden = F.dropout(hidden, DROPOUT, self.training)
        return self.second(hidden, graph, self._dropped(graph), attr)

    def _dropped(self, graph: Graph) -> Tensor:
        return F.dropout(torch.ones(graph.num_edges, 1), EDGE_DROPOUT, self.training)


def _remembered(compute: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same, worked out once for a tensor that comes again and again: half of an epoch otherwise."""
    last: list[Tensor] = []

    def remembered(values: Tensor) -> Tensor:
        if not last or last[0] is not values:
            last[:] = values, compute(values)
        return last[1]

    return remembered


@lru_cache(maxsize=2)
def problem(dataset: str, root: str | None) -> tuple[Data, SparseSignal, Graph, dict[str, Tensor]]:
    """A data set of one graph: its data, sparse features, graph with self-loops, and {name: (E,)} edge features, of
    which the last are noise."""
    data = load(dataset, root=root).train[0]
    graph = Graph(data.edge_index, data.num_nodes).with_self_loops()[0]
    features = edge_features(data.x, graph) | noise_features(graph.num_edges, NOISE)
    return data, SparseSignal.of(sparse_features(data.x, density=1.0)), graph, features


def trained(job: Job) -> dict[str, Any]:
    """The result of a run, from its file where it is done.

    A job has "file", "dataset", "data_root", "seed", "penalty", "epochs", and "features": names of the features that
    may have functions, none of them for the plain shift operator. The network of the best validation accuracy (of
    equals, of the lower validation loss) is kept beside the file; the test nodes choose nothing.
    """

    def compute() -> dict[str, Any]:
        result, state = train(job)
        write_atomically(Path(job["file"]).with_suffix(".pt"), lambda file: torch.save(state, file))
        return result

    settings = [HIDDEN, DF, NOISE, RATE, FUNCTION_RATE, DECAY, DROPOUT, EDGE_DROPOUT]
    return kept(Path(job["file"]), {**job, "settings": settings}, compute)


def train(job: Job) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Train one network; its result, and the state of its best epoch."""
    data, x, graph, _ = problem(job["dataset"], job["data_root"])
    torch.manual_seed(job["seed"])
    network, attr = made(job)
    groups = [{"params": [p for name, p in network.named_parameters() if not name.startswith("phi.")]}]
    callbacks = []
    if job["features"]:
        groups.append({"params": list(network.phi.parameters()), "lr": FUNCTION_RATE, "weight_decay": 0.0})
        callbacks.append(GroupLasso({r"phi\.functions": "functions"}, job["penalty"]))
    else:
        network.phi.requires_grad_(False)
    found = fit(
        network,
        Task(data, call=lambda model, batch: model(x, graph, attr)),
        callbacks=callbacks,
        optimizer=lambda parameters: torch.optim.Adam(groups, lr=RATE, weight_decay=DECAY),
        epochs=job["epochs"],
        progress=False,
    )
    sizes = network.phi.norms()["edge"].flatten().tolist()
    result = {
        "val": found.val, "test": found.test, "epoch": found.best_epoch,
        "sizes": {name: size for name, size in zip(job["features"], sizes, strict=False) if size},
    }  # fmt: skip
    return result, network.state_dict()


def made(job: Job) -> tuple[Network, Tensor]:
    """A new network, and the (E, D) edge features that it reads."""
    data, _, graph, features = problem(job["dataset"], job["data_root"])
    columns = [features[name] for name in job["features"]] or [torch.zeros(graph.num_edges)]
    attr = torch.stack(columns, 1)
    network = Network(data.x.shape[1], int(data.y.max()) + 1, len(job["features"]))
    return network.fit_basis(graph, attr), attr


def restored(job: Job) -> tuple[Network, Tensor]:
    """The network that a run kept, and the (E, D) edge features that it reads."""
    network, attr = made(job)
    network.load_state_dict(torch.load(Path(job["file"]).with_suffix(".pt"), weights_only=True))
    return network.eval(), attr
