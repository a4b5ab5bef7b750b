"""Recipes: how a single module is made anew from plain arguments, and what must then be set to make it the same.

Most constructors keep their arguments as attributes of the same names, and children likewise. Where one does not, its
class has a method ``arguments()``: a dict of those arguments. A value of it that is a child of the module stands for
that child; arguments that the constructor does not have are left out, so that a subclass may inherit the method.

What is made of the arguments is compared with the module, and the recipe also says every plain attribute and every
parameter in which the two differ. A module that differs in anything else has no recipe.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch_geometric.nn import ChebConv, MessagePassing

from edgenet.pretrained.allowed import NAMES
from edgenet.pretrained.making import CONTAINERS, RESERVED, called, class_of, parameters_of
from edgenet.pretrained.plain import Child, NotPlainError, decode, encode
from edgenet.structured.bridge import bridged

_RECURRENT = (
    "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size",
)  # fmt: skip


class NoRecipeError(Exception):
    """Why a module cannot be made anew."""


def recipe(module: nn.Module) -> dict[str, Any]:
    """What ``make`` takes, but for the children.

    Raises:
        NoRecipeError: if the module cannot be made anew; with the reason.
    """
    kind = class_of(module)
    if kind not in NAMES:
        raise NoRecipeError("its class is not one that edgenet knows how to make")
    if kind in CONTAINERS:
        return {"class": NAMES[kind]}
    reason = "it cannot be made"
    for with_children in (True, False):
        try:
            arguments = _arguments(module, kind, with_children)
            made = _made(kind, arguments, module)
        except NotPlainError as error:
            raise NoRecipeError(str(error)) from error
        except Exception as error:  # whatever a constructor says to arguments that are not its own
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            continue
        encoded = {"class": NAMES[kind], "arguments": {key: encode(value) for key, value in arguments.items()}}
        attributes, tensors = _attributes(module, made), _tensors(module, made)
        return {
            **encoded, **({"attributes": attributes} if attributes else {}), **({"tensors": tensors} if tensors else {})
        }  # fmt: skip
    raise NoRecipeError(reason)


def _arguments(module: nn.Module, kind: type[nn.Module], with_children: bool) -> dict[str, Any]:
    """What to call the class with.

    Raises:
        NotPlainError: if nothing says what an argument was, or no file can hold it.
    """
    parameters = parameters_of(kind)
    given = _told(module, kind, parameters)
    for parameter in parameters:
        if parameter.name in given or parameter.name in ("device", "dtype") or parameter.name.startswith("_"):
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            if isinstance(module, MessagePassing) and "flow" not in given and module.flow != "source_to_target":
                given["flow"] = module.flow
        elif parameter.kind is not parameter.VAR_POSITIONAL or parameter.name in module._modules:
            given |= _read(module, parameter, with_children)
    return given


def _told(module: nn.Module, kind: type[nn.Module], parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """The arguments that a class tells itself, and those of classes of torch and PyG that keep them elsewhere."""
    if issubclass(kind, nn.RNNBase):  # whose signatures say (*args, **kwargs)
        given = {name: vars(module)[name] for name in _RECURRENT if kind is nn.LSTM or name != "proj_size"}
        return given | ({"nonlinearity": module.nonlinearity} if kind is nn.RNN else {})
    if kind is nn.TransformerEncoderLayer:
        return _of_block(cast(nn.TransformerEncoderLayer, module))
    if kind is nn.TransformerEncoder:
        given = {name: vars(module)[name] for name in ("num_layers", "enable_nested_tensor", "mask_check")}
        return {**given, "encoder_layer": Child("layers.0")}  # which it makes copies of
    if kind is ChebConv:
        return {"K": len(cast(Any, module).lins)}
    told = cast(Any, module).arguments() if callable(getattr(kind, "arguments", None)) else {}
    names, free = {p.name for p in parameters}, any(p.kind is p.VAR_KEYWORD for p in parameters)
    children = {id(child): Child(name) for name, child in module._modules.items() if child is not None}
    return {name: children.get(id(value), value) for name, value in told.items() if free or name in names}


def _of_block(block: nn.TransformerEncoderLayer) -> dict[str, Any]:
    attention = block.self_attn
    return {
        "d_model": attention.embed_dim, "nhead": attention.num_heads, "dim_feedforward": block.linear1.out_features,
        "dropout": block.dropout.p, "activation": block.activation, "layer_norm_eps": block.norm1.eps,
        "batch_first": attention.batch_first, "norm_first": block.norm_first,
        "bias": attention.in_proj_bias is not None,
    }  # fmt: skip


def _read(module: nn.Module, parameter: inspect.Parameter, with_children: bool) -> dict[str, Any]:
    """An argument that is an attribute, a child or a bias of its name; nothing where the default will do."""
    name, needed = parameter.name, parameter.default is inspect.Parameter.empty
    if name == "aggr" and isinstance(module, MessagePassing) and "(" in str(module.aggr):
        return {name: Child("aggr_module")}  # handed over as a module
    if name in module._modules:
        child = module._modules[name]
        return {name: None if child is None else Child(name)} if with_children or needed else {}
    if name == "bias" and name in module._parameters:
        return {name: module._parameters[name] is not None}
    if name not in vars(module) or isinstance(vars(module)[name], Tensor):
        if needed and parameter.kind is not parameter.VAR_POSITIONAL:
            raise NotPlainError(f"nothing says what its argument {name!r} was")
        return {}
    try:
        encode(vars(module)[name])
    except NotPlainError:
        if needed:
            raise
        return {}
    return {name: vars(module)[name]}


def _made(kind: type[nn.Module], arguments: dict[str, Any], module: nn.Module) -> nn.Module:
    """What the arguments make, on the meta device; children are copied there."""
    memo = {id(t): _on_meta(t) for t in (*module.parameters(), *module.buffers())}
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        names = {value.name.partition(".")[0] for value in arguments.values() if isinstance(value, Child)}
        children = {name: copy.deepcopy(module._modules[name], memo) for name in names}
        return called(kind, {key: decode(encode(value), children) for key, value in arguments.items()})


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _attributes(module: nn.Module, made: nn.Module) -> dict[str, Any]:
    """The plain attributes in which the two differ.

    Raises:
        NoRecipeError: if they differ in one that is not plain.
    """
    different = {}
    for name, value in vars(module).items():
        if name in RESERVED or name not in vars(made) or name in made._modules:
            continue
        other = vars(made)[name]
        try:
            encoded = encode(value)
        except NotPlainError as error:
            if type(value) is not type(other) or (inspect.isroutine(value) and value is not other):
                raise NoRecipeError(f"its {name} is {str(value)[:60]!r}") from error
            continue
        if encoded != _encoded(other):
            different[name] = encoded
    return different


def _encoded(value: Any) -> Any:
    try:
        return encode(value)
    except NotPlainError:
        return NotPlainError


def _tensors(module: nn.Module, made: nn.Module) -> dict[str, str]:
    """Roles of the tensors that the two have not in one role and shape."""
    behind = bridged(module)
    mine, its = dict(_roles(module)), dict(_roles(made))
    different = {name: role[0] for name, role in mine.items() if its.get(name) != role and name not in behind}
    gone = {name: role[0] for name, role in its.items() if name not in mine and name not in behind}
    return different | {name: f"no {role.removeprefix('no ')}" for name, role in gone.items()}


def _roles(module: nn.Module) -> Iterator[tuple[str, tuple]]:
    for name, value in module._parameters.items():
        yield name, (("no parameter",) if value is None else ("parameter", _shape(value)))
    for name, buffer in module._buffers.items():
        if name not in module._non_persistent_buffers_set:
            yield name, (("no buffer",) if buffer is None else ("buffer", _shape(buffer)))


def _shape(tensor: Tensor) -> tuple[int, ...] | None:
    return None if is_lazy(tensor) else tuple(tensor.shape)
