"""A module with other tensors in the place of its own, for one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

Kind = TypeVar("Kind", bound=nn.Module)
_PREPARING = (BasePruningMethod, SpectralNorm, WeightNorm)  # hooks that write a tensor before each call


def substituted(module: Kind, tensors: Mapping[str, Tensor], prefix: str = "") -> Kind:
    """A module of the same class, attributes and hooks, in which some tensors are others.

    The module itself is not touched: ``torch.func.functional_call`` puts tensors in and takes them out again, and two
    threads that call one model at a time then leave the wrong ones behind.

    A tensor that is computed of others (parametrised, pruned, normalised) can be given as well: the one that is given
    counts, and is not computed again.

    Args:
        tensors: by the names under which the modules have them; all others are shared.
    """
    wrapped = parametrize.is_parametrized(module)
    twin = object.__new__(type(module).__mro__[1] if wrapped else type(module))
    own = twin.__dict__
    own.update(module.__dict__)
    for table in ("_parameters", "_buffers"):
        own[table] = {name: tensors.get(prefix + name, tensor) for name, tensor in module.__dict__[table].items()}
    children = dict(module._modules)
    if wrapped:
        parts = children.pop("parametrizations")
        own["_parameters"].update({name: tensors.get(prefix + name, getattr(module, name)) for name in parts._modules})
    own["_modules"] = {
        name: None if child is None else substituted(child, tensors, f"{prefix}{name}.")
        for name, child in children.items()
    }
    written = [hook for hook in own["_forward_pre_hooks"].values() if isinstance(hook, _PREPARING)]
    if written:
        hooks = own["_forward_pre_hooks"]
        own["_forward_pre_hooks"] = type(hooks)((key, hook) for key, hook in hooks.items() if hook not in written)
        own.update({name: tensors[prefix + name] for name in own if prefix + name in tensors})
    return twin


def prepare(module: nn.Module) -> None:
    """Let torch's pruning and its older weight norms write their tensors, as they do before each call."""
    for part in module.modules():
        for hook in list(part._forward_pre_hooks.values()):
            if isinstance(hook, _PREPARING):
                hook(part, None)
