"""One row of ``edgenet bench compressed_gat``: a model projected, fitted to the features, and fine-tuned, seed by seed.

Everything that can be computed without a seed is: the projection and its fit. A seed draws which half of the nodes
each step looks at. What is done is kept as JSON, a file a case, and read back.
"""

from __future__ import annotations

import copy
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

from edgenet.bench.harness import report
from edgenet.checkpoint import write_atomically
from edgenet.compress import compress_, slots
from edgenet.compress.distill import distillation
from edgenet.compress.refit import refit_
from edgenet.convert.published import gat_cora
from edgenet.data.places import lacks_files, not_found, places, search
from edgenet.errors import ConfigError
from edgenet.graph import Graph
from edgenet.structured import sparse_features

FILE = "gat_cora_pyg.npz"
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


@dataclass(frozen=True)
class Problem:
    """The published model, its graph, and its scores there.

    Attributes:
        model: in eval mode.
        x: features, sparse where that pays.
        scores: (N, classes) of the model.
    """

    model: nn.Module
    data: Data
    x: Tensor
    graph: Graph
    scores: Tensor

    @classmethod
    def of(cls, model: nn.Module, data: Data) -> Problem:
        x, graph = sparse_features(data.x), Graph(data.edge_index, data.num_nodes)
        with torch.no_grad():
            return cls(model.eval(), data, x, graph, model(x, graph))

    @torch.no_grad()
    def judged(self, scores: Tensor) -> dict[str, float]:
        """Accuracy on validation and test nodes, and the share of nodes that get the class of the published model."""
        found, theirs = scores.argmax(1), self.scores.argmax(1)
        right, same = found == self.data.y, found == theirs
        return {
            "val": right[self.data.val_mask].double().mean().item(),
            "test": right[self.data.test_mask].double().mean().item(),
            "agreement": same.double().mean().item(),
            "agreement_test": same[self.data.test_mask].double().mean().item(),
        }


def published(root: Path | None) -> Problem:
    """The published GAT on Cora.

    Raises:
        DatasetNotFoundError: if its file is nowhere; the text says where it was looked for.
    """
    from edgenet.data import load

    looked = search(places(root), (".",), lacks_files([FILE]))
    if looked.found is None:
        how = (
            "convert pre_trained/cora of https://github.com/PetarV-/GAT to the arrays that "
            "edgenet.convert.published.gat_cora reads, and pass --data-root or set $EDGENET_DATA."
        )
        raise not_found("the published GAT for Cora", FILE, looked.tried, how)
    return Problem.of(gat_cora(looked.found / FILE), load("cora", root=root).train[0])


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
    torch.manual_seed(seed)  # of dropout
    generator = torch.Generator().manual_seed(seed)
    settings = {"weight_decay": 0.0, **SETTINGS, **(LABELS_ALONE if case.targets == "labels" else {})}
    data, taught = problem.data, problem.scores
    val, epochs, rate = data.val_mask, settings["epochs"], settings["learning_rate"]
    nodes = ~data.test_mask if case.targets == "held out" else torch.ones_like(data.test_mask)
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=settings["weight_decay"])
    best, chosen, start = None, {}, time.perf_counter()
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            warm = min(1.0, (epoch + 1) / settings["warm_up"])
            group["lr"] = rate * warm * (1 + math.cos(math.pi * epoch / epochs)) / 2
        if case.targets == "labels":
            evaluated = _scores(model, problem)
            loss = F.cross_entropy(model.train()(problem.x, problem.graph)[data.train_mask], data.y[data.train_mask])
            model.eval()
            held = -F.cross_entropy(evaluated[val], data.y[val]).item()
            key = ((evaluated.argmax(1) == data.y)[val].sum().item(), held)
        else:
            scores = model(problem.x, problem.graph)  # in eval mode: without dropout it can follow the other exactly
            evaluated = scores.detach()
            half = torch.rand(len(nodes), generator=generator, dtype=torch.float32) < settings["share_of_nodes"]
            loss = distillation(scores[nodes & half], taught[nodes & half], settings["temperature"])
            held = -distillation(evaluated[val], taught[val], settings["temperature"]).item()
            key = ((evaluated.argmax(1) == taught.argmax(1))[val].sum().item(), held)
        if best is None or key > best:
            best, chosen = key, {"epoch": epoch, **problem.judged(evaluated)}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {**chosen, "seconds": time.perf_counter() - start}


@torch.no_grad()
def _scores(model: nn.Module, problem: Problem) -> Tensor:
    return model.eval()(problem.x, problem.graph)
