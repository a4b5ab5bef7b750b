"""Slow, obvious definitions: loops over edges, and dense N x N products."""

import numpy as np
import torch
from torch import Tensor

from edgenet.graph import Graph


def spmm(graph: Graph, weight: Tensor, x: Tensor) -> Tensor:
    """y[i, h] = sum over edges (j -> i) of weight[e, h] x[j, h], edge by edge."""
    heads = max(weight.shape[1], x.shape[1])
    weight, x = weight.expand(-1, heads), x.expand(-1, heads, -1)
    rows = [torch.zeros(heads, x.shape[2], dtype=x.dtype) for _ in range(graph.num_nodes)]
    for e, (j, i) in enumerate(graph.edge_index.t().tolist()):
        rows[i] = rows[i] + weight[e, :, None] * x[j]
    return torch.stack(rows) if rows else torch.zeros(0, heads, x.shape[2], dtype=x.dtype)


def sddmm(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """w[e, h] = <a[i, h], b[j, h]> for e = (j -> i), edge by edge."""
    rows = [(a[i] * b[j]).sum(-1) for j, i in graph.edge_index.t().tolist()]
    return torch.stack(rows) if rows else a.new_zeros(0, a.shape[1])


def segment_softmax(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """torch.softmax over the rows of each segment; zeros where all are -inf."""
    out = torch.zeros_like(score)
    for segment in range(num_segments):
        mine = (index == segment).nonzero().squeeze(1)
        for h in range(score.shape[1]):
            if len(mine) and not (score[mine, h] == -torch.inf).all():
                column = torch.zeros_like(score).index_put((mine, torch.tensor(h)), torch.softmax(score[mine, h], 0))
                out = out + column
    return out


def matrix(graph: Graph, weight: Tensor) -> np.ndarray:
    """The dense (N, N) operator: entry [i, j] is the sum of the weights of the edges from j to i."""
    dense = np.zeros((graph.num_nodes, graph.num_sources))
    for (j, i), w in zip(graph.edge_index.t().tolist(), weight.tolist(), strict=True):
        dense[i, j] += w
    return dense


def normalised(adjacency: np.ndarray, normalisation: str | None) -> np.ndarray:
    """A, D^(-1/2) A D^(-1/2) ("sym") or D^(-1) A ("rw"), with D the row sums and 1 / 0 = 0."""
    if normalisation is None:
        return adjacency
    degree = adjacency.sum(1)
    with np.errstate(divide="ignore"):
        inverse = np.where(degree == 0, 0, 1 / degree)
    if normalisation == "rw":
        return np.diag(inverse) @ adjacency
    return np.diag(np.sqrt(inverse)) @ adjacency @ np.diag(np.sqrt(inverse))


# --- comparing --------------------------------------------------------------------------------------------------------
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def assert_near(got: Tensor, want: Tensor, what: str = "output", tolerance: float | None = None) -> None:
    """The root mean square of the difference, over that of ``want``, is within the tolerance of the dtype.

    Below 1e-3 the size of ``want`` says nothing: gradients of a softmax cancel to rounding errors.
    """
    assert got.shape == want.shape and got.dtype == want.dtype, (what, got.shape, want.shape, got.dtype, want.dtype)
    if got.numel() == 0:
        return
    assert got.isfinite().all() or not want.isfinite().all(), f"{what} is not finite: {got}"
    error, size = (v.double().square().mean().sqrt().item() for v in (got - want, want))
    bound = TOLERANCE[want.dtype] if tolerance is None else tolerance
    assert error <= bound * max(size, 1e-3), f"{what}: RMS of the difference {error:.2e}, of the values {size:.2e}"


def assert_same_function(ours, oracle, tensors: list[Tensor], tolerance: float | None = None) -> None:
    """Two functions of tensors agree in value and in the gradient of a random projection in every tensor."""
    results = []
    for function in (ours, oracle):
        leaves = [t.detach().requires_grad_() for t in tensors]
        y = function(*leaves)
        direction = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
        grads = [None] * len(leaves)
        if y.requires_grad:
            grads = torch.autograd.grad((y * direction).sum(), leaves, allow_unused=True)
        grads = [torch.zeros_like(t) if g is None else g for g, t in zip(grads, leaves, strict=True)]
        results.append((y.detach(), grads))
    (y, grads), (wanted, wanted_grads) = results
    assert_near(y, wanted, "output", tolerance)
    for i, (grad, want) in enumerate(zip(grads, wanted_grads, strict=True)):
        assert_near(grad, want, f"gradient in input {i}", tolerance)
