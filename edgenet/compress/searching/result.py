"""What a search gives: the model that it chose, and the others on the way from small to large."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from edgenet.compress.compress import compress_
from edgenet.compress.plan import Plan
from edgenet.compress.reports import Report


@dataclass(frozen=True)
class Point:
    """One compressed model on the way from small to large that no other of the search beats.

    Attributes:
        size: in the units of the budget: parameters, bytes, or seconds.
        predicted: the loss that the choice was made by, the sum over slots of sensitivity times squared relative error.
        metric: what ``evaluate`` says without fine-tuning; None where it was not asked.
        plan: for ``compress_``.
        interval: of the metric's difference to that of the given model, 95 %, paired over examples; None where
            ``evaluate`` gives no scores of examples.
        change: ||y' - y||^2 / ||y||^2 of the outputs on ``inputs``; None without them.

    Example:
        >>> found = edgenet.compress.search(torch.nn.Linear(16, 8), budget=edgenet.compress.Budget(ratio=2),
        ...                                 families=("low_rank",), progress=False)
        >>> isinstance(found.points[0], edgenet.compress.Point)
        True
    """

    size: float
    predicted: float
    metric: float | None
    plan: Plan
    interval: tuple[float, float] | None = None
    change: float | None = None


@dataclass(frozen=True)
class SearchResult:
    """What a search chose.

    Attributes:
        plan: for ``compress_``, a rule for every slot.
        satisfied: whether budget and permitted drop are both met, counted on ``model`` at the end.
        text: in a sentence, what was met and what was not.
        size: of the chosen model, in the units of the budget (bytes without one), counted at the end.
        metric, baseline: what ``evaluate`` says of the chosen model, fine-tuned where that was asked, and of the given
            one; None without ``evaluate``.
        interval, change: of the chosen model, as of a ``Point``; fine-tuned where that was asked.
        points: the Pareto list, from small to large.
        sensitivity: of every slot, the loss that squared relative error 1 is taken to cost, the mean of its probes.
        model: the chosen model, a copy, fine-tuned where that was asked.
        report: of ``model``, beside the given one.

    Example:
        >>> found = edgenet.compress.search(torch.nn.Linear(16, 8), budget=edgenet.compress.Budget(ratio=2),
        ...                                 families=("low_rank",), progress=False)
        >>> found.satisfied
        True
    """

    plan: Plan
    satisfied: bool
    text: str
    size: float
    metric: float | None
    baseline: float | None
    interval: tuple[float, float] | None
    change: float | None
    points: tuple[Point, ...]
    sensitivity: dict[str, float]
    model: nn.Module = field(repr=False)
    report: Report = field(repr=False)

    def apply_(self, model: nn.Module) -> Report:
        """Compress a model by the plan, in place. It is not fine-tuned; ``result.model`` is."""
        return compress_(model, self.plan)
