"""Scores beside targets: which shapes go together."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet.errors import ShapeError


def aligned(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one shape, where they differ by a last axis of size 1.

    Raises:
        ShapeError: if they differ otherwise.
    """
    if scores.shape == (*target.shape, 1):
        scores = scores.squeeze(-1)
    elif target.shape == (*scores.shape, 1):
        target = target.squeeze(-1)
    if scores.shape != target.shape:
        raise ShapeError(
            f"the model says {tuple(scores.shape)} and the targets are {tuple(target.shape)}; values are compared one "
            f"by one. Hand in a loss and a metric of your own, or another target."
        )
    return scores, target


def classes(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, C) scores and (rows,) classes, however many axes rows have.

    Raises:
        ShapeError: if there is not one class for each row of scores.
    """
    if target.dim() == scores.dim() and target.shape[-1] == 1:
        target = target.squeeze(-1)
    if target.shape != scores.shape[:-1]:
        raise ShapeError(
            f"the model says {tuple(scores.shape)} and the classes are {tuple(target.shape)}; one class for each row "
            f"of scores is wanted."
        )
    if scores.shape[-1] == 1:
        raise ShapeError(
            "the model gives one score a row, and two classes or more need as many scores. For yes or no, make the "
            "targets floating point, and hand in loss='binary_cross_entropy' and metric='auroc' or another."
        )
    return (scores, target) if scores.dim() == 2 else (scores.flatten(0, -2), target.flatten())


def names_classes(target: Tensor) -> bool:
    """Whether targets are numbers of classes; else they are truths, or values."""
    return not target.is_floating_point() and target.dtype != torch.bool
