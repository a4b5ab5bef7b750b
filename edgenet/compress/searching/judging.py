"""Judging: what a compressed model is measured by, beside the one that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.compress.searching.paired import paired_interval
from edgenet.compress.searching.sensitivity import flat, relative_change
from edgenet.errors import PlanError

#: Quality of a model, in evaluation mode and without gradients: higher is better. One number, or one of each of n
#: held-out examples, whose mean is the metric.
Evaluate = Callable[[nn.Module], float | Tensor]

#: Arguments of the model, or a function that gives what a model says on inputs of its own.
Inputs = Sequence[Any] | Callable[[nn.Module], Any]


@dataclass(frozen=True)
class Verdict:
    """What was measured of one model.

    Attributes:
        metric: what ``evaluate`` says; None without it.
        interval: of its difference to the given model's, paired over examples; None where there are no examples.
        change: ||y' - y||^2 / ||y||^2 of the outputs on ``inputs``; None without them.
    """

    metric: float | None = None
    interval: tuple[float, float] | None = None
    change: float | None = None

    @property
    def harm(self) -> float:
        """The one measure that whole models are compared by, lower is better: the change of the outputs where there are
        inputs, else the metric with its sign turned."""
        return self.change if self.change is not None else -(self.metric or 0.0)


class Judge:
    """Measures models against the given one.

    Args:
        model: the given one, in evaluation mode.
        evaluate: see ``Evaluate``.
        inputs: see ``Inputs``.
        seed: of torch's random numbers in every call.

    Raises:
        PlanError: if ``evaluate`` returns no finite number or numbers.
    """

    def __init__(self, model: nn.Module, evaluate: Evaluate | None, inputs: Inputs | None, seed: int) -> None:
        self.evaluate, self.inputs, self.seed = evaluate, inputs, seed
        self.baseline, self._examples = self._metric(model)
        self._plain = None if inputs is None else self._outputs(model)

    @property
    def measures(self) -> bool:
        """Whether there is anything to judge by."""
        return self.evaluate is not None or self.inputs is not None

    @property
    def pairs(self) -> bool:
        """Whether there are examples to pair."""
        return self._examples is not None

    def verdict(self, model: nn.Module) -> Verdict:
        """What a model is worth, in evaluation mode."""
        metric, examples = self._metric(model)
        interval = None
        if self._examples is not None and examples is not None:
            interval = paired_interval(self._examples, examples)
        return Verdict(metric, interval, None if self._plain is None else self._change(model))

    def harm(self, model: nn.Module) -> float:
        """How much worse a model is than the given one, from 0 up."""
        if self._plain is not None:
            return self._change(model)
        return max(0.0, (self.baseline or 0.0) - (self._metric(model)[0] or 0.0))

    def _change(self, model: nn.Module) -> float:
        assert self._plain is not None
        return relative_change(self._plain, self._outputs(model))

    @torch.no_grad()
    def _outputs(self, model: nn.Module) -> Tensor:
        torch.manual_seed(self.seed)
        assert self.inputs is not None
        return flat(self.inputs(model) if callable(self.inputs) else model(*self.inputs))

    @torch.no_grad()
    def _metric(self, model: nn.Module) -> tuple[float | None, Tensor | None]:
        if self.evaluate is None:
            return None, None
        torch.manual_seed(self.seed)
        value: Any = self.evaluate(model)
        if isinstance(value, Tensor) and value.dim() == 1 and len(value) > 1:
            examples = value.detach().double()
            if examples.isfinite().all():
                return float(examples.mean()), examples
        with suppress(TypeError, ValueError, RuntimeError):  # None, a text, a tensor of several
            value = float(value)
        if not isinstance(value, float) or not abs(value) < float("inf"):
            raise PlanError(
                f"evaluate returned {value}; a search wants a finite number, higher for better models, or a tensor "
                f"(n,) of one for each of n examples."
            )
        return value, None
