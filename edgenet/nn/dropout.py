"""Dropout: torch's module, with edgenet's masks."""

from __future__ import annotations

from torch import Tensor, nn

from edgenet import ops


class Dropout(nn.Dropout):
    """``torch.nn.Dropout`` by ``ops.dropout``: no mask is kept, and on a processor it costs little more than a copy.

    Whatever looks for ``torch.nn.Dropout`` finds it, p may be changed by hand, and ``torch.fx`` leaves it whole, so
    that a traced model drops in training and not in eval mode.

    Args:
        p: probability in [0, 1] of dropping a number in training.
        inplace: whether the input is overwritten.

    Example:
        >>> drop = edgenet.nn.Dropout(0.5)
        >>> torch.equal(drop(x) == 0, drop(x) == 0)  # a mask of its own for every call
        False
        >>> torch.equal(drop.eval()(x), x)
        True
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__(p, inplace)
        self.__module__ = nn.Dropout.__module__  # torch.fx asks every layer for it, and leaves those of torch whole

    def forward(self, input: Tensor) -> Tensor:
        dropped = ops.dropout(input, self.p, self.training)
        return input.copy_(dropped) if self.inplace and dropped is not input else dropped
