"""Modules that take and give packed signs: what a binary network becomes once it is trained.

Between them signs travel as words of 64 (``edgenet.ops.pack_signs``) with the channels last: (batch, words) or (batch,
*places, words). Dots are the whole numbers that products of signs are, (batch, *places, n) int32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.errors import ConfigError, ShapeError
from edgenet.structured.inference_cache import InferenceCache

Ends = Sequence[Sequence[int]]  # of an axis of places: what is put before and after it


class _OfBits(nn.Module):
    """Its buffers are whole numbers, whose bits count; torch would cast what it loads into them."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for name, own in self._buffers.items():
            stored = state_dict.get(prefix + name)
            if own is not None and stored is not None and stored.dtype != own.dtype:
                args[-1].append(f"{prefix}{name}: these are bits of {own.dtype}, got {stored.dtype}.")
                return
        super()._load_from_state_dict(state_dict, prefix, *args)


class PackSigns(nn.Module):
    """Numbers to packed signs.

    Args:
        channels_first: whether axis 1 is that of the channels, as of images; else the last is.

    Example:
        >>> edgenet.nn.PackSigns()(torch.tensor([[0.5, -2.0, 0.0]])).tolist()
        [[5]]
    """

    def __init__(self, channels_first: bool = False) -> None:
        super().__init__()
        self.channels_first = channels_first

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, *places), or (batch, channels), to (batch, *places, words).

        Raises:
            ShapeError: if a number is NaN.
        """
        return ops.pack_signs(x.movedim(1, -1) if self.channels_first else x)

    def extra_repr(self) -> str:
        return f"channels_first={self.channels_first}"


class PackedLinear(_OfBits):
    """Dots of packed signs with the rows of a matrix of signs.

    Args:
        rows: n of them.
        features: k signs in each.
        places: the signs of a row stand in so many runs of equal length, each in words of its own, as images have
            them that were flattened.

    Example:
        >>> edgenet.nn.PackedLinear(rows=8, features=64)(edgenet.ops.pack_signs(torch.randn(5, 64))).shape
        torch.Size([5, 8])
    """

    words: Tensor

    def __init__(self, rows: int, features: int, places: int = 1) -> None:
        super().__init__()
        if places < 1 or features % places:
            raise ConfigError(f"{features} signs are no {places} runs of equal length.")
        self.rows, self.features, self.places = rows, features, places
        run = features // places
        self.register_buffer("words", torch.zeros(rows, places * -(-run // 64), dtype=torch.int64))

    def fill_(self, signs: Tensor) -> None:
        """Set the matrix: (n, k), of which the entries from 0 up are +1. Runs are places, with the channels inside."""
        run = self.features // self.places
        self.words.copy_(ops.pack_signs(signs.reshape(self.rows, self.places, run)).flatten(1))

    def forward(self, words: Tensor) -> Tensor:
        """(batch, words) -> (batch, n) int32.

        Raises:
            ShapeError: if the signal has other axes, or words.
        """
        if words.dim() != 2:
            raise ShapeError(f"a packed linear map takes (batch, words), got {tuple(words.shape)}.")
        return ops.xnor(words, self.words, self.features)

    def extra_repr(self) -> str:
        return f"{self.features} -> {self.rows}"


class PackedConv(_OfBits):
    """Dots of packed signs under a kernel of signs, at every position of an image.

    Args:
        channels: of the signal.
        rows: n channels of the output.
        kernel_size, stride, dilation: one number an axis of places.
        padding: what is put before and after each axis of places.
        padding_value: the number that is padded, -1, 0 or 1. Zeros are no signs: -1 is put in their place, and what it
            adds is taken off again.

    Example:
        >>> edgenet.nn.PackedConv(64, 8, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)).rows
        8
    """

    words: Tensor

    def __init__(
        self, channels: int, rows: int, kernel_size: Sequence[int], stride: Sequence[int], padding: Ends,
        dilation: Sequence[int], padding_value: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if padding_value not in (-1, 0, 1):
            raise ConfigError(f"signs are padded with -1, 0 or 1, got padding_value={padding_value!r}.")
        self.channels, self.rows, self.padding_value = channels, rows, float(padding_value)
        self.kernel_size, self.stride, self.dilation = tuple(kernel_size), tuple(stride), tuple(dilation)
        self.padding = tuple(map(tuple, padding))
        self.places = math.prod(self.kernel_size)
        self.features = channels * self.places
        self.register_buffer("words", torch.zeros(rows, self.places * -(-channels // 64), dtype=torch.int64))
        self.cache = InferenceCache()

    def fill_(self, signs: Tensor) -> None:
        """Set the kernel: (n, channels * places) in torch's order, of which the entries from 0 up are +1."""
        by_place = signs.reshape(self.rows, self.channels, self.places).movedim(1, 2)
        self.words.copy_(ops.pack_signs(by_place).flatten(1))

    def forward(self, words: Tensor) -> Tensor:
        """(batch, *places, words) -> (batch, *places, n) int32.

        Raises:
            ShapeError: if the signal has other axes or words, or is smaller than the kernel.
        """
        if words.dim() != len(self.kernel_size) + 2:
            raise ShapeError(
                f"a packed convolution takes (batch, {', '.join(['places'] * len(self.kernel_size))}, words), got "
                f"{tuple(words.shape)}."
            )
        dots = ops.xnor(self._windows(self._padded(words)), self.words, self.features)
        if self.padding_value == 0 and any(map(any, self.padding)):
            dots += self._of_border(words)
        return dots

    def _padded(self, words: Tensor) -> Tensor:
        ends = [size for pair in reversed(self.padding) for size in pair]
        if not any(ends):
            return words
        padded = F.pad(words, [0, 0, *ends])
        if self.padding_value == 1:  # bits that are no channels stay 0
            ones = ops.pack_signs(words.new_zeros(self.channels))
            inside = F.pad(words.new_ones(words.shape[1:-1], dtype=torch.bool), ends)
            padded = torch.where(inside.unsqueeze(-1), padded, ones)
        return padded

    def _windows(self, x: Tensor) -> Tensor:
        """(batch, *places, c) -> (batch, *positions, places of the kernel * c)."""
        axes = len(self.kernel_size)
        for axis, (k, step, d) in enumerate(zip(self.kernel_size, self.stride, self.dilation, strict=True), 1):
            if x.shape[axis] < d * (k - 1) + 1:
                raise ShapeError(f"a kernel that reaches over {d * (k - 1) + 1} does not fit {x.shape[axis]} places.")
            x = x.unfold(axis, d * (k - 1) + 1, step)[..., ::d]
        channels = axes + 1  # the kernel's places stand behind it
        return x.movedim(channels, -1).flatten(axes + 1)

    def _of_border(self, words: Tensor) -> Tensor:
        """(*positions, n) what padded zeros are more than padded -1: the sums of the signs that lie on the padding."""
        places = words.shape[1:-1]

        def compute() -> tuple[Sequence[int], Tensor]:
            by_place = self.words.unflatten(1, (self.places, -1))
            sums = ops.unpack_signs(by_place, self.channels, torch.float32).sum(-1)  # (n, places of the kernel)
            ends = [size for pair in reversed(self.padding) for size in pair]
            outside = F.pad(sums.new_zeros(places), ends, value=1.0)
            windows = self._windows(outside[None, ..., None])[0]
            return places, (windows @ sums.mT).round().to(torch.int32)

        of, border = self.cache.get(self, "border", (self.words,), compute, in_training=True)
        if of != places:  # one size at a time is kept
            self.cache.clear()
            _, border = self.cache.get(self, "border", (self.words,), compute, in_training=True)
        return border

    def extra_repr(self) -> str:
        names = ("kernel_size", "stride", "padding", "dilation", "padding_value")
        return f"{self.channels} -> {self.rows}, " + ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


