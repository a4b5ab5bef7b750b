"""Budget: how large a compressed model may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from edgenet.errors import PlanError

_KINDS = ("parameters", "bytes", "ratio", "latency")


@dataclass(frozen=True)
class Budget:
    """How large a compressed model may be; exactly one number.

    Attributes:
        parameters: of the whole model, every number in memory once: ``sum(p.numel() for p in model.parameters())``.
        bytes: of the whole model's tensors on disk, as ``save_pretrained`` writes them.
        ratio: how many times smaller the whole model is to be than the given one; above 1.
        of: what ``ratio`` compares: "bytes", the tensors on disk, where a number of few bits is smaller than a float;
            or "parameters", where all numbers count alike.
        latency: seconds that the products of all slots take together, each with a batch of ``rows`` rows, as measured
            on this machine. Clocks vary, and so may what is chosen.
        rows: see ``latency``.

    Raises:
        PlanError: if not exactly one number is given, or it is out of range.

    Example:
        >>> edgenet.compress.Budget(ratio=10).ratio  # a tenth of the bytes
        10
    """

    parameters: float | None = None
    bytes: float | None = None
    ratio: float | None = None
    latency: float | None = None
    rows: int = 32
    of: str = "bytes"

    def __post_init__(self) -> None:
        given = {name: value for name in _KINDS if (value := getattr(self, name)) is not None}
        if len(given) != 1:
            raise PlanError(f"a budget is one of {', '.join(_KINDS)}, got {given or 'none'}.")
        name, value = next(iter(given.items()))
        number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not (number and value > (1 if name == "ratio" else 0)) or self.rows < 1:
            raise PlanError(f"a budget of {name} wants a number above {int(name == 'ratio')}, got {value!r}.")
        if self.of not in ("bytes", "parameters"):
            raise PlanError(f"a budget of ratio is of 'bytes' or 'parameters', got {self.of!r}.")

    @property
    def kind(self) -> str:
        """Which of the numbers is given."""
        return next(name for name in _KINDS if getattr(self, name) is not None)

    @property
    def unit(self) -> str:
        """What sizes are counted in: "parameters", "bytes" or "latency"."""
        return self.of if self.kind == "ratio" else self.kind

    def limit(self, before: float) -> float:
        """The largest size allowed, for a model of a size before."""
        return before / self.ratio if self.ratio else getattr(self, self.kind)
