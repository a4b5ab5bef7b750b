"""codes_linear as it is defined, in plain torch."""

import torch.nn.functional as F
from torch import Tensor

from edgenet.ops.kernels.codes_linear.packing import from_bytes


def codes_linear(x: Tensor, codes: Tensor, bits: int, levels: Tensor, scale: Tensor, rows: int) -> Tensor:
    """y = x W^T with W = levels[code] scale; see ``edgenet.ops.codes_linear``."""
    code = from_bytes(codes, bits, rows * x.shape[-1]).view(rows, x.shape[-1])
    return F.linear(x, levels.to(x.device, x.dtype)[code] * scale.to(x.dtype).view(-1, 1))
