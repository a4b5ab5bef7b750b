"""segment_softmax as it is defined, in plain torch."""

import torch
from torch import Tensor


def segment_softmax(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """exp(score[e]) over the sum of exp(score) in e's segment; see ``edgenet.ops.segment_softmax``."""
    wide = score.float() if score.dtype in (torch.float16, torch.bfloat16) else score
    shape = (num_segments, score.shape[1])
    top = wide.new_full(shape, -torch.inf)  # a constant: what all scores share does not count
    top = top.scatter_reduce(0, index[:, None].expand_as(wide), wide.detach(), "amax")
    top = torch.where(top == -torch.inf, 0, top)  # a segment of which every score is -inf has weights 0, not NaN
    grown = (wide - top[index]).exp()
    total = wide.new_zeros(shape).index_add(0, index, grown)
    return (grown / total.clamp_min(torch.finfo(wide.dtype).tiny)[index]).to(score.dtype)
