"""Additions: what was put on a single module after it was made, and is in no file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from edgenet.structured.bridge import bridged

_MESSAGES = re.compile(r"_(propagate|message|aggregate|message_and_aggregate|edge_update)_forward(_pre)?_hooks")
_REMEDIES: dict[type, str] = {
    prune.BasePruningMethod: "prune.remove",
    WeightNorm: "remove_weight_norm",
    SpectralNorm: "remove_spectral_norm",
}


def addition(module: nn.Module) -> str | None:
    """What changes this module's numbers and would be lost, and what to do about it; None if there is nothing.

    That is: pruning, weight and spectral norms, old and new, other parametrizations, hooks before and after the forward
    pass or a message passing, and a forward of its own. Hooks on gradients change nothing in a saved model.
    """
    foreign = sorted(set(_parametrized(module)) - set(bridged(module)))
    if foreign:
        names = ", ".join(foreign)
        return f"its {names} is parametrised; end that with remove_parametrizations(module, {foreign[0]!r})"
    if "forward" in vars(module):
        return "it has a forward of its own; take that back with del module.forward"
    for hook in _hooks(module):
        for kind, remedy in _REMEDIES.items():
            if isinstance(hook, kind):
                return f"a hook, {type(hook).__name__}, makes its weight; end that with {remedy}(module, name)"
        name = getattr(hook, "__qualname__", type(hook).__name__)
        return f"it has a hook, {name}; remove it (handle.remove()), and put it on again after loading"
    return None


def _parametrized(module: nn.Module) -> Iterator[str]:
    lists = module._modules.get("parametrizations")
    yield from () if lists is None else lists._modules


def _hooks(module: nn.Module) -> Iterator[Any]:
    """Those of the caller; layers without a size and bridges have hooks of their own, and make them again."""
    own = vars(module)
    kinds = ["_forward_hooks", "_forward_pre_hooks", *filter(_MESSAGES.fullmatch, own)]
    for hook in (hook for kind in kinds for hook in own[kind].values()):
        if getattr(hook, "__self__", None) is not module and not str(hook.__module__).startswith("edgenet."):
            yield hook
