"""FixedPointLSTM: an LSTM of 16-bit numbers, as an arithmetic circuit or generated code computes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from edgenet.errors import ConversionError, ShapeError
from edgenet.fixed.arithmetic import LEAST, MOST, quantised, values
from edgenet.fixed.calibrate import Calibration
from edgenet.fixed.cell import FixedPointCell
from edgenet.nn.recurrent import LSTM
from edgenet.shortcuts import hooked


class FixedPointLSTM(nn.Module):
    """Cells of 16-bit numbers, layer upon layer, for inference (C-LSTM, Wang et al. 2018, section 4.2).

    Called with floats, it rounds the input, walks in whole numbers and gives floats again; ``run`` takes and gives the
    whole numbers themselves. ``generate`` writes C++ that computes the same, bit for bit. It has no gradients.

    Args:
        cells: of every layer from below; each takes what the one below gives, in its format.
        batch_first: as of ``torch.nn.LSTM``.

    Raises:
        ShapeError: if cells do not fit each other, in size or format.

    Example:
        >>> lstm = edgenet.nn.LSTM(4, 8, structure=edgenet.structured.structure("block_circulant", block=4))
        >>> steps = torch.randn(10, 2, 4)
        >>> fixed = edgenet.fixed.FixedPointLSTM.from_lstm(lstm, [steps])
        >>> fixed(steps)[0].shape
        torch.Size([10, 2, 8])
    """

    cells: nn.ModuleList

    def __init__(self, cells: Iterable[FixedPointCell], batch_first: bool = False) -> None:
        super().__init__()
        self.cells, self.batch_first = nn.ModuleList(cells), batch_first
        if len(self.cells) == 0:
            raise ShapeError("a fixed-point LSTM has one cell at least, got none.")
        for place, (below, above) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            got = below.output_size, below.formats["output"]
            wanted = above.input_size, above.formats["input"]
            if got != wanted:
                raise ShapeError(
                    f"layer {place + 1} takes {wanted[0]} numbers of {wanted[1]} fraction bits, and layer {place} "
                    f"gives {got[0]} of {got[1]}."
                )

    @classmethod
    def from_lstm(cls, lstm: nn.Module, calibration_batches: Iterable[Tensor]) -> Self:
        """The LSTM in 16 bits.

        Matrices in circulant blocks of 1, 2, 4, 8, ... stay so, all others are taken as dense. Every signal gets the
        most fraction bits with which what was seen of it fits; what is larger in use saturates.

        Args:
            lstm: an ``edgenet.nn.recurrent.LSTM`` of one direction; its dropout does not count.
            calibration_batches: sequences that are like those in use, as the LSTM takes them, from a state of zeros.
                Padding counts as signal.

        Raises:
            ConversionError: if the LSTM has two directions, or parts that have no 16-bit form.
            ShapeError: if there are no sequences, or some that do not fit or have NaN or infinite numbers.
        """
        if type(lstm) is not LSTM or hooked(lstm):
            raise ConversionError(
                f"wanted is an edgenet.nn.recurrent.LSTM without hooks, got a {type(lstm).__name__}; one of torch's "
                f"becomes such by LSTM.from_torch."
            )
        if lstm.bidirectional:
            raise ConversionError("a fixed-point LSTM has one direction, for it runs as frames come; this one has two.")
        seen = [Calibration(f"cells[{place}]", cell) for place, cell in enumerate(lstm.cells)]
        count = 0
        for batch in calibration_batches:
            signal = _sequences(batch, lstm.input_size, lstm.batch_first).double()
            if not signal.isfinite().all():
                raise ShapeError("a sequence for calibration has NaN or infinite numbers; leave it out.")
            count += signal.shape[0] * signal.shape[1]
            for one in seen:
                signal = one.see(signal) if len(signal) else signal
        if count == 0:
            raise ShapeError("calibration wants one frame at least, got none: hand over some sequences.")
        cells: list[FixedPointCell] = []
        for one in seen:
            cells.append(one.cell(cells[-1].formats["output"] if cells else None))
        return cls(cells, lstm.batch_first).to(next(lstm.parameters()).device)

    @property
    def layers(self) -> Sequence[FixedPointCell]:
        """The cells, by their kind."""
        return list(self.cells)  # type: ignore[arg-type]  # a ModuleList does not tell what is in it

    @property
    def input_size(self) -> int:
        return self.layers[0].input_size

    @property
    def output_size(self) -> int:
        return self.layers[-1].output_size

    def begin(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        """States of zeros, h and c of every layer."""
        where = self.layers[0].bias.device
        sizes = [(cell.output_size, cell.hidden_size) for cell in self.layers]
        h_and_c = [[torch.zeros(batch, size, dtype=torch.int64, device=where) for size in both] for both in sizes]
        return [(h, c) for h, c in h_and_c]

    @torch.no_grad()
    def run(
        self, codes: Tensor, states: Sequence[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Whole numbers in, whole numbers out.

        Args:
            codes: (T, B, in), or (B, T, in) if ``batch_first``; of a whole dtype, -32768 to 32767.
            states: h and c of every layer, (B, out) and (B, n), as this gives them; None: zeros.

        Returns:
            (T, B, out) int64, or (B, T, out), and the last states.

        Raises:
            ShapeError: if codes or states do not fit.
        """
        signal = _in_range("codes", _whole("codes", _sequences(codes, self.input_size, self.batch_first)))
        before = self.begin(signal.shape[1]) if states is None else self._checked(states, signal.shape[1])
        after = []
        for cell, state in zip(self.layers, before, strict=True):
            signal, state = cell.walk(signal, state)
            after.append(state)
        return signal.transpose(0, 1) if self.batch_first else signal, after

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """(T, B, in) -> (T, B, out) and the last h and c, (layers, B, out) and (layers, B, n); (B, T, in) if
        ``batch_first``. Floats, rounded into the formats of the cells.

        Where layers differ in size, h and c are tuples of a tensor a layer.

        Raises:
            ShapeError: if the input does not fit, or has NaN.
        """
        if not input.is_floating_point():
            raise ShapeError(f"wanted are floats, got {input.dtype}; ``run`` takes whole numbers.")
        first, cells = self.layers[0].formats["input"], self.layers
        states = None
        if hx is not None:
            formats = [(cell.formats["output"], cell.formats["cell"]) for cell in cells]
            if any(len(part) != len(cells) for part in hx):
                raise ShapeError(f"h and c are of {len(cells)} layers, got {[len(part) for part in hx]}.")
            states = [(quantised(h, of_h), quantised(c, of_c)) for h, c, (of_h, of_c) in zip(*hx, formats, strict=True)]
        output, last = self.run(quantised(input, first), states)
        found = [
            tuple(values(state[part], cell.formats[name], input.dtype) for cell, state in zip(cells, last, strict=True))
            for part, name in enumerate(("output", "cell"))
        ]
        h, c = (torch.stack(one) if len({part.shape for part in one}) == 1 else one for one in found)
        return values(output, cells[-1].formats["output"], input.dtype), (h, c)  # type: ignore[return-value]  # both of a kind

    def _checked(self, states: Sequence[tuple[Tensor, Tensor]], batch: int) -> list[tuple[Tensor, Tensor]]:
        wanted = [[(batch, cell.output_size), (batch, cell.hidden_size)] for cell in self.layers]
        got = [[tuple(part.shape) for part in state] for state in states]
        if got != wanted:
            raise ShapeError(f"states of {batch} sequences are h and c a layer of sizes {wanted}, got {got}.")
        return [(_in_range("h", _whole("h", h)), _in_range("c", _whole("c", c))) for h, c in states]


def _sequences(x: Tensor, size: int, batch_first: bool) -> Tensor:
    """(T, B, in)."""
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[-1] != size:
        came = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(f"wanted is a {'(B, T' if batch_first else '(T, B'}, {size}) input, got {came}.")
    return x.transpose(0, 1) if batch_first else x


def _whole(name: str, codes: Tensor) -> Tensor:
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise ShapeError(f"{name} are whole numbers, got {codes.dtype}; call the module itself with floats.")
    return codes


def _in_range(name: str, codes: Tensor) -> Tensor:
    """int64."""
    whole = codes.long()
    if whole.numel() and (int(whole.min()) < LEAST or int(whole.max()) > MOST):
        raise ShapeError(f"{name} are {LEAST} to {MOST}, got {int(whole.min())} to {int(whole.max())}.")
    return whole
