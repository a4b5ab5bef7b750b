"""attention_v2 as it is defined, in plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.ops.kernels.attention.reference import score_gradient, weighted


def forward(
    source: Tensor, target: Tensor, x: Tensor, u: Tensor, att: Tensor, num_nodes: int, slope: float, dropout: float,
    seed: Tensor | int, added: None = None, factor: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """As GAT's ``forward``; ``u`` (N, H, C) are the signals of the targets."""
    raw, att = _sum(source, target, x, u, att)
    return weighted(source, target, (F.leaky_relu(raw, slope) * att).sum(-1), x, num_nodes, dropout, seed, factor)


def backward(
    source: Tensor, target: Tensor, x: Tensor, u: Tensor, att: Tensor, y: Tensor, top: Tensor, total: Tensor,
    grad: Tensor, slope: float, dropout: float, seed: Tensor | int, added: None = None, factor: Tensor | None = None,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients in ``x``, ``u``, ``att``, nothing and ``factor``."""
    raw, wide = _sum(source, target, x, u, att)
    grown = F.leaky_relu(raw, slope)
    grad_score, grad_x, grad_factor = score_gradient(
        source, target, (grown * wide).sum(-1), x.to(top.dtype), top, total, grad, dropout, seed, factor
    )
    grad_att = (grad_score.unsqueeze(-1) * grown).sum(0)
    inner = grad_score.unsqueeze(-1) * torch.where(raw > 0, wide, slope * wide)
    grad_u = torch.zeros_like(u, dtype=top.dtype, memory_format=torch.contiguous_format).index_add(0, target, inner)
    grad_x = grad_x.index_add(0, source, inner).to(x.dtype)
    return grad_x, grad_u.to(u.dtype), grad_att.to(att.dtype), None, grad_factor


def _sum(source: Tensor, target: Tensor, x: Tensor, u: Tensor, att: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(x.dtype, torch.float32)
    return x[source].to(wide) + u[target].to(wide), att.to(wide)
