"""FixedPointCell: one step of an LSTM in 16-bit numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.fixed.activation import FRACTION, PiecewiseLinear
from edgenet.fixed.arithmetic import saturate, shifted
from edgenet.fixed.circulant import FixedCirculant
from edgenet.structured.given import is_whole

#: signals and vectors by their fraction bits
FORMATS = ("input", "output", "gates", "cell", "peepholes")
#: what a cell hands on: h and c, int64 of 16 bits
State = tuple[Tensor, Tensor]


class FixedPointCell(nn.Module):
    """An LSTM cell, of products in circulant blocks, 16-bit numbers and straight lines for sigmoid and tanh.

        z = W x + R h' + b, and p c' more for gates i and f           saturated once, in the format of gates
        c = f c' + i g,        both products rounded, then saturated
        o = sigmoid(z_o + p c),        m = o tanh(c),        h = P m, or h = m

    Where W and R have one block size, their products are summed before they are transformed back. Gates, tanh(c) and m
    have 15 fraction bits.

    Args:
        products: of x and h together where ``state_products`` is None; of x alone otherwise.
        hidden_size: n, a quarter of the rows of the products.
        formats: fraction bits of ``FORMATS``.
        state_products: of h, if it has another block size.
        projection: of m.
        peepholes: whether gates see the cell.

    Raises:
        ShapeError, ConfigError: if parts do not fit each other, or a format is out of range.

    Example:
        >>> lstm = edgenet.nn.LSTM(4, 8, structure=edgenet.structured.structure("block_circulant", block=4))
        >>> fixed = edgenet.fixed.FixedPointLSTM.from_lstm(lstm, [torch.randn(10, 2, 4)])
        >>> isinstance(fixed.layers[0], edgenet.fixed.FixedPointCell)
        True
    """

    bias: Tensor
    layout: Tensor
    peepholes: Tensor | None

    def __init__(
        self,
        products: FixedCirculant,
        hidden_size: int,
        formats: Mapping[str, int],
        state_products: FixedCirculant | None = None,
        projection: FixedCirculant | None = None,
        peepholes: bool = False,
    ) -> None:
        super().__init__()
        self.products, self.state_products, self.projection = products, state_products, projection
        self.hidden_size, self.formats = hidden_size, dict(formats)
        signals = len(products.columns) + (0 if state_products is None else len(state_products.columns))
        if products.rows != 4 * hidden_size or signals != 2:
            raise ShapeError(
                f"a cell of {hidden_size} numbers has products of {4 * hidden_size} rows with two signals, got "
                f"{products.rows} rows and {signals} signals."
            )
        if sorted(formats) != sorted(FORMATS) or not all(is_whole(bits) for bits in formats.values()):
            raise ConfigError(f"formats are fraction bits of {', '.join(FORMATS)}, got {dict(formats)!r}.")
        if not 0 <= self.peephole_shift <= 30:
            raise ConfigError(
                f"peepholes of {formats['peepholes']} fraction bits times cells of {formats['cell']} cannot be added "
                f"to gates of {formats['gates']}: they are to have 0 to 30 more."
            )
        self.register_buffer("bias", torch.zeros(4 * hidden_size, dtype=torch.int16))
        self.register_buffer("peepholes", torch.zeros(3, hidden_size, dtype=torch.int16) if peepholes else None)
        #: int32, what all other numbers mean: fraction bits in the order of ``FORMATS``, shifts of the products
        self.register_buffer("layout", torch.tensor(self._layout(), dtype=torch.int32))
        self.sigmoid = PiecewiseLinear("sigmoid", formats["gates"])
        self.tanh = PiecewiseLinear("tanh", formats["gates"])
        self.tanh_of_cell = PiecewiseLinear("tanh", formats["cell"])

    def _layout(self) -> list[int]:
        parts = [part for part in (self.products, self.state_products, self.projection) if part is not None]
        shifts = [shift for part in parts for shift in (part.shift, *part.shifts)]
        return [*(int(self.formats[name]) for name in FORMATS), *shifts]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """A state that was calibrated otherwise is refused: its numbers would mean others here."""
        given, own = state_dict.get(f"{prefix}layout"), self._layout()
        if given is not None and given.tolist() != own:
            args[-1].append(
                f"{prefix}layout: the numbers of this state have fraction bits and shifts {given.tolist()}, and those "
                f"here {own}. Save and load the whole model (save_pretrained), or copy it."
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def arguments(self) -> dict[str, bool]:
        """Of the constructor's, those that are no attribute of the same name; saved models are made by them."""
        return {"peepholes": self.peepholes is not None}

    @property
    def input_size(self) -> int:
        return self.products.columns[0]

    @property
    def output_size(self) -> int:
        return self.hidden_size if self.projection is None else self.projection.rows

    @property
    def peephole_shift(self) -> int:
        """From peephole times cell to gates, in bits."""
        return self.formats["peepholes"] + self.formats["cell"] - self.formats["gates"]

    @property
    def write_shift(self) -> int:
        """From the product of two gates to the cell, in bits."""
        return 2 * FRACTION - self.formats["cell"]

    def walk(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """(T, B, in) and a state -> (T, B, out) and the last one; all of int64 of 16 bits."""
        unpacked = self.products.unpacked()
        of_input = self.products.sums(0, x, unpacked)  # of all steps at once
        if self.state_products is not None:
            of_input, unpacked = self.products.back(of_input), self.state_products.unpacked()
        last = None if self.projection is None else self.projection.unpacked()
        outputs = []
        for mapped in of_input.unbind(0):
            if self.state_products is None:
                product = self.products.back(mapped + self.products.sums(1, state[0], unpacked))
            else:
                product = mapped + self.state_products.back(self.state_products.sums(0, state[0], unpacked))
            m, cell = self._pointwise(product, state[1])
            if self.projection is not None and last is not None:
                m = self.projection.back(self.projection.sums(0, m, last))
            state = m, cell
            outputs.append(m)
        return torch.stack(outputs) if outputs else x.new_zeros(*x.shape[:-1], self.output_size), state

    def _pointwise(self, product: Tensor, before: Tensor) -> State:
        """m and c, of the products (B, 4 n) and the cell of the step before."""
        z_i, z_f, z_g, z_o = (product + self.bias).chunk(4, -1)
        if self.peepholes is not None:
            peep_i, peep_f, peep_o = self.peepholes.long()
            z_i = z_i + shifted(peep_i * before, self.peephole_shift)
            z_f = z_f + shifted(peep_f * before, self.peephole_shift)
        i, f, g = self.sigmoid(saturate(z_i)), self.sigmoid(saturate(z_f)), self.tanh(saturate(z_g))
        cell = saturate(shifted(f * before, FRACTION) + shifted(i * g, self.write_shift))
        if self.peepholes is not None:
            z_o = z_o + shifted(peep_o * cell, self.peephole_shift)
        m = shifted(self.sigmoid(saturate(z_o)) * self.tanh_of_cell(cell), FRACTION)
        return m, cell

    def extra_repr(self) -> str:
        return f"hidden_size={self.hidden_size}, formats={self.formats}"
