"""segment_softmax: the softmax over each segment of rows."""

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.ops import backend
from edgenet.ops.segment_softmax import reference, scatter

backend.register("segment_softmax", reference=reference.segment_softmax, scatter=scatter.segment_softmax)


def segment_softmax(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """The softmax over the rows that share a segment; with ``index = graph.target``, over each node's in-edges.

    p[e, h] = exp(score[e, h]) / sum over e' with index[e'] = index[e] of exp(score[e', h])

    Args:
        score: (E, H). A score of -inf gets weight 0; a segment of which every score is -inf gets zeros. NaN spreads
            over its segment and head.
        index: (E,) segment of every row, each in [0, num_segments). Any order.
        num_segments: number of segments; some may be empty.

    Returns:
        (E, H).

    Raises:
        ShapeError: if ``score`` is not (E, H), or ``index`` has another length.
    """
    if score.dim() != 2 or index.shape != score.shape[:1]:
        raise ShapeError(
            f"segment_softmax wants scores (E, H) and one segment a row, got {tuple(score.shape)} and "
            f"{tuple(index.shape)}."
        )
    return _segment_softmax(score, index, num_segments)


@torch.library.custom_op("edgenet::segment_softmax", mutates_args=())
def _segment_softmax(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    # contiguous in, contiguous out, as the fake below says
    return backend.choose("segment_softmax")(score.contiguous(), index, num_segments)


@_segment_softmax.register_fake
def _(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    return torch.empty_like(score, memory_format=torch.contiguous_format)


def _keep(ctx, inputs, output) -> None:
    _, index, ctx.num_segments = inputs
    ctx.save_for_backward(index, output)


def _backward(ctx, grad):
    index, p = ctx.saved_tensors
    wide = torch.float32 if p.dtype in (torch.float16, torch.bfloat16) else p.dtype
    weighted = (grad * p).to(wide)
    mean = weighted.new_zeros((ctx.num_segments, p.shape[1])).index_add(0, index, weighted)
    return (weighted - p * mean[index]).to(p.dtype), None, None


_segment_softmax.register_autograd(_backward, setup_context=_keep)
