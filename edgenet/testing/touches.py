"""What users of torch put on modules and on parameters: adapters, hooks, masks, norms."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

#: Where these classes say that they are from: shortcuts know the library's own classes by it, and pass them by.
_ELSEWHERE = "somebody_else"


class Doubled(nn.Module):
    """An adapter: twice what it wraps, of which it has every other attribute, as tuner layers do."""

    __module__ = _ELSEWHERE

    def __init__(self, wrapped: nn.Module, count: Counted) -> None:
        super().__init__()
        self.wrapped, self.count = wrapped, count

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.count()
        return doubled(self.wrapped(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "wrapped":
                raise
            return getattr(self.wrapped, name)


def doubled(value: Any) -> Any:
    """Every tensor of numbers in it, twice."""
    if isinstance(value, tuple | list):
        return type(value)(map(doubled, value))
    return 2 * value if isinstance(value, Tensor) and value.is_floating_point() else value


class Counted:
    """How often something was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: Any) -> None:
        self.calls += 1


# --- on modules -------------------------------------------------------------------------------------------------------
def adapter(model: nn.Module, path: str) -> tuple[nn.Module, Counted]:
    count = Counted()
    wrapper = Doubled(model.get_submodule(path), count)
    if path:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, wrapper)
    return wrapper if not path else model, count


def own_forward(model: nn.Module, path: str) -> tuple[nn.Module, Counted]:
    """A ``forward`` put on the instance, as accelerators do."""
    module, count = model.get_submodule(path), Counted()
    before = module.forward

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        count()
        return doubled(before(*args, **kwargs))

    module.forward = types.MethodType(forward, module)
    return model, count


def subclass(model: nn.Module, path: str) -> tuple[nn.Module, Counted]:
    """The class of a user, which only changes ``forward``."""
    module, count = model.get_submodule(path), Counted()

    class Foreign(type(module)):  # type: ignore[misc]  # a base that is known when it runs
        __module__ = _ELSEWHERE

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            count()
            return doubled(super().forward(*args, **kwargs))

    module.__class__ = Foreign
    return model, count


def _hook(register: str, result: Callable[..., Any]) -> Callable[[nn.Module, str], tuple[nn.Module, Counted]]:
    def touch(model: nn.Module, path: str) -> tuple[nn.Module, Counted]:
        count = Counted()

        def hook(*args: Any) -> Any:
            count()
            return result(*args)

        getattr(model.get_submodule(path), register)(hook)
        return model, count

    return touch


def _doubled_gradients(_module: nn.Module, gradients: tuple, *_: Any) -> tuple:
    return tuple(None if g is None else 2 * g for g in gradients)


def _first_doubled(_module: nn.Module, args: tuple) -> tuple:
    return (doubled(args[0]), *args[1:]) if args else args


Touch = Callable[[nn.Module, str], tuple[nn.Module, Counted]]

#: Those that double what the module gives.
DOUBLE_OUTPUT: dict[str, Touch] = {
    "adapter": adapter,
    "own forward": own_forward,
    "subclass": subclass,
    "forward hook": _hook("register_forward_hook", lambda _module, _args, output: doubled(output)),
}
#: Those that double what comes first into the module.
DOUBLE_INPUT: dict[str, Touch] = {
    "forward pre-hook": _hook("register_forward_pre_hook", _first_doubled),
}
#: Those that double gradients.
DOUBLE_GRADIENT: dict[str, Touch] = {
    "backward hook": _hook("register_full_backward_hook", _doubled_gradients),
    "backward pre-hook": _hook("register_full_backward_pre_hook", _doubled_gradients),
}
ON_MODULES = DOUBLE_OUTPUT | DOUBLE_INPUT | DOUBLE_GRADIENT


# --- on parameters ----------------------------------------------------------------------------------------------------
class Double(nn.Module):
    __module__ = _ELSEWHERE

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def masked(module: nn.Module, name: str) -> Callable[[], Tensor]:
    weight = getattr(module, name)
    mask = (torch.arange(weight.numel()) % 3 != 0).to(weight.dtype).view_as(weight)
    mask = 0.25 + 0.75 * mask  # zeros would do for all but the poles of a rational function
    prune.custom_from_mask(module, name, mask)
    return lambda: getattr(module, f"{name}_orig") * mask


def old_weight_norm(module: nn.Module, name: str) -> Callable[[], Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(module, name)
    with torch.no_grad():
        getattr(module, f"{name}_g").mul_(1.5)
    return lambda: torch._weight_norm(getattr(module, f"{name}_v"), getattr(module, f"{name}_g"), 0)


def new_weight_norm(module: nn.Module, name: str) -> Callable[[], Tensor]:
    parametrizations.weight_norm(module, name)
    parts: Any = module.get_submodule(f"parametrizations.{name}")
    with torch.no_grad():
        parts.original0.mul_(1.5)
    return lambda: torch._weight_norm(parts.original1, parts.original0, 0)


def parametrized(module: nn.Module, name: str) -> Callable[[], Tensor]:
    parametrize.register_parametrization(module, name, Double())
    parts: Any = module.get_submodule(f"parametrizations.{name}")
    return lambda: 2 * parts.original


#: Each replaces a parameter, and returns a function that says what the parameter has become.
ON_PARAMETERS: dict[str, Callable[[nn.Module, str], Callable[[], Tensor]]] = {
    "mask": masked,
    "weight norm, old": old_weight_norm,
    "weight norm, new": new_weight_norm,
    "parametrization": parametrized,
}
