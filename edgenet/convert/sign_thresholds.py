"""A batch norm and a sign after a product of signs, as thresholds of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgenet.errors import ConversionError

_ALWAYS = -(2**31)  # a threshold that every int32 reaches


@torch.no_grad()
def thresholds(
    scale: Tensor, bias: Tensor | None, between: Sequence[nn.Module], most: int, places: int
) -> tuple[Tensor, Tensor]:
    """When scale s + bias, taken through some layers, is not negative, for whole numbers s from -most to most.

    For a batch norm that is s >= mu - beta sigma / gamma for gamma > 0, <= for gamma < 0, a constant for gamma = 0,
    with the bound rounded up or down (Hubara et al. 2016). No formula is evaluated here: the layers themselves are
    asked, at the whole numbers between which the sign changes, and so give the very decision that they give in the
    network.

    Args:
        scale, bias: (n,) of the product; scale is not negative.
        between: layers that act number by number, channel by channel, and never turn round: batch norms in ``eval``
            mode, say.
        most: of a product.
        places: how many axes of places they expect behind the channels.

    Returns:
        least (n,) int32 and flip (n,) bool: the sign is +1 where (s >= least) XOR flip.

    Raises:
        ConversionError: if a sign is that of NaN.
    """

    def is_positive(s: Tensor) -> Tensor:
        value = scale * s.to(scale.dtype)
        value = value if bias is None else value + bias
        value = value.reshape(1, -1, *[1] * places)
        for layer in between:
            value = layer(value)
        if value.isnan().any():
            channel = int(value.isnan().flatten().nonzero()[0])
            raise ConversionError(
                f"between a product of signs and the next sign, channel {channel} is NaN: look at the statistics of "
                f"{', '.join(type(layer).__name__ for layer in between)}."
            )
        return value.flatten() >= 0

    low = torch.full(scale.shape, -most, dtype=torch.int64, device=scale.device)
    high = -low
    first, last = is_positive(low), is_positive(high)
    while ((high - low) > 1).any():
        middle = (low + high) // 2
        same = is_positive(middle) == first
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    least = torch.where(first == last, _ALWAYS, high).to(torch.int32)
    return least, torch.where(first == last, ~first, first)
