"""Batches of sequences: padded, packed, of several lengths, or one alone, made alike for the walk and back again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from edgenet.errors import ShapeError
from edgenet.nn.recurrent.cells import State


@dataclass(frozen=True)
class Sequences:
    """What a recurrent module was given, in one form.

    Attributes:
        signal: (T, B, in). Where lengths are given, zeros behind the end of every sequence.
        mask: (T, B, 1), True where a step is of a sequence; None where all are.
        alone: whether it was one sequence without a batch.
        batch_first: whether batches come first.
        packed: what it was packed in.
    """

    signal: Tensor
    mask: Tensor | None
    alone: bool
    batch_first: bool
    packed: PackedSequence | None

    def given_back(self, output: Tensor) -> Tensor | PackedSequence:
        """(T, B, out) in the form of the input."""
        if self.packed is not None:
            order = self.packed.sorted_indices
            sizes = self.packed.batch_sizes
            lengths = (sizes[:, None] > torch.arange(int(sizes[0]))).sum(0)  # of the sorted sequences
            inner = output if order is None else output.index_select(1, order)
            data = pack_padded_sequence(inner, lengths).data
            return PackedSequence(data, sizes, order, self.packed.unsorted_indices)
        if self.alone:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output


def sequences(input: Tensor | PackedSequence, lengths: Any, width: int, batch_first: bool) -> Sequences:
    """The input of a recurrent module, checked.

    Args:
        lengths: (B,) whole numbers from 0 to T, or None.

    Raises:
        ShapeError: if the input is of another width or no sequence, or the lengths do not fit it.
    """
    if isinstance(input, PackedSequence):
        if lengths is not None:
            raise ShapeError("a PackedSequence knows its lengths; call without lengths=.")
        _check_packed(input)
        signal, counts = pad_packed_sequence(input)
        _check_signal(signal, width)
        even = bool((counts == len(signal)).all())
        mask = None if even else _mask(counts.to(signal.device), len(signal))
        return Sequences(signal, mask, False, False, input)
    if not isinstance(input, Tensor):
        raise ShapeError(f"the input is a tensor or a PackedSequence, got {type(input).__name__}.")
    if input.dim() not in (2, 3):
        form = "(B, T, {0})" if batch_first else "(T, B, {0})"
        raise ShapeError(f"wanted is {form.format(width)}, or (T, {width}) without a batch, got {tuple(input.shape)}.")
    alone = input.dim() == 2
    signal = input.unsqueeze(1) if alone else input.transpose(0, 1) if batch_first else input
    _check_signal(signal, width)
    if lengths is None:
        return Sequences(signal, None, alone, batch_first, None)
    mask = _mask(_checked_lengths(lengths, signal, alone), len(signal))
    return Sequences(torch.where(mask, signal, 0), mask, alone, batch_first, None)


def starts(hx: Any, shapes: Sequence[tuple[int, int]], alone: bool, signal: Tensor) -> list[State] | None:
    """The first state of every cell, of what was handed in: a tensor, or a tuple of as many tensors as a state has.

    Args:
        shapes: (cells, width) of every tensor.
        alone: whether there is no axis of batches.
        signal: (T, B, in).

    Raises:
        ShapeError: if it is anything else.
    """
    if hx is None:
        return None
    batch = signal.shape[1]
    wanted = [(cells, width) if alone else (cells, batch, width) for cells, width in shapes]
    parts = hx if isinstance(hx, tuple | list) else (hx,)
    fits = len(parts) == len(wanted) and all(isinstance(part, Tensor) for part in parts)
    if not fits or [tuple(part.shape) for part in parts] != wanted:
        got = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
        form = " and ".join(map(str, wanted))
        raise ShapeError(f"the state is {form}, got {' and '.join(map(str, got))}.")
    mixed = torch.is_autocast_enabled(signal.device.type)
    for part in parts:
        if (part.dtype != signal.dtype and not mixed) or part.device != signal.device:
            raise ShapeError(
                f"the state is of {part.dtype} on {part.device}, and the input of {signal.dtype} on {signal.device}; "
                f"move one of them."
            )
    rows = [part.unsqueeze(1) if alone else part for part in parts]
    return list(zip(*(part.unbind(0) for part in rows), strict=True))


def _check_signal(signal: Tensor, width: int) -> None:
    if signal.shape[-1] != width:
        raise ShapeError(f"the input has steps of {signal.shape[-1]} numbers, and input_size is {width}.")
    if signal.shape[0] == 0 or signal.shape[1] == 0:
        raise ShapeError(
            f"there are {signal.shape[0]} steps of {signal.shape[1]} sequences; a walk takes one step and one sequence "
            f"or more. Leave empty batches out."
        )


def _check_packed(packed: PackedSequence) -> None:
    sizes = packed.batch_sizes
    if sizes.dim() != 1 or not len(sizes) or int(sizes[-1]) < 1 or bool((sizes.diff() > 0).any()):
        raise ShapeError(
            f"batch_sizes of a PackedSequence fall from step to step, the longest sequence first, got "
            f"{sizes.tolist()[:8]}. Pack with pack_padded_sequence(..., enforce_sorted=False), or give the padded "
            f"tensor with lengths=."
        )
    total = int(sizes.sum())
    if total != len(packed.data):
        raise ShapeError(f"batch_sizes of a PackedSequence add up to {total}, and it has {len(packed.data)} steps.")


def _checked_lengths(lengths: Any, signal: Tensor, alone: bool) -> Tensor:
    steps, batch = signal.shape[:2]
    if alone:
        raise ShapeError("lengths= is for batches; cut a single sequence to its length instead.")
    counts = torch.as_tensor(lengths, device=signal.device)
    if counts.shape != (batch,) or counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool:
        raise ShapeError(f"lengths are {batch} whole numbers, got {tuple(counts.shape)} of {counts.dtype}.")
    if not torch.compiler.is_compiling() and bool(((counts < 0) | (counts > steps)).any()):
        wrong = counts[(counts < 0) | (counts > steps)].tolist()
        raise ShapeError(f"lengths are from 0 to {steps}, the steps of the input, got {wrong[:8]}.")
    return counts


def _mask(counts: Tensor, steps: int) -> Tensor:
    return (torch.arange(steps, device=counts.device)[:, None] < counts).unsqueeze(-1)
