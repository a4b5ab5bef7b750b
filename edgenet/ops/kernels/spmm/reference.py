"""spmm as it is defined, in plain torch."""

import torch
from torch import Tensor


def spmm(source: Tensor, target: Tensor, weight: Tensor | None, x: Tensor, num_nodes: int) -> Tensor:
    """y[i, h] = sum over edges e = (j -> i) of weight[e, h] * x[j, h]; see ``edgenet.ops.spmm``."""
    message = x[source] if weight is None else weight.unsqueeze(-1) * x[source]
    # half precision is summed in float32: a sum of thousands of bfloat16 numbers keeps no digits
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    total = message.new_zeros((num_nodes, *x.shape[1:]), dtype=wide)
    return total.index_add(0, target, message.to(wide)).to(x.dtype)
