"""Copying memory: ten symbols are to be said again after a long wait."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.places import Place
from edgenet.data.sequences import check_sequences
from edgenet.errors import ConfigError

LETTERS, REMEMBERED = 8, 10
BLANK, DELIMITER = 0, 9
FACTS = KNOWN["copying_memory"]


def make(
    where: Sequence[Place], *, wait: int = 200, train_size: int = 1000, val_size: int = 200, test_size: int = 1000,
    seed: int = 0,
) -> Dataset:  # fmt: skip
    """Sequences of ``wait`` + 20 symbols. The first ten are of 1 to 8; then blanks, 0, follow, and after ``wait`` - 1
    of them the delimiter, 9, which asks for the ten symbols: they are what to say at the last ten steps, and blanks
    before.

    Who remembers nothing says blanks and then any of 8 symbols: cross-entropy ``baseline(wait)``. As many sequences are
    drawn as are asked for; ``edgenet.data.fresh("copying_memory", ...)`` never shows one twice.

    Args:
        where: not used; everything is drawn.
        wait: T, at least 1.
        train_size, val_size, test_size: sequences, at least 1.
        seed: draws everything.

    Returns:
        x and y (S, wait + 20) int64. Only the last ten steps tell one model from another: ``recall``.

    Raises:
        ConfigError: if an option is out of range.
    """
    generator = torch.Generator().manual_seed(seed)
    lists = []
    for size in (train_size, val_size, test_size):
        x, y = draw(size, generator, wait)
        lists.append([check_sequences(Data(x=x, y=y), "copying_memory")])
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": seed,
        "normalisation": "none",
        "baseline": baseline(wait),
        "found": "made from the seed",
        "warnings": [],
    }
    return Dataset("copying_memory", "sequence", "class", "accuracy", DELIMITER + 1, LETTERS + 1, *lists, info)


def draw(size: int, generator: torch.Generator, wait: int = 200) -> tuple[Tensor, Tensor]:
    """So many sequences x and what to say y, both (size, wait + 20) int64.

    Raises:
        ConfigError: if a number is below 1.
    """
    if size < 1:
        raise ConfigError(f"copying_memory: a split has at least 1 sequence, got {size}.")
    symbols = torch.randint(1, LETTERS + 1, (size, REMEMBERED), generator=generator, device=generator.device)
    return sequences(symbols, wait)


def sequences(symbols: Tensor, wait: int) -> tuple[Tensor, Tensor]:
    """The sequences that ask for these symbols, (S, 10) of 1 to 8.

    Raises:
        ConfigError: if ``wait`` is below 1.
    """
    if isinstance(wait, bool) or not isinstance(wait, int):
        raise ConfigError(f"copying_memory: wait must be a whole number, got {wait!r}.")
    if wait < 1:
        raise ConfigError(f"copying_memory: wait must be at least 1, got {wait}.")
    x = symbols.new_full((len(symbols), wait + 2 * REMEMBERED), BLANK)
    y = x.clone()
    x[:, :REMEMBERED], x[:, REMEMBERED + wait - 1], y[:, -REMEMBERED:] = symbols, DELIMITER, symbols
    return x, y


def baseline(wait: int) -> float:
    """10 ln 8 / (wait + 20): the mean cross-entropy of who knows the task and has no memory, in nats."""
    return REMEMBERED * math.log(LETTERS) / (wait + 2 * REMEMBERED)


def recall(scores: Tensor, target: Tensor) -> Tensor:
    """Share of the last ten symbols that are right; a metric of scores (S, T, 9) and targets (S, T)."""
    return (scores[:, -REMEMBERED:].argmax(-1) == target[:, -REMEMBERED:]).double().mean()
