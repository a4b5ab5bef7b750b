"""The work at the gates in compiled code: one pass over the numbers of a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgenet.ops import native
from edgenet.ops.native import gate


def lstm(z: Tensor, cell: Tensor, made: Tensor, tangents: Tensor, out: Tensor, peepholes: Tensor | None) -> None:
    """See ``reference``; all are contiguous and of float32."""
    _run("edgenet_lstm_gates", cell, (z, 4), (cell, 1), (made, 1), (tangents, 1), (out, 1), peepholes=(peepholes,))


def lstm_backward(
    d_out: Tensor, z: Tensor, tangents: Tensor, before: Tensor, d_cell: Tensor, d_z: Tensor, peepholes: Tensor | None
) -> None:
    """See ``reference``."""
    tensors = (d_out, 1), (z, 4), (tangents, 1), (before, 1), (d_cell, 1), (d_z, 4)
    _run("edgenet_lstm_gates_backward", before, *tensors, peepholes=(peepholes,))


def gru(inputs: Tensor, mapped: Tensor, made: Tensor, hidden: Tensor, out: Tensor) -> None:
    """See ``reference``."""
    _run("edgenet_gru_gates", hidden, (inputs, 3), (mapped, 3), (made, 1), (hidden, 1), (out, 1))


def gru_backward(
    d_out: Tensor, mapped: Tensor, made: Tensor, before: Tensor, d_inputs: Tensor, d_mapped: Tensor, straight: Tensor
) -> None:
    """See ``reference``."""
    tensors = (d_out, 1), (mapped, 3), (made, 1), (before, 1), (d_inputs, 3), (d_mapped, 3), (straight, 1)
    _run("edgenet_gru_gates_backward", before, *tensors)


def _run(name: str, state: Tensor, *tensors: tuple[Tensor, int], peepholes: tuple[Tensor | None, ...] = ()) -> None:
    """Of tensors with so many numbers for each of the state's (batch, width)."""
    (batch, width), dtype = state.shape, torch.float32
    size = batch * width
    memory: list[Any] = [(t, each * size, dtype) for t, each in tensors]
    memory += [(t, 3 * width, dtype) for t in peepholes]
    gate.call(name, native.pool(), *memory, batch, width)
