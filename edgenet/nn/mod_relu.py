"""ModReLU: a bias on the length of a complex number."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError
from edgenet.structured.given import is_whole


class ModReLU(nn.Module):
    """z -> max(|z| + b, 0) z / |z|: a bias on the length of a number, whose angle stays.

    A length counts as ``eps`` at least, so that the gradient is finite where z is 0, and the result is 0 there.
    Arjovsky, Shah, Bengio 2016, eq. (8); their code adds 1e-5 under the root instead.

    Args:
        size: n, as many biases. They start from U[-0.01, 0.01].
        eps: above 0.

    Raises:
        ConfigError: if a number is out of range.

    Example:
        >>> edgenet.nn.ModReLU(2)(torch.tensor([[1 + 1j, -2j]])).shape
        torch.Size([1, 2])
    """

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__()
        check_count("size", size)
        if not 0 < eps < math.inf:
            raise ConfigError(f"eps is a positive number, got {eps!r}.")
        self.size, self.eps = size, eps
        self.bias = nn.Parameter(torch.empty(size).uniform_(-0.01, 0.01))

    def forward(self, z: Tensor) -> Tensor:
        """(..., n), complex or real -> the same."""
        length = z.abs().clamp_min(self.eps)
        return z * ((length + self.bias).relu() / length)


def check_count(name: str, number: Any) -> None:
    """
    Raises:
        ConfigError: if it is no whole number from 1.
    """
    if not is_whole(number) or number < 1:
        raise ConfigError(f"{name} is a whole number from 1, got {number!r}.")
