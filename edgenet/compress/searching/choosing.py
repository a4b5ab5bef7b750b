"""The choice: one way to fill each slot, so that together they fit a budget or keep to a drop."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from edgenet.compress.budget import Budget
from edgenet.compress.compress import fill
from edgenet.compress.finding import matching, slots
from edgenet.compress.knapsack import Front, front
from edgenet.compress.plan import Plan
from edgenet.compress.reports import Report
from edgenet.compress.searching.curves import Choice, Curves
from edgenet.compress.searching.result import Point, SearchResult
from edgenet.compress.searching.sensitivity import flat, relative_change, sensitivity
from edgenet.compress.searching.together import Group
from edgenet.compress.sizes import report
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError, ShapeError
from edgenet.structured import StructuredMatrix
from edgenet.structured.given import checked

#: Quality of a model, in evaluation mode and without gradients: higher is better.
Evaluate = Callable[[nn.Module], float]

FineTune = Callable[[nn.Module], Any]

_PROBE = 10.0  # ratio at which the sensitivity of slots is measured where the budget names none


class Search:
    """The state of one search: a working copy, its curves, and what was measured. Arguments as of ``search``."""

    def __init__(
        self,
        model: nn.Module,
        evaluate: Evaluate | None,
        budget: Budget | None,
        max_drop: float | None,
        families: Sequence[str] | str | None,
        pattern: str,
        seed: int,
        progress: bool,
        bits: Sequence[int] | int = (),
        together: Sequence[str] = (),
        ladders: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        self.given, self.copy = model, _copied(model).eval()
        self.evaluate, self.budget, self.max_drop, self.seed = evaluate, budget, max_drop, seed
        self.unit = "parameters" if budget is None else budget.unit
        self.slots = _to_search(self.copy, pattern)
        rows = budget.rows if budget else 1
        self.curves = Curves(self.slots, families, self.unit, rows, seed, progress, bits, together, ladders)
        self.started_from = report(model)
        self.before = self._size(model, self.started_from, self.curves.uncompressed())
        self.limit = math.inf if budget is None else budget.limit(self.before)
        self.fixed = self.before - self.curves.uncompressed()
        self.sensitivity = dict.fromkeys(self.slots, 1.0)
        self.baseline = None if evaluate is None else self._metric(self.copy)

    @torch.no_grad()
    def measure_sensitivity(self, inputs: Sequence[Any] | None) -> None:
        """Compress each slot alone to about the wanted size, and see what that does."""
        if self.evaluate is None and inputs is None:
            return
        if self.evaluate is not None:
            harm = lambda: max(0.0, self.baseline - self._metric(self.copy))  # noqa: E731
        else:
            plain = flat(self.copy(*inputs))
            harm = lambda: relative_change(plain, flat(self.copy(*inputs)))  # noqa: E731
        ratio = _PROBE if self.budget is None else max(1.0, self.before / self.limit)
        self.sensitivity = sensitivity(self.curves, ratio, harm)

    def choose(self, fine_tune: FineTune | None, number: int) -> SearchResult:
        """The model that meets the goals best, and about so many others."""
        solutions, index = self._solve()
        fits = index is not None
        index = index if fits else 0
        shown = _spread(solutions, number, index)
        listed = {i: self._point(solutions, i) for i in self.curves.bar(shown, "points")}
        if self.max_drop is None:
            chosen, model, within_drop = index, self._filled(solutions, index), True
            metric = self._tuned(model, fine_tune)
        else:
            candidates = {i: listed[i] for i in shown if i <= index}
            chosen, model, metric, within_drop = self._smallest(solutions, candidates, fine_tune)
        point = listed.get(chosen) or self._point(solutions, chosen)
        made = report(model, self._errors(solutions, chosen), self.started_from)
        size = self._size(model, made, point.size)
        fits = fits and size <= self.limit * (1 + 1e-12)
        return SearchResult(
            plan=point.plan,
            satisfied=fits and within_drop,
            text=self._text(size, metric, fits, within_drop),
            size=size,
            metric=metric,
            baseline=self.baseline,
            points=tuple(listed.values()),
            sensitivity=self.sensitivity,
            model=model.train(self.given.training),
            report=made,
        )

    def _solve(self) -> tuple[Front, int | None]:
        """The ways to choose, and the best within the budget."""
        solutions = self._front()
        index = solutions.within(self.limit - self.fixed)
        if self.budget is not None and index is not None:
            self.curves.refine(solutions.picks(index))
            solutions = self._front()
            index = solutions.within(self.limit - self.fixed)
        return solutions, index

    def _front(self) -> Front:
        return front([[self._total(group, row) for row in self.curves.together(group)] for group in self.curves.groups])

    def _total(self, group: Group, row: Sequence[Choice]) -> tuple[float, float]:
        """The cost and the loss of one choice for the slots of a group."""
        loss = sum(self.sensitivity[name] * c.error**2 for name, c in zip(group, row, strict=True))
        return sum(c.cost for c in row), loss

    def _size(self, model: nn.Module, made: Report, latency: float) -> float:
        """Of a whole model in the units of the budget; latencies are of the slots, and cannot be counted."""
        if self.unit == "latency":
            return latency
        if self.unit == "bytes":
            return made.total.bytes
        return sum(p.numel() for p in model.parameters() if not is_lazy(p))

    def _smallest(
        self, solutions: Front, candidates: dict[int, Point], fine_tune: FineTune | None
    ) -> tuple[int, nn.Module, float, bool]:
        """The first that keeps to the drop; else the one that comes nearest."""
        least = self.baseline - self.max_drop
        if fine_tune is None:
            best = max(candidates, key=lambda i: candidates[i].metric)
            good = [i for i, point in candidates.items() if point.metric >= least]
            chosen = min(good, default=best)
            return chosen, self._filled(solutions, chosen), candidates[chosen].metric, bool(good)
        nearest = None
        for i in self.curves.bar(candidates, "drop"):
            model = self._filled(solutions, i)
            metric = self._tuned(model, fine_tune)
            if metric >= least:
                return i, model, metric, True
            if nearest is None or metric > nearest[2]:
                nearest = i, model, metric, False
        return nearest

    def _chosen(self, solutions: Front, index: int) -> dict[str, Choice]:
        """By slot, in the order of the slots."""
        places = {}
        for group, pick in zip(self.curves.groups, solutions.picks(index), strict=True):
            places.update(dict.fromkeys(group, pick))
        return {name: self.curves.choices[name][places[name]] for name in self.slots}

    def _specs(self, solutions: Front, index: int) -> dict[str, dict[str, Any] | str]:
        return {name: choice.spec for name, choice in self._chosen(solutions, index).items()}

    def _errors(self, solutions: Front, index: int) -> dict[str, float]:
        chosen = self._chosen(solutions, index)
        return {name: choice.error for name, choice in chosen.items() if choice.spec != "keep"}

    def _matrices(self, solutions: Front, index: int) -> dict[str, StructuredMatrix]:
        specs = self._specs(solutions, index).items()
        return {name: self.curves.fitted(name, spec) for name, spec in specs if spec != "keep"}

    def _filled(self, solutions: Front, index: int) -> nn.Module:
        """A copy of the given model with that solution in it."""
        model = deepcopy(self.given)
        fill(slots(model), self._matrices(solutions, index))
        return model

    def _point(self, solutions: Front, index: int) -> Point:
        metric = None
        if self.evaluate is not None:
            undo = fill(self.slots, self._matrices(solutions, index))
            try:
                metric = self._metric(self.copy)
            finally:
                undo()
        rules = {f"{re.escape(name)}$": spec for name, spec in self._specs(solutions, index).items()}
        size = self.fixed + float(solutions.cost[index])
        return Point(size, float(solutions.loss[index]), metric, Plan.of(rules))

    def _tuned(self, model: nn.Module, fine_tune: FineTune | None) -> float | None:
        if fine_tune is not None:
            torch.manual_seed(self.seed)
            fine_tune(model.train())
        return None if self.evaluate is None else self._metric(model.eval())

    def _metric(self, model: nn.Module) -> float:
        torch.manual_seed(self.seed)
        with torch.no_grad():
            value = self.evaluate(model)
        with suppress(TypeError, ValueError, RuntimeError):  # None, a text, a tensor of several
            value = float(value)
        if not isinstance(value, float) or not math.isfinite(value):
            raise PlanError(f"evaluate returned {value}; a search wants a finite number, higher for better models.")
        return value

    def _text(self, size: float, metric: float | None, fits: bool, within_drop: bool) -> str:
        what = "seconds in products" if self.unit == "latency" else self.unit
        parts = [f"{self._told(size)} {what}, {self.before / max(size, 1e-300):.1f} times fewer than before"]
        if metric is not None:
            parts.append(f"metric {metric:.4f}, before {self.baseline:.4f}")
        if not fits:
            parts.append(
                f"the budget of {self._told(self.limit)} {what} is NOT met: {self.fixed:,.3g} are in no slot, and the "
                f"smallest choices of {', '.join(self.curves.families)} take the rest"
            )
        if not within_drop:
            parts.append(
                f"the permitted drop of {self.max_drop:g} is NOT met by any model on the list; this one comes nearest"
            )
        return "; ".join(parts) + "."

    def _told(self, size: float) -> str:
        return f"{size:.3g}" if self.unit == "latency" else f"{size:,.0f}"


def _copied(model: nn.Module) -> nn.Module:
    try:
        return deepcopy(model)
    except RuntimeError as error:  # torch copies no tensor that was computed, as old pruning and weight norms leave
        raise PlanError(
            f"a search works on a copy, and this {type(model).__name__} cannot be copied: {error} Pruning and the old "
            f"weight_norm leave such tensors: end them first (prune.remove, remove_weight_norm)."
        ) from error


def _to_search(model: nn.Module, pattern: str) -> dict[str, Slot]:
    """The slots that match, are dense, and can take a matrix."""
    found = {}
    matched = matching(slots(model), pattern)
    for slot in [slot for slot in matched if not slot.is_depthwise] or matched:  # as a plan's rules
        if not slot.is_dense or (slot.refusal() is not None and not slot.is_lazy):
            continue
        try:
            checked(slot.weight())
        except ShapeError as error:
            raise ShapeError(f"{slot.name}: {error}") from error
        found[slot.name] = slot
    if not found:
        raise PlanError(f"all slots that match {pattern!r} are compressed already, or must stay dense.")
    return found


def _spread(solutions: Front, number: int, index: int) -> list[int]:
    """About so many solutions, evenly in the logarithm of the size, the ends and ``index`` among them."""
    cost = solutions.cost
    ends = max(float(cost[0]), 1e-12), max(float(cost[-1]), 1e-12)
    wanted = [ends[0] * (ends[1] / ends[0]) ** (k / max(1, number - 1)) for k in range(number)]
    return sorted({0, index, len(cost) - 1, *(solutions.within(size) or 0 for size in wanted)})
