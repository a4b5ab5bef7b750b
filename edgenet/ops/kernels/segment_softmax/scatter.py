"""segment_softmax through torch_scatter."""

import torch
from torch import Tensor

from edgenet.ops.backend import torch_scatter


def segment_softmax(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """See ``edgenet.ops.segment_softmax``."""
    wide = score.float() if score.dtype in (torch.float16, torch.bfloat16) else score
    # torch's own maximum: torch_scatter's takes finfo.min for an empty segment, skips NaN, and is slower
    top = wide.new_full((num_segments, score.shape[1]), -torch.inf)
    top = top.scatter_reduce(0, index[:, None].expand_as(wide), wide, "amax")
    top = torch.where(top == -torch.inf, 0, top)
    grown = (wide - top.index_select(0, index)).exp()
    total = torch_scatter().scatter(grown, index, dim=0, dim_size=num_segments, reduce="sum")
    return (grown / total.clamp_min(torch.finfo(wide.dtype).tiny).index_select(0, index)).to(score.dtype)
