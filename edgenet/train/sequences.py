"""Sequences as sources: many that are shuffled, or a few long ones that are read on from chunk to chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.data.check import check_finite
from edgenet.errors import ConfigError, ShapeError
from edgenet.train.batches import STATES, Batch
from edgenet.train.sources import Source, Target, answer_of, at_once


class Sequences(Source):
    """Sequences x (S, T, ...) with y (S, ...), batch by batch, batch first; of steps past their lengths nothing counts.

    Args:
        data: x, y and perhaps ``lengths`` (S,), on their device; what else it has goes with every batch.
        kept: what was computed once for the data.

    Raises:
        ShapeError: if there are lengths, and nobody can tell whether y is of steps; see ``per_step``.
    """

    def __init__(self, data: Any, kept: dict[str, Any], size: int, target: Target) -> None:
        self.data, self.kept, self.size = data, kept, size
        self.answers, self.lengths = answer_of(data, target), data.get("lengths")
        self.steps = -(-len(self.answers) // size)
        self.per_step = self.lengths is not None and per_step(data.x, self.answers)

    def _batch(self, rows: Any) -> Batch:
        x, answers = self.data.x[rows], self.answers[rows]
        if self.lengths is None:
            return Batch(self.data, answers, values={"x": x}, kept=self.kept)
        lengths = self.lengths[rows]
        if not self.per_step:  # of the sequences whole
            return Batch(self.data, answers, values={"x": x, "lengths": lengths}, kept=self.kept)
        there = torch.arange(x.shape[1], device=x.device) < lengths[:, None]  # (B, T)
        return Batch(self.data, answers[there], there, values={"x": x, "lengths": lengths}, kept=self.kept)

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(len(self.answers), generator=generator).to(self.answers.device)
        for rows in order.split(self.size):
            yield self._batch(rows)

    def ordered(self) -> Iterator[Batch]:
        piece = at_once(self.size)
        for start in range(0, len(self.answers), piece):
            yield self._batch(slice(start, start + piece))

    def first(self) -> Batch:
        return self._batch(slice(0, min(2, self.size)))


def per_step(x: Tensor, answers: Tensor) -> bool:
    """Whether there is an answer for every step, (S, T, ...), and not one for each sequence, (S, ...).

    Raises:
        ShapeError: if that cannot be told: of signals on as many nodes as there are steps, (S, N) looks like (S, T).
    """
    steps, nodes = x.shape[1], x.shape[2] if x.dim() == 4 else None
    if steps == nodes and answers.shape[1:2] == x.shape[1:2] and answers.shape[1:3] != x.shape[1:3]:
        raise ShapeError(
            f"x {tuple(x.shape)} has as many steps as nodes, so that y {tuple(answers.shape)} may be of either, and "
            f"only answers of steps end with their sequence. Append a step of padding to x, and to y if it is of steps."
        )
    return answers.shape[1:2] == x.shape[1:2]


class Streams(Source):
    """One long sequence, read at several places at once: truncated backpropagation through time (Werbos 1990).

    The sequence is cut into B streams of equal length, and these into chunks of T steps. A model reads the first chunk
    of all streams, then the second, and so on, and begins each with the state that it ended the last one in; gradients
    stop between chunks. Its ``forward`` takes ``state``, None at the beginning, and ``return_state=True``, and returns
    (scores, state), as ``edgenet.models.Sequence`` does.

    Training begins every epoch at a place that is drawn, and with no state, so that a training that was interrupted
    goes on to the same bits. Scoring begins at the start of the sequence; what is left after B equal streams, fewer
    than B steps, is not scored.

    Args:
        x: (L,) int64 symbols, or (L, F) features.
        y: (L,) or (L, ...), what a model should say of each step.
        streams: B.
        length: T, steps of a chunk.
        steps: chunks of an epoch, each of which is a step of the optimizer; None: as many as read the sequence once.

    Raises:
        ConfigError: if one of the numbers is no whole number from 1.
        ShapeError: if x and y differ in length, or are shorter than a chunk of every stream, or x or y holds NaN.

    Example:
        >>> text = torch.randint(5, (1001,))
        >>> streams = edgenet.train.Streams(text[:-1], text[1:], streams=8, length=16)
    """

    def __init__(self, x: Tensor, y: Tensor, *, streams: int = 32, length: int = 64, steps: int | None = None) -> None:
        for name, number in (("streams", streams), ("length", length), ("steps", 1 if steps is None else steps)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ConfigError(f"{name} of Streams is a whole number from 1, got {number!r}.")
        if x.dim() < 1 or x.shape[:1] != y.shape[:1]:
            raise ShapeError(
                f"a long sequence is x (L,) or (L, F) and y of as many rows, got {tuple(x.shape)} and "
                f"{tuple(y.shape)}. Sequences that follow one another become one by flatten(0, 1)."
            )
        if len(x) < streams * length:
            raise ShapeError(
                f"{len(x):,} steps are too few for {streams} streams and chunks of {length}, which take "
                f"{streams * length:,}. Take fewer streams, or shorter chunks."
            )
        for name, tensor in (("x", x), ("y", y)):
            if tensor.is_floating_point():
                check_finite(tensor, name, "Streams")
        self.x, self.y = x, y
        self.streams, self.length, self.chunks = streams, length, steps
        self.each = len(x) // streams  # steps of a stream
        self.steps: int = steps or self.each // length

    @classmethod
    def of(cls, data: Data, *, streams: int = 32, length: int = 64, steps: int | None = None) -> Streams:
        """The streams of data whose sequences follow one another, x (S, T) and y (S, T), as those of tinyshakespeare
        do.

        Raises:
            ShapeError: if they are of different lengths: there would be padding between them.
        """
        lengths = data.get("lengths")
        if lengths is not None and bool((lengths != data.x.shape[1]).any()):
            raise ShapeError(
                "these sequences have lengths, and what comes after is padding, which is no part of a long sequence. "
                "Hand in the data themselves, or Streams(x, y) of the steps that count."
            )
        return cls(data.x.flatten(0, 1), data.y.flatten(0, 1), streams=streams, length=length, steps=steps)

    def placed(self, place: Callable[[Tensor], Tensor]) -> Streams:
        """A copy elsewhere: on another device, in another dtype."""
        sizes: dict[str, Any] = {"streams": self.streams, "length": self.length, "steps": self.chunks}
        return type(self)(place(self.x), place(self.y), **sizes)

    def training(self, generator: torch.Generator) -> Iterator[Batch]:
        first = int(torch.randint(len(self.x), (), generator=generator))
        yield from self._walk(first, self.steps * self.length)

    def ordered(self) -> Iterator[Batch]:
        yield from self._walk(0, self.each)

    def _walk(self, first: int, steps: int) -> Iterator[Batch]:
        """So many steps of every stream, from a place on and around the end."""
        begin = first + self.each * torch.arange(self.streams, device=self.x.device)[:, None]
        kept: dict[str, Any] = {STATES: {}}
        for start in range(0, steps, self.length):
            stop = min(start + self.length, steps)
            places = (begin + torch.arange(start, stop, device=self.x.device)) % len(self.x)  # (B, T)
            x, y = self.x[places], self.y[places]
            yield Batch((x,), y, values={"x": x, "chunk": start // self.length}, kept=kept)
