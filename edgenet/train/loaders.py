"""Loaders as sources: PyG's, torch's, and anything that can be walked over again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset
from torch_geometric.data.data import BaseData
from torch_geometric.loader import DataLoader as GraphLoader

from edgenet.errors import ConfigError, ShapeError
from edgenet.train.batches import Batch
from edgenet.train.sources import Source, Target, answer_of, of_data

Place = Callable[[Any], Any]


class Loaded(Source):
    """What a loader gives: PyG's or torch's, or anything that can be walked over again and again."""

    def __init__(self, loader: Iterable[Any], split: str, target: Target, place: Place) -> None:
        if isinstance(loader, Iterator):
            raise ConfigError(
                f"the {split} data are an iterator, which is used up after one epoch. Hand in a list or a loader."
            )
        self.loader, self.split, self.target, self.place = loader, split, target, place
        self.steps = None
        if isinstance(loader, Sized) and not isinstance(getattr(loader, "dataset", None), IterableDataset):
            with contextlib.suppress(TypeError, ValueError, NotImplementedError):  # of batches that fill up, say
                self.steps = len(loader)

    def _batch(self, item: Any) -> Batch:
        item = self.place(item)
        if isinstance(item, BaseData):
            return of_data(item, self.split, self.target)
        if isinstance(item, tuple | list) and len(item) > 1 and self.target is None:
            *inputs, target = item
            return Batch(tuple(inputs), target)
        if self.target is not None:
            return Batch(item, answer_of(item, self.target))
        raise ConfigError(
            f"a loader gives PyG data or tuples (inputs, ..., target), got {type(item).__name__}. Hand in a Task with "
            f"target=, a function of what the loader gives, and call=, a function (model, batch)."
        )

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        return map(self._batch, self.loader)

    def ordered(self) -> Iterator[Batch]:
        return map(self._batch, self.loader)

    def first(self) -> Batch:
        for batch in self.ordered():
            return batch
        raise ShapeError(f"the {self.split} loader gives no batch.")

    def generators(self) -> dict[str, torch.Generator]:
        found: dict[str, torch.Generator] = {}
        batches = getattr(self.loader, "batch_sampler", None)
        for name, holder in (
            ("loader", self.loader),
            ("sampler", getattr(self.loader, "sampler", None)),
            ("batches", batches),
            ("batches.sampler", getattr(batches, "sampler", None)),
        ):
            generator = getattr(holder, "generator", None)
            if isinstance(generator, torch.Generator) and not any(generator is known for known in found.values()):
                found[f"{self.split}.{name}"] = generator
        return found


class Sampled(Loaded):
    """A dataset of single samples, put together by a loader of torch's that the run's generator shuffles."""

    def __init__(self, samples: Any, split: str, size: int, target: Target, place: Place) -> None:
        self._shuffling = torch.Generator()
        self._kind = GraphLoader if isinstance(samples[0], BaseData) else DataLoader
        super().__init__(self._kind(samples, size, generator=self._shuffling), split, target, place)
        self.samples, self.size = samples, size

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        return map(self._batch, self._kind(self.samples, self.size, shuffle=True, generator=generator))

    def generators(self) -> dict[str, torch.Generator]:
        return {}
