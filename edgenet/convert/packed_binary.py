"""pack_binary: a trained binary network becomes one whose signs are bits, and whose batch norms are thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgenet import ops
from edgenet.convert.model import copied
from edgenet.convert.sign_thresholds import thresholds
from edgenet.errors import ConversionError
from edgenet.nn.packed_signs import (
    FlipSigns,
    PackedConv,
    PackedLinear,
    PackedMaxPool,
    PackSigns,
    Rescaled,
    Thresholds,
)
from edgenet.nn.sign import Sign
from edgenet.shortcuts import hooked, untouched
from edgenet.structured import StructuredConv1d, StructuredConv2d, StructuredLinear

Layer = tuple[str, nn.Module]  # with its name in the model
_AXES: dict[type, int] = {StructuredLinear: 0, StructuredConv1d: 1, StructuredConv2d: 2}  # of places
_POOLS: dict[type, int] = {nn.MaxPool1d: 1, nn.MaxPool2d: 2}
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)  # in eval mode


def pack_binary(model: nn.Module, keep: Sequence[str] = ()) -> nn.Module:
    """A copy of a model in which binary layers between signs work on packed bits.

    In every ``nn.Sequential`` the chains Sign -> linear map or convolution with binary weights -> batch norm -> Sign
    are replaced: signs travel 64 to a word, products are XNOR and popcount, and batch norm and sign become thresholds
    of whole numbers (Hubara et al. 2016). Max pools are ORs of bits; biases, scales and dropout fold into the
    thresholds. What comes before the first Sign and after the last product is computed in numbers, as it was.

    A packed sequence has other layers than before: if a model calls only a part of one, ``self.body[:2]``, name that
    sequence in ``keep``.

    Signs are those of the model, to the bit where its weights are -1 and +1 (``per="none"``). With scales the model
    adds up rounded numbers: where a batch norm is within that rounding of 0, the exact sum here may decide otherwise.

    Args:
        model: a trained model. Weights are binary where every row of the matrix has one magnitude: ``Binary`` over a
            dense matrix, its packed form, or any other.
        keep: layers and whole blocks that stay as they are, by their names in the model.

    Returns:
        The copy, in ``eval`` mode, for inference alone: packed layers have no parameters.

    Raises:
        ConversionError: if there is no such chain; if a binary layer behind a Sign cannot be packed, or a batch norm
            between has no statistics, with the reason; if ``keep`` names no layer.

    Example:
        >>> from edgenet.nn import Sign
        >>> model = torch.nn.Sequential(Sign(), torch.nn.Linear(64, 8, bias=False), torch.nn.BatchNorm1d(8)).eval()
        >>> _ = edgenet.compress.compress_(model, {"1": {"structure": "binary", "per": "none"}})
        >>> packed, signals = edgenet.convert.pack_binary(model), torch.randn(5, 64)
        >>> torch.allclose(packed(signals), model(signals), atol=1e-5)
        True
    """
    known = dict(model.named_modules())
    unknown = [name for name in keep if name not in known]
    if unknown:
        raise ConversionError(f"keep names no layer of this {type(model).__name__}: {', '.join(map(repr, unknown))}.")
    model = copied(model).eval()
    if not _pack_(model, "", frozenset(keep)):
        raise ConversionError(
            "there is nothing to pack: no nn.Sequential here has an edgenet.nn.Sign and then a StructuredLinear or "
            "StructuredConv whose weights have one magnitude a row. edgenet.compress_ makes weights binary."
        )
    return model.eval()


def _pack_(module: nn.Module, name: str, keep: frozenset[str]) -> int:
    """Pack what is inside, in place; how many layers that were."""
    if name in keep:
        return 0
    if type(module) is not nn.Sequential:
        return sum(_pack_(child, f"{name}.{key}".lstrip("."), keep) for key, child in module.named_children())
    layers = list(_flat(module, name, keep))
    count = sum(_pack_(layer, where, keep) for where, layer in layers)
    packer = Packer(layers, keep)
    packer.run()
    if packer.count:
        module._modules.clear()
        for number, layer in enumerate(packer.new):
            module.add_module(str(number), layer)
    return count + packer.count


def _flat(sequence: nn.Sequential, name: str, keep: frozenset[str]) -> Iterator[Layer]:
    """The layers of a sequence, and of sequences inside it."""
    for key, layer in sequence._modules.items():  # named_children tells of a layer that comes twice once
        assert layer is not None  # which could not be called
        where = f"{name}.{key}".lstrip(".")
        if type(layer) is nn.Sequential and not hooked(layer) and where not in keep:
            yield from _flat(layer, where, keep)
        else:
            yield where, layer


@dataclass(frozen=True)
class Tail:
    """What stands between two binary maps that have a Sign between them.

    Attributes:
        pools: right behind the first.
        between: batch norms, and what else acts on every number alone, before the Sign.
        later: pools and a flattening behind these, on either side of the Sign.
        next: where the second map is.
    """

    pools: list[nn.Module]
    between: list[nn.Module]
    later: list[nn.Module]
    next: int


class Packer:
    """Goes through the layers of one sequence.

    Attributes:
        new: the layers that take their place.
        count: binary maps that were packed.
    """

    def __init__(self, layers: list[Layer], keep: frozenset[str]) -> None:
        self.layers, self.keep = layers, keep
        self.new: list[nn.Module] = []
        self.count = 0

    def run(self) -> None:
        at = 0
        while at < len(self.layers):
            first = self._map_behind(at)
            if first is None:
                self.new.append(self.layers[at][1])
                at += 1
            else:  # pools and flattening commute with the Sign, and packing does its work
                self.new += [layer for _, layer in self.layers[at + 1 : first] if type(layer) not in _NOTHING]
                self.new.append(PackSigns(channels_first=self._axes(first) > 0))
                at = self._chain(first)

    # ---------------------------------------------------------------- what stands where
    def _layer(self, at: int) -> nn.Module | None:
        """The layer there, unless it is to stay as it is."""
        if at >= len(self.layers):
            return None
        where, layer = self.layers[at]
        return None if hooked(layer) or where in self.keep else layer

    def _map_behind(self, at: int) -> int | None:
        """If a Sign stands there, where the binary map is that reads it."""
        if type(self._layer(at)) is not Sign:
            return None
        at += 1
        while _is_pool(self._layer(at)) or _is_flat(self._layer(at)) or type(self._layer(at)) in _NOTHING:
            at += 1
        return at if self._is_binary(at) else None

    def _is_binary(self, at: int) -> bool:
        if at >= len(self.layers):
            return False
        where, layer = self.layers[at]
        return type(layer) in _AXES and where not in self.keep and _binary(layer) is not None

    def _axes(self, at: int) -> int:
        return _AXES[type(self.layers[at][1])]

    def _tail(self, at: int) -> Tail | None:
        """What follows the binary map there; None if it is no chain to another."""
        axes, pools, between, later = self._axes(at), [], [], []
        at, behind_sign = at + 1, False
        while True:
            layer = self._layer(at)
            if type(layer) is Sign and not behind_sign:
                behind_sign = True
            elif _is_pool(layer) and _POOLS[type(layer)] == axes and not any(map(_is_flat, later)):
                (later if between or behind_sign else pools).append(layer)
            elif _is_flat(layer):
                later.append(layer)
            elif not behind_sign and not later and _is_between(layer):
                between.append(layer)
            elif type(layer) not in _NOTHING:
                break
            at += 1
        flat = any(map(_is_flat, later))
        if not (behind_sign and self._is_binary(at)) or (self._axes(at) != axes and not (flat and self._axes(at) == 0)):
            return None
        if flat and axes and self._axes(at):
            return None
        return Tail(pools, between, later, at)

    # ---------------------------------------------------------------- packing
    def _chain(self, at: int) -> int:
        """Pack the map there and those that follow it; where numbers begin again."""
        channels = 0  # of an image that was flattened
        while True:
            where, layer = self.layers[at]
            signs, scale = _binary(layer)
            packed = _packed_map(where, layer, signs, channels)
            axes, rows = self._axes(at), len(scale)
            self.new.append(packed)
            self.count += 1
            tail = self._tail(at)
            if tail is None:
                last = Rescaled(rows, scale.dtype).to(scale.device)
                last.scale.copy_(scale)
                if layer.bias is not None:
                    last.bias.copy_(layer.bias.detach())
                self.new.append(last)
                return at + 1
            self._thresholds(where, layer, scale, packed.features, tail)
            flat = any(map(_is_flat, tail.later))
            channels = rows if flat and axes else 0
            self.new += [nn.Flatten() if _is_flat(part) else _packed_pool(part) for part in tail.later]
            at = tail.next

    def _thresholds(self, where: str, layer: nn.Module, scale: Tensor, most: int, tail: Tail) -> None:
        for norm in tail.between:
            if isinstance(norm, _BatchNorm) and (norm.running_mean is None or norm.running_var is None):
                raise ConversionError(
                    f"the {type(norm).__name__} behind {where} has no running statistics, and depends on the batch: "
                    f"make it with track_running_stats=True and call edgenet.compress.recalibrate_, or leave the layer "
                    f"out with keep=[{where!r}]."
                )
        bias = None if layer.bias is None else layer.bias.detach()
        least, flip = thresholds(scale, bias, tail.between, most, _AXES[type(layer)])
        bits = ops.pack_signs(torch.where(flip, 1.0, -1.0))
        step = Thresholds(len(scale)).to(scale.device)
        step.least.copy_(least)
        self.new.append(step)
        if not tail.pools:
            step.flip.copy_(bits)
            return
        self.new += map(_packed_pool, tail.pools)  # the largest dot is the one that decides; opposites come behind
        if flip.any():
            opposite = FlipSigns(len(scale)).to(scale.device)
            opposite.flip.copy_(bits)
            self.new.append(opposite)


def _is_pool(layer: nn.Module | None) -> bool:
    return type(layer) in _POOLS and not layer.ceil_mode and not layer.return_indices


def _is_flat(layer: nn.Module | None) -> bool:
    return type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1)


def _is_between(layer: nn.Module | None) -> bool:
    """Whether it acts on each number of a channel alone, and keeps or turns their order as a whole."""
    known = type(layer).__module__.startswith(("torch.nn.", "edgenet."))
    return known and isinstance(layer, _BatchNorm | nn.Hardtanh)


@torch.no_grad()
def _binary(layer: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The matrix of a map, of which the entries from 0 up are +1, and the magnitude of each row; None if it has
    several, or a part that is not ours."""
    if not untouched(layer) or layer.weight.is_lazy:
        return None
    dense = layer.weight.to_dense()
    if dense.numel() == 0 or dense.is_complex():
        return None
    scale = dense.abs().amax(1)
    return (dense, scale) if (dense.abs() == scale.unsqueeze(1)).all() else None


