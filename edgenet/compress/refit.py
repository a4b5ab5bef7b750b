"""refit_: a structured matrix fitted to what a dense weight does to given features, not to the weight itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.structured import LowRank, SparseSignal, StructuredMatrix
from edgenet.structured.quantised import Quantised
from edgenet.structured.svd import double, truncated_svd


def refit_(matrix: StructuredMatrix, weight: Tensor, x: Tensor | SparseSignal, steps: int = 100) -> float:
    """Make X W'^T near to X W^T, in place: the projection that counts errors where the features are.

        minimise ||X (W' - W)^T||_F over the members W' of the family, from the W' that is there,

    which is ||(W' - W) C^{1/2}||_F with the Gram matrix C = X^T X. Of low rank the minimum is known, V V^T W with V the
    leading right singular vectors of X W^T. For other families L-BFGS looks for one, which is deterministic and may end
    in a local minimum; never worse than the start. A mask stays as it is.

    Args:
        matrix: W', (m, n); mostly the projection of W. Frozen parameters stay. Of a quantised one the latents are
            fitted, as if they were not rounded.
        weight: (m, n), W, real.
        x: (N, n) features, dense, sparse, or a ``SparseSignal``.
        steps: of L-BFGS, at most.

    Returns:
        ||X (W' - W)^T|| / ||X W^T|| afterwards; 0 where both are 0.

    Raises:
        ShapeError: if the sizes do not fit each other, or the weight or a feature is not finite.

    Example:
        >>> weight, signals = torch.randn(8, 3), torch.randn(20, 3)
        >>> matrix = edgenet.structured.LowRank.from_dense(weight, rank=1)
        >>> error = edgenet.compress.refit_(matrix, weight, signals, steps=5)
    """
    if not isinstance(x, SparseSignal) and x.layout != torch.strided:
        x = SparseSignal.of(x)
    if tuple(weight.shape) != tuple(matrix.shape) or x.dim() != 2 or x.shape[1] != weight.shape[1]:
        raise ShapeError(
            f"a {tuple(matrix.shape)} matrix is refitted to a weight of that shape on (N, {matrix.shape[1]}) features, "
            f"got {tuple(weight.shape)} and {tuple(x.shape)}."
        )
    weight = weight.detach()
    target = _times(x, weight)
    norm = float(target.norm())
    if not math.isfinite(norm):
        raise ShapeError("a matrix is refitted to finite products of weight and features, and some are not finite.")

    def error(of: StructuredMatrix) -> Tensor:
        return (_times(x, of.to_dense()) - target).norm() / (norm or 1.0)

    with torch.no_grad():
        before = float(error(matrix))
    inner = matrix.base if isinstance(matrix, Quantised) and matrix.follows_base else matrix
    trained = [p for p in inner.parameters() if p.requires_grad]
    if not trained or before == 0:
        return before
    start = [p.detach().clone() for p in trained]
    if isinstance(inner, LowRank) and len(trained) == 2:
        _nearest_(inner, weight, target)
    else:
        _descend_(trained, lambda: error(inner).square(), steps)
    with torch.no_grad():
        after = float(error(matrix))
        if after <= before:
            return after
        for p, old in zip(trained, start, strict=True):  # rounding, where the start is as good as it gets
            p.copy_(old)
    return before


def _times(x: Tensor | SparseSignal, weight: Tensor) -> Tensor:
    return x.times(weight) if isinstance(x, SparseSignal) else x @ weight.mT


@torch.no_grad()
def _nearest_(matrix: LowRank, weight: Tensor, target: Tensor) -> None:
    exact = double(weight)
    # the Gram matrix of the outputs is (m, m), and its eigenvectors are the right singular vectors of X W^T
    left = truncated_svd(double(target).mT @ double(target), matrix.rank)[0]
    right = left.mT @ exact
    even = (right.norm() / left.norm().clamp_min(1e-300)).sqrt().clamp_min(1e-150)  # both sides alike, for the steps
    missing = matrix.rank - left.shape[1]
    matrix.left.copy_(F.pad(left * even, (0, missing)))
    matrix.right.copy_(F.pad(right / even, (0, 0, 0, missing)))


def _descend_(trained: list[Tensor], loss: Callable[[], Tensor], steps: int) -> None:
    optimizer = torch.optim.LBFGS(
        trained, max_iter=steps, history_size=20, line_search_fn="strong_wolfe", tolerance_change=0, tolerance_grad=0
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        for p in trained:
            if p.grad is not None:
                p.grad = p.grad.contiguous()  # LBFGS flattens gradients by view
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    optimizer.zero_grad(set_to_none=True)
