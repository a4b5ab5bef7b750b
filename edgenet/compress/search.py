"""Search: which family, at which size, for every slot, so that a model fits a budget or keeps its quality."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from edgenet.compress.compress import compress_, fill, fit
from edgenet.compress.knapsack import Front, front
from edgenet.compress.plan import Plan, resolve
from edgenet.compress.report import Report, report
from edgenet.compress.slots import Slot, matching, slots
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.structured import STRUCTURES, Dense, StructuredMatrix, family
from edgenet.structured.base import checked

#: Quality of a model, in evaluation mode and without gradients: higher is better.
Evaluate = Callable[[nn.Module], float]

_PROBE = 10.0  # ratio at which the sensitivity of slots is measured where the budget names none
_SLOW = ("block_term", "doped")  # families whose fit iterates: seconds for each size of a large slot
_LARGE = 1 << 16  # entries of a slot from which these are tried where they are asked for by name only
_FLOOR = 1e-3  # sensitivity of slots that seem to do no harm, as a share of the largest: a metric has grains


@dataclass(frozen=True)
class Budget:
    """How large a compressed model may be; exactly one number.

    Attributes:
        parameters: of the whole model.
        bytes: of the whole model's tensors on disk.
        ratio: parameters before over parameters after, of the whole model; above 1.
        latency: seconds that the products of all slots take together, each with a batch of ``rows`` rows, as measured
            on this machine. Clocks vary, and so may what is chosen.
        rows: see ``latency``.

    Raises:
        PlanError: if not exactly one number is given, or it is out of range.
    """

    parameters: float | None = None
    bytes: float | None = None
    ratio: float | None = None
    latency: float | None = None
    rows: int = 32

    def __post_init__(self) -> None:
        given = {name: value for name in _KINDS if (value := getattr(self, name)) is not None}
        if len(given) != 1:
            raise PlanError(f"a budget is one of {', '.join(_KINDS)}, got {given or 'none'}.")
        name, value = next(iter(given.items()))
        if not (math.isfinite(value) and value > (1 if name == "ratio" else 0)) or self.rows < 1:
            raise PlanError(f"a budget of {name} wants a number above {int(name == 'ratio')}, got {value}.")

    @property
    def kind(self) -> str:
        return next(name for name in _KINDS if getattr(self, name) is not None)


_KINDS = ("parameters", "bytes", "ratio", "latency")


@dataclass(frozen=True)
class Point:
    """One compressed model on the way from small to large that no other of the search beats.

    Attributes:
        size: in the units of the budget: parameters, bytes, or seconds.
        predicted: the loss that the choice was made by, the sum over slots of sensitivity times squared relative error.
        metric: what ``evaluate`` says without fine-tuning; None where it was not asked.
        plan: for ``compress_``.
    """

    size: float
    predicted: float
    metric: float | None
    plan: Plan


@dataclass(frozen=True)
class SearchResult:
    """What a search chose.

    Attributes:
        plan: for ``compress_``, a rule for every slot.
        satisfied: whether budget and permitted drop are both met.
        text: in a sentence, what was met and what was not.
        size: of the chosen model, in the units of the budget (of parameters without one).
        metric, baseline: what ``evaluate`` says of the chosen model, fine-tuned where that was asked, and of the given
            one; None without ``evaluate``.
        points: the Pareto list, from small to large.
        sensitivity: of every slot, the loss that squared relative error 1 is taken to cost.
        model: the chosen model, a copy, fine-tuned where that was asked.
        report: of ``model``.
    """

    plan: Plan
    satisfied: bool
    text: str
    size: float
    metric: float | None
    baseline: float | None
    points: tuple[Point, ...]
    sensitivity: dict[str, float]
    model: nn.Module = field(repr=False)
    report: Report = field(repr=False)

    def apply_(self, model: nn.Module) -> Report:
        """Compress a model by the plan, in place. It is not fine-tuned; ``result.model`` is."""
        return compress_(model, self.plan)


@dataclass(frozen=True)
class _Choice:
    """One way to fill a slot; ``spec`` "keep" leaves it."""

    spec: dict[str, Any] | str
    cost: float
    error: float


def search(
    model: nn.Module,
    evaluate: Evaluate | None = None,
    budget: Budget | None = None,
    max_drop: float | None = None,
    families: Sequence[str] | None = None,
    *,
    pattern: str = ".*",
    inputs: Sequence[Any] | None = None,
    fine_tune: Callable[[nn.Module], Any] | None = None,
    points: int = 12,
    seed: int = 0,
    progress: bool = True,
) -> SearchResult:
    """Choose a family and its size for every slot.

    1. Every family is fitted to every slot at the sizes of its ``ladder``: curves of relative error against size.
    2. Slots differ in what an error costs. Each alone is compressed to about the size wanted, and ``evaluate`` tells
       the drop, or else the outputs on ``inputs`` their relative change; without both all slots count alike.
    3. A knapsack picks one size for each slot: the least sum of sensitivity times squared relative error, for every
       total size at once. Around the choice, sizes between the rungs of the ladders are tried as well.
    4. ``fine_tune`` trains the model that was chosen.

    With one family and a ratio this chooses every layer's rank (or block size) for the total wanted. The given model
    stays as it is. The same call gives the same result on one machine, but for budgets of latency.

    Args:
        model: any. Slots that are compressed already stay, and count.
        evaluate: quality of a model in evaluation mode, higher is better.
        budget: how large the result may be.
        max_drop: how much lower ``evaluate`` may be; the smallest model of the Pareto list that keeps to it is chosen.
        families: names in ``STRUCTURES``. Default: all that have a ladder, but for those whose fit iterates
            (block-term, doped) in slots of more than 65,536 entries, where every size takes seconds: name them there.
        pattern: of slots to compress, for ``re.match``.
        inputs: arguments of the model, to measure sensitivity where there is no ``evaluate``.
        fine_tune: trains a compressed model in place, in training mode. With ``max_drop`` it is called for the smallest
            models of the list, until one keeps to the drop.
        points: of the Pareto list, about.
        seed: of torch's random numbers in everything that is called. Those outside go on as if nothing had been drawn.
        progress: show bars on stderr.

    Raises:
        PlanError: if there is neither budget nor drop, a drop without ``evaluate``, no slot or family to choose from, a
            slot whose size is not known yet, or ``evaluate`` returns no finite number.
        ShapeError: if a weight is not finite.
    """
    if budget is None and max_drop is None:
        raise PlanError("a search wants a goal: budget=Budget(ratio=10), say, or max_drop with evaluate.")
    if max_drop is not None and (evaluate is None or not max_drop >= 0):
        raise PlanError(f"max_drop wants evaluate, and a number from 0 up; got {max_drop}.")
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        work = _Search(model, evaluate, budget, max_drop, families, pattern, seed, progress)
        work.measure_sensitivity(inputs)
        return work.choose(fine_tune, points)


class _Search:
    """The state of one search: a working copy, its curves, and what was measured."""

    def __init__(
        self,
        model: nn.Module,
        evaluate: Evaluate | None,
        budget: Budget | None,
        max_drop: float | None,
        families: Sequence[str] | None,
        pattern: str,
        seed: int,
        progress: bool,
    ) -> None:
        self.given, self.copy, self.evaluate, self.budget = model, deepcopy(model).eval(), evaluate, budget
        self.max_drop, self.seed, self.progress = max_drop, seed, progress
        self.unit = "parameters" if budget is None or budget.kind == "ratio" else budget.kind
        self.slots = {}
        for slot in matching(slots(self.copy), pattern):
            if slot.is_dense:
                try:
                    checked(slot.weight())
                except ShapeError as error:
                    raise ShapeError(f"{slot.name}: {error}") from error
                if slot.refusal() is None:
                    self.slots[slot.name] = slot
        if not self.slots:
            raise PlanError(f"all slots that match {pattern!r} are compressed already, or must stay dense.")
        self.families, self.by_name = _families(families), families is not None
        self.choices = {name: self._curve(slot) for name, slot in self._bar(self.slots.items(), "fit")}
        if all(len(choices) == 1 for choices in self.choices.values()):
            raise PlanError(f"none of the families {', '.join(self.families)} makes any of the slots smaller.")
        self.before = self._whole()
        self.fixed = self.before - sum(choices[0].cost for choices in self.choices.values())
        self.sensitivity = dict.fromkeys(self.slots, 1.0)
        self.baseline = None if evaluate is None else self._metric(self.copy)

    # ---------------------------------------------------------------- curves
    def _curve(self, slot: Slot) -> list[_Choice]:
        """The choices of a slot: keeping it, then those that are smaller and that no other beats, small to large."""
        keep = _Choice("keep", self._cost(slot, None), 0.0)
        found = []
        for name in self.families:
            if name in _SLOW and not self.by_name and math.prod(slot.shape) > _LARGE:
                continue
            for options in family(name).ladder(slot.shape):
                found += self._tried(slot, {"structure": name, **options})
        return [keep, *_undominated([c for c in found if c.cost < keep.cost])]

    def _tried(self, slot: Slot, spec: dict[str, Any]) -> list[_Choice]:
        matrix = self._fitted(slot, spec)
        return [] if matrix is None else [_Choice(spec, self._cost(slot, matrix[0]), matrix[1])]

    def _fitted(self, slot: Slot, spec: dict[str, Any]) -> tuple[StructuredMatrix, float] | None:
        torch.manual_seed(self.seed)
        try:
            return fit(slot, resolve(spec, slot.name))
        except (ShapeError, RankError, PlanError):
            return None  # a family that does not fit this shape or dtype

    def _cost(self, slot: Slot, matrix: StructuredMatrix | None) -> float:
        m, n = slot.shape
        if self.unit == "latency":
            return _seconds(slot, Dense.from_dense(slot.weight()) if matrix is None else matrix, self.budget.rows)
        if matrix is None:
            return m * n * (slot.weight().element_size() if self.unit == "bytes" else 1)
        return matrix.bits() / 8 if self.unit == "bytes" else matrix.num_parameters()

    def _whole(self) -> float:
        """Size of the uncompressed model; of latencies the sum over slots."""
        if self.unit == "latency":
            return sum(choices[0].cost for choices in self.choices.values())
        total = report(self.copy).total
        return total.bytes if self.unit == "bytes" else total.parameters

    # ---------------------------------------------------------------- sensitivity
    @torch.no_grad()
    def measure_sensitivity(self, inputs: Sequence[Any] | None) -> None:
        """Compress each slot alone to about the wanted size, and see what that does."""
        if self.evaluate is None and inputs is None:
            return
        plain = None if self.evaluate is not None else _flat(self.copy(*inputs))
        ratio = max(1.0, self.before / self.limit) if self.budget is not None else _PROBE
        harm = {}
        for name, slot in self._bar(self.slots.items(), "sensitivity"):
            keep, *others = self.choices[name]
            if not others:
                continue
            probe = max((c for c in others if c.cost <= keep.cost / ratio), key=lambda c: c.cost, default=others[0])
            if probe.error == 0:
                continue
            matrices = {name: self._fitted(slot, probe.spec)[0]}
            undo = fill(self.slots, matrices)
            try:
                if self.evaluate is not None:
                    lost = max(0.0, self.baseline - self._metric(self.copy))
                else:
                    lost = float((_flat(self.copy(*inputs)) - plain).norm() / plain.norm().clamp_min(1e-300)) ** 2
            finally:
                undo()
            harm[name] = lost / probe.error**2
        most = max(harm.values(), default=0.0)
        if most > 0:
            self.sensitivity = {name: max(harm.get(name, 0.0), _FLOOR * most) for name in self.slots}

    # ---------------------------------------------------------------- the choice
    @property
    def limit(self) -> float:
        """The largest size allowed."""
        if self.budget is None:
            return math.inf
        return self.before / self.budget.ratio if self.budget.ratio else getattr(self.budget, self.budget.kind)

    def _front(self) -> Front:
        return front(
            [[(c.cost, self.sensitivity[name] * c.error**2) for c in choices] for name, choices in self.choices.items()]
        )

    def _refine(self, index: int, solutions: Front) -> None:
        """Try sizes between the chosen rungs and their neighbours."""
        for name, pick in self._bar(list(zip(self.slots, solutions.picks(index), strict=True)), "refine"):
            slot, (keep, *others) = self.slots[name], self.choices[name]
            spec = self.choices[name][pick].spec
            if spec == "keep":
                continue
            ladder = [{"structure": spec["structure"], **o} for o in family(spec["structure"]).ladder(slot.shape)]
            place = ladder.index(spec) if spec in ladder else 0
            for low, high in ((place - 1, place), (place, place + 1)):
                if low >= 0 and high < len(ladder):
                    for between in _between(ladder[low], ladder[high]):
                        others += self._tried(slot, between)
            self.choices[name] = [keep, *_undominated([c for c in others if c.cost < keep.cost])]

    def choose(self, fine_tune: Callable[[nn.Module], Any] | None, number: int) -> SearchResult:
        solutions = self._front()
        index = solutions.within(self.limit - self.fixed)
        if self.budget is not None and index is not None:
            self._refine(index, solutions)
            solutions = self._front()
            index = solutions.within(self.limit - self.fixed)
        fits = index is not None
        index = index if fits else 0
        shown = _spread(solutions, number, index)
        listed = {i: self._point(solutions, i) for i in self._bar(shown, "points")}
        if self.max_drop is None:
            chosen, model, kept = index, self._filled(solutions, index), True
            metric = self._tuned(model, fine_tune)
        else:
            candidates = {i: listed[i] for i in shown if i <= index}
            chosen, model, metric, kept = self._smallest(solutions, candidates, fine_tune)
        point = listed.get(chosen) or self._point(solutions, chosen)
        return SearchResult(
            plan=point.plan,
            satisfied=fits and kept,
            text=self._text(point, metric, fits, kept),
            size=point.size,
            metric=metric,
            baseline=self.baseline,
            points=tuple(listed.values()),
            sensitivity=self.sensitivity,
            model=model.train(self.given.training),
            report=report(model, self._errors(solutions, chosen)),
        )

    def _smallest(
        self, solutions: Front, candidates: dict[int, Point], fine_tune: Callable[[nn.Module], Any] | None
    ) -> tuple[int, nn.Module, float, bool]:
        """The first that keeps to the drop; else the one that comes nearest."""
        if fine_tune is None:
            best = max(candidates, key=lambda i: candidates[i].metric)
            kept = [i for i, point in candidates.items() if point.metric >= self.baseline - self.max_drop]
            chosen = min(kept, default=best)
            return chosen, self._filled(solutions, chosen), candidates[chosen].metric, bool(kept)
        nearest = None
        for i in self._bar(candidates, "drop"):
            model = self._filled(solutions, i)
            metric = self._tuned(model, fine_tune)
            if metric >= self.baseline - self.max_drop:
                return i, model, metric, True
            if nearest is None or metric > nearest[2]:
                nearest = i, model, metric, False
        return nearest

    def _specs(self, solutions: Front, index: int) -> dict[str, dict[str, Any] | str]:
        picks = solutions.picks(index)
        return {name: self.choices[name][pick].spec for name, pick in zip(self.slots, picks, strict=True)}

    def _errors(self, solutions: Front, index: int) -> dict[str, float]:
        picks = zip(self.slots, solutions.picks(index), strict=True)
        return {name: self.choices[name][p].error for name, p in picks if self.choices[name][p].spec != "keep"}

    def _matrices(self, solutions: Front, index: int) -> dict[str, StructuredMatrix]:
        specs = self._specs(solutions, index).items()
        return {name: self._fitted(self.slots[name], spec)[0] for name, spec in specs if spec != "keep"}

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

    def _tuned(self, model: nn.Module, fine_tune: Callable[[nn.Module], Any] | None) -> float | None:
        if fine_tune is not None:
            torch.manual_seed(self.seed)
            fine_tune(model.train())
        return None if self.evaluate is None else self._metric(model.eval())

    def _metric(self, model: nn.Module) -> float:
        torch.manual_seed(self.seed)
        with torch.no_grad():
            value = float(self.evaluate(model))
        if not math.isfinite(value):
            raise PlanError(f"evaluate returned {value}; a search wants a finite number, higher for better models.")
        return value

    def _text(self, point: Point, metric: float | None, fits: bool, kept: bool) -> str:
        what = "seconds in products" if self.unit == "latency" else self.unit
        size = f"{point.size:.3g}" if self.unit == "latency" else f"{point.size:,.0f}"
        parts = [f"{size} {what}, {self.before / max(point.size, 1e-300):.1f} times fewer than before"]
        if metric is not None:
            parts.append(f"metric {metric:.4f}, before {self.baseline:.4f}")
        if not fits:
            limit = f"{self.limit:.3g}" if self.unit == "latency" else f"{self.limit:,.0f}"
            parts.append(
                f"the budget of {limit} {what} is NOT met: {self.fixed:,.3g} are in no slot, and the smallest choices "
                f"of {', '.join(self.families)} take the rest"
            )
        if not kept:
            parts.append(
                f"the permitted drop of {self.max_drop:g} is NOT met by any model on the list; this one comes nearest"
            )
        return "; ".join(parts) + "."

    def _bar(self, items: Any, what: str) -> Any:
        return tqdm(items, desc=what, disable=not self.progress, leave=False)


def _families(names: Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return tuple(name for name, kind in STRUCTURES.items() if kind.ladder((64, 64)))
    if isinstance(names, str):
        names = (names,)
    for name in names:
        family(name)
    if not names:
        raise PlanError(f"a search wants families to choose from: {', '.join(STRUCTURES)}.")
    return tuple(names)


def _undominated(choices: list[_Choice]) -> list[_Choice]:
    """Those that no other beats in both cost and error, from small to large."""
    kept: list[_Choice] = []
    for choice in sorted(choices, key=lambda c: (c.cost, c.error)):  # stable: of equal ones the first family's
        if not kept or choice.error < kept[-1].error:
            kept.append(choice)
    return kept


def _between(low: Mapping[str, Any], high: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Up to three options between two rungs that differ in one number."""
    keys = [key for key in low if low[key] != high.get(key)]
    if len(keys) != 1 or low.keys() != high.keys():
        return []
    a, b = low[keys[0]], high[keys[0]]
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in (a, b)):
        return []
    values = [a + (b - a) * share / 4 for share in (1, 2, 3)]
    if isinstance(a, int) and isinstance(b, int):
        values = sorted({round(value) for value in values} - {a, b})
    return [{**low, keys[0]: value} for value in values]


