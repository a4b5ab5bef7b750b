"""The floor of a product's time: what the memory and the arithmetic units of this machine need at the least."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet.bench.harness.timing import Implementation, timed

READ = tuple(1 << power for power in (18, 20, 22, 23, 24, 26, 28))  # bytes of the blocks that are read
PRODUCTS = ((512, 512, 512), (1024, 1024, 1024), (1024, 4096, 4096))  # (rows, n, m)
_TIMES = 3


@dataclass(frozen=True)
class Machine:
    """Rates of the threads that this process has.

    Attributes:
        bandwidth: bytes of a block: bytes a second at which it is read again and again, wherever it then lies.
        peak: floating-point operations a second of the fastest large float32 product.
        call: seconds of the smallest ``torch.nn.Linear``, which is all overhead. The floor leaves it out.
    """

    bandwidth: dict[int, float]
    peak: float
    call: float

    @classmethod
    @torch.inference_mode()
    def measured(cls, clock: Callable[[], float]) -> Self:
        """The rates now."""
        block = torch.ones(max(READ) // 4)
        probes = [_probe(f"{size}", lambda part=block[: size // 4]: part.sum()) for size in READ]
        for rows, n, m in PRODUCTS:
            x, weight = torch.randn(rows, n), torch.randn(m, n)
            probes += [_probe(name, lambda f=f, x=x, w=weight: f(x, w)) for name, f in products().items()]
        tiny, one = nn.Linear(1, 1, bias=False), torch.ones(1, 1)
        probes.append(_probe("call", lambda: tiny(one)))
        least = [row["times"]["probe"]["minimum"] for row in timed(probes, _TIMES, clock)]
        operations = [2 * a * b * c for a, b, c in PRODUCTS for _ in products()]
        return cls(
            {size: size / seconds for size, seconds in zip(READ, least, strict=False)},
            max(work / seconds for work, seconds in zip(operations, least[len(READ) : -1], strict=True)),
            least[-1],
        )

    def best(self, other: Self) -> Self:
        """The faster of two measurements, rate by rate."""
        bandwidth = {size: max(rate, other.bandwidth[size]) for size, rate in self.bandwidth.items()}
        return type(self)(bandwidth, max(self.peak, other.peak), min(self.call, other.call))

    def floor(self, size: float, multiply_adds: int) -> float:
        """Seconds in which so many bytes are read or written once, or so many multiply-adds are done, whichever takes
        longer. The rate is that of the fastest block that is not smaller than the next one below this size: a bound,
        wherever the edge of a cache may lie."""
        least = max((block for block in self.bandwidth if block <= size), default=0)
        rate = max(rate for block, rate in self.bandwidth.items() if block >= least)
        return max(size / rate, 2 * multiply_adds / self.peak)

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "bandwidth": {str(size): rate for size, rate in self.bandwidth.items()},
            "peak": self.peak,
            "call": self.call,
        }


def _probe(name: str, call: Callable[[], object]) -> Implementation:
    return Implementation(name, {"probe": call}, lambda: {})


def products() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The float32 products x W^T of this torch, by library: its own, and oneDNN's where it has that."""
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"torch": nn.functional.linear}
    if onednn_missing() is None:
        found["oneDNN"] = onednn
    return found


def onednn(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T in float32 by oneDNN. The op is a private one of torch."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


def onednn_missing() -> str | None:
    """Why oneDNN cannot be measured here; None if it can."""
    try:
        onednn(torch.ones(1, 2, dtype=torch.float32), torch.ones(3, 2, dtype=torch.float32))
    except Exception as error:  # another torch may lack the op, or want other arguments
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return None
