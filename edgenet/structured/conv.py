"""StructuredConv1d and StructuredConv2d: convolutions whose kernel is any structured matrix."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import shortcuts
from edgenet.errors import ConfigError, ShapeError
from edgenet.ops import backend
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.contraction import CHUNK_BYTES
from edgenet.structured.convs import Convolve
from edgenet.structured.given import is_whole
from edgenet.structured.narrow import narrow
from edgenet.structured.parameters import parameter
from edgenet.structured.stacked import Stacked
from edgenet.structured.ways import Way, cheapest, traced

_MODES = ("zeros", "reflect", "replicate", "circular")
Sizes = int | Sequence[int]


class StructuredConv(nn.Module):
    """A convolution of any matrix; one along one axis or two is ``StructuredConv1d`` or ``StructuredConv2d``.

    y[:, o, p] = b[o] + sum over c, t of W[o, c T + t] x[:, c, stride p + dilation t - padding]; T places of a kernel.

    W is (out, in / groups * T), torch's weight with its first axis by all others. Of a grouped convolution the rows of
    group g see the channels of group g; a ``Stacked`` weight holds a matrix a group. What is computed is the cheapest
    by the cost model: two convolutions where the family has such (``as_convs``), one by the dense kernel, which in
    ``eval`` mode without gradients is built once, or a product of the matrix with every window.

    Args:
        weight: the structured matrix W.
        kernel_size, stride, padding, dilation, groups, padding_mode: as of torch's convolutions.
        bias: (out,) or None.
        padding_value: the number that ``padding_mode="zeros"`` pads with. Signals of -1 and +1 want one of the two:
            a zero between them is no sign, and takes a code of its own.

    Raises:
        ShapeError: if the matrix does not fit the kernel and the groups.
        ConfigError: if an option is out of range.

    Example:
        >>> kernel = edgenet.structured.Dense(torch.randn(8, 15))
        >>> conv = edgenet.structured.structured_conv(torch.nn.Conv1d(3, 8, 5), kernel)
        >>> isinstance(conv, edgenet.structured.StructuredConv), conv(torch.randn(2, 3, 20)).shape
        (True, torch.Size([2, 8, 16]))
    """

    dims: ClassVar[int]

    def __init__(
        self,
        weight: StructuredMatrix,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        bias: Tensor | None = None,
        padding_value: float = 0.0,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.dilation = (
            _sizes(name, value, self.dims, 1)
            for name, value in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation))
        )
        self.padding = padding if isinstance(padding, str) else _sizes("padding", padding, self.dims, 0)
        self.padding_mode = padding_mode
        if padding_mode not in _MODES:
            raise ConfigError(f"padding_mode is one of {', '.join(_MODES)}, got {padding_mode!r}.")
        if not isinstance(padding_value, int | float) or not abs(padding_value) <= sys.float_info.max:
            raise ConfigError(f"padding_value is a finite number, got {padding_value!r}.")
        if padding_value and padding_mode != "zeros":
            raise ConfigError(
                f"padding_mode={padding_mode!r} pads with the signal itself, and padding_value={padding_value} counts "
                f"for 'zeros' alone. Leave one of the two out."
            )
        self.padding_value = float(padding_value)
        if isinstance(padding, str) and padding not in ("valid", "same"):
            raise ConfigError(f"padding is a size, 'valid' or 'same', got {padding!r}.")
        if padding == "same" and max(self.stride) > 1:
            raise ConfigError(f"padding='same' wants stride 1, got {self.stride}; give the padding as sizes.")
        m, n = weight.shape
        if not is_whole(groups) or groups < 1 or m % groups:
            raise ConfigError(f"groups is a whole number from 1 that divides the {m} outputs, got {groups!r}.")
        self.groups = int(groups)
        if n % self.places or n == 0:
            raise ShapeError(
                f"a kernel of {self.kernel_size} has {self.places} places, and a matrix for it a multiple of so many "
                f"columns, got {tuple(weight.shape)}."
            )
        if isinstance(weight, Stacked) and len(weight.parts) > 1 and not self._is_split(weight):
            raise ShapeError(f"a matrix a group is {groups} of {m // groups} rows, got {_rows(weight)}.")
        if bias is not None and tuple(bias.shape) != (m,):
            raise ShapeError(f"the bias of {m} outputs is of shape ({m},), got {tuple(bias.shape)}.")
        self.in_channels, self.out_channels = n // self.places * groups, m
        self.weight = weight
        self.bias = None if bias is None else parameter(bias)

    @classmethod
    def like(cls, conv: nn.Conv1d | nn.Conv2d | StructuredConv, weight: StructuredMatrix) -> Self:
        """A convolution of a matrix, with the options of another and the very same bias."""
        new = cls(weight, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
        new.padding_value = getattr(conv, "padding_value", 0.0)
        new.bias = conv.bias  # the same parameter: an optimizer and a tie keep it
        return new.train(conv.training)

    @property
    def places(self) -> int:
        """T, of the kernel."""
        return math.prod(self.kernel_size)

    @property
    def _thins(self) -> int:
        """Positions of the input for one of the output."""
        return math.prod(self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, *places) or (in, *places) -> (batch, out, *places) or (out, *places).

        Raises:
            ShapeError: if the signal has other axes or channels.
        """
        if x.dim() not in (self.dims + 1, self.dims + 2) or x.shape[-self.dims - 1] != self.in_channels:
            raise ShapeError(
                f"this convolution takes (batch, {self.in_channels}, {', '.join(['places'] * self.dims)}) with or "
                f"without the batch, got {tuple(x.shape)}."
            )
        signal = x if x.dim() == self.dims + 2 else x.unsqueeze(0)
        signal, padding = self._padded(signal)
        if shortcuts.plain(self.weight):
            y = self._convolved(signal, padding)
            fresh = backend.eager() and not torch.is_grad_enabled()
        else:
            y, fresh = self._by_windows(self.weight, signal, padding, self.groups), False
        if self.bias is not None:
            bias = self.bias.to(y.dtype).reshape(-1, *[1] * self.dims)  # under autocast the two differ
            y = y.add_(bias) if fresh else y + bias
        return y if x.dim() == self.dims + 2 else y.squeeze(0)

    def multiply_adds(self, positions: int = 1) -> int:
        """Multiply-adds of so many positions of one image of the output, all groups together, in the way that is taken
        for them."""
        if not self._splits():
            return positions * math.prod(self.weight.shape)
        ways = [
            cheapest(part, self.places, self._thins, positions, positions, not self.training)
            for part in self._matrices()
        ]
        return positions * sum(way.multiply_adds for way in ways)

    def arguments(self) -> dict[str, Any]:
        """Of the constructor's, those that are no attribute of the same name; saved models are made by them."""
        return {"bias": None}  # a tensor, of which the file says the shape

    def extra_repr(self) -> str:
        names = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        told = [f"{name}={getattr(self, name)!r}" for name in names]
        return ", ".join(told + [f"padding_value={self.padding_value:g}"] * (self.padding_value != 0))

    # ---------------------------------------------------------------- padding
    def _padded(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """The signal, and what is left for a convolution to pad with zeros on both sides."""
        if self.padding == "valid":
            return x, (0,) * self.dims
        if self.padding == "same":
            both = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            before = [total // 2 for total in both]
            after = [total - half for total, half in zip(both, before, strict=True)]
        else:
            before = after = list(self.padding)
        if self.padding_mode == "zeros" and before == after and (self.padding_value == 0 or not any(before)):
            return x, tuple(before)
        # F.pad counts from the last axis
        ends = [size for pair in zip(reversed(before), reversed(after), strict=True) for size in pair]
        if self.padding_mode == "zeros":
            return F.pad(x, ends, "constant", self.padding_value), (0,) * self.dims
        return F.pad(x, ends, self.padding_mode), (0,) * self.dims

    # ---------------------------------------------------------------- groups
    def _is_split(self, weight: Stacked) -> bool:
        return _rows(weight) == [weight.shape[0] // self.groups] * self.groups

    def _splits(self) -> bool:
        """Whether there is a matrix for every group."""
        weight = self.weight
        return self.groups == 1 or (isinstance(weight, Stacked) and self._is_split(weight))

    def _matrices(self) -> list[StructuredMatrix]:
        weight = self.weight
        return list(weight.parts) if isinstance(weight, Stacked) and self.groups > 1 else [weight]

    # ---------------------------------------------------------------- convolving
    def _convolved(self, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        kernels = self._matrices()
        if not self._splits():
            return self._by_dense(self.weight, x, padding)
        if torch.compiler.is_compiling():
            ways = [traced(kernel, self.places, self._thins) for kernel in kernels]
        else:
            image = math.prod(self._size(x, padding))
            kept = not self.training and not torch.is_grad_enabled()
            ways = [cheapest(kernel, self.places, self._thins, len(x) * image, image, kept) for kernel in kernels]
        if len(ways) > 1 and all(way.convs is None and not way.windows for way in ways):
            return self._by_dense(self.weight, x, padding)  # one convolution for all groups
        parts = [x] if len(kernels) == 1 else x.chunk(len(kernels), 1)
        done = [self._by_way(way, *both, padding) for way, *both in zip(ways, kernels, parts, strict=True)]
        return done[0] if len(done) == 1 else torch.cat(done, 1)

    def _by_way(self, way: Way, matrix: StructuredMatrix, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        if way.windows:
            return self._by_windows(matrix, x, padding, 1)
        convs, first = way.convs, way.places_first
        if convs is None:
            return self._by_dense(matrix, x, padding)
        if convs.read and first:
            factors = convs.factors(first, self.kernel_size)
        else:
            tensors = (*matrix.parameters(), *matrix.buffers())
            key = ("convs", convs.key, first, self.kernel_size)
            factors = matrix.cache.get(matrix, key, tensors, lambda: convs.factors(first, self.kernel_size))
        y = self._in_pieces(x, way, padding, lambda piece: convs.apply(piece, first, factors, self._convolve(padding)))
        return y if y.shape[1] == matrix.shape[0] else y[:, : matrix.shape[0]]

    def _in_pieces(self, x: Tensor, way: Way, padding: tuple[int, ...], piece: Callable[[Tensor], Tensor]) -> Tensor:
        """``piece`` on so few images at once that what is between two convolutions stays in the cache; on all where a
        gradient keeps it."""
        if way.convs is None or len(x) == 1 or not backend.eager() or torch.is_grad_enabled() or not x.is_cpu:
            return piece(x)
        each = way.convs.between(way.places_first, self.places, self._thins) * x.element_size()
        step = max(1, CHUNK_BYTES // max(1, each * math.prod(self._size(x, padding))))
        if len(x) <= 2 * step:
            return piece(x)
        y = None
        for start in range(0, len(x), step):
            part = piece(x[start : start + step])
            y = part.new_empty(len(x), *part.shape[1:]) if y is None else y
            y[start : start + step] = part
        return y

    def _by_dense(self, matrix: StructuredMatrix, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        tensors = (*matrix.parameters(), *matrix.buffers())  # a mask is a buffer
        dense = matrix.to_dense() if matrix.is_dense else matrix.cache.get(matrix, "bridge", tensors, matrix.to_dense)
        kernel = dense.reshape(matrix.shape[0], -1, *self.kernel_size)
        return self._convolve(padding)(x, kernel)

    def _convolve(self, padding: tuple[int, ...]) -> Convolve:
        conv = F.conv1d if self.dims == 1 else F.conv2d

        def convolve(x: Tensor, kernel: Tensor) -> Tensor:
            groups = x.shape[1] // max(1, kernel.shape[1])
            y = narrow(x, kernel, self.stride, padding, self.dilation) if groups == 1 else None
            if y is not None:
                return y
            return conv(x, kernel, None, self.stride, padding, self.dilation, groups)

        return convolve

    def _by_windows(self, matrix: nn.Module, x: Tensor, padding: tuple[int, ...], groups: int) -> Tensor:
        """What the layer means: the matrix, called, on every window of every group; of the rows those of the group."""
        batch, channels, *_ = x.shape
        size = self._size(x, padding)
        x = F.pad(x, [end for width in reversed(padding) for end in (width, width)])
        x = x.reshape(batch * groups, channels // groups, *(() if self.dims == 2 else (1,)), *x.shape[2:])
        one = () if self.dims == 2 else (1,)
        windows = F.unfold(x, (*one, *self.kernel_size), (*one, *self.dilation), 0, (*one, *self.stride))
        y = matrix(windows.mT).mT  # (batch groups, out, positions)
        rows = y.shape[1]
        if groups > 1:
            own = torch.arange(groups, device=y.device)
            y = y.reshape(batch, groups, groups, rows // groups, y.shape[-1])[:, own, own]
        return y.reshape(batch, rows, *size)

    def _size(self, x: Tensor, padding: tuple[int, ...]) -> list[int]:
        """Of the output."""
        sizes = zip(x.shape[2:], self.kernel_size, self.stride, padding, self.dilation, strict=True)
        size = [(length + 2 * pad - d * (k - 1) - 1) // step + 1 for length, k, step, pad, d in sizes]
        if min(size) < 1:
            reach = [d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True)]
            raise ShapeError(f"a kernel that reaches over {reach} does not fit a signal of {list(x.shape[2:])}.")
        return size


class StructuredConv1d(StructuredConv):
    """A ``StructuredConv`` along one axis: (batch, in, L) -> (batch, out, L').

    Example:
        >>> kernel = edgenet.structured.LowRank.random((8, 15), rank=2)  # 3 channels of 5 places
        >>> conv = edgenet.structured.StructuredConv1d(kernel, kernel_size=(5,))
        >>> conv(torch.randn(2, 3, 20)).shape
        torch.Size([2, 8, 16])
    """

    dims = 1


class StructuredConv2d(StructuredConv):
    """A ``StructuredConv`` along two axes: (batch, in, H, W) -> (batch, out, H', W').

    Example:
        >>> kernel = edgenet.structured.LowRank.random((8, 27), rank=2)  # 3 channels of 3 x 3
        >>> conv = edgenet.structured.StructuredConv2d(kernel, kernel_size=(3, 3), padding=1)
        >>> conv(torch.randn(2, 3, 16, 16)).shape
        torch.Size([2, 8, 16, 16])
    """

    dims = 2


def structured_conv(conv: nn.Conv1d | nn.Conv2d | StructuredConv, weight: StructuredMatrix) -> StructuredConv:
    """The convolution that does with a matrix what ``conv`` does with its kernel, with the very same bias.

    Example:
        >>> conv = torch.nn.Conv2d(3, 8, 3, stride=2)
        >>> kernel = edgenet.structured.LowRank.from_dense(conv.weight.flatten(1), rank=2)
        >>> small = edgenet.structured.structured_conv(conv, kernel)
        >>> small(torch.randn(1, 3, 9, 9)).shape
        torch.Size([1, 8, 4, 4])
    """
    one = isinstance(conv, nn.Conv1d | StructuredConv1d)
    return (StructuredConv1d if one else StructuredConv2d).like(conv, weight)


def _sizes(name: str, value: Sizes, dims: int, least: int) -> tuple[int, ...]:
    sizes = value if isinstance(value, tuple | list) else (value,) * dims
    if len(sizes) != dims or not all(is_whole(size) and size >= least for size in sizes):
        raise ConfigError(f"{name} is a whole number from {least}, or {dims} of them, got {value!r}.")
    return tuple(map(int, sizes))


def _rows(weight: Stacked) -> list[int]:
    return [part.shape[0] for part in weight.parts]