class Thresholds(_OfBits):
    """Dots to packed signs: dot >= least, or the opposite where ``flip`` has a bit. A batch norm and a sign are that.

    Args:
        rows: n channels.

    Example:
        >>> edgenet.nn.Thresholds(rows=8)(torch.zeros(5, 8, dtype=torch.int32)).shape
        torch.Size([5, 1])
    """

    least: Tensor
    flip: Tensor

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.register_buffer("least", torch.zeros(rows, dtype=torch.int32))
        self.register_buffer("flip", torch.zeros(-(-rows // 64), dtype=torch.int64))

    def forward(self, dots: Tensor) -> Tensor:
        """(batch, *places, n) int32 -> (batch, *places, words)."""
        return ops.pack_above(dots, self.least, self.flip)

    def extra_repr(self) -> str:
        return str(self.rows)


class FlipSigns(_OfBits):
    """The opposite signs in some channels.

    Args:
        rows: n channels.

    Example:
        >>> edgenet.nn.FlipSigns(rows=8)
        FlipSigns(...)
    """

    flip: Tensor

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.register_buffer("flip", torch.zeros(-(-rows // 64), dtype=torch.int64))

    def forward(self, words: Tensor) -> Tensor:
        return words ^ self.flip


class PackedMaxPool(nn.Module):
    """The largest of neighbouring signs, which is their OR.

    Args:
        kernel_size, stride, padding, dilation: one number an axis of places.

    Example:
        >>> pool = edgenet.nn.PackedMaxPool((2, 2), (2, 2), (0, 0), (1, 1))
        >>> pool(torch.zeros(1, 4, 4, 1, dtype=torch.int64)).shape
        torch.Size([1, 2, 2, 1])
    """

    def __init__(
        self, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = tuple(kernel_size), tuple(stride)
        self.padding, self.dilation = tuple(padding), tuple(dilation)

    def forward(self, words: Tensor) -> Tensor:
        """(batch, *places, words) -> (batch, *fewer places, words)."""
        x = F.pad(words, [0, 0, *(size for pad in reversed(self.padding) for size in (pad, pad))])  # with -1
        for axis, (k, step, d) in enumerate(zip(self.kernel_size, self.stride, self.dilation, strict=True), 1):
            positions = (x.shape[axis] - d * (k - 1) - 1) // step + 1
            if positions < 1:
                raise ShapeError(f"a pool that reaches over {d * (k - 1) + 1} does not fit {x.shape[axis]} places.")
            parts = [x.narrow(axis, d * i, x.shape[axis] - d * i) for i in range(k)]
            steps = [part[(slice(None),) * axis + (slice(None, None, step),)] for part in parts]
            x = steps[0].narrow(axis, 0, positions)
            for part in steps[1:]:
                x = x | part.narrow(axis, 0, positions)
        return x

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class Rescaled(nn.Module):
    """Dots to numbers: scale dot + bias, channels first.

    Args:
        rows: n channels.
        dtype: of the numbers.

    Example:
        >>> edgenet.nn.Rescaled(rows=8)(torch.ones(5, 8, dtype=torch.int32)).dtype
        torch.float32
    """

    scale: Tensor
    bias: Tensor

    def __init__(self, rows: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.rows = rows
        self.register_buffer("scale", torch.ones(rows, dtype=dtype))
        self.register_buffer("bias", torch.zeros(rows, dtype=dtype))

    def arguments(self) -> dict[str, Any]:
        """Of the constructor's, those that are no attribute of the same name."""
        return {"dtype": self.scale.dtype}

    def forward(self, dots: Tensor) -> Tensor:
        """(batch, *places, n) int32 -> (batch, n, *places)."""
        return torch.addcmul(self.bias, dots.to(self.scale.dtype), self.scale).movedim(-1, 1)

    def extra_repr(self) -> str:
        return str(self.rows)
