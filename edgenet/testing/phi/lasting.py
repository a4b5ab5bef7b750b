"""What a phi promises over its life: gradients, copies, files, other dtypes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from edgenet.testing.contract import Contract, leaves_no_trace, require, same
from edgenet.testing.derivative import check_gradients
from edgenet.testing.phi.case import PhiCase, everything, hops
from edgenet.testing.structure.storage import saved_and_loaded

LASTING: Contract[PhiCase] = Contract()


@LASTING.promise("gradients")
def gradients(case: PhiCase) -> str | None:
    """The gradients of all it gives are right, by its parameters, which all are reached, and by the signals."""
    phi, inputs = case.ready()
    x, z, *rest = inputs
    # within the signals that it met: at their ends a basis that was made for them may have kinks
    x, z = ((0.9 * signal).requires_grad_() for signal in (x, z))

    def given() -> Tensor:
        met: Any = (x, z, *rest)
        return torch.cat([part.flatten() for part in everything(phi, met) + hops(phi, met)])

    if not given().requires_grad:
        return "it has no parameters and reads no signal"
    check_gradients(given, dict(phi.named_parameters()))
    check_gradients(given, {"x": x, "z": z}, all_reached=False)
    return None


@LASTING.promise("no trace")
def no_trace(case: PhiCase) -> None:
    """In eval mode, on a graph that it has met, it draws no random numbers, and changes no setting, input or tensor."""
    phi, inputs = case.ready()
    leaves_no_trace(lambda: everything(phi, inputs), phi, inputs)


@LASTING.promise("deep copy")
def deep_copy(case: PhiCase) -> None:
    """A deep copy, before and after it has met a graph, gives the same weights, and is apart."""
    copy.deepcopy(case.build())
    phi, inputs = case.ready()
    before = everything(phi, inputs)
    twin = copy.deepcopy(phi)
    for got, want in zip(everything(twin, inputs), before, strict=True):
        require(torch.equal(got, want), "a deep copy gives other weights")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    for got, want in zip(everything(phi, inputs), before, strict=True):
        require(torch.equal(got, want), "it changes with its deep copy")


@LASTING.promise("state dict")
def state_dict(case: PhiCase) -> None:
    """Its state_dict, read with weights_only, fills a new one that has met no graph."""
    phi, inputs = case.ready()
    twin = case.build().eval()
    twin.load_state_dict(saved_and_loaded(phi.state_dict()))
    for got, want in zip(everything(twin, inputs), everything(phi, inputs), strict=True):
        require(torch.equal(got, want), "filled with its state_dict, a new one gives other weights")


@LASTING.promise("reset")
def reset(case: PhiCase) -> None:
    """reset_parameters draws the same from the same seed into the same parameters."""
    phi, inputs = case.ready()
    parameters, drawn = list(phi.parameters()), []
    for _ in range(2):
        torch.manual_seed(3)
        phi.reset_parameters()
        drawn.append(everything(phi, inputs))
    for first, second in zip(*drawn, strict=True):
        require(torch.equal(first, second), "two draws from one seed differ")
        require(bool(first.isfinite().all()), "drawn anew, its weights are not finite")
    kept = [a is b for a, b in zip(parameters, phi.parameters(), strict=True)]
    require(all(kept), "reset_parameters makes other parameters, of which an optimizer does not know")


@LASTING.promise("dtype", dtype=[torch.float32, torch.bfloat16, torch.float16])
def dtypes(case: PhiCase, dtype: torch.dtype) -> None:
    """It follows a change of dtype, to what the dtype's mantissa leaves."""
    phi, inputs = case.ready()
    wanted = everything(phi, inputs)
    other: Any = [t.to(dtype) if isinstance(t, Tensor) and t.is_floating_point() else t for t in inputs]
    digits = {torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 4e-1}[dtype]  # through a softmax
    for got, want in zip(everything(phi.to(dtype), other), wanted, strict=True):
        require(got.dtype == dtype, f"after to({dtype}) its weights are of {got.dtype}")
        scale = float(want.detach().abs().max().clamp_min(1)) if want.numel() else 1.0
        same(got.double() / scale, want / scale, f"in {dtype} it gives other weights", digits)
