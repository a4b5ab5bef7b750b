"""Making: a single module from its recipe, and nothing else than the recipe says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import CheckpointError
from edgenet.pretrained.allowed import CLASSES, NAMES
from edgenet.pretrained.plain import decode
from edgenet.structured import StructuredConv, StructuredLinear
from edgenet.structured.bridge import bridged

CONTAINERS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
RESERVED = frozenset((*vars(nn.Module()), "cache", "kept", "_token"))


def class_of(module: nn.Module) -> type[nn.Module]:
    """Its class, also where torch has given it one of its own for tensors behind which a matrix stands."""
    return type(module).__mro__[1] if bridged(module) else type(module)


def full_name(kind: type) -> str:
    """Where a class that is not on the list comes from."""
    return NAMES.get(kind) or f"{kind.__module__}.{kind.__qualname__}"


def make(
    recipe: Mapping[str, Any], children: Mapping[str, nn.Module | None], shape: Callable[[str], tuple[int, ...]]
) -> nn.Module:
    """The module of a recipe, with these children.

    Args:
        shape: of the tensor with that name in the module, where the recipe asks for one.

    Raises:
        CheckpointError: if the recipe is none.
    """
    kind = CLASSES.get(recipe["class"])
    if kind is None:
        raise CheckpointError(f"{recipe['class']!r} is no class that edgenet makes.")
    if kind in CONTAINERS:
        return _container(kind, children)
    arguments = {key: decode(value, children) for key, value in recipe.get("arguments", {}).items()}
    module = called(kind, arguments)
    for name, value in recipe.get("attributes", {}).items():
        if name in RESERVED or name.startswith("__") or name not in vars(module):
            raise CheckpointError(f"a {kind.__name__} has no plain attribute {name!r}.")
        vars(module)[name] = decode(value, children)
    for name, role in recipe.get("tensors", {}).items():
        _set_role(module, name, role, shape)
    _set_children(module, children)
    if isinstance(module, StructuredLinear | StructuredConv) and module.bias is not None:
        rows = module.weight.shape[0]
        if len(module.bias) != rows:
            raise CheckpointError(f"a bias of {len(module.bias)} does not fit a matrix of {rows} rows.")
    return module


def called(kind: type[nn.Module], arguments: dict[str, Any]) -> nn.Module:
    starred = [p.name for p in parameters_of(kind) if p.kind is p.VAR_POSITIONAL and p.name in arguments]
    positional = [item for name in starred for item in arguments[name]]
    return kind(*positional, **{name: value for name, value in arguments.items() if name not in starred})


def parameters_of(kind: type[nn.Module]) -> list[inspect.Parameter]:
    """Of its constructor; and of its parent's, where a class of edgenet hands the rest of its arguments on to it."""
    parameters = dict(inspect.signature(kind).parameters)
    parent = kind.__mro__[1]
    hands_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values()) and "__init__" in vars(kind)
    if hands_on and parent in NAMES and NAMES[parent].startswith("edgenet."):
        parameters = {**{p.name: p for p in parameters_of(parent)}, **parameters}
    return list(parameters.values())


def _container(kind: type[nn.Module], children: Mapping[str, nn.Module | None]) -> nn.Module:
    if kind is not nn.ModuleDict and list(children) != [str(k) for k in range(len(children))]:
        container = kind()  # a Sequential of named modules
        if kind is nn.ModuleList:
            raise CheckpointError(f"the modules of a list are numbered 0, 1, ...; got {', '.join(children)[:80]}.")
    else:
        container = kind()
    for name, child in children.items():
        container.add_module(name, child)
    return container


def _set_role(module: nn.Module, name: str, role: str, shape: Callable[[str], tuple[int, ...]]) -> None:
    """Make a tensor a parameter, a buffer or nothing, of the shape that it has in the file."""
    if name in vars(module) and vars(module)[name] is None:
        del vars(module)[name]
    if name not in module._parameters and name not in module._buffers and hasattr(module, name):
        raise CheckpointError(f"{name!r} of a {type(module).__name__} is no tensor.")
    before: Tensor | None = module._parameters.pop(name, None)
    before = module._buffers.pop(name, None) if before is None else before
    if role == "parameter":
        module.register_parameter(name, nn.Parameter(_like(before, shape(name)), requires_grad=False))
    elif role == "buffer":
        module.register_buffer(name, _like(before, shape(name)))
    elif role == "no parameter":
        module.register_parameter(name, None)
    elif role == "no buffer":
        module.register_buffer(name, None)
    else:
        raise CheckpointError(f"{name!r} of a {type(module).__name__} is to be {str(role)[:40]!r}.")


def _like(before: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=None if before is None else before.dtype, device="meta")


def _set_children(module: nn.Module, children: Mapping[str, nn.Module | None]) -> None:
    for name in [name for name in module._modules if name not in children]:
        del module._modules[name]
    for name, child in children.items():
        if name in module._modules:
            module._modules[name] = child
        elif child is not None:
            vars(module).pop(name, None)  # None, where some have a module
            module.add_module(name, child)
