"""A graph on which edges matter: which of 20 edge features decide the edge weights, found by gradient steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.bench.harness.kept import kept
from edgenet.bench.results.additive_run import Job
from edgenet.bench.results.spam_simulation import RELEVANT
from edgenet.compress import GroupLasso
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv, lift
from edgenet.phi import Additive
from edgenet.train import Task, fit

NODES, DEGREE, FEATURES = 400, 8, 20
_PENALTIES, _LEAST, _STEPS, _RATE, _REFIT, _DF = 14, 0.03, 50, 0.05, 200, 10


@dataclass(frozen=True)
class Recovery:
    """What a path of penalties found in one draw.

    Attributes:
        supports: of every penalty, from the largest on.
        chosen: the support whose refit, without a penalty, errs least on the held-out nodes.
        correlations: of the refitted functions on the relevant features with the true ones, at the edges; [] where the
            choice lacks one.
    """

    supports: list[list[int]]
    chosen: list[int]
    correlations: list[float]


def functions(u: np.ndarray) -> np.ndarray:
    """(E, D) -> (E, 4), the functions of Ravikumar et al. 2009, 6.1, of the first four features."""
    parts = (
        -2 * np.sin(2 * u[:, 0]),
        u[:, 1] ** 2 - 1 / 3,
        u[:, 2] - 1 / 2,
        np.exp(-u[:, 3]) + np.exp(-1) - 1,
    )
    return np.stack(parts, 1)


def draw(seed: int) -> tuple[Graph, Tensor, Tensor, Tensor]:
    """y_i = sum over j -> i of (f_1(u_ij1) + ... + f_4(u_ij4)) x_j + N(0, 1), u uniform on (-2.5, 2.5), x ~ N(0, 1).

    Returns:
        The graph, eight edges into every node; (E, D) features; (N, 1) x; (N,) y.
    """
    rng = np.random.default_rng(seed)
    source, target = rng.integers(NODES, size=NODES * DEGREE), np.repeat(np.arange(NODES), DEGREE)
    u, x = rng.uniform(-2.5, 2.5, (NODES * DEGREE, FEATURES)), rng.normal(size=NODES)
    y = np.bincount(target, functions(u).sum(1) * x[source], NODES) + rng.normal(size=NODES)
    return Graph(torch.as_tensor(np.stack([source, target])), NODES), *map(torch.as_tensor, (u, x[:, None], y))


def recovered(job: Job) -> Recovery:
    """The recovery in the draw of "seed", from "file" where it is done."""
    settings = [NODES, DEGREE, FEATURES, _PENALTIES, _LEAST, _STEPS, _RATE, _REFIT, _DF]
    return Recovery(**kept(Path(job["file"]), {**job, "settings": settings}, lambda: asdict(recovery(job["seed"]))))


def recovery(seed: int) -> Recovery:
    """Train the same layer under smaller and smaller penalties, then refit every support that was met.

    A quarter of the nodes is held out to choose between the refits.
    """
    graph, u, x, y = draw(seed)
    held_out = torch.arange(NODES) % 4 == 0
    layer = _layer(FEATURES).double()
    layer.phi.fit_basis(None, graph, u)
    supports = []
    for penalty in _penalties(layer, graph, u, x, y, ~held_out):
        _descend(layer, graph, u, x, y, ~held_out, penalty, _STEPS)
        supports.append(layer.phi.norms()["edge"].flatten().nonzero().flatten().tolist())
    refits = {}
    for support in {tuple(found) for found in supports if found}:
        own = u[:, list(support)]
        refit = _layer(len(support)).double()
        refit.phi.fit_basis(None, graph, own)
        _descend(refit, graph, own, x, y, ~held_out, 0.0, _REFIT)
        with torch.no_grad():
            error = (refit(x, graph, None, own)[:, 0] - y)[held_out].square().mean()
        refits[support] = float(error), refit
    chosen = min(refits, key=lambda support: refits[support][0])
    if not set(RELEVANT) <= set(chosen):
        return Recovery(supports, list(chosen), [])
    found = refits[chosen][1].phi.explain(None, graph, u[:, list(chosen)]).values[0, :, 0].numpy()
    truth = functions(u.numpy())
    pairs = [(found[:, chosen.index(d)], truth[:, k]) for k, d in enumerate(RELEVANT)]
    return Recovery(supports, list(chosen), [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs])


def _layer(features: int) -> EdgeNetConv:
    phi = Additive(1, 1, edge_dim=features, endpoints="none", df=_DF)
    return EdgeNetConv(1, 1, phi=phi, self_tap=False, lift=lift.Identity(), add_self_loops=False)


def _penalties(layer: EdgeNetConv, graph: Graph, u: Tensor, x: Tensor, y: Tensor, rows: Tensor) -> list[float]:
    """From the one at which the first function becomes other than zero, on a logarithmic scale."""
    table = layer.phi.functions["edge"].coefficients
    (slope,) = torch.autograd.grad(_half_square(layer(x, graph, None, u)[rows, 0], y[rows]), table)
    largest = float(torch.linalg.vector_norm(slope, dim=-1).max())
    return (largest * np.geomspace(1, _LEAST, _PENALTIES)).tolist()


def _descend(
    layer: EdgeNetConv, graph: Graph, u: Tensor, x: Tensor, y: Tensor, rows: Tensor, penalty: float, steps: int
) -> None:
    lasso = GroupLasso({r"phi\.functions": "functions"}, penalty, by_size=False)
    data = Data(x=x, y=y, train_mask=rows)
    task = Task(data, call=lambda model, batch: model(x, graph, None, u)[:, 0], loss=_half_square)
    fit(layer, task, callbacks=[lasso], epochs=steps, lr=_RATE, progress=False)


def _half_square(scores: Tensor, target: Tensor) -> Tensor:
    return (scores - target).square().mean() / 2
