"""Calibration: 16-bit formats for the signals of an LSTM, from the ranges that they have on given sequences."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from edgenet.errors import ConversionError
from edgenet.fixed.activation import FRACTION
from edgenet.fixed.arithmetic import fitting, quantised
from edgenet.fixed.cell import FixedPointCell
from edgenet.fixed.circulant import FixedCirculant, most_of_spectrum, shifts_for
from edgenet.nn.recurrent import LSTMCell
from edgenet.nn.recurrent.columns import Columns
from edgenet.shortcuts import hooked
from edgenet.structured import BlockCirculant, StructuredLinear
from edgenet.structured.read import read_settled

_GATES = 12  # fraction bits of gates at the most: +-8, beyond the last segments of sigmoid and tanh
_MAPS = (StructuredLinear, Columns)
_CELL = 14  # of cells, for the same reason
_SIGNAL = 15  # of x and h at the most: below, steps of 2^-15 are fine enough for any gate


@dataclass(frozen=True)
class Map:
    """A linear map in circulant blocks.

    Attributes:
        generators: (p, q, k) float64.
        rows, columns: m and n.
        bias: (m,) float64, or None.
    """

    generators: Tensor
    rows: int
    columns: int
    bias: Tensor | None

    @property
    def block(self) -> int:
        return self.generators.shape[2]

    def dense(self) -> Tensor:
        """(m, n)."""
        return BlockCirculant(self.generators, (self.rows, self.columns)).to_dense().detach()

    def zeros(self) -> Tensor:
        """(m,)."""
        return self.generators.new_zeros(self.rows)

    @classmethod
    def of(cls, name: str, linear: nn.Module) -> Map:
        """The map of a slot, or by some columns of one. Pruning and other changes of the weight count; a weight that is
        not in circulant blocks is taken entry by entry.

        Raises:
            ConversionError: if it is no linear map, has hooks or adapters of its own, or a block size that 16-bit
                transforms do not have; or if a change of the weight has broken its blocks.
        """
        if not isinstance(linear, _MAPS) or type(linear) not in _MAPS or hooked(linear):
            raise ConversionError(
                f"{name} is a {type(linear).__name__}, or has hooks; wanted is a StructuredLinear, a matrix and a "
                f"bias, without any. Merge what was put on it into the matrix, or take it off."
            )
        weight = read_settled(linear.weight).detach().double()
        block = linear.weight.block if isinstance(linear.weight, BlockCirculant) else 1
        if isinstance(linear, Columns):
            weight = weight[:, linear.start : linear.stop]
            if linear.start % block:
                raise ConversionError(
                    f"{name} begins at column {linear.start} of a matrix that it shares, inside a block of {block}: "
                    f"take a block size that divides the inputs, or a matrix for each map."
                )
        if block & (block - 1):
            raise ConversionError(f"{name} has blocks of {block}; 16-bit transforms are of 1, 2, 4, 8, ... numbers.")
        if not weight.isfinite().all():
            raise ConversionError(f"{name} has weights that are NaN or infinite, and 16 bits have no number for them.")
        nearest = BlockCirculant.from_dense(weight, block)
        if not torch.allclose(nearest.to_dense(), weight, rtol=1e-5, atol=1e-6 * float(weight.abs().max())):
            raise ConversionError(
                f"what was done to the weight of {name} has broken its circulant blocks of {block}; prune whole "
                f"generators, or put a dense matrix in its place."
            )
        bias = None if linear.bias is None else linear.bias.detach().double()
        return cls(nearest.generators.detach(), weight.shape[0], weight.shape[1], bias)


@dataclass
class Ranges:
    """The largest amounts of what flows through a cell; ``x_spectrum`` and so on before any shift."""

    most: dict[str, float] = field(default_factory=dict)

    def see(self, name: str, x: Tensor, block: int | None = None) -> None:
        self._see(name, float(x.abs().max()) if x.numel() else 0.0)
        if block is not None:
            self._see(f"{name}_spectrum", most_of_spectrum(x, block))

    def _see(self, name: str, value: float) -> None:
        self.most[name] = max(value, self.most.get(name, 0.0))


class Calibration:
    """A cell of floats in its parts, and what was seen of it.

    Args:
        name: of the cell, for messages.
        cell: an ``LSTMCell``.

    Raises:
        ConversionError: if it has parts that 16-bit numbers cannot stand for.
    """

    def __init__(self, name: str, cell: nn.Module) -> None:
        if type(cell) is not LSTMCell or hooked(cell):
            raise ConversionError(
                f"{name} is to be an LSTMCell without hooks or parametrisations of its own, got {type(cell).__name__}."
            )
        self.hidden_size = cell.hidden_size
        self.input = Map.of(f"{name}.input_map", cell.input_map)
        self.state = Map.of(f"{name}.state_map", cell.state_map)
        self.projection = None if cell.projection is None else Map.of(f"{name}.projection", cell.projection)
        if self.projection is not None and self.projection.bias is not None:
            raise ConversionError(f"{name}.projection has a bias, which a fixed-point cell does not.")
        self.peepholes = None if cell.peepholes is None else cell.peepholes.detach().double()
        self.bias = sum((m.bias for m in (self.input, self.state) if m.bias is not None), self.input.zeros())
        self.ranges = Ranges()

    @torch.no_grad()
    def see(self, x: Tensor) -> Tensor:
        """Walk along (T, B, in) in float64 and note ranges; gives (T, B, out)."""
        ranges, peep = self.ranges, self.peepholes
        ranges.see("x", x, self.input.block)
        w, r = self.input.dense(), self.state.dense()
        p = None if self.projection is None else self.projection.dense()
        h, c = x.new_zeros(x.shape[1], r.shape[1]), x.new_zeros(x.shape[1], self.hidden_size)
        outputs = []
        for of_input in (x @ w.T).unbind(0):
            ranges.see("h", h, self.state.block)
            product = of_input + h @ r.T
            i, f, g, o = (product + self.bias).chunk(4, -1)
            if peep is not None:
                i, f = i + peep[0] * c, f + peep[1] * c
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            o = o if peep is None else o + peep[2] * c
            h = o.sigmoid() * c.tanh()
            for name, signal in (("c", c), *(("z", z) for z in (of_input, product, i, f, g, o))):
                ranges.see(name, signal)
            if p is not None and self.projection is not None:
                ranges.see("m", h, self.projection.block)
                h = h @ p.T
            ranges.see("y", h, self.state.block)
            outputs.append(h)
        return torch.stack(outputs)

    def cell(self, input_bits: int | None) -> FixedPointCell:
        """The cell in 16 bits.

        Args:
            input_bits: fraction bits of x; None: the most with which what was seen fits.
        """
        most, projection = self.ranges.most, self.projection
        f_x = fitting(most["x"], _SIGNAL) if input_bits is None else input_bits
        f_c = fitting(most["c"], _CELL)
        f_y = FRACTION if projection is None else fitting(max(most["y"], most["h"]), _SIGNAL)
        gates = fitting(max(most["z"], float(self.bias.abs().max())), _GATES)
        if self.peepholes is not None:  # they have gates - f_c fraction bits at least
            gates = min(gates, f_c + fitting(float(self.peepholes.abs().max())))
        if min(f_c, gates) < 0:
            raise ConversionError(
                f"cells up to {most['c']:g} and gates up to {most['z']:g} leave no fraction bits: scale the weights."
            )
        shifts = [
            shifts_for(f_x, most["x_spectrum"], self.input.block),
            shifts_for(f_y, max(most["h_spectrum"], most["y_spectrum"]), self.state.block),
        ]
        if self.input.block == self.state.block:
            products, gates = _product([self.input, self.state], shifts, [f_x, f_y], gates)
            state_products = None
        else:  # two formats of gates are one: the coarser
            (_, one), (_, other) = (
                _product([each], [shift], [bits], gates)
                for each, shift, bits in zip((self.input, self.state), shifts, (f_x, f_y), strict=True)
            )
            gates = min(one, other)
            products, _ = _product([self.input], shifts[:1], [f_x], gates)
            state_products, _ = _product([self.state], shifts[1:], [f_y], gates)
        last = None
        if projection is not None:
            shift = shifts_for(FRACTION, most["m_spectrum"], projection.block)
            last, f_y = _product([projection], [shift], [FRACTION], f_y)
        peepholes = self.peepholes
        f_p = gates - f_c if peepholes is None else min(fitting(float(peepholes.abs().max())), gates - f_c + 30)
        formats = {"input": f_x, "output": f_y, "gates": gates, "cell": f_c, "peepholes": max(f_p, gates - f_c)}
        made = FixedPointCell(products, self.hidden_size, formats, state_products, last, peepholes is not None)
        made.bias = quantised(self.bias, gates).to(torch.int16)
        if peepholes is not None:
            made.peepholes = quantised(peepholes, formats["peepholes"]).to(torch.int16)
        return made


def _product(maps: list[Map], shifts: list[int], fraction_bits: list[int], out: int) -> tuple[FixedCirculant, int]:
    generators, columns = [each.generators for each in maps], [each.columns for each in maps]
    return FixedCirculant.of(generators, maps[0].rows, columns, shifts, fraction_bits, out)
