"""Perturb: what a model that is distilled reads in the place of its data, and its teacher with it."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from edgenet import ops
from edgenet.errors import PlanError, ShapeError
from edgenet.structured import SparseSignal


class Perturb:
    """Other inputs at half of the steps: a small model then learns what the teacher makes of inputs that nobody has.

    Where data are few, this decides how much of a teacher a small model keeps: it has no more inputs to be fitted to
    than there are nodes, and agrees with the teacher there and nowhere else.

    Args:
        how: a probability in [0, 1) with which each feature of nodes, (N, F) of floating point, is dropped (and the
            others made larger, as by dropout); sparse features stay sparse. Nothing else has a perturbation that is
            right for all data, and stays as it is: say what is sensible as a function from an input to another one of
            its form, such as crops and mirror images of images, cut-out words of sequences. It gets the ``x`` of
            graphs, else the first of the inputs. None: nothing.
        share: of the steps that are perturbed.

    Raises:
        PlanError: if ``how`` is neither, or a number is out of range.
    """

    def __init__(self, how: float | Callable[[Any], Any] | None = 0.7, share: float = 0.5) -> None:
        number = isinstance(how, Real) and not isinstance(how, bool)
        if how is not None and not callable(how) and not (number and 0 <= float(how) < 1):
            raise PlanError(
                f"perturb is a probability from 0 to below 1, a function of the input, or None; got {how!r}."
            )
        if not (isinstance(share, Real) and 0 <= share <= 1):
            raise PlanError(f"the share of steps that are perturbed is a number from 0 to 1, got {share!r}.")
        self.how, self.share = how, float(share)

    def __call__(self, batch: Any, generator: torch.Generator | None = None) -> Any:
        """The batch, or one with another input; a tuple or list is taken for inputs and a target.

        Raises:
            ShapeError: if the batch is of no form in which an input is known.
        """
        if not self.how or float(torch.rand((), generator=generator, dtype=torch.float32)) >= self.share:
            return batch
        if hasattr(batch, "changed"):
            return batch.changed(self._other)
        if isinstance(batch, tuple | list) and batch:
            return type(batch)([self._other(batch[0]), *batch[1:]])
        raise ShapeError(
            f"a batch whose input can be perturbed is a tuple or has changed(), got {type(batch).__name__}."
        )

    def _other(self, x: Any) -> Any:
        how = self.how
        if callable(how):
            return how(x)
        if how is None or not isinstance(x, Tensor | SparseSignal) or x.dim() != 2 or not x.is_floating_point():
            return x
        return x.dropout(float(how), True) if isinstance(x, SparseSignal) else ops.dropout(x, float(how))
