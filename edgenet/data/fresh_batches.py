"""Fresh: batches of sequences that are drawn when they are asked for, so that no model sees one twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from edgenet.data import adding_problem, copying_memory
from edgenet.errors import ConfigError
from edgenet.text import did_you_mean

#: what draws: (size, generator, **options) -> x, y
DRAWN: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "copying_memory": copying_memory.draw,
    "adding_problem": adding_problem.draw,
}


class Fresh:
    """An endless source, which ``edgenet.fit`` reads as any loader: every epoch draws its batches anew.

    Args:
        draw: (size, generator, **options) -> x, y.
        batch_size: sequences of a batch, at least 1.
        batches: of an epoch, at least 1.
        seed: where the numbers begin.
        **options: of ``draw``.

    Attributes:
        generator: draws everything. ``fit`` sets its seed, and keeps its state in checkpoints.

    Raises:
        ConfigError: if a number is out of range.

    Example:
        >>> batches = edgenet.data.fresh("adding_problem", batch_size=5, batches=2, length=10)
        >>> [len(batch) for batch in batches]
        [2, 2]
    """

    def __init__(
        self,
        draw: Callable[..., tuple[Tensor, Tensor]],
        batch_size: int,
        batches: int,
        *,
        seed: int = 0,
        **options: Any,
    ) -> None:
        for name, number in (("batch_size", batch_size), ("batches", batches)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ConfigError(f"{name} is a whole number from 1, got {number!r}.")
        self.draw, self.batch_size, self.batches, self.options = draw, batch_size, batches, options
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.batches):
            yield self.draw(self.batch_size, self.generator, **self.options)


def fresh(name: str, batch_size: int, batches: int, *, seed: int = 0, **options: Any) -> Fresh:
    """Batches of a set that is drawn: ``fresh("copying_memory", 20, 50, wait=200)``.

    Args:
        name: "copying_memory" or "adding_problem".
        batch_size, batches, seed: as of ``Fresh``.
        **options: ``wait`` of copying_memory, ``length`` of adding_problem.

    Raises:
        ConfigError: if there is no such set or option, or a number is out of range.

    Example:
        >>> batches = edgenet.data.fresh("adding_problem", batch_size=5, batches=2, length=10)
        >>> x, y = next(iter(batches))
        >>> x.shape
        torch.Size([5, 10, 2])
    """
    if name not in DRAWN:
        raise ConfigError(
            f"no set {name!r} is drawn batch by batch; there are {', '.join(DRAWN)}.{did_you_mean(name, DRAWN)}"
        )
    known = list(inspect.signature(DRAWN[name]).parameters)[2:]
    for option in options:
        if option not in known:
            raise ConfigError(f"{name} has no option {option!r} to draw by; it has {', '.join(known)}.")
    DRAWN[name](1, torch.Generator(), **options)  # which refuses numbers out of range now, and not in an epoch
    return Fresh(DRAWN[name], batch_size, batches, seed=seed, **options)
