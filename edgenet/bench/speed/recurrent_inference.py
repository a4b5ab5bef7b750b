"""Cases of LSTMs whose maps are doped Kronecker products, beside the same numbers in dense LSTMs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.bench.speed.packed_case import Case
from edgenet.nn.recurrent import LSTM
from edgenet.structured import Csr, Dense, Doped, Kronecker, StructuredMatrix

SIZES = (1024, 1500)
DENSITIES = (0.01, 0.02)
BATCHES = (1, 32)
STEPS = 16
FACTOR = (16, 2)  # of the base: 3.1 % of the numbers, and few multiply-adds
_NEAR = 1e-4  # float32 in another order, through all steps


def cases(sizes: tuple[int, ...] = SIZES, steps: int = STEPS) -> list[Case]:
    """One layer, input as wide as the state, by every size, share of the dopant and batch."""
    torch.manual_seed(0)
    found = []
    for size in sizes:
        for density in DENSITIES:
            maps = [doped(size, density) for _ in range(2)]
            for batch in BATCHES:
                found.append(_case(size, density, maps, torch.randn(steps, batch, size)))
    return found


def doped(size: int, density: float) -> StructuredMatrix:
    """(4 size, size): a Kronecker product and compressed rows, at random."""
    shape, deviation = (4 * size, size), 0.4 / size**0.5
    return Doped(
        Kronecker.random(shape, std=deviation, factor=FACTOR), Csr.random(shape, std=deviation, density=density)
    )


def holding(size: int, maps: list[StructuredMatrix]) -> LSTM:
    """An LSTM without gradients that has these maps of input and state."""
    with torch.device("meta"):
        lstm = LSTM(size, size)
    cell = lstm.cells[0]
    for part, matrix in zip((cell.input_map, cell.state_map), maps, strict=True):
        part.weight, part.bias = matrix, nn.Parameter(torch.zeros(4 * size))
    return lstm.eval().requires_grad_(False)


def _case(size: int, density: float, maps: list[StructuredMatrix], x: Tensor) -> Case:
    ours = holding(size, maps)
    weights = [matrix.to_dense().detach().contiguous() for matrix in maps]
    dense = holding(size, [Dense(weight) for weight in weights])
    torchs = nn.LSTM(size, size).eval().requires_grad_(False)
    torchs.weight_ih_l0.copy_(weights[0])
    torchs.weight_hh_l0.copy_(weights[1])
    for bias in (torchs.bias_ih_l0, torchs.bias_hh_l0):
        bias.zero_()
    share = maps[0].num_parameters() / (4 * size * size)
    call = lambda module: lambda: _output(module, x)  # noqa: E731
    others: dict[str, Callable[[], Tensor]] = {
        "`torch.nn.LSTM`": call(torchs),
        "ours, dense": call(dense),
        "loop of `F.linear`": lambda: _loop(x, *weights),
    }
    return Case(
        f"LSTM({size}), dopant {100 * density:.0f} %, kept {100 * share:.1f} %, {len(x)} steps", x.shape[1], call(ours),
        others, _NEAR, call(dense),
    )  # fmt: skip


@torch.no_grad()
def _output(module: nn.Module, x: Tensor) -> Tensor:
    return module(x)[0]


@torch.no_grad()
def _loop(x: Tensor, weight: Tensor, back: Tensor) -> Tensor:
    """The inputs in one product, and a product a step."""
    hidden = cell = x.new_zeros(x.shape[1], back.shape[1])
    outputs = []
    for mapped in F.linear(x, weight).unbind(0):
        i, f, g, o = (mapped + F.linear(hidden, back)).chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs)
