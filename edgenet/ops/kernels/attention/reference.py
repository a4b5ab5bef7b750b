"""attention as it is defined, in plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.ops import mask


def forward(
    source: Tensor, target: Tensor, score_source: Tensor, score_target: Tensor | None, x: Tensor, num_nodes: int,
    slope: float, dropout: float, seed: Tensor | int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The output (N, H, C), and of the scores (N, H) the largest and the sum of exp(score - largest); 0 if none is."""
    score = F.leaky_relu(_score(source, target, score_source, score_target), slope)
    return weighted(source, target, score, x, num_nodes, dropout, seed)


def backward(
    source: Tensor, target: Tensor, score_source: Tensor, score_target: Tensor | None, x: Tensor, y: Tensor,
    top: Tensor, total: Tensor, grad: Tensor, slope: float, dropout: float, seed: Tensor | int,
) -> tuple[Tensor, Tensor | None, Tensor]:  # fmt: skip
    """Gradients in ``score_source``, ``score_target`` and ``x``."""
    raw = _score(source, target, score_source, score_target)
    grad_score, grad_x = score_gradient(
        source, target, F.leaky_relu(raw, slope), x, top, total, grad, dropout, seed
    )  # fmt: skip
    grad_score = torch.where(raw > 0, grad_score, slope * grad_score)
    grad_source = torch.zeros_like(score_source, dtype=top.dtype, memory_format=torch.contiguous_format)
    grad_source = grad_source.index_add(0, source, grad_score).to(x.dtype)
    grad_target = None
    if score_target is not None:
        grad_target = torch.zeros_like(top).index_add(0, target, grad_score).to(x.dtype)
    return grad_source, grad_target, grad_x


def weighted(
    source: Tensor, target: Tensor, score: Tensor, x: Tensor, num_nodes: int, dropout: float, seed: Tensor | int
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of x over in-edges, weighted by the softmax of the (E, H) scores; and ``top`` and ``total`` of these."""
    top = score.new_full((num_nodes, score.shape[1]), -torch.inf)
    top = top.scatter_reduce(0, target[:, None].expand_as(score), score.detach(), "amax")
    top = torch.where(top == -torch.inf, 0, top)
    total = torch.zeros_like(top).index_add(0, target, (score - top[target]).exp())
    alpha = mask.applied(_weight(target, score, top, total), dropout, seed)
    y = top.new_zeros((num_nodes, *x.shape[1:])).index_add(0, target, alpha.unsqueeze(-1) * x[source].to(top.dtype))
    return y.to(x.dtype), top, total


def score_gradient(
    source: Tensor, target: Tensor, score: Tensor, x: Tensor, top: Tensor, total: Tensor, grad: Tensor,
    dropout: float, seed: Tensor | int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(E, H) gradient in the scores, and the gradient in ``x`` through the sum alone."""
    wide = top.dtype
    grad, alpha = grad.to(wide), _weight(target, score, top, total)
    kept = mask.applied(alpha, dropout, seed)
    at = grad[target]
    grad_x = torch.zeros_like(x, dtype=wide, memory_format=torch.contiguous_format)
    grad_x = grad_x.index_add(0, source, kept.unsqueeze(-1) * at).to(x.dtype)
    # <grad, y> would be the mean too, but where one weight is all of its row it would not cancel to 0
    weighted_grad = kept * (at * x[source].to(wide)).sum(-1)
    mean = torch.zeros_like(top).index_add(0, target, weighted_grad)
    return weighted_grad - alpha * mean[target], grad_x


def _weight(target: Tensor, score: Tensor, top: Tensor, total: Tensor) -> Tensor:
    return (score - top[target]).exp() / total.clamp_min(torch.finfo(total.dtype).tiny)[target]


def _score(source: Tensor, target: Tensor, score_source: Tensor, score_target: Tensor | None) -> Tensor:
    wide = torch.promote_types(score_source.dtype, torch.float32)
    score = score_source[source].to(wide)
    return score if score_target is None else score + score_target[target].to(wide)
