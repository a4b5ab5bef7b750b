"""Weights changed by others: LoRA of PEFT, and int8 weights of torchao on linear maps that are left dense."""

from __future__ import annotations

import copy
import warnings
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import Linear

from edgenet.structured import StructuredLinear
from edgenet.testing.contract import fair, require, same
from edgenet.testing.ecosystem.tools import job
from edgenet.testing.ecosystem.training import quiet
from edgenet.testing.layer.case import LayerCase, each

_RANK = 2
_BYTES = 0.05  # of the largest entry, that int8 weights may be off by


def matrices(layer: nn.Module) -> list[str]:
    """Names of the matrices of its linear maps, to which PEFT adds products of low rank."""
    maps = [path for path, m in layer.named_modules() if isinstance(m, nn.Linear | Linear | StructuredLinear)]
    return [
        name for name, p in layer.named_parameters()
        if p.dim() == 2 and min(p.shape) > 0 and any(name.startswith(f"{path}.weight") for path in maps)
    ]  # fmt: skip


@job("LoRA", "peft")
def lora(case: LayerCase) -> str | None:
    """PEFT's LoRA on every linear map, by ``target_parameters``: it starts as the layer, only its own numbers learn,
    what they are counts, and merged into the weights they give the same."""
    layer, x, more = case.ready()
    names = matrices(layer)
    if not names:
        return "it has no linear map"
    peft, frozen = import_module("peft"), {name: p.detach().clone() for name, p in layer.named_parameters()}
    config = peft.LoraConfig(r=_RANK, target_modules=[], target_parameters=names)
    wanted = layer(x, **more)
    with quiet("peft"):
        adapted = peft.get_peft_model(Named(layer), config)
        same(adapted(x, **more), wanted, "with LoRA that has learned nothing it gives something else")
        own = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
        require(len(own) == 2 * len(names), f"{len(own)} factors learn, and not two for each of {', '.join(names)}")
        with torch.no_grad():
            for factor in own.values():
                factor.copy_(0.1 * torch.randn_like(factor))
        y = adapted(x, **more)
        slopes = torch.autograd.grad(y.square().sum(), list(own.values()), allow_unused=True)
        lost = [name for name, slope in zip(own, slopes, strict=True) if slope is None or not slope.any()]
        require(not lost, f"no gradient reaches {', '.join(lost)}")
        require(not torch.equal(y, wanted), "the factors count for nothing")
        merged = adapted.merge_and_unload().net
    same(merged(x, **more), y, "merged into the weights, LoRA gives something else")
    moved = {name for name, p in merged.named_parameters() if not torch.equal(p, frozen[name])}
    require(moved == set(names), f"merged, LoRA has changed {moved}, and not {names}")
    return None


class Named(nn.Module):
    """A user's model around a layer."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.net(*given, **named)


class Headed(nn.Module):
    """A layer with a dense head, as models have one."""

    def __init__(self, net: nn.Module, width: int) -> None:
        super().__init__()
        self.net, self.head = net, nn.Linear(width, 32)

    def forward(self, x: Any, **given: Any) -> Tensor:
        return self.head(self.net(x, **given))


@job("torchao", "torchao")
def int8(case: LayerCase) -> None:
    """torchao's ``quantize_`` makes a dense head int8, and what is linear of torch's in the layer below it; both give
    what they gave, to the digits that are left."""
    with fair(torch.float32), warnings.catch_warnings(), quiet("torchao"):
        warnings.simplefilter("ignore")
        quantization = import_module("torchao.quantization")
        layer, x, more = case.ready()
        layer, x = layer.float(), each(x, Tensor.float)
        more = {name: value.float() if value.is_floating_point() else value for name, value in more.items()}
        hidden = layer(x, **more).detach()
        model = Headed(layer, hidden.shape[-1]).eval()
        wanted = model(x, **more).detach()
        quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
        scale = wanted.abs().max().clamp_min(1e-12)
        same(model(x, **more) / scale, wanted / scale, "with an int8 head it gives something else", _BYTES)
        require(type(model.head.weight) is not nn.Parameter, "the head is as it was")
        scale = hidden.abs().max().clamp_min(1e-12)
        same(model.net(x, **more) / scale, hidden / scale, "below an int8 head it gives something else", _BYTES)
        same(copy.deepcopy(model)(x, **more), model(x, **more), "with an int8 head, a deep copy gives something else")
