"""Distill: the callback by which a model learns from the scores of a larger one, beside its own loss."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.compress.arguments import number
from edgenet.compress.callbacks import Callback, Training
from edgenet.compress.distill import distillation
from edgenet.compress.perturb import Perturb
from edgenet.errors import ConfigError, PlanError, ShapeError
from edgenet.text import did_you_mean


def _labels(scores: Tensor, targets: Tensor, temperature: float) -> Tensor:
    return temperature**2 * F.binary_cross_entropy_with_logits(scores / temperature, (targets / temperature).sigmoid())


#: What the two models' scores are compared by: (scores, targets, temperature) -> a scalar, by what scores are of.
COMPARISONS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "class": distillation,
    "multilabel": _labels,
    "value": lambda scores, targets, temperature: F.mse_loss(scores, targets),
}


class Distill(Callback):
    """Adds weight * distance(scores of the model, scores of the teacher) to the loss of every step.

    The teacher reads the batch of the step, in evaluation mode and without gradients; it is put into that mode, and
    stays in it. Where all steps have the same batch, it is asked once.

    Args:
        teacher: a module that takes the same batches; the folder of a saved one, where a configuration is read; or the
            scores, (rows, outputs), where all steps have one batch.
        weight: of the distance in the loss, at least 0.
        temperature: above 0; see ``distillation``. Values have none.
        rows: which rows of the output count, as an index or a mask. Default: all nodes but those of the data's test
            mask, with a label or without, so that what is tested is no node that was learned by heart; all rows, where
            there is no such mask, or with "all".
        target: what scores are of. "class": one of several, by ``distillation``. "multilabel": several at once, by the
            cross-entropy of each. "value": numbers, by their squared distance.

    Raises:
        PlanError: if an argument is out of range; in ``on_start`` if the teacher has parameters that the model
            trains.
        ConfigError: in ``on_start``, if the teacher is a folder that nobody has read.
        ShapeError: in ``penalty``, if the scores do not fit each other, or are for another batch.

    Example:
        >>> teacher, model = edgenet.NodeClassifier(34, 4), edgenet.NodeClassifier(34, 4, hidden_channels=8)
        >>> rule = edgenet.compress.Distill(teacher, weight=0.5, temperature=2.0)
        >>> result = edgenet.fit(model, edgenet.data.load("karate"), callbacks=[rule], epochs=2, progress=False)
    """

    takes_models = ("teacher",)

    def __init__(
        self,
        teacher: nn.Module | Tensor | str | os.PathLike[str],
        weight: float = 1.0,
        temperature: float = 1.0,
        rows: Tensor | Sequence[int] | Sequence[bool] | str | None = None,
        target: str = "class",
        perturb: float | Callable[[Any], Any] | None = None,
    ) -> None:
        if isinstance(teacher, os.PathLike):
            teacher = str(teacher)
        if not isinstance(teacher, nn.Module | Tensor | str):
            kind = type(teacher).__name__
            raise PlanError(f"Distill: the teacher is a module, its folder or a tensor of its scores, got a {kind}.")
        self.weight = number("Distill", "weight", weight)
        self.temperature = number("Distill", "temperature", temperature, above=True)
        if not isinstance(target, str) or target not in COMPARISONS:
            meant = did_you_mean(target, COMPARISONS)
            raise PlanError(f"Distill: target is one of {', '.join(COMPARISONS)}, got {target!r}.{meant}")
        self.teacher, self.target = teacher, target
        self.rows = None if rows is None or (isinstance(rows, str) and rows == "all") else _index(rows)
        self.known_only = rows is None
        self.perturb = Perturb(perturb)
        if perturb is not None and isinstance(teacher, Tensor):
            raise PlanError("Distill: scores are of the data as they are; to perturb hand in the teacher itself.")
        self._asked: tuple[Any, Tensor] | None = None  # the last batch, held so that no other takes its place
        self._perturbed: Any = None

    def on_start(self, training: Training) -> None:
        self._asked = None
        like = next(training.model.parameters(), None)
        if isinstance(self.teacher, str):
            raise ConfigError(f"Distill: nobody has read the teacher {self.teacher!r}: hand in the module.")
        if isinstance(self.teacher, nn.Module):
            own = {id(parameter) for parameter in training.model.parameters() if parameter.requires_grad}
            if self.teacher is training.model or any(id(parameter) in own for parameter in self.teacher.parameters()):
                raise PlanError(
                    "Distill: the teacher is the model itself, or has parameters that it trains, and would learn too; "
                    "take a copy.deepcopy."
                )
            self.teacher = beside(self.teacher, like).eval()
        elif like is not None:
            self.teacher = self.teacher.detach().to(like.device)

    def reads(self, training: Training, batch: Any) -> Any:
        other = self.perturb(batch)
        self._perturbed = None if other is batch else other
        return other

    def penalty(self, training: Training) -> Tensor:
        scores, targets = training.output, self._scores(training)
        if not isinstance(scores, Tensor) or scores.dim() == 0:
            raise ShapeError(f"Distill: a model that learns by its scores gives a tensor, got {type(scores).__name__}.")
        if scores.shape != targets.shape:
            raise ShapeError(
                f"Distill: the model gives scores of shape {tuple(scores.shape)}, and the teacher of "
                f"{tuple(targets.shape)}."
            )
        rows = self.rows
        if self.known_only:
            known = known_rows(training.batch)
            rows = known if known is not None and len(known) == len(scores) else None
        if rows is not None:
            rows = rows.to(scores.device)
            try:
                scores, targets = scores[rows], targets[rows]
            except IndexError as error:
                raise ShapeError(f"Distill: rows do not fit {len(scores)} rows of scores: {error}.") from error
        if not scores.numel():
            raise ShapeError(f"Distill: there are no scores to compare, of shape {tuple(scores.shape)}.")
        if self.target == "class" and scores.dim() < 2:
            raise ShapeError(
                f"Distill: scores of classes are rows of one for each, got {tuple(scores.shape)}; for numbers say "
                f"target='value'."
            )
        if self.target == "class":
            scores, targets = scores.flatten(0, -2), targets.flatten(0, -2)
        if scores.element_size() < 4:
            scores = scores.float()  # at half precision a softmax and its mean lose what small models are to learn
        return self.weight * COMPARISONS[self.target](scores, targets.to(scores.dtype), self.temperature)

    def _scores(self, training: Training) -> Tensor:
        """What the teacher says of the batch of this step."""
        batch = training.batch
        if self._asked is not None and self._asked[0] is batch:
            return self._asked[1]
        teacher, told = self.teacher, None
        if isinstance(teacher, Tensor):
            if self._asked is not None:
                raise ShapeError(
                    "Distill: scores are for one batch, and there are several: hand in the teacher itself."
                )
            told = teacher
        elif isinstance(teacher, nn.Module):
            with torch.no_grad():
                told = training.call_model(teacher, batch)
        if not isinstance(told, Tensor):
            raise ShapeError(f"Distill: a teacher gives a tensor of scores, got {type(told).__name__}.")
        if batch is not self._perturbed:
            self._asked = (batch, told)
        return told


def _index(rows: Any) -> Tensor:
    """Numbers of rows, or a mask of them.

    Raises:
        PlanError: if they are neither.
    """
    try:
        index = torch.as_tensor(rows)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PlanError(f"Distill: rows are numbers of rows or a mask, got {rows!r}.") from error
    whole = index.dtype == torch.bool or not (index.is_floating_point() or index.is_complex())
    if index.dim() != 1 or not len(index) or not whole:
        raise PlanError(f"Distill: rows are some numbers of rows or a mask, got {tuple(index.shape)} of {index.dtype}.")
    return index


def known_rows(batch: Any) -> Tensor | None:
    """(N,) which nodes are in no test mask of a batch's data; None where there is no such mask."""
    whole = getattr(batch, "whole", None)
    kind = getattr(batch, "kind", None)
    store = whole[kind] if kind is not None else whole
    mask = store.get("test_mask") if hasattr(store, "get") else None
    return ~mask.bool() if isinstance(mask, Tensor) and mask.dim() == 1 else None


def beside(teacher: nn.Module, like: Tensor | None) -> nn.Module:
    """The teacher where the model is and in its dtype; a copy, where that is not so already."""
    tensors = [t for t in (*teacher.parameters(), *teacher.buffers()) if t.is_floating_point() or t.is_complex()]
    if like is None or all(t.device == like.device and t.dtype.to_real() == like.dtype.to_real() for t in tensors):
        return teacher
    return deepcopy(teacher).to(like.device, like.dtype)
