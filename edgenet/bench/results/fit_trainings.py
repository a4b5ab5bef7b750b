"""What ``edgenet bench fit`` trains: other data, another model and another loss each, handed to one ``fit``."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GraphSAGE

from edgenet.bench.results.fit_models import Citations, Energy, Forecast, focal, masked_mae
from edgenet.bench.results.molecules import molecules
from edgenet.bench.results.traffic import traffic
from edgenet.config import RunConfig, changed
from edgenet.data import load
from edgenet.models import NodeClassifier
from edgenet.train import Callback, FitResult, Training, fit
from edgenet.train import run as run_config
from edgenet.train.metrics import Metric

PAST = AHEAD = 12  # readings, an hour each
CONFIG = """
[dataset]
name = "cora"

[model]
layer = "gat"
hidden_channels = 8
num_layers = 2
dropout = 0.6
activation = "elu"
options = { heads = 8, out_heads = 1, attention_dropout = 0.6 }

[optimizer]
lr = 0.005
weight_decay = 5e-4
"""
_RULES = r"""
[compress.plan]
'convs\.1\.lift\..*' = {{ structure = "sparse", density = 1.0 }}

[[callback]]
kind = "admm"
until = {quarter}
rho = 0.1
relative = false
[callback.plan]
'convs\.0\.lift\..*' = {{ structure = "kronecker", factor = [8, 8], terms = 5 }}

[[callback]]
kind = "anneal"
density = 0.25
start = {tenth}
end = {most}
"""


def rules(epochs: int) -> str:
    """TOML of a compressed model: the first lift is drawn towards a Kronecker product for a quarter of the epochs, then
    becomes one; the second one loses three quarters of its entries in the first six tenths."""
    return _RULES.format(quarter=epochs // 4, tenth=epochs // 10, most=6 * epochs // 10)


class Clock(Callback):
    """Processor time of epochs, from their first batch to their last score."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def before_epoch(self, training: Training) -> None:
        self._began = time.process_time()

    def after_epoch(self, training: Training) -> None:
        self.seconds.append(time.process_time() - self._began)


@dataclass(frozen=True)
class Place:
    """Where a row trains, and how long.

    Attributes:
        folder: of the run, which goes on where it was.
        data_root: folder to look for data in first.
        epochs: in all.
        seed: of the initial weights, and of everything that is drawn in training.
        settings: further keys of ``fit``, such as ``checkpoint_epochs``.
        clock: of the epochs.
    """

    folder: Path
    data_root: str | None
    epochs: int
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)

    def fit(self, model: nn.Module, task: Any, **changes: Any) -> FitResult:
        return fit(
            model, task, callbacks=[self.clock], epochs=self.epochs, folder=self.folder, resume=True, progress=False,
            seed=self.seed, **changes, **self.settings,
        )  # fmt: skip


# ---------------------------------------------------------------- nodes
def own_module(place: Place) -> FitResult:
    data = load("cora", root=place.data_root).train[0]
    torch.manual_seed(place.seed)
    return place.fit(Citations(data.num_features, int(data.y.max()) + 1), data, lr=0.01, weight_decay=5e-4)


def own_loss(place: Place) -> FitResult:
    data = load("digits").train[0]
    torch.manual_seed(place.seed)
    model = NodeClassifier(64, 10, layer="gat", hidden_channels=8, heads=4, dropout=0.3)
    descent = partial(torch.optim.SGD, lr=0.2, momentum=0.9, nesterov=True)
    falling = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=place.epochs)
    return place.fit(model, data, loss=focal, optimizer=descent, scheduler=falling, clip_norm=1.0)


def most_frequent(name: str, place: Place) -> float:
    """Accuracy of answering with the class that most validation nodes have."""
    data = load(name, root=place.data_root).train[0]
    return float((data.y[data.test_mask] == data.y[data.val_mask].mode().values).double().mean())


# ---------------------------------------------------------------- graphs
def split_molecules() -> tuple[list[Data], list[Data], list[Data]]:
    """70, 15 and 15 percent of them."""
    found = molecules()
    return found[:104], found[104:126], found[126:]


