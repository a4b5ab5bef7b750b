"""That no shortcut is ever visible: whatever is put on a module or a parameter of a layer counts as if every module was
called."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn.aggr import Aggregation

from edgenet.structured import Dense, Hashed, LowRank, StructuredLinear, StructuredMatrix
from edgenet.testing.contract import Contract, require
from edgenet.testing.layer.case import LayerCase, prepared
from edgenet.testing.plainly import plainly
from edgenet.testing.touches import DOUBLE_GRADIENT, DOUBLE_INPUT, DOUBLE_OUTPUT, ON_MODULES, ON_PARAMETERS

SHORTCUTS: Contract[LayerCase] = Contract()

#: what doubles what
DOUBLES = dict.fromkeys(DOUBLE_OUTPUT, "output") | dict.fromkeys(DOUBLE_INPUT, "input")
DOUBLES |= {"backward hook": "gradient of the input", "backward pre-hook": "gradient of the output"}


# --- what a layer gives -----------------------------------------------------------------------------------------------
Results = tuple[Tensor, dict[str, Tensor]]


def results(layer: nn.Module, x: Any, more: dict[str, Any], parameters: Mapping[str, Tensor]) -> Results:
    """The output, and the gradients of a linear function of it."""
    pair = isinstance(x, tuple)
    signals = [side.clone().requires_grad_() for side in (x if pair else (x,))]
    torch.manual_seed(2)  # dropout is drawn alike, however its layer is called
    y = layer(tuple(signals) if pair else signals[0], **more)
    direction = torch.linspace(-1, 2, y.numel()).view_as(y)
    wanted = {f"x {side}": signal for side, signal in enumerate(signals)} | dict(parameters)
    for leaf in wanted.values():
        leaf.grad = None
    with warnings.catch_warnings():  # a backward hook on what no gradient enters, of which torch warns, is on purpose
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        (y * direction).sum().backward()  # and not autograd.grad, which passes hooks by that it needs nothing of
    return y.detach(), {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in wanted.items()}


def told(found: Results, wanted: Results | None) -> str:
    """How far two results are apart, or nothing."""
    if wanted is None:
        return ""
    parts = {"output": (found[0], wanted[0])} | {key: (found[1][key], value) for key, value in wanted[1].items()}
    off = {key: gap(*pair) for key, pair in parts.items()}
    return ", ".join(f"{key} by {value:.0%}" for key, value in off.items() if not value < 1e-10)


def gap(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        return float("nan")
    return float((found - wanted).norm() / (1e-3 + wanted.norm()))


def ways(x: Any, case: LayerCase, path: str = "lift") -> Iterator[tuple[str, Any]]:
    """Other signals, for which layers have ways of their own."""
    yield "eval", torch.stack([x, -2 * x]) if case.batches and not case.pair else x
    if case.sparse and not case.pair and any(part in path for part in ("lift", "channels", "linear", "convs")):
        yield "sparse", (x * (torch.arange(x.numel()).view_as(x) % 3 == 0)).to_sparse_csr()


# --- modules ----------------------------------------------------------------------------------------------------------
def paths(layer: nn.Module) -> list[str]:
    """Modules that can be called. Containers, and finders of rows, have no ``forward``: their call means nothing."""
    return [path for path, m in layer.named_modules() if type(m).forward is not nn.Module.forward]


@SHORTCUTS.promise("modules one by one")
def one_by_one(case: LayerCase) -> None:
    """It gives what its modules give when they are called one by one: lift, weigh, walk, combine."""
    layer, x, more = case.fresh()
    parameters = dict(layer.named_parameters())
    found = results(layer, x, more, parameters)
    with plainly():
        apart = told(found, results(layer, x, more, parameters))
    require(not apart, f"not what its modules give: {apart}")
    with torch.no_grad():
        for way, signal in ways(x, case):
            off = forward_gap(layer.eval(), signal, more)
            require(off < 1e-10, f"{way}: the output is off by {off:.0%}")


@SHORTCUTS.promise("on modules", kind={kind: kind for kind in ON_MODULES})
def on_modules(case: LayerCase, kind: str) -> None:
    """What is put on a module, an adapter or a hook of any kind, counts wherever it is."""
    layer = prepared(case)[0]
    called = [path for path in paths(layer) if not isinstance(layer.get_submodule(path), Aggregation)]
    faults = {path or "the layer": module_fault(case, kind, path) for path in called}
    require(not any(faults.values()), listed(kind, faults))


@SHORTCUTS.promise("on the sum of messages", kind={kind: kind for kind in ON_MODULES})
def on_the_sum(case: LayerCase, kind: str) -> str | None:
    """What is put on the module that sums messages, as PyG's layers have one, counts."""
    layer = prepared(case)[0]
    sums = [path for path in paths(layer) if isinstance(layer.get_submodule(path), Aggregation)]
    if not sums:
        return "it has no module that sums messages"
    faults = {path: module_fault(case, kind, path) for path in sums}
    require(not any(faults.values()), listed(kind, faults))
    return None


