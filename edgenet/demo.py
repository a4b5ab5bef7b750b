"""The demonstration: train an attention GNN, turn it into an EdgeNet, compress that, and ship it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GAT
from tqdm import tqdm

from edgenet import plots
from edgenet.compress import Budget, Distill, Report, pool_, report, search
from edgenet.convert import to_edgenet
from edgenet.data import Dataset
from edgenet.errors import ConfigError
from edgenet.pretrained import from_pretrained, save_pretrained
from edgenet.train import Latest, Task, fine_tune, fit

FAMILIES = ("low_rank", "kronecker", "tensor_train", "block_circulant", "hashed")
RATIOS = (4.0, 10.0, 25.0)
_HIDDEN = {"cora": 64}  # 8 heads of 8, as published; elsewhere 8 heads of 32


@dataclass(frozen=True)
class Compressed:
    """A compressed model.

    Attributes:
        before, after: test accuracy after compression alone, and after fine-tuning.
        val: validation accuracy after fine-tuning.
        seconds: of fine-tuning.
    """

    family: str
    model: nn.Module = field(repr=False)
    report: Report = field(repr=False)
    before: float
    val: float
    after: float
    seconds: float


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration found.

    Attributes:
        accuracy: of the trained network on test nodes.
        difference: largest difference of a score between the network and its EdgeNet.
        forward: milliseconds of a forward pass of the network, and of its EdgeNet.
        compressed: every family at every ratio.
        best: the one that was saved: of the ratio asked for, that of the best validation accuracy.
        saved: folder it was saved in, and read back from, with the same scores.
    """

    accuracy: float
    difference: float
    forward: tuple[float, float]
    edgenet: Report
    compressed: tuple[Compressed, ...]
    best: Compressed
    saved: Path
    picture: Path | None


def run_demo(dataset: Dataset, folder: Path, ratio: float = 10.0, seed: int = 0, epochs: int = 200) -> DemoResult:
    """Run the demonstration on a data set of one graph with classes of nodes.

    Args:
        dataset: see ``edgenet.data``.
        folder: for the saved model and the picture.
        ratio: times fewer parameters that the saved model has. Others are tried as well, for the picture.
        seed: of all random numbers.
        epochs: of training; fine-tuning takes half.

    Raises:
        ConfigError: if the data set has another task.
    """
    check_dataset(dataset)
    data = dataset.train[0]
    torch.manual_seed(seed)
    hidden = _HIDDEN.get(dataset.name, 256)
    network = GAT(dataset.num_features, hidden, 2, dataset.num_outputs, dropout=0.5, heads=8, act="elu")
    task = Task.of(dataset)
    fit(network, task, epochs=epochs, lr=0.005, weight_decay=5e-4, metric=Latest.of(task.metric))

    converted = to_edgenet(network).eval()
    with torch.no_grad():
        teacher, again = network.eval()(data.x, data.edge_index), converted(data.x, data.edge_index)

    found, ratios = [], sorted({*RATIOS, ratio})
    bar = tqdm(total=len(FAMILIES) * len(ratios), desc="compress", leave=False)
    for family in FAMILIES:
        for times in ratios:
            model = _compressed(converted, family, times)
            before, start = task.evaluate(model)["test"].metric, time.perf_counter()
            # the labels of few nodes, and what the trained network says of all
            fine_tune(model, task, [Distill(teacher)], epochs=max(1, epochs // 2), lr=0.01, progress=False)
            spent, scores = time.perf_counter() - start, task.evaluate(model)
            found.append(
                Compressed(family, model, report(model), before, scores["val"].metric, scores["test"].metric, spent)
            )
            bar.update()
    bar.close()

    near = [c for c in found if c.report.total.ratio >= 0.97 * ratio] or found
    least = min(c.report.total.ratio for c in near)
    near = [c for c in near if c.report.total.ratio <= 1.5 * least]
    best = max(near, key=lambda c: c.val)
    saved = folder / "model"
    save_pretrained(best.model, saved)
    reread = from_pretrained(saved)
    with torch.no_grad():
        torch.testing.assert_close(reread(data.x, data.edge_index), best.model.eval()(data.x, data.edge_index))
    accuracy = task.evaluate(network)["test"].metric
    return DemoResult(
        accuracy, float((teacher - again).abs().max()),
        (_milliseconds(network, data), _milliseconds(converted, data)), report(converted), tuple(found), best, saved,
        _picture(found, accuracy, folder / "demo.png", dataset.name),
    )  # fmt: skip


def check_dataset(dataset: Dataset) -> None:
    """Raises ConfigError unless the demonstration can be given on a data set."""
    if dataset.task != "node" or dataset.target != "class" or "train_mask" not in dataset.train[0]:
        raise ConfigError(
            f"the demo wants one graph with classes of nodes, such as digits or cora, not {dataset.name}."
        )


def _compressed(model: nn.Module, family: str, ratio: float) -> nn.Module:
    if family != "hashed":
        return search(model, budget=Budget(ratio=ratio), families=(family,), progress=False).model
    model, total = copy.deepcopy(model), report(model)
    pool_(model, parameters=max(1, int(total.total.parameters / ratio) - total.rest.parameters))
    return model


@torch.no_grad()
def _milliseconds(model: nn.Module, data: Data, repeats: int = 7) -> float:
    """The median time of a forward pass."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model(data.x, data.edge_index)
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[repeats // 2]


def _picture(found: list[Compressed], accuracy: float, path: Path, name: str) -> Path | None:
    curves: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        curves.setdefault(one.family.replace("_", " "), []).append((one.report.total.ratio, one.after))
    path.parent.mkdir(parents=True, exist_ok=True)
    return plots.size_curves(curves, path, baseline=accuracy, title=f"An attention network on {name}, compressed")
