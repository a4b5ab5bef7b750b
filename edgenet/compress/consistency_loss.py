"""consistency: how far the distributions of several stochastic passes lie from their sharpened mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgenet.errors import ShapeError


def consistency(scores: Sequence[Tensor], temperature: float = 0.5) -> Tensor:
    """The mean over passes and rows of || p_s - q ||^2, with p_s = softmax(scores_s) and q the sharpened mean of them::

        q_c = m_c^(1/T) / sum over classes d of m_d^(1/T),   m = mean over passes of p_s

    q carries no gradient. Feng et al. 2020 (GRAND), eq. 6-8; the mean over rows is of their code, eq. 8 has the sum.

    Args:
        scores: (..., C) of every pass, C at least 2.
        temperature: T > 0; the lower, the nearer q is to one class.

    Raises:
        ShapeError: if there is no pass, passes differ in shape, or there are not two classes; or T is not positive.

    Example:
        >>> edgenet.compress.consistency([torch.zeros(4, 2), torch.zeros(4, 2)]).item()
        0.0
    """
    shapes = {tuple(one.shape) for one in scores}
    shape = next(iter(shapes), ())
    if len(shapes) != 1 or len(shape) < 2 or shape[-1] < 2 or not temperature > 0:
        raise ShapeError(
            f"consistency takes scores (..., C) of two classes or more, of one shape in all passes, and a temperature "
            f"above 0; got {sorted(shapes)} and {temperature}."
        )
    logs = torch.stack(list(scores)).log_softmax(-1)
    mean = logs.logsumexp(0)  # less a constant, which the next line takes out: small shares keep their digits
    sharp = (mean / temperature).softmax(-1).detach()
    return (logs.exp() - sharp).square().sum(-1).mean()
