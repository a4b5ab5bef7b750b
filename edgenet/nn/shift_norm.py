"""ShiftBatchNorm1d and ShiftBatchNorm2d: batch norms whose products are shifts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgenet.errors import ShapeError
from edgenet.structured.exponents import power_of_two
from edgenet.structured.quantised import straight


def _ap2(x: Tensor) -> Tensor:
    """The nearest power of two by ratio, with the gradient of x."""
    return straight(power_of_two(x).to(x.dtype), x)


class _ShiftBatchNorm(_BatchNorm):
    """y = AP2(weight) AP2(1 / sqrt(v + eps)) (x - mean) + bias, with v = mean((x - mean) AP2(x - mean)): AP2(x) is
    sign(x) 2^round(log2 |x|), so that every product is a shift (Courbariaux et al. 2016, algorithm 3).

    Gradients go straight through AP2. Arguments, parameters, running statistics and modes are torch's, and whatever
    works on torch's batch norms works on this, ``recalibrate_`` for one; ``running_var`` follows v. What torch's
    ``SyncBatchNorm.convert_sync_batchnorm`` makes of it is an ordinary batch norm, though. On a processor nothing is
    faster by it.

    Raises:
        ShapeError: in training, if there is one value a channel, whose variance is 0.

    Example:
        >>> edgenet.nn.ShiftBatchNorm1d(3)(x).shape
        torch.Size([4, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape; (B, C) as well in one dimension."""
        self._check_input_dim(input)
        # as torch's do: statistics of short numbers in float32, and their dtype for what comes out
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        if self.track_running_stats and self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.training or self.running_mean is None or self.running_var is None:
            mean, variance = self._of_batch(x)
        else:
            mean, variance = self.running_mean, self.running_var
        shape = (1, -1, *[1] * (x.dim() - 2))
        gain = _ap2((variance + self.eps).rsqrt())
        if self.weight is not None:
            gain = gain * _ap2(self.weight)
        y = (x - mean.view(shape)) * gain.view(shape)
        return (y if self.bias is None else y + self.bias.view(shape)).to(input.dtype)

    def _of_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and v of a batch, which running statistics follow in training."""
        axes = [0, *range(2, x.dim())]
        count = x.numel() // max(1, x.shape[1])
        if count < 2:
            raise ShapeError(
                f"{type(self).__name__} wants two values a channel or more to train, got {tuple(x.shape)}: take larger "
                f"batches, or eval mode."
            )
        mean = x.mean(axes)
        centred = x - mean.view(1, -1, *[1] * (x.dim() - 2))
        variance = (centred * _ap2(centred)).mean(axes)
        if self.training and self.running_mean is not None and self.running_var is not None:
            share = self.momentum
            if share is None:  # the plain mean of all batches
                share = 1.0 / float(self.num_batches_tracked) if self.num_batches_tracked is not None else 0.0
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
                unbiased = variance * (count / (count - 1))  # as torch's are
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)
        return mean, variance


class ShiftBatchNorm1d(_ShiftBatchNorm, nn.BatchNorm1d):
    __doc__ = _ShiftBatchNorm.__doc__


class ShiftBatchNorm2d(_ShiftBatchNorm, nn.BatchNorm2d):
    __doc__ = _ShiftBatchNorm.__doc__