def _spread(solutions: Front, number: int, index: int) -> list[int]:
    """About so many solutions, evenly in the logarithm of the size, the ends and ``index`` among them."""
    cost = solutions.cost
    ends = max(float(cost[0]), 1e-12), max(float(cost[-1]), 1e-12)
    wanted = [ends[0] * (ends[1] / ends[0]) ** (k / max(1, number - 1)) for k in range(number)]
    return sorted({0, index, len(cost) - 1, *(solutions.within(size) or 0 for size in wanted)})


@torch.no_grad()
def _seconds(slot: Slot, matrix: StructuredMatrix, rows: int) -> float:
    """Best of several timings of what a slot does with a batch."""
    matrix = matrix.eval()
    weight = slot.weight()
    x = torch.zeros(rows, weight.shape[1], dtype=weight.dtype, device=weight.device)
    index = torch.zeros(rows, dtype=torch.long, device=weight.device)

    def call() -> Tensor:
        if slot.reads_rows:
            return matrix.rows(index)
        return F.linear(x, matrix.to_dense()) if slot.is_bridged else matrix(x)

    best = math.inf
    for _ in range(7):  # the first fills caches
        start = time.perf_counter()
        call()
        if weight.is_cuda:
            torch.cuda.synchronize(weight.device)
        best = min(best, time.perf_counter() - start)
    return best


def _flat(output: Any) -> Tensor:
    """All floating-point tensors of an output, as one vector."""
    if isinstance(output, Tensor):
        return output.flatten().double() if output.is_floating_point() else output.new_zeros(0, dtype=torch.float64)
    if isinstance(output, Mapping):
        output = list(output.values())
    parts = [_flat(item) for item in output] if isinstance(output, list | tuple) else []
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
