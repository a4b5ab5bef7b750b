"""The work at the gates in compiled code: one pass over the numbers of a step."""

from __future__ import annotations

from torch import Tensor

from edgenet.ops import native


def lstm(z: Tensor, cell: Tensor, made: Tensor, tangents: Tensor, out: Tensor, peepholes: Tensor | None) -> None:
    """See ``reference``; all are contiguous and of float32."""
    native.library().edgenet_lstm_gates(
        native.pool(), z.data_ptr(), cell.data_ptr(), made.data_ptr(), tangents.data_ptr(), out.data_ptr(),
        native.pointer(peepholes), *cell.shape,
    )  # fmt: skip


def lstm_backward(
    d_out: Tensor, z: Tensor, tangents: Tensor, before: Tensor, d_cell: Tensor, d_z: Tensor, peepholes: Tensor | None
) -> None:
    """See ``reference``."""
    native.library().edgenet_lstm_gates_backward(
        native.pool(), d_out.data_ptr(), z.data_ptr(), tangents.data_ptr(), before.data_ptr(), d_cell.data_ptr(),
        d_z.data_ptr(), native.pointer(peepholes), *before.shape,
    )  # fmt: skip


def gru(inputs: Tensor, mapped: Tensor, made: Tensor, hidden: Tensor, out: Tensor) -> None:
    """See ``reference``."""
    native.library().edgenet_gru_gates(
        native.pool(), inputs.data_ptr(), mapped.data_ptr(), made.data_ptr(), hidden.data_ptr(), out.data_ptr(),
        *hidden.shape,
    )  # fmt: skip


def gru_backward(
    d_out: Tensor, mapped: Tensor, made: Tensor, before: Tensor, d_inputs: Tensor, d_mapped: Tensor, straight: Tensor
) -> None:
    """See ``reference``."""
    native.library().edgenet_gru_gates_backward(
        native.pool(), d_out.data_ptr(), mapped.data_ptr(), made.data_ptr(), before.data_ptr(), d_inputs.data_ptr(),
        d_mapped.data_ptr(), straight.data_ptr(), *before.shape,
    )  # fmt: skip
