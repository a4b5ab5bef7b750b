"""unified_linear as it is defined, in plain torch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.ops.kernels.codes_linear.packing import from_bytes


def unified_linear(
    x: Tensor, magnitudes: Tensor, signs: Tensor, block: tuple[int, int], shape: tuple[int, int]
) -> Tensor:
    """y = x W^T with W = sign |magnitude| in blocks; see ``edgenet.ops.unified_linear``."""
    (rows, columns), (m, n) = block, shape
    down, across = -(-m // rows), -(-n // columns)
    positive = from_bytes(signs, 1, down * across * rows * columns).view(down, across, rows, columns) > 0
    size = magnitudes.to(x.dtype).abs().view(down, across, 1, 1)
    blocks = torch.where(positive, size, -size)
    return F.linear(x, blocks.transpose(1, 2).reshape(down * rows, across * columns)[:m, :n])
