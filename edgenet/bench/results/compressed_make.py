"""How the small models of ``edgenet bench compressed`` are made of a teacher. No label of a test node, and no score of
the teacher there, is read by any of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.bench.results.compressed_cases import Case
from edgenet.bench.results.compressed_problems import FIRST, Problem, make
from edgenet.bench.results.compressed_sizes import FEW, WIDTHS, largest, rounding, tensor_bytes, width_of
from edgenet.compress import compress_, quantise_, refit_, slots
from edgenet.structured import sparse_features
from edgenet.train import fine_tune, fit

#: one recipe for every row, of fewer epochs where one takes longer; of PPI an epoch is ten steps
TUNING: dict[str, dict[str, Any]] = {
    "": {"epochs": 600},
    "digits": {"epochs": 300},
    "ppi": {"epochs": 40, "lr": 0.01, "batch_size": 2},
}
REFIT_STEPS = 60


def made(problem: Problem, case: Case, seed: int) -> nn.Module | None:
    """The small model of a case; None where the family is too large for that ratio at its smallest."""
    torch.manual_seed(seed)
    model = MAKERS[case.kind](problem, case)
    return None if model is None else model.eval()


def _tuned(problem: Problem, model: nn.Module) -> nn.Module:
    fine_tune(model, problem.dataset, teacher=problem.model, progress=False, **TUNING.get(problem.name, TUNING[""]))
    return model


def _structure(problem: Problem, case: Case, quantiser: str = "uniform") -> nn.Module | None:
    large = problem.large()
    chosen = largest(problem.model, large, case.family, case.bits, case.ratio or 1, quantiser)
    if chosen is None:
        return None
    model = copy.deepcopy(problem.model)
    compress_(model, {re.escape(name): {"structure": case.family, **options} for name, options in chosen.items()})
    if FIRST in large:
        known = sparse_features(problem.known())
        refit_(slots(model)[FIRST].matrix, slots(problem.model)[FIRST].weight(), known, REFIT_STEPS)
    if case.bits < 32:
        quantise_(model, rounding(case.bits, "|".join(map(re.escape, large)), quantiser))
    return _tuned(problem, model)


def _quantiser(name: str) -> Callable[[Problem, Case], nn.Module | None]:
    def of(problem: Problem, case: Case) -> nn.Module | None:
        if case.family != "dense":
            return _structure(problem, case, name)
        model = copy.deepcopy(problem.model)
        quantise_(model, rounding(case.bits, "|".join(map(re.escape, problem.large())), name))
        return _tuned(problem, model)

    return of


def _small_gat(problem: Problem, case: Case) -> nn.Module | None:
    """A network of the same make and fewer channels, which learns from the teacher from the start: of the widest with
    many heads and the widest with one that which agrees more with the teacher on validation nodes."""
    tuned = [_tuned(problem, model) for model in _narrow(problem, case)]
    return max(tuned, key=lambda model: _agreement(problem, model), default=None)


def _small_gat_labels(problem: Problem, case: Case) -> nn.Module | None:
    """The first of the same, from labels, as the teacher was trained."""
    model = next(_narrow(problem, case), None)
    if model is not None:
        fit(model, problem.dataset, progress=False, **problem.recipe.training)
    return model


def _agreement(problem: Problem, model: nn.Module) -> float:
    """The share of answers on validation nodes that are the teacher's."""
    (mine, _), (theirs, _) = (problem.scores(each.eval(), "val") for each in (model, problem.model))
    if problem.dataset.target == "multilabel":
        return ((mine > 0) == (theirs > 0)).double().mean().item()
    return (mine.argmax(1) == theirs.argmax(1)).double().mean().item()


def _narrow(problem: Problem, case: Case) -> Iterator[nn.Module]:
    """The widest networks that fit, new: with the most heads of 8, 4 and 2 with which any fits, and with one head."""

    def of(channels: int, heads: int) -> nn.Module:
        last = {"out_heads": min(heads, problem.recipe.model["out_heads"])}
        model = make(problem.name, problem.dataset, heads=heads, hidden_channels=channels, **last)
        if case.bits < 32:
            quantise_(model, rounding(case.bits, "|".join(map(re.escape, problem.large()))))
        return model

    options = problem.recipe.model
    teachers = options["heads"] * options["hidden_channels"]
    before, widths = torch.random.get_rng_state(), {}
    for heads in (8, 4, 2, 1):
        widths[heads] = width_of(
            partial(of, heads=heads), tensor_bytes(problem.model), case.ratio or 1, teachers // heads
        )
    torch.random.set_rng_state(before)
    many = next((heads for heads in (8, 4, 2) if widths[heads] is not None), None)
    for heads in (many, 1):
        if heads is not None and widths[heads] is not None:
            yield of(widths[heads], heads)


def _rounded(problem: Problem, case: Case) -> nn.Module:
    """The teacher, rounded, and nothing else: a scale a row, no level at half a step."""
    model = copy.deepcopy(problem.model)
    quantise_(model, {"bits": case.bits, "per": "row"})
    return model


def _rounded_tuned(problem: Problem, case: Case) -> nn.Module:
    model = copy.deepcopy(problem.model)
    rest = WIDTHS[case.bits][2]
    rule = {"bits": case.bits, "per": "row", **FEW}
    quantise_(model, {"|".join(map(re.escape, problem.large())): rule, ".*": {"bits": rest, **FEW}})
    return _tuned(problem, model)


def _pruned(problem: Problem, case: Case) -> nn.Module | None:
    """The entries of the large weights that are largest, and nothing else."""
    chosen = largest(problem.model, problem.large(), "sparse", case.bits, case.ratio or 1)
    if chosen is None:
        return None
    model = copy.deepcopy(problem.model)
    compress_(model, {re.escape(name): {"structure": "sparse", **options} for name, options in chosen.items()})
    return model


class OnFeatures(nn.Module):
    """A network that reads some features of a node.

    Args:
        model: of so many features.
        index: (F,) which ones.
    """

    def __init__(self, model: nn.Module, index: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("index", index.to(torch.int16))

    def forward(self, x: Tensor, edge_index: Any) -> Tensor:
        dense = x.to_dense() if isinstance(x, Tensor) and x.layout != torch.strided else x
        return self.model(dense[:, self.index.long()], edge_index)


def _features(problem: Problem, case: Case) -> nn.Module | None:
    """The teacher on the features whose columns of its first lift, times how large they are, are largest."""
    weight = slots(problem.model)[FIRST].weight().detach()
    order = (weight.norm(dim=0) * problem.known().norm(dim=0)).argsort(descending=True)

    def of(number: int) -> nn.Module:
        index = order[:number].sort().values
        small = make(problem.name, problem.dataset, features=number)
        state = problem.model.state_dict()
        small.load_state_dict({**state, f"{FIRST}.weight": state[f"{FIRST}.weight"][:, index]})
        model = OnFeatures(small, index)
        quantise_(model, {"bits": case.bits, **FEW})
        return model

    whole, low, high = tensor_bytes(problem.model), 0, len(order) + 1
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if tensor_bytes(of(middle)) <= whole / (case.ratio or 1) else (low, middle)
    return _tuned(problem, of(low)) if low else None


MAKERS: dict[str, Callable[[Problem, Case], nn.Module | None]] = {
    "structure": _structure,
    "power_of_two": _quantiser("power_of_two"),
    "binary": _quantiser("binary"),
    "small_gat": _small_gat,
    "small_gat_labels": _small_gat_labels,
    "rounding": _rounded,
    "rounding_tuned": _rounded_tuned,
    "pruning": _pruned,
    "features": _features,
}