def _packed_map(where: str, layer: nn.Module, signs: Tensor, channels: int) -> PackedLinear | PackedConv:
    rows, features = signs.shape
    if isinstance(layer, StructuredLinear):
        # what was flattened has the channels outside, packed signs have them inside
        places = features // channels if channels else 1
        linear = PackedLinear(rows, features, places).to(signs.device)
        linear.fill_(signs.reshape(rows, -1, places).mT.flatten(1))
        return linear
    padding, value = _ends(layer), getattr(layer, "padding_value", 0.0)
    padded = any(map(any, padding))
    if layer.groups > 1 or (padded and layer.padding_mode != "zeros"):
        what = f"{layer.groups} groups" if layer.groups > 1 else f"padding_mode={layer.padding_mode!r}"
        raise ConversionError(
            f"{where} is a binary convolution with {what}, of which there is no packed form: leave it out with "
            f"keep=[{where!r}]."
        )
    if padded and value not in (-1, 0, 1):
        raise ConversionError(
            f"{where} pads signs with {value}, and bits are padded with -1, 0 or 1: leave it out with keep=[{where!r}]."
        )
    conv = PackedConv(
        layer.in_channels, rows, layer.kernel_size, layer.stride, padding, layer.dilation, value if padded else 0.0
    ).to(signs.device)
    conv.fill_(signs)
    return conv


def _ends(conv: nn.Module) -> list[tuple[int, int]]:
    """What a convolution pads before and after each axis."""
    if conv.padding == "valid":
        return [(0, 0)] * len(conv.kernel_size)
    if conv.padding == "same":
        both = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return [(total // 2, total - total // 2) for total in both]
    return [(size, size) for size in conv.padding]


def _packed_pool(pool: nn.Module) -> PackedMaxPool:
    axes = _POOLS[type(pool)]
    options = (pool.kernel_size, pool.kernel_size if pool.stride is None else pool.stride, pool.padding, pool.dilation)
    return PackedMaxPool(*((size,) * axes if isinstance(size, int) else size for size in options))
