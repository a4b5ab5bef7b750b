"""segment_softmax through torch_scatter."""

import torch
from torch import Tensor

from edgenet.ops.backend import torch_scatter


def segment_softmax(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """See ``edgenet.ops.segment_softmax``."""
    wide = score.float() if score.dtype in (torch.float16, torch.bfloat16) else score
    scatter = torch_scatter().scatter
    # torch_scatter writes 0 into empty segments and skips NaN in a maximum; exp below brings the NaN back
    top = scatter(wide, index, dim=0, dim_size=num_segments, reduce="max")
    top = torch.where(top.isfinite(), top, 0)
    grown = (wide - top.index_select(0, index)).exp()
    total = scatter(grown, index, dim=0, dim_size=num_segments, reduce="sum")
    return (grown / total.clamp_min(torch.finfo(wide.dtype).tiny).index_select(0, index)).to(score.dtype)
