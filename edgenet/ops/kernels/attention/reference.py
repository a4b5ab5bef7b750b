"""attention as it is defined, in plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.ops import mask


def forward(
    source: Tensor, target: Tensor, score_source: Tensor, score_target: Tensor | None, x: Tensor, num_nodes: int,
    slope: float, dropout: float, seed: Tensor | int, added: Tensor | None = None, factor: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The output (N, H, C), and of the scores (N, H) the largest and the sum of exp(score - largest); 0 if none is."""
    score = F.leaky_relu(_score(source, target, score_source, score_target, added), slope)
    return weighted(source, target, score, x, num_nodes, dropout, seed, factor)


def backward(
    source: Tensor, target: Tensor, score_source: Tensor, score_target: Tensor | None, x: Tensor, y: Tensor,
    top: Tensor, total: Tensor, grad: Tensor, slope: float, dropout: float, seed: Tensor | int,
    added: Tensor | None = None, factor: Tensor | None = None,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients in ``score_source``, ``score_target``, ``x``, ``added`` and ``factor``."""
    raw = _score(source, target, score_source, score_target, added)
    grad_score, grad_x, grad_factor = score_gradient(
        source, target, F.leaky_relu(raw, slope), x, top, total, grad, dropout, seed, factor
    )  # fmt: skip
    grad_score = torch.where(raw > 0, grad_score, slope * grad_score)
    grad_source = torch.zeros_like(score_source, dtype=top.dtype, memory_format=torch.contiguous_format)
    grad_source = grad_source.index_add(0, source, grad_score).to(x.dtype)
    grad_target = None
    if score_target is not None:
        grad_target = torch.zeros_like(top).index_add(0, target, grad_score).to(x.dtype)
    grad_added = None if added is None else grad_score.to(added.dtype)
    return grad_source, grad_target, grad_x, grad_added, grad_factor


def weighted(
    source: Tensor, target: Tensor, score: Tensor, x: Tensor, num_nodes: int, dropout: float, seed: Tensor | int,
    factor: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The sum of x over in-edges, weighted by the softmax of the (E, H) scores times ``factor``; and ``top`` and
    ``total`` of these scores."""
    top = score.new_full((num_nodes, score.shape[1]), -torch.inf)
    top = top.scatter_reduce(0, target[:, None].expand_as(score), score.detach(), "amax")
    top = torch.where(top == -torch.inf, 0, top)
    total = torch.zeros_like(top).index_add(0, target, (score - top[target]).exp())
    alpha = mask.applied(_weight(target, score, top, total), dropout, seed)
    alpha = alpha if factor is None else alpha * factor.to(top.dtype)
    y = top.new_zeros((num_nodes, *x.shape[1:])).index_add(0, target, alpha.unsqueeze(-1) * x[source].to(top.dtype))
    return y.to(x.dtype), top, total


def score_gradient(
    source: Tensor, target: Tensor, score: Tensor, x: Tensor, top: Tensor, total: Tensor, grad: Tensor,
    dropout: float, seed: Tensor | int, factor: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """(E, H) gradient in the scores, the gradient in ``x`` through the sum alone, and that in ``factor``."""
    wide = top.dtype
    grad, alpha = grad.to(wide), _weight(target, score, top, total)
    kept = mask.applied(alpha, dropout, seed)
    at = grad[target]
    inner = (at * x[source].to(wide)).sum(-1)
    grad_factor = None if factor is None else (kept * inner).to(factor.dtype)
    kept = kept if factor is None else kept * factor.to(wide)
    grad_x = torch.zeros_like(x, dtype=wide, memory_format=torch.contiguous_format)
    grad_x = grad_x.index_add(0, source, kept.unsqueeze(-1) * at).to(x.dtype)
    # <grad, y> would be the mean too, but where one weight is all of its row it would not cancel to 0
    weighted_grad = kept * inner
    mean = torch.zeros_like(top).index_add(0, target, weighted_grad)
    return weighted_grad - alpha * mean[target], grad_x, grad_factor


def _weight(target: Tensor, score: Tensor, top: Tensor, total: Tensor) -> Tensor:
    return (score - top[target]).exp() / total.clamp_min(torch.finfo(total.dtype).tiny)[target]


def _score(
    source: Tensor, target: Tensor, score_source: Tensor, score_target: Tensor | None, added: Tensor | None
) -> Tensor:
    wide = torch.promote_types(score_source.dtype, torch.float32)
    score = score_source[source].to(wide)
    score = score if added is None else score + added.to(wide)
    return score if score_target is None else score + score_target[target].to(wide)