def module_fault(case: LayerCase, kind: str, path: str) -> str:
    layer, x, more = case.fresh()
    parameters, module = dict(layer.named_parameters()), layer.get_submodule(path)
    signals = list(ways(x, case, path)) if kind not in DOUBLE_GRADIENT else []
    try:
        with torch.no_grad():
            for _, signal in signals:
                layer.eval()(signal, **more)  # what is kept from before must not be used afterwards
            touched, count = ON_MODULES[kind](layer, path)
            for way, signal in signals:
                off = forward_gap(touched, signal, more)
                if not off < 1e-10:
                    return f"{way}: not as if modules were called: output by {off:.0%}"
        count.calls = 0
        found = results(touched.train(), x, more, parameters)
        calls, count.calls = count.calls, 0
        with plainly():
            wanted = results(touched, x, more, parameters)
        if not calls and (count.calls or isinstance(module, StructuredMatrix)):  # numbers of a graph have no gradient
            return "never called"
        if isinstance(module, StructuredMatrix | StructuredLinear):
            apart = told(found, merged(case, DOUBLES[kind], path))
            if apart:
                return f"not as if it was in the weights: {apart}"
        apart = told(found, wanted)
        return f"not as if modules were called: {apart}" if apart else ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]


def forward_gap(layer: nn.Module, signal: Any, more: dict[str, Any]) -> float:
    """Between what the layer gives and what its modules give one by one."""
    found = layer(signal, **more)
    with plainly():
        return gap(found, layer(signal, **more))


@lru_cache(256)
def untouched(case: LayerCase) -> Results:
    layer, x, more = case.fresh()
    return results(layer, x, more, dict(layer.named_parameters()))


@lru_cache(256)
def merged(case: LayerCase, doubles: str, path: str) -> Results | None:
    """What the layer gives with the effect on a matrix, or a linear map, merged into its weights: as much of it as
    has such a form; None where nothing has.

    Args:
        doubles: "input", "output", "gradient of the input", "gradient of the output".
    """
    layer, x, more = case.fresh()
    module = layer.get_submodule(path)
    linear = isinstance(module, StructuredLinear)
    matrix: Any = module.weight if linear else module
    if doubles.startswith("gradient"):  # what comes into the module has twice the gradient, or what is inside too
        inside = {f"{path}.{key}".lstrip(".") for key, _ in module.named_parameters()}
        twice = doubles == "gradient of the output"
        y, gradients = untouched(case)
        return y, {key: gradients[key] * (1 + twice) for key in inside & set(gradients)}
    factors: dict[Any, str] = {Dense: "weight", LowRank: "left", Hashed: "scale"}
    factor = factors.get(type(matrix))
    doubled = [] if factor is None else [getattr(matrix, factor)]
    if linear and module.bias is not None and doubles == "output":
        doubled.append(module.bias)
    if not doubled:
        return None
    with torch.no_grad():
        for parameter in doubled:
            parameter.mul_(2)
    parameters = dict(layer.named_parameters())
    y, gradients = results(layer, x, more, parameters)
    for key, parameter in parameters.items():
        if any(parameter is one for one in doubled):
            gradients[key] = 2 * gradients[key]
    return y, gradients


def listed(kind: str, faults: dict[str, str]) -> str:
    return f"{kind} on" + "".join(f"\n  {path}: {fault}" for path, fault in faults.items() if fault)


# --- parameters -------------------------------------------------------------------------------------------------------
@SHORTCUTS.promise("on parameters", kind={kind: kind for kind in ON_PARAMETERS})
def on_parameters(case: LayerCase, kind: str) -> None:
    """What a parameter has become, by a mask, a norm or a parametrization, counts wherever it is."""
    faults = {}
    for key, _ in prepared(case)[0].named_parameters():
        path, _, parameter = key.rpartition(".")
        if isinstance(prepared(case)[0].get_submodule(path), nn.ParameterList):  # which is never called
            continue
        if kind in ("weight norm, new", "parametrization") and hasattr(nn.ModuleDict, parameter):  # torch refuses such
            continue
        faults[key] = parameter_fault(case, kind, path, parameter)
    require(not any(faults.values()), listed(kind, faults))


def parameter_fault(case: LayerCase, kind: str, path: str, parameter: str) -> str:
    (layer, x, more), (plain, _, _) = case.fresh(), case.fresh()
    key, signals = f"{path}.{parameter}".lstrip("."), list(ways(x, case, path))
    try:
        with torch.no_grad():
            for _, signal in signals:
                layer.eval()(signal, **more)
            become = ON_PARAMETERS[kind](layer.get_submodule(path), parameter)
            parameters = dict(layer.named_parameters())
            for when in ("", ", after a change"):
                for own in layer.parameters() if when else ():
                    own.mul_(1.1)
                for other, own in plain.eval().named_parameters():
                    own.copy_(become() if other == key else parameters[other])
                for way, signal in signals:
                    off = gap(layer(signal, **more), plain(signal, **more))
                    if not off < 1e-10:
                        return f"{way}{when}: not as if it was in the weights: output by {off:.0%}"
        wanted = results(plain.train(), x, more, dict(plain.named_parameters()))
        layer.train()
        for when in ("", "again, "):
            apart = told(results(layer, x, more, parameters), pulled_back(wanted, key, become, parameters))
            if apart:
                return f"{when}not as if it was in the weights: {apart}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def pulled_back(found: Results, key: str, become: Callable[[], Tensor], parameters: Mapping[str, Tensor]) -> Results:
    """Gradients of the parameters that a parameter is made of, from its own."""
    y, gradients = found
    gradients = dict(gradients)
    own = [name for name in parameters if name not in gradients]
    parts = torch.autograd.grad(become(), [parameters[name] for name in own], gradients.pop(key))
    return y, gradients | dict(zip(own, parts, strict=True))
