"""RowDropout: the callback that keeps a base and its dopant from leaning on each other while the density falls."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import nn

from edgenet.compress.arguments import number
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.matrices import checked_pattern, matching_matrices, others_settled
from edgenet.compress.schedules import Anneal
from edgenet.compress.span import Span
from edgenet.errors import PlanError
from edgenet.structured import Doped

FALLS = ("cubic", "constant")


class RowDropout(Callback):
    """Co-matrix row dropout (Thakker et al. 2021): rows of base and dopant of every ``Doped`` matrix drop out, each by
    itself, so that neither learns to rely on the other, of which the dopant is about to lose most of its entries::

        y = diag(b_M) M x + diag(b_S) S x,   b = 0 with probability p, else 1 / (1 - p)

        p(t) = rate (1 - x(t))^3,   x(t) from 0 at ``start`` to 1 at ``end``

    One draw of both masks serves a whole step of the optimizer: all of its sequences and their steps, and batches that
    are accumulated. In evaluation, and from ``end`` on, nothing drops out. The paper tells neither rate nor schedule;
    these are ours. A constant rate until the end hurts.

    The masks of a step are drawn by the training's seed, the step and the matrix's path: they leave torch's own random
    numbers as they are, and a resumed training draws the same ones. Between epochs there are none, so that a training
    that is ended early leaves no rows out.

    Args:
        rate: p of the base at the beginning, in [0, 1).
        dopant: p of the dopant at the beginning; None: as of the base.
        start, end: between which p falls, as for ``Anneal``; None, both: those of the ``Anneal`` in the same training.
        fall: "cubic", together with the density; "constant": p stays until ``end``.
        pattern: of the paths of the doped matrices (``fc.weight``), for ``re.match``; a tied one has several.

    Raises:
        PlanError: if an argument is out of range, or both rates are 0; in ``on_start``, if there is no start and end
            and no ``Anneal`` to take them from, or several that differ, or if no doped matrix matches and no other
            callback has yet to put structures in; in ``after_step``, if there is none and no other is going to.

    Example:
        >>> rule = edgenet.compress.RowDropout(0.1)  # for fit(..., callbacks=[rule])
    """

    def __init__(
        self,
        rate: float = 0.1,
        dopant: float | None = None,
        start: int | float | None = None,
        end: int | float | None = None,
        fall: str = "cubic",
        pattern: str = ".*",
    ) -> None:
        rates = {"rate": rate, "dopant": rate if dopant is None else dopant}
        for name, value in rates.items():
            if number("RowDropout", name, value) >= 1:
                raise PlanError(f"RowDropout: {name} is a share of the rows, below 1, got {value!r}.")
        if not any(rates.values()):
            raise PlanError("RowDropout: both rates are 0, and nothing would ever drop out: leave the rule away.")
        if fall not in FALLS:
            raise PlanError(f"RowDropout: fall is one of {', '.join(FALLS)}, got {fall!r}.")
        if (start is None) != (end is None):
            raise PlanError(f"RowDropout: give both start and end, or neither; got {start!r} and {end!r}.")
        self.span = None if start is None or end is None else Span("RowDropout", start, end)
        self.base_rate, self.dopant_rate = float(rates["rate"]), float(rates["dopant"])
        self.fall, self.pattern = fall, checked_pattern("RowDropout", pattern)
        self._seed = 0

    def on_start(self, training: Training) -> None:
        self._seed = int(torch.randint(2**31, ()))
        self._span(training).steps(training)
        if others_settled(self, training):
            self._matched(training.model)

    def on_optimizer(self, training: Training) -> None:
        self._draw_(training)

    def before_epoch(self, training: Training) -> None:
        self._draw_(training)

    def after_epoch(self, training: Training) -> None:
        for _, matrix in self._found(training.model).values():
            matrix.drop_rows_(0, 0)

    def after_step(self, training: Training) -> None:
        if others_settled(self, training):
            self._matched(training.model)
        self._draw_(training)

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self._seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict()``."""
        self._seed = int(state["seed"])

    def rates_at(self, training: Training) -> tuple[float, float]:
        """p of base and dopant after the training's step."""
        done = self._span(training).progress(training)
        left = (1 - done) ** 3 if self.fall == "cubic" else float(done < 1)
        return self.base_rate * left, self.dopant_rate * left

    def _draw_(self, training: Training) -> None:
        """The masks of the next step. They are the same however often they are drawn before it."""
        rates = self.rates_at(training)
        for path, matrix in self._found(training.model).values():
            text = f"{self._seed} {training.step} {path}"
            matrix.drop_rows_(*rates, torch.Generator().manual_seed(zlib.crc32(text.encode())))

    def _span(self, training: Training) -> Span:
        if self.span is not None:
            return self.span
        spans = [callback.span for callback in training.callbacks if isinstance(callback, Anneal)]
        if len({(span.start, span.end) for span in spans}) != 1:
            raise PlanError(
                f"RowDropout: without a start and an end it follows the Anneal of its training, and there are "
                f"{len(spans)}{' that differ' if spans else ''}. Give it a start and an end."
            )
        return spans[0]

    def _matched(self, model: nn.Module) -> None:
        if not self._found(model):
            known = [path for path, module in model.named_modules() if isinstance(module, Doped)]
            none = "none: compress_ with a plan of them first, or put in by Compress"
            raise PlanError(
                f"RowDropout: there is no doped matrix whose path matches {self.pattern!r}; there are "
                f"{', '.join(known) or none}."
            )

    def _found(self, model: nn.Module) -> dict[int, tuple[str, Doped]]:
        return matching_matrices(model, Doped, self.pattern)
