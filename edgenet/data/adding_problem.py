"""The adding problem: two of many numbers are marked, and their sum is asked for at the end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.places import Place
from edgenet.data.sequences import check_sequences
from edgenet.errors import ConfigError

#: mean squared error of who always says 1, the variance of a sum of two numbers of U[0, 1]
BASELINE = 1 / 6
FACTS = KNOWN["adding_problem"]


def make(
    where: Sequence[Place], *, length: int = 200, train_size: int = 1000, val_size: int = 200, test_size: int = 1000,
    seed: int = 0,
) -> Dataset:  # fmt: skip
    """Sequences of ``length`` steps with two features: a number of U[0, 1], and a mark, 1 at one step of the first half
    and at one of the second, else 0. Wanted is the sum of the two marked numbers.

    Who always says 1 has the mean squared error ``BASELINE``, 1 / 6. As many sequences are drawn as are asked for;
    ``edgenet.data.fresh("adding_problem", ...)`` never shows one twice.

    Args:
        where: not used; everything is drawn.
        length: T, at least 2.
        train_size, val_size, test_size: sequences, at least 1.
        seed: draws everything.

    Returns:
        x (S, length, 2) and y (S,), float32.

    Raises:
        ConfigError: if an option is out of range.
    """
    generator = torch.Generator().manual_seed(seed)
    lists = []
    for size in (train_size, val_size, test_size):
        x, y = draw(size, generator, length)
        lists.append([check_sequences(Data(x=x, y=y), "adding_problem")])
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": seed,
        "normalisation": "none",
        "baseline": BASELINE,
        "found": "made from the seed",
        "warnings": [],
    }
    return Dataset("adding_problem", "sequence", "value", "rmse", 2, 1, *lists, info)


def draw(size: int, generator: torch.Generator, length: int = 200) -> tuple[Tensor, Tensor]:
    """So many sequences x (size, length, 2) and their sums y (size,), float32.

    Raises:
        ConfigError: if a number is out of range.
    """
    if size < 1:
        raise ConfigError(f"adding_problem: a split has at least 1 sequence, got {size}.")
    if isinstance(length, bool) or not isinstance(length, int):
        raise ConfigError(f"adding_problem: length must be a whole number, got {length!r}.")
    if length < 2:
        raise ConfigError(f"adding_problem: length must be at least 2, got {length}.")
    options = {"generator": generator, "device": generator.device}
    numbers = torch.rand(size, length, dtype=torch.float32, **options)
    half = length // 2
    first = torch.randint(half, (size, 1), **options)
    second = torch.randint(half, length, (size, 1), **options)
    marks = torch.zeros_like(numbers).scatter_(1, torch.cat([first, second], 1), 1.0)
    return torch.stack([numbers, marks], -1), (numbers * marks).sum(1)
