"""unrounded: a model whose quantised matrices multiply by their latents for a while, as if nothing were rounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from edgenet.structured.quantised import Quantised


@contextmanager
def unrounded(model: nn.Module) -> Iterator[int]:
    """Inside, every quantised matrix of a model is its base; afterwards it rounds what the base has become.

    A network that is to be trained in few bits learns faster in floats first. Matrices with a second latent (sign and
    shift) have no numbers to train unrounded, and stay as they are. Parameters are the same tensors, under the names
    that the base has in the place of the matrix.

    Yields:
        How many matrices there are that round now as if they did not.

    Example:
        >>> model = torch.nn.Linear(64, 32)
        >>> _ = edgenet.compress.quantise_(model, 4)
        >>> with edgenet.compress.unrounded(model) as count:
        ...     y = model(torch.randn(2, 64))  # by floats
    """
    places = [
        (owner, name, child)
        for owner in model.modules()
        for name, child in owner._modules.items()
        if isinstance(child, Quantised) and child.follows_base
    ]
    for owner, name, matrix in places:
        owner._modules[name] = matrix.base.train(matrix.training)
    try:
        yield len({id(matrix) for _, _, matrix in places})
    finally:
        for owner, name, matrix in places:
            owner._modules[name] = matrix.train(matrix.base.training)
        with torch.no_grad():
            for matrix in dict.fromkeys(matrix for _, _, matrix in places):
                matrix.settle_()
