"""spmm through torch_scatter."""

import torch
from torch import Tensor

from edgenet.ops.backend import torch_scatter


def spmm(source: Tensor, target: Tensor, weight: Tensor | None, x: Tensor, num_nodes: int) -> Tensor:
    """See ``edgenet.ops.spmm``."""
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    message = x.index_select(0, source)
    message = (message if weight is None else weight.unsqueeze(-1) * message).to(wide)
    return torch_scatter().scatter(message, target, dim=0, dim_size=num_nodes, reduce="sum").to(x.dtype)
