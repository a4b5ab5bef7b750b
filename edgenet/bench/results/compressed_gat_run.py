"""One row of ``edgenet bench compressed_gat``: a model projected, fitted to the features, and fine-tuned, seed by seed.

Everything that can be computed without a seed is: the projection and its fit. A seed draws which half of the nodes
each step looks at. What is done is kept as JSON, a file a case, and read back.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch_geometric.data import Data

from edgenet.bench.harness import report
from edgenet.bench.results.published_gat import Problem, published
from edgenet.checkpoint import write_atomically
from edgenet.compress import compress_, slots
from edgenet.compress.distill import distillation
from edgenet.compress.refit import refit_
from edgenet.errors import ConfigError
from edgenet.train import Task, fit
from edgenet.train.batches import Batch
from edgenet.train.sources import Source

SLOTS = ("convs.0.lift.linear.weight", "convs.1.lift.linear.weight")
#: of fine-tuning; one recipe for every family and size
SETTINGS = {
    "refit_steps": 100,
    "epochs": 250,
    "learning_rate": 0.03,
    "warm_up": 10,
    "temperature": 0.1,
    "share_of_nodes": 0.5,
}
#: what differs where the published model teaches nothing: its own regularisation is needed again
LABELS_ALONE = {"learning_rate": 0.01, "weight_decay": 5e-4}


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        structure: {slot: {"structure": name, **options}}.
        targets: of the fine-tuning: "all", the published model's scores at every node; "held out", at all but the test
            nodes; "labels", the classes of the training nodes.
        refit: whether the first lift is fitted to the features before.
    """

    structure: Mapping[str, Mapping[str, Any]]
    targets: str = "all"
    refit: bool = True

    @property
    def name(self) -> str:
        """For a file."""
        text = json.dumps([list(self.structure.values()), self.targets] + ["nearest"] * (not self.refit))
        return re.sub(r"[^\w.]+", "-", text).strip("-")


def measured(job: tuple[Case, Path, int, Path | None]) -> dict[str, Any]:
    """A case for so many seeds; what its file in the folder holds already is not computed again.

    Raises:
        ConfigError: if the file is of other settings.
    """
    case, folder, seeds, root = job
    file = folder / f"{case.name}.json"
    known = {"case": json.loads(json.dumps(asdict(case))), "settings": {**SETTINGS, "labels": LABELS_ALONE}}
    result = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {**known, "seeds": []}
    if {key: result.get(key) for key in known} != known:
        raise ConfigError(f"{file}: is of other settings. Remove it, or choose another --runs.")
    if len(result["seeds"]) >= seeds:
        return {**result, "seeds": result["seeds"][:seeds]}
    folder.mkdir(parents=True, exist_ok=True)
    problem = published(root)
    model, result["projection"] = projected(problem, case)
    for seed in range(len(result["seeds"]), seeds):
        result["seeds"].append(finetuned(problem, copy.deepcopy(model), case, seed))
        result["measured"] = report.settings()
        text = json.dumps(result, indent=1)
        write_atomically(file, lambda out, text=text: out.write(text.encode()))
    return result


def projected(problem: Problem, case: Case) -> tuple[nn.Module, dict[str, Any]]:
    """The model with structures in its slots, and what that costs before any training."""
    model = copy.deepcopy(problem.model)
    took = compress_(model, {re.escape(name): dict(spec) for name, spec in case.structure.items()})
    first = SLOTS[0]
    facts = {
        "parameters": took.total.parameters,
        "parameters_before": took.total.parameters_before,
        "bytes": took.total.bytes,
        "bytes_before": took.total.bytes_before,
        "error": next(row.error for row in took.rows if row.name == first),
        "nearest": problem.judged(_scores(model, problem)),
    }
    if case.refit:
        weight, matrix = slots(problem.model)[first].weight(), slots(model)[first].matrix
        facts["error_on_features"] = refit_(matrix, weight, problem.x, SETTINGS["refit_steps"])
    facts["refitted"] = problem.judged(_scores(model, problem))
    return model, facts


def finetuned(problem: Problem, model: nn.Module, case: Case, seed: int) -> dict[str, float]:
    """Train a compressed model; the scores of the epoch that validation nodes choose.

    Distilled, that is the epoch that agrees with the published model on the most validation nodes, of equals that of
    the lowest loss on them. (The best validation accuracy is often that of an early epoch, by luck: 500 nodes.) Of
    labels alone it is that of the best validation accuracy, of equals that of the lowest loss.
    """
    labels = case.targets == "labels"
    settings = {"weight_decay": 0.0, **SETTINGS, **(LABELS_ALONE if labels else {})}
    found = fit(
        model,
        _classes(problem) if labels else _taught(problem, case, settings),
        epochs=settings["epochs"],
        lr=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        scheduler=lambda optimizer: LambdaLR(optimizer, partial(_rate, settings)),
        seed=seed,  # of dropout, and of the nodes of each step
        progress=False,
    )
    return {"epoch": found.best_epoch, **problem.judged(_scores(model, problem)), "seconds": found.seconds}


def _rate(settings: Mapping[str, Any], epoch: int) -> float:
    """The share of the learning rate after so many epochs: it rises for some, then falls to zero like a cosine."""
    warm = min(1.0, (epoch + 1) / settings["warm_up"])
    return warm * (1 + math.cos(math.pi * epoch / settings["epochs"])) / 2


def _classes(problem: Problem) -> Task:
    """The classes of the training nodes."""
    return Task(problem.data, call=lambda model, batch: model(problem.x, problem.graph))


def _taught(problem: Problem, case: Case, settings: Mapping[str, Any]) -> Task:
    """The scores of the published model, judged by how often both say the same class."""
    data = copy.copy(problem.data)
    data.taught = problem.scores
    nodes = ~data.test_mask if case.targets == "held out" else torch.ones_like(data.test_mask)
    return Task(
        SomeNodes(data, nodes, settings["share_of_nodes"]),
        data,
        target="taught",
        # in eval mode: without dropout it can follow the other exactly
        call=lambda model, batch: model.eval()(problem.x, problem.graph),
        loss=lambda scores, taught: distillation(scores, taught, settings["temperature"]),
        metric=lambda scores, taught: (scores.argmax(1) == taught.argmax(1)).double().mean(),
    )


class SomeNodes(Source):
    """One graph; every step draws anew which share of the nodes it learns from.

    Args:
        data: with the scores to learn, ``taught``.
        nodes: (N,) bool, those that may be drawn.
        share: of all nodes, in (0, 1].
    """

    def __init__(self, data: Data, nodes: Tensor, share: float) -> None:
        self.data, self.nodes, self.share = data, nodes, share

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        drawn = torch.rand(len(self.nodes), generator=generator, dtype=torch.float32) < self.share
        yield self._batch(self.nodes & drawn)

    def ordered(self) -> Iterator[Batch]:
        yield self._batch(self.nodes)

    def _batch(self, mask: Tensor) -> Batch:
        rows = mask.nonzero().squeeze(1)
        return Batch(self.data, self.data.taught[rows], rows)


@torch.no_grad()
def _scores(model: nn.Module, problem: Problem) -> Tensor:
    return model.eval()(problem.x, problem.graph)
