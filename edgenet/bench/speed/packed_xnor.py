"""Cases of packed signs: products, a layer, a convolution and a network, beside the best products of float32."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet import ops
from edgenet.bench.speed.packed_case import Case
from edgenet.convert import pack_binary
from edgenet.nn import PackedConv, PackSigns, Sign
from edgenet.ops import native
from edgenet.ops.kernels.codes_linear.int8 import has_vnni, int8_linear, int8_weight, rounded
from edgenet.ops.kernels.codes_linear.int8 import product as int8_product
from edgenet.ops.kernels.xnor.native import naive_product
from edgenet.structured import Binary, Dense, StructuredLinear

_WIDTH = 4096
_NAIVE_UP_TO = 32  # rows: a second each


def cases() -> list[Case]:
    """Sizes of the paper's table: 4096 x 4096 and batches of 1, 32 and 256. Packing the signal is part of a call."""
    torch.manual_seed(0)
    weight = _signs(_WIDTH, _WIDTH)
    found = [_product(batch, weight) for batch in (1, 32, 256)]
    found += [_int8(batch, weight) for batch in (32, 256)]
    found += [_network(batch) for batch in (1, 256)]
    return found + [_convolution(batch) for batch in (1, 32)]


def _signs(*shape: int) -> Tensor:
    return torch.where(torch.rand(shape) < 0.5, -1.0, 1.0)


def _call(function: Callable[..., Tensor], *arguments: object) -> Callable[[], Tensor]:
    return torch.no_grad()(partial(function, *arguments))


def float_products(x: Tensor, weight: Tensor) -> dict[str, Callable[[], Tensor]]:
    """x W^T in float32 in the ways that torch has, the one that is fastest here first."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
    turned = weight.mT.contiguous()
    known = {
        "float32, oneDNN, packed weight": _call(torch.ops.mkldnn._linear_pointwise, x, packed, None, "none", [], ""),
        "float32, `F.linear` (MKL)": _call(F.linear, x, weight),
        "float32, `torch.mm` (MKL)": _call(torch.mm, x, turned),
    }
    return dict(sorted(known.items(), key=lambda item: _seconds(item[1])))


def _seconds(call: Callable[[], Tensor]) -> float:
    """The least of a few."""
    call()
    found = []
    for _ in range(4):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def _product(batch: int, weight: Tensor) -> Case:
    x, words = torch.randn(batch, _WIDTH), ops.pack_signs(weight)
    signs = torch.where(x >= 0, 1.0, -1.0)
    others = float_products(signs, weight)
    if has_vnni():
        w = int8_weight(weight.to(torch.int8), torch.ones(1))
        others["int8, oneDNN (VNNI)"] = _call(int8_product, signs.to(torch.int8), w)
    if batch <= _NAIVE_UP_TO and native.library() is not None:
        others["float32, unoptimised loops"] = _call(naive_product, signs, weight)
    return Case(
        f"XNOR, {_WIDTH} x {_WIDTH}",
        batch,
        _call(lambda: ops.xnor(ops.pack_signs(x), words, _WIDTH)),
        others,
        0.0,
        _call(F.linear, signs, weight),
    )


def _int8(batch: int, weight: Tensor) -> Case:
    x, codes = torch.randn(batch, _WIDTH), (weight * torch.randint(0, 128, weight.shape)).to(torch.int8)
    w = int8_weight(codes, torch.full((1,), 0.01))
    dense = codes.float() * 0.01

    def check() -> Tensor:
        whole, scale = rounded(x)
        return whole.float() * scale @ dense.mT

    name = "int8, signals rounded to int8 too"
    return Case(
        f"{name}, {_WIDTH} x {_WIDTH}", batch, _call(int8_linear, x, w), float_products(x, dense), 1e-5, _call(check)
    )


def _network(batch: int) -> Case:
    layers: list[nn.Module] = [Sign()]
    for _ in range(2):
        binary = Binary(Dense(_signs(_WIDTH, _WIDTH)), per="none")
        layers += [StructuredLinear(binary), nn.BatchNorm1d(_WIDTH), Sign()]
    layers += [StructuredLinear(Binary(Dense(_signs(10, _WIDTH)), per="none"))]
    model = nn.Sequential(*layers)
    for layer in model:
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.running_mean, std=8)
            nn.init.constant_(layer.running_var, 4096)
    model.eval()
    packed, x = pack_binary(model), torch.randn(batch, _WIDTH)
    return Case(
        f"binary network {_WIDTH}-{_WIDTH}-{_WIDTH}-10 with batch norms",
        batch,
        _call(packed, x),
        {"float32, the same network unpacked": _call(model, x)},
        0.0,
        _call(model, x),
    )


def _convolution(batch: int, channels: int = 128) -> Case:
    x, kernel = torch.randn(batch, channels, 14, 14), _signs(channels, channels, 3, 3)
    conv = PackedConv(channels, channels, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), -1.0)
    conv.fill_(kernel.flatten(1))
    ours = nn.Sequential(PackSigns(channels_first=True), conv)
    signs = F.pad(torch.where(x >= 0, 1.0, -1.0), (1, 1, 1, 1), value=-1.0)
    with torch.no_grad():
        packed = kernel.to_mkldnn()
    others = {
        "float32, `F.conv2d` (oneDNN)": _call(F.conv2d, signs, kernel),
        "float32, oneDNN, mkldnn kernel": _call(lambda: F.conv2d(signs.to_mkldnn(), packed).to_dense()),
    }
    return Case(
        f"binary convolution {channels} -> {channels}, 3 x 3, 14 x 14",
        batch,
        _call(ours, x),
        dict(sorted(others.items(), key=lambda item: _seconds(item[1]))),
        0.0,
        _call(lambda: F.conv2d(signs, kernel).permute(0, 2, 3, 1)),
    )
