"""Training by several processes: DDP, and FSDP2, which keeps every parameter in pieces."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch_geometric.nn import MessagePassing

from edgenet.testing.contract import all_same, same
from edgenet.testing.ecosystem.tools import job
from edgenet.testing.ecosystem.training import step
from edgenet.testing.layer.case import LayerCase


@contextmanager
def group() -> Iterator[None]:
    """A group of this process alone, where there is none yet."""
    if dist.is_initialized():
        yield
        return
    hook = sys.excepthook
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()
        sys.excepthook = hook  # torch leaves one that writes the rank before every line


def sharded(model: nn.Module) -> nn.Module:
    """The model in pieces: each of its layers by itself, and the rest. In place."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for module in list(model.modules()):
        if isinstance(module, MessagePassing) and module is not model:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def whole(model: nn.Module) -> dict[str, Tensor]:
    """All parameters, of which processes may hold pieces."""
    parameters: dict[str, Any] = dict(model.named_parameters())
    return {name: (p.full_tensor() if hasattr(p, "full_tensor") else p).detach() for name, p in parameters.items()}


@job("DDP", "torch")
def ddp(case: LayerCase) -> None:
    """A step under ``DistributedDataParallel`` is a plain step."""
    (layer, x, more), other = case.ready(), case.ready()[0]
    step(other, x, more)
    with group():
        step(DistributedDataParallel(layer), x, more)
    all_same(list(layer.parameters()), list(other.parameters()), "after a step under DDP, it has other numbers")


@job("FSDP2", "torch")
def fsdp(case: LayerCase) -> None:
    """A step under ``fully_shard``, with parameters in pieces, is a plain step; names of parameters stay."""
    (layer, x, more), other = case.ready(), case.ready()[0]
    wanted = step(other, x, more)
    with group():
        layer = sharded(layer)
        same(step(layer, x, more), wanted, "in pieces, it gives something else")
        found = whole(layer)
    expected = {name: p.detach() for name, p in other.named_parameters()}
    got = [found[name] for name in expected]
    all_same(got, list(expected.values()), "after a step in pieces, it has other numbers")
