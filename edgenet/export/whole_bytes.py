"""WholeBytes: a packed matrix whose codes have a byte each, which ONNX has a form for; and models of such matrices."""

from __future__ import annotations

import copy
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from edgenet.errors import PlanError
from edgenet.ops.kernels.codes_linear.packing import from_bytes
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.block_circulant import BlockCirculant
from edgenet.structured.codes import Coded
from edgenet.structured.packed_buffers import restored_buffers
from edgenet.structured.quantised import Quantised
from edgenet.structured.read import read, read_rows
from edgenet.structured.substituted import substituted
from edgenet.structured.uniform import Uniform


class WholeBytes(StructuredMatrix):
    """What a ``Coded`` matrix is, for a file: evenly spaced levels are int8 times a scale, by ``edgenet::dequantized``;
    others are looked up in their table by uint8. Codes of more than 8 bits are decoded beforehand.

    It only multiplies: nothing of it trains, and no other file has it.
    """

    def __init__(self, coded: Coded) -> None:
        super().__init__()
        make = cast(Quantised, coded._make[0])
        # a tuple, lest it counts as a part
        self._base, self._names = (copy.deepcopy(make.base),), make.names
        self._even: list[bool] = []
        for k, latent in enumerate(make.latents()):
            width, scale = make.widths[k], getattr(coded, f"scale_{k}").detach()
            codes = from_bytes(getattr(coded, f"codes_{k}"), width, latent.numel()).view(latent.shape)
            uniform = make if type(make) is Uniform and not make.half_step else None
            if uniform is not None:
                middle = uniform._middle(k)
                codes, table = (codes - middle).to(torch.int8), torch.empty(0)
                scale = scale / middle  # steps from 0 to the last level
            elif width <= 8:
                codes, table = codes.to(torch.uint8), make.levels(k).to(scale)
            else:
                codes, table = make.decode(k, codes, scale).detach(), torch.empty(0)
            self._even.append(uniform is not None)
            self.register_buffer(f"codes_{k}", codes)
            self.register_buffer(f"table_{k}", table)
            self.register_buffer(f"scale_{k}", scale)
        held = {name: getattr(coded, f"held_{j}") for j, name in enumerate(coded._held)}
        self._paths: list[str] = []
        for j, (path, buffer) in enumerate(restored_buffers(make.base, held).items()):
            self._paths.append(path)
            self.register_buffer(f"held_{j}", buffer)

    @property
    def shape(self) -> tuple[int, int]:
        return self._base[0].shape

    def decoded(self) -> StructuredMatrix:
        """The structure, with the numbers that the codes stand for."""
        found = {path: getattr(self, f"held_{j}") for j, path in enumerate(self._paths)}
        found |= {name: self._numbers(k) for k, name in enumerate(self._names)}
        return substituted(self._base[0], found)

    def _numbers(self, k: int) -> Tensor:
        codes, table, scale = (getattr(self, f"{name}_{k}") for name in ("codes", "table", "scale"))
        if self._even[k]:
            by_row = scale.numel() > 1
            return torch.ops.edgenet.dequantized(codes, scale.flatten() if by_row else scale.reshape(()))
        return table[codes.int()] * scale if len(table) else codes

    def matmul(self, x: Tensor) -> Tensor:
        return self.decoded()(x)

    def to_dense(self) -> Tensor:
        return read(self.decoded())

    def rows(self, index: Tensor) -> Tensor:
        return read_rows(self.decoded(), index)

    @classmethod
    def from_dense(cls, weight: Tensor, **config: Any) -> Self:
        """Raises PlanError: it is made of packed matrices alone."""
        raise PlanError("matrices of whole bytes are made of packed ones, for files: matrix.pack(), then export.")

    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape)}

    def draw_(self, std: float) -> None:
        """Raises PlanError: nothing of it is drawn."""
        raise PlanError("matrices of whole bytes are written into files as they are, and not drawn.")


def packed(model: nn.Module, whole_bytes: bool) -> nn.Module:
    """A copy of the model whose quantised matrices are packed, in all their places.

    Args:
        whole_bytes: whether codes have a byte each, and matrices multiply without complex numbers, as ONNX wants.
    """

    def form(matrix: nn.Module) -> nn.Module:
        matrix = matrix.pack() if isinstance(matrix, Quantised) else matrix
        return WholeBytes(matrix) if whole_bytes and isinstance(matrix, Coded) else matrix

    # the copy lies in a list, so that the model itself may be such a matrix
    holder = nn.ModuleList([copy.deepcopy(model)])
    made: dict[int, tuple[nn.Module, nn.Module]] = {}
    for parent in list(holder.modules()):
        if isinstance(parent, Quantised):
            continue  # its base goes with it
        for name, child in list(parent._modules.items()):
            if isinstance(child, Quantised | Coded):
                if id(child) not in made:
                    made[id(child)] = form(child).eval(), child  # held, lest another gets its id
                parent._modules[name] = made[id(child)][0]
    for part in holder.modules():
        for matrix in (part, *(part._base[0].modules() if isinstance(part, WholeBytes) else ())):
            if whole_bytes and isinstance(matrix, BlockCirculant):
                matrix.transforms = False
    return holder[0]
