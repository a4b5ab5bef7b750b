"""Cases of training steps of recurrent networks with structures in their slots, beside torch's and beside bridges."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgenet.bench.speed.packed_case import Case
from edgenet.nn.recurrent import Recurrent, from_torch
from edgenet.structured import Structure, structure
from edgenet.structured.bridge import attach_

STEPS, BATCH, SIZE = 64, 32, 128
_NEAR = 1e-4  # float32 in another order, through all steps
#: about 20 times fewer numbers, but for the first and the last
FAMILIES = {
    "dense": structure("dense"),
    "Kronecker, 4 terms": structure("kronecker", factor=(32, 8), terms=4),
    "low rank": structure("low_rank", rank=5),
    "tensor train": structure("tensor_train", rank=10),
    "block-circulant": structure("block_circulant", block=16),
    "doped Kronecker": structure("doped", base={"structure": "kronecker", "factor": [32, 8], "terms": 4}, density=0.02),
    "8 bits": structure("uniform", bits=8),
}


def cases(families: dict[str, Structure] = FAMILIES, steps: int = STEPS, size: int = SIZE) -> list[Case]:
    """LSTMs of every family, and a Kronecker GRU."""
    torch.manual_seed(0)
    x = torch.randn(steps, BATCH, size)
    lstm, gru = nn.LSTM(size, size), nn.GRU(size, size)
    found = [_case(f"LSTM, {name}", lstm, make, x) for name, make in families.items()]
    name = next(name for name in families if name != "dense")
    return [*found, _case(f"GRU, {name}", gru, families[name], x)]


def _case(what: str, module: nn.RNNBase, make: Structure, x: Tensor) -> Case:
    ours = from_torch(module, make)
    bridge = copy.deepcopy(module)
    for part, name in ((ours.cells[0].input_map, "weight_ih_l0"), (ours.cells[0].state_map, "weight_hh_l0")):
        attach_(bridge, name, copy.deepcopy(part.weight))
    others = {f"`torch.nn.{type(module).__name__}`, dense": stepped(module, x), "behind a bridge": stepped(bridge, x)}
    return Case(what, x.shape[1], stepped(ours, x), others, _NEAR, stepped(bridge, x))


def stepped(module: nn.RNNBase | Recurrent, x: Tensor) -> Callable[[], Tensor]:
    """A call that gives the outputs, after the gradients of their mean square have been taken."""

    def call() -> Tensor:
        y = module(x)[0]
        torch.autograd.grad(y.square().mean(), [p for p in module.parameters() if p.requires_grad])
        return y.detach()

    return call
