"""One training of a graph recurrent network, and what is foretold without any: the rows' numbers, kept as JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgenet.bench.harness import report
from edgenet.bench.harness.kept import kept
from edgenet.bench.results.recurrent_traffic_rows import DATA, SETTINGS, Row
from edgenet.data import load, metr_la, windows
from edgenet.data.places import places
from edgenet.models import GraphRecurrent
from edgenet.train import Task, fit

AT_ONCE = 64
#: (the row, seed, folder of runs, data folder)
Job = tuple[Row, int, Path, Path | None]


def measured(job: Job) -> dict[str, Any]:
    """The errors of a row at a seed, and what they were measured under."""
    row, seed, runs, root = job
    file = runs / "traffic" / row.dataset / f"{row.file}-{seed}.json"
    known = {"row": asdict(row), "data": DATA[row.dataset], "settings": SETTINGS[row.dataset], "seed": seed}
    return kept(file, known, lambda: _computed(row, seed, root))


def _computed(row: Row, seed: int, root: Path | None) -> dict[str, Any]:
    start = time.process_time()
    options = {**DATA[row.dataset], **row.options}
    if row.dataset == "graph_process":  # another process each time, on one graph
        options |= {"seed": seed, "graph_seed": 0}
    dataset = load(row.dataset, root, **options)
    train, val, test = dataset.train[0], dataset.val[0], dataset.test[0]
    torch.manual_seed(seed)
    model = GraphRecurrent(
        dataset.num_features, dataset.num_outputs, last=True, num_nodes=train.num_nodes, **row.model
    ).bind(train)
    loss = "l1" if dataset.metric == "mae" else "mse"
    # without the test data, which nothing needs on the way
    task = Task(train, val, target=TARGETS.get(row.dataset), loss=loss, metric=dataset.metric, name=row.dataset)
    task.kind = "sequence"
    found = fit(model, task, SETTINGS[row.dataset], seed=seed, progress=False)
    seconds = time.process_time() - start
    errors = _errors(found.model, test, row.dataset) * dataset.info.get("std", 1.0)
    result = {
        "val": found.val,
        "mae": errors.abs().mean((0, 1)).tolist(),
        "rmse": errors.square().mean((0, 1)).sqrt().tolist(),
        "best_epoch": found.best_epoch,
        "parameters": sum(p.numel() for p in found.model.parameters()),
        "seconds": seconds,
        "measured": report.settings(),
    }
    if row.dataset == "graph_process":
        felt = sensitivity(found.model, test)[test.edge_index[1], test.edge_index[0]]
        result |= {
            "correlation": correlation(felt, test.true_weight),
            "ideal": dataset.info["ideal_rmse"],
            "none": dataset.info["mean_rmse"],
        }
    return result


def change(data: Any) -> Tensor:
    """(S, N, P) by how much the speeds to come differ from the last ones."""
    return data.y - data.x[:, -1, :, :1]


#: data set -> what is learned, where it is not ``y``
TARGETS: dict[str, Callable[[Any], Tensor]] = {"metr_la": change}


@torch.no_grad()
def _errors(model: GraphRecurrent, data: Any, name: str) -> Tensor:
    """(S, N, P) what was foretold less what came."""
    model.eval()
    y = TARGETS[name](data) if name in TARGETS else data.y
    y = y if y.dim() == 3 else y.unsqueeze(-1)
    weight = data.get("edge_weight")
    found = [model(x, data.edge_index, weight) for x in data.x.split(AT_ONCE)]
    return torch.cat(found) - y


def sensitivity(model: GraphRecurrent, data: Any) -> Tensor:
    """(N, N) by how much node i's next value moves with node j's last one: the mean of d y_i / d x_j over windows."""
    model.eval()
    x = data.x[:AT_ONCE].clone().requires_grad_()
    y = model(x, data.edge_index, data.get("edge_weight"))[..., 0].sum(0)  # (N,)
    rows = [torch.autograd.grad(one, x, retain_graph=True)[0][:, -1, :, 0].mean(0) for one in y]
    return torch.stack(rows)


def correlation(a: Tensor, b: Tensor) -> float | None:
    """Pearson's, of two lists of numbers; None where one has no spread."""
    found = float(torch.corrcoef(torch.stack([a, b]))[0, 1])
    return found if math.isfinite(found) else None


# ---------------------------------------------------------------- without training
def still_and_usual(root: Path | None, options: Mapping[str, Any]) -> dict[str, list[float]]:
    """Test errors on METR-LA, in miles an hour and at each horizon, of the last reading, and of the mean of the
    training speeds of a sensor at the time of day."""
    dataset = load("metr_la", root, **options)
    ahead, past = dataset.info["ahead"], dataset.test[0].x.shape[1]
    speed = metr_la.read(metr_la.find(places(root))).speed
    spans = windows.spans(len(speed))
    ends = np.arange(spans["test"].start + past - 1, len(speed) - max(ahead))
    clock, trained = np.arange(len(speed)) % metr_la.DAY, spans["train"].stop
    usual = np.stack([speed[:trained][clock[:trained] == slot].mean(0) for slot in range(metr_la.DAY)])

    def error(foretold: Callable[[int], np.ndarray]) -> list[float]:
        return [float(np.abs(foretold(step) - speed[ends + step]).mean()) for step in ahead]

    return {"last": error(lambda step: speed[ends]), "usual": error(lambda step: usual[clock[ends + step]])}
