"""The choice: one way to fill each slot, so that together they fit a budget or keep to a drop."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
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
from edgenet.compress.searching.judging import Evaluate, Inputs, Judge, Verdict
from edgenet.compress.searching.result import Point, SearchResult
from edgenet.compress.searching.sensitivity import Sensitivity, sensitivity
from edgenet.compress.searching.together import Group
from edgenet.compress.sizes import report
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError, ShapeError
from edgenet.structured import StructuredMatrix
from edgenet.structured.given import checked

FineTune = Callable[[nn.Module], Any]


@dataclass(frozen=True)
class Goal:
    """What a search is for.

    Attributes:
        budget: how large the result may be.
        max_drop: how much lower the metric may be.
        tolerance: how much lower the metric may be at the lower end of the interval for its difference.
    """

    budget: Budget | None = None
    max_drop: float | None = None
    tolerance: float | None = None

    @property
    def keeps(self) -> bool:
        """Whether quality is to be kept, by the smallest model that does."""
        return self.max_drop is not None or self.tolerance is not None

    def slack(self, verdict: Verdict, baseline: float | None) -> float:
        """By how much a model is above what is permitted; below 0 where it is not."""
        found = [math.inf]
        if self.max_drop is not None:
            found.append((verdict.metric or 0.0) - (baseline or 0.0) + self.max_drop)
        if self.tolerance is not None and verdict.interval is not None:
            found.append(verdict.interval[0] + self.tolerance)
        return min(found)


class Search:
    """The state of one search: a working copy, its curves, and what was measured. Arguments as of ``search``."""

    def __init__(
        self,
        model: nn.Module,
        evaluate: Evaluate | None,
        inputs: Inputs | None,
        goal: Goal,
        families: Sequence[str] | str | None,
        pattern: str,
        seed: int,
        progress: bool,
        bits: Sequence[int] | int | None = None,
        together: Sequence[str] = (),
        ladders: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        self.given, self.copy = model, copied(model).eval()
        self.goal, self.seed = goal, seed
        budget = goal.budget
        self.unit = "bytes" if budget is None else budget.unit
        self.slots = _to_search(self.copy, pattern)
        rows = budget.rows if budget else 1
        self.curves = Curves(self.slots, families, self.unit, rows, seed, progress, bits, together, ladders)
        self.started_from = report(model)
        self.before = self._size(model, self.started_from, self.curves.uncompressed())
        self.limit = math.inf if budget is None else budget.limit(self.before)
        self.fixed = self.before - self.curves.uncompressed()
        self.judge = Judge(self.copy, evaluate, inputs, seed)
        if goal.tolerance is not None and not self.judge.pairs:
            raise PlanError(
                "tolerance wants evaluate to return a tensor (n,) of one score for each of n held-out examples, 1 for "
                "right and 0 for wrong, say: one number of all has no interval. max_drop takes that."
            )
        self.sensitivity = dict.fromkeys(self.slots, Sensitivity())

    @torch.no_grad()
    def measure_sensitivity(self) -> None:
        """Compress each slot alone, and see what that does."""
        if self.judge.measures:
            self.sensitivity = sensitivity(self.curves, lambda: self.judge.harm(self.copy))

    def choose(self, fine_tune: FineTune | None, number: int) -> SearchResult:
        """The model that meets the goals best, and about so many others."""
        solutions = front([self._totals(group) for group in self.curves.groups])
        index = solutions.within(self.limit - self.fixed)
        fits, most = index is not None, index or 0
        ladder = _spread(solutions, number)  # the same for every budget, so that a larger one has all of a smaller
        shown = ladder if self.judge.measures else sorted({*ladder, most})
        listed = {i: self._point(solutions, i) for i in self.curves.bar(shown, "points")}
        within = [i for i in ladder if i <= most]
        if self.goal.keeps:
            chosen, model, verdict = self._smallest(solutions, listed, within, fine_tune)
        else:
            by_harm = lambda i: (listed[i][1].harm, listed[i][0].predicted)  # noqa: E731
            chosen = min(within, key=by_harm) if self.judge.measures else most
            model = self._filled(solutions, chosen)
            verdict = self._tuned(model, fine_tune) if fine_tune else listed[chosen][1]
        point = listed[chosen][0]
        made = report(model, self._errors(solutions, chosen), self.started_from)
        size = self._size(model, made, point.size)
        fits = fits and size <= self.limit * (1 + 1e-12)
        kept = self.goal.slack(verdict, self.judge.baseline) >= 0
        return SearchResult(
            plan=point.plan,
            satisfied=fits and kept,
            text=self._text(size, verdict, fits, kept),
            size=size,
            metric=verdict.metric,
            baseline=self.judge.baseline,
            interval=verdict.interval,
            change=verdict.change,
            points=tuple(point for point, _ in listed.values()),
            sensitivity={name: found.mean for name, found in self.sensitivity.items()},
            model=model.train(self.given.training),
            report=made,
        )

    def _totals(self, group: Group) -> list[tuple[float, float]]:
        """The cost and the loss of every choice for the slots of a group."""
        return [
            (
                sum(c.cost for c in row),
                sum(self.sensitivity[name].at(c.cost) * c.error**2 for name, c in zip(group, row, strict=True)),
            )
            for row in self.curves.together(group)
        ]

    def _size(self, model: nn.Module, made: Report, latency: float) -> float:
        """Of a whole model in the units of the budget; latencies are of the slots, and cannot be counted."""
        if self.unit == "latency":
            return latency
        if self.unit == "bytes":
            return made.total.bytes
        return sum(p.numel() for p in model.parameters() if not is_lazy(p))

    def _smallest(
        self,
        solutions: Front,
        listed: Mapping[int, tuple[Point, Verdict]],
        within: Sequence[int],
        fine_tune: FineTune | None,
    ) -> tuple[int, nn.Module, Verdict]:
        """The smallest that keeps to the drop; else the one that comes nearest."""
        slack = lambda verdict: self.goal.slack(verdict, self.judge.baseline)  # noqa: E731
        if fine_tune is None:
            good = [i for i in within if slack(listed[i][1]) >= 0]
            chosen = min(good) if good else max(within, key=lambda i: slack(listed[i][1]))
            return chosen, self._filled(solutions, chosen), listed[chosen][1]
        # each is trained, which takes long: by halves, as if larger ones were never worse
        low, high = 0, len(within) - 1
        best: tuple[int, nn.Module, Verdict] | None = None
        while low <= high:
            middle = (low + high) // 2
            model = self._filled(solutions, within[middle])
            verdict = self._tuned(model, fine_tune)
            good = slack(verdict) >= 0
            if best is None or good or slack(verdict) > slack(best[2]):
                best = within[middle], model, verdict
            low, high = (low, middle - 1) if good else (middle + 1, high)
        assert best is not None
        return best

    def _chosen(self, solutions: Front, index: int) -> dict[str, Choice]:
        """By slot, in the order of the slots."""
        places = {}
        for group, pick in zip(self.curves.groups, solutions.picks(index), strict=True):
            places.update(dict.fromkeys(group, pick))
        return {name: self.curves.choices[name][places[name]] for name in self.slots}

    def _errors(self, solutions: Front, index: int) -> dict[str, float]:
        chosen = self._chosen(solutions, index)
        return {name: choice.error for name, choice in chosen.items() if choice.spec != "keep"}

    def _matrices(self, solutions: Front, index: int) -> dict[str, StructuredMatrix]:
        chosen = self._chosen(solutions, index)
        return {name: self.curves.fitted(name, c.spec) for name, c in chosen.items() if not isinstance(c.spec, str)}

    def _filled(self, solutions: Front, index: int) -> nn.Module:
        """A copy of the given model with that solution in it."""
        model = deepcopy(self.given)
        fill(slots(model), {name: deepcopy(matrix) for name, matrix in self._matrices(solutions, index).items()})
        return model

    def _point(self, solutions: Front, index: int) -> tuple[Point, Verdict]:
        verdict = Verdict()
        if self.judge.measures:
            undo = fill(self.slots, self._matrices(solutions, index))
            try:
                verdict = self.judge.verdict(self.copy)
            finally:
                undo()
        rules = {f"{re.escape(name)}$": choice.spec for name, choice in self._chosen(solutions, index).items()}
        size = self.fixed + float(solutions.cost[index])
        point = Point(
            size, float(solutions.loss[index]), verdict.metric, Plan.of(rules), verdict.interval, verdict.change
        )
        return point, verdict

    def _tuned(self, model: nn.Module, fine_tune: FineTune) -> Verdict:
        torch.manual_seed(self.seed)
        fine_tune(model.train())
        return self.judge.verdict(model.eval())

    def _text(self, size: float, verdict: Verdict, fits: bool, kept: bool) -> str:
        what = "seconds in products" if self.unit == "latency" else self.unit
        parts = [f"{self._told(size)} {what}, {self.before / max(size, 1e-300):.1f} times fewer than before"]
        if verdict.metric is not None:
            parts.append(f"metric {verdict.metric:.4f}, before {self.judge.baseline:.4f}")
        if verdict.interval is not None:
            low, high = verdict.interval
            parts.append(f"difference {low:+.4f} to {high:+.4f} (95 %, paired over examples)")
        if verdict.change is not None:
            parts.append(f"outputs on the inputs changed by {verdict.change:.3g} of their square")
        if not fits:
            parts.append(
                f"the budget of {self._told(self.limit)} {what} is NOT met: {self.fixed:,.3g} are in no slot, and the "
                f"smallest choices of {', '.join(self.curves.families)} take the rest"
            )
        if not kept:
            permitted = self.goal.max_drop if self.goal.tolerance is None else self.goal.tolerance
            parts.append(
                f"the permitted drop of {permitted:g} is NOT met by any model on the list; this one comes nearest"
            )
        text = "; ".join(parts) + "."
        if self.curves.left_out:
            text += (
                f" {', '.join(self.curves.left_out)}: not tried in the largest slots, for their fits iterate; name "
                f"them in families to wait for them."
            )
        return text

    def _told(self, size: float) -> str:
        return f"{size:.3g}" if self.unit == "latency" else f"{size:,.0f}"


def copied(model: nn.Module) -> nn.Module:
    """
    Raises:
        PlanError: if the model cannot be copied.
    """
    try:
        return deepcopy(model)
    except RuntimeError as error:  # torch copies no tensor that was computed, as old pruning and weight norms leave
        raise PlanError(
            f"a copy is compressed, and this {type(model).__name__} cannot be copied: {error} Pruning and the old "
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


def _spread(solutions: Front, number: int) -> list[int]:
    """About so many solutions, evenly in the logarithm of the size, the ends among them."""
    cost = solutions.cost
    ends = max(float(cost[0]), 1e-12), max(float(cost[-1]), 1e-12)
    wanted = [ends[0] * (ends[1] / ends[0]) ** (k / max(1, number - 1)) for k in range(number)]
    return sorted({0, len(cost) - 1, *(solutions.within(size) or 0 for size in wanted)})
