"""Cases of matrices that are multiplied as they are stored: codes, blocks of one magnitude, factors of few bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.bench.harness.floor import onednn_missing
from edgenet.bench.speed.packed_case import Case
from edgenet.structured import Kronecker, PowerOfTwo, StructuredMatrix, Unified, Uniform
from edgenet.structured.block_choice import UNIFY

_WIDTH = 4096
_GROUP = 128  # columns that share a scale in torch's int4 product
_NEAR = 1e-5  # float32 sums in another order


def cases() -> list[Case]:
    """4096 x 4096, through ``Coded`` and ``Unified`` in ``eval`` mode, as a network calls them."""
    torch.manual_seed(0)
    weight = torch.randn(_WIDTH, _WIDTH) / 64
    kinds = {
        "PowerOfTwo (Q) of 4 bits": PowerOfTwo.from_dense(weight, bits=4),
        "PowerOfTwo (Q) of 5 bits": PowerOfTwo.from_dense(weight, bits=5),
        "PowerOfTwo (PS) of 5 bits": PowerOfTwo.from_dense(weight, bits=5, form="sign_shift"),
        "Uniform of 8 bits, a scale per row": Uniform.from_dense(weight, bits=8, per="row"),
    }
    packed = {name: made.pack().eval() for name, made in kinds.items()}
    found = []
    for batch in (1, 4, 8):
        x = torch.randn(batch, _WIDTH)
        others = _products(x, weight)
        found += [_coded(name, one, x, others | _torchs_own(one, x)) for name, one in packed.items()]
    x = torch.randn(1, _WIDTH)
    found.append(_unified(x, _products(x, weight)))
    return found + [_kronecker(batch, weight) for batch in (1, 32)]


def _call(function: Callable[..., Tensor], *arguments: object) -> Callable[[], Tensor]:
    return torch.no_grad()(partial(function, *arguments))


def _products(x: Tensor, weight: Tensor) -> dict[str, Callable[[], Tensor]]:
    """x W^T in float32."""
    found = {"float32, `F.linear` (MKL)": _call(F.linear, x, weight)}
    if onednn_missing() is None:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
        found["float32, oneDNN, packed weight"] = _call(
            torch.ops.mkldnn._linear_pointwise, x, packed, None, "none", [], ""
        )
    return found


def _torchs_own(matrix: StructuredMatrix, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Torch's products with packed integers, which it has fast forms of in bfloat16 alone: other numbers, of as many
    bytes. Both are private."""
    m, n = matrix.shape
    bits, half = matrix.config()["bits"], x.bfloat16()
    if bits == 8 and hasattr(torch.ops.aten, "_weight_int8pack_mm"):
        whole = torch.randint(-128, 128, (m, n), dtype=torch.int8)
        return {
            "int8 with bfloat16, torch's `_weight_int8pack_mm`": _call(
                torch.ops.aten._weight_int8pack_mm, half, whole, torch.ones(m).bfloat16()
            )
        }
    if bits == 4 and hasattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu"):
        whole = torch.randint(0, 16, (m, n), dtype=torch.int32)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(whole, 1)
        scales = torch.ones(n // _GROUP, m, 2).bfloat16()
        return {
            "int4 with bfloat16, torch's `_weight_int4pack_mm_for_cpu`": _call(
                torch.ops.aten._weight_int4pack_mm_for_cpu, half, packed, _GROUP, scales
            )
        }
    return {}


def _exactly(x: Tensor, matrix: StructuredMatrix) -> Callable[[], Tensor]:
    return _call(lambda: x.double() @ matrix.to_dense().double().mT)


def _coded(what: str, matrix: StructuredMatrix, x: Tensor, others: dict[str, Callable[[], Tensor]]) -> Case:
    return Case(what, len(x), _call(matrix, x), others, _NEAR, _exactly(x, matrix))


def _unified(x: Tensor, others: dict[str, Callable[[], Tensor]]) -> Case:
    size, positive = torch.rand(_WIDTH, _WIDTH // 16), torch.rand(_WIDTH, _WIDTH // 16, 16) < 0.5
    kinds = torch.full((size.numel(),), UNIFY)
    matrix = Unified(size.flatten(), positive.view(-1, 16), size.new_empty(0, 16), kinds, (_WIDTH, _WIDTH), (1, 16))

    def check() -> Tensor:
        wide = torch.where(positive, size[..., None], -size[..., None]).view(_WIDTH, _WIDTH)
        return x.double() @ wide.double().mT

    return Case("unified blocks of 1 x 16, 3 bits a number", len(x), _call(matrix.eval(), x), others, _NEAR, check)


def _kronecker(batch: int, weight: Tensor) -> Case:
    """Factors are decoded once and kept: they are small."""
    x, given = torch.randn(batch, _WIDTH), {"structure": "kronecker", "factor": [64, 64]}
    packed = Uniform.from_dense(weight, given, bits=8).pack().eval()
    floats = Kronecker.from_dense(weight, (64, 64)).eval()
    others = _products(x, weight) | {"the same factors in float32": _call(floats, x)}
    return _coded("Kronecker, factors 64 x 64 of 8 bits", packed, x, others)
