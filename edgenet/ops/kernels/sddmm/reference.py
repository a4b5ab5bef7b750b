"""sddmm as it is defined, in plain torch."""

import torch
from torch import Tensor


def sddmm(source: Tensor, target: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """w[e, h] = <a[target of e, h], b[source of e, h]>; see ``edgenet.ops.sddmm``."""
    wide = torch.float32 if a.dtype in (torch.float16, torch.bfloat16) else a.dtype
    return (a[target].to(wide) * b[source].to(wide)).sum(-1).to(a.dtype)
