"""distillation: the loss of a small model that learns from the scores of a large one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import ShapeError


def distillation(scores: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 times the mean over rows of KL(softmax(targets / T) || softmax(scores / T)). Hinton, Vinyals, Dean 2015.

    A high temperature matches all scores alike: in the limit it is their squared distance, each row less its mean, over
    2 C. A low one asks for the same order at the top, and fits models whose scores lie close together. The factor keeps
    gradients of one size.

    Args:
        scores: (B, C) of the model that learns.
        targets: (B, C) of the model that teaches; carries no gradient.
        temperature: T > 0.

    Raises:
        ShapeError: if the shapes differ, or T is not positive.

    Example:
        >>> edgenet.compress.distillation(torch.zeros(4, 2), torch.zeros(4, 2), temperature=2.0).item()
        0.0
    """
    if scores.shape != targets.shape or scores.dim() != 2 or not temperature > 0:
        raise ShapeError(
            f"distillation takes two (B, C) tensors of scores and a temperature above 0, got {tuple(scores.shape)}, "
            f"{tuple(targets.shape)} and {temperature}."
        )
    learned = (scores / temperature).log_softmax(1)
    taught = (targets.detach() / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(learned, taught, reduction="batchmean", log_target=True)