def loader_of_molecules(place: Place) -> FitResult:
    train, val, test = split_molecules()
    torch.manual_seed(place.seed)
    loader = DataLoader(train, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(place.seed))
    model = Energy(train[0].num_features)
    # smooth L1 would hardly tell 2 from 3 kcal/mol
    return place.fit(model, loader, val=val, test=test, loss="mse", metric="mae", lr=0.003, weight_decay=1e-4)


def by_atoms(place: Place) -> float:
    """Mean absolute error of a sum of one number for each element, by least squares."""
    train, _, test = split_molecules()
    (known, y), (counts, truth) = (
        (torch.stack([graph.x.sum(0) for graph in some]), torch.cat([graph.y for graph in some]))
        for some in (train, test)
    )
    numbers = torch.linalg.lstsq(known, y[:, None]).solution[:, 0]
    return float((counts @ numbers - truth).abs().mean())


def list_of_graphs(place: Place) -> FitResult:
    dataset = load("ppi", root=place.data_root)
    torch.manual_seed(place.seed)
    model = GraphSAGE(50, 128, 2, 121)
    return place.fit(model, dataset.train, val=dataset.val, test=dataset.test, batch_size=2, lr=0.005)


def every_label(place: Place) -> float:
    """Micro-averaged F1 of giving every node every label."""
    truth = torch.cat([graph.y for graph in load("ppi", root=place.data_root).test])
    share = float(truth.double().mean())
    return 2 * share / (1 + share)


def proteins_warnings(data_root: Path | None) -> list[str]:
    """What must be known of the copy of PPI that was found."""
    return list(load("ppi", root=data_root).info.get("warnings", []))


# ---------------------------------------------------------------- sequences
def windows(place: Place) -> tuple[dict[str, TensorDataset], Forecast]:
    """The week's first 70 percent, the next 10 and the last 20, in windows that do not cross; and a model for them."""
    week = traffic(None if place.data_root is None else Path(place.data_root))
    count = len(week.speed)
    ends = [0, int(0.7 * count), int(0.8 * count), count]
    sets = {}
    for name, low, high in zip(("train", "val", "test"), ends[:-1], ends[1:], strict=True):
        x, y = week.windows(range(low + PAST - 1, high - AHEAD), PAST, AHEAD)
        sets[name] = TensorDataset(x.float(), y.float())
    past = week.speed[: ends[1]]
    torch.manual_seed(place.seed)
    weight = week.edge_weight.float()
    return sets, Forecast(week.edge_index, weight, PAST, AHEAD, float(past.mean()), float(past.std()))


def traffic_windows(place: Place) -> FitResult:
    sets, model = windows(place)
    mae = Metric.function(masked_mae, "masked MAE", higher=False)
    others = {name: sets[name] for name in ("val", "test")}
    return place.fit(model, sets["train"], **others, loss=masked_mae, metric=mae, batch_size=64, lr=0.003)


def last_reading(place: Place) -> float:
    """Mean absolute error of forecasting that nothing changes."""
    x, y = windows(place)[0]["test"].tensors
    return float(masked_mae(x[..., -1:].expand_as(y), y))


# ---------------------------------------------------------------- from text
def from_text(place: Place, rules: Callable[[int], str] = rules) -> FitResult:
    """Train what a configuration says, by ``edgenet.train.run``, which calls ``fit``."""
    own = {"epochs": place.epochs, "seeds": [place.seed], **place.settings}
    changes = {"out": str(place.folder), **{f"training.{name}": value for name, value in own.items()}}
    config = RunConfig.from_dict(changed(tomllib.loads(CONFIG + rules(place.epochs)), changes))
    found = run_config(config, data_root=place.data_root, callbacks=[place.clock], resume=True, progress=False)
    (one,) = found.seeds
    numbers = {name: getattr(one, name) for name in ("epochs", "best_epoch", "val", "test", "parameters", "seconds")}
    return FitResult(found.models[one.seed], found.metric, history=found.histories[one.seed], **numbers)


def without_rules(place: Place) -> float:
    """Test accuracy of the same network without them."""
    with TemporaryDirectory() as folder:
        alone = replace(place, folder=Path(folder) / "alone", settings={})
        return float(from_text(alone, lambda epochs: "").test)
