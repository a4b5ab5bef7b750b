"""No shortcut is ever visible: whatever is put on a module or a parameter counts as if every module was called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import pytest
import torch
from layers import LAYERS, Case, fresh, prepared
from plainly import plainly
from torch import Tensor, nn
from torch_geometric.nn.aggr import Aggregation
from touches import DOUBLE_GRADIENT, DOUBLE_INPUT, DOUBLE_OUTPUT, ON_MODULES, ON_PARAMETERS

from edgenet.structured import Dense, Hashed, LowRank, StructuredLinear, StructuredMatrix

CASES = [(name, width) for name, case in LAYERS.items() for width in case.widths]
NAMES = [f"{name}-{width}" for name, width in CASES]
#: the rarer kinds, at one width, and not at every variant of a layer: shortcuts ask one question about all of them
RARE = {"own forward": "narrow", "subclass": "wide", "backward hook": "wide", "weight norm, old": "narrow"}
RARE |= {"weight norm, new": "wide"}
#: what doubles what
DOUBLES = dict.fromkeys(DOUBLE_OUTPUT, "output") | dict.fromkeys(DOUBLE_INPUT, "input")
DOUBLES |= {"backward hook": "gradient of the input", "backward pre-hook": "gradient of the output"}
#: layers that sum no messages, or more than messages: spectral filters, and corrections of single entries
NO_SUM = ("spectral", "edge_varying, doped")


def at(kinds: Iterable[str]) -> list[tuple[str, str, str]]:
    """The kinds at every layer and width."""
    return [(name, width, kind) for name, width in CASES for kind in kinds if is_looked_at(LAYERS[name], width, kind)]


def is_looked_at(case: Case, width: str, kind: str) -> bool:
    return kind not in RARE or (width == RARE[kind] and len(case.widths) == 2)


# --- what a layer gives -----------------------------------------------------------------------------------------------
Results = tuple[Tensor, dict[str, Tensor]]


def results(layer: nn.Module, x: Any, more: dict[str, Any], parameters: dict[str, Tensor]) -> Results:
    """The output, and the gradients of a linear function of it."""
    pair = isinstance(x, tuple)
    signals = [side.clone().requires_grad_() for side in (x if pair else (x,))]
    y = layer(tuple(signals) if pair else signals[0], **more)
    direction = torch.linspace(-1, 2, y.numel()).view_as(y)
    wanted = {f"x {side}": signal for side, signal in enumerate(signals)} | parameters
    for leaf in wanted.values():
        leaf.grad = None
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


def ways(x: Any, case: Case, path: str = "lift") -> Iterator[tuple[str, Any]]:
    """Other signals, for which layers have ways of their own."""
    yield "eval", torch.stack([x, -2 * x]) if case.batches and not case.pair else x
    if case.sparse and not case.pair and any(part in path for part in ("lift", "channels", "linear", "convs")):
        yield "sparse", (x * (torch.arange(x.numel()).view_as(x) % 3 == 0)).to_sparse_csr()


# --- modules ----------------------------------------------------------------------------------------------------------
def paths(layer: nn.Module) -> list[str]:
    """Modules that can be called. Containers, and finders of rows, have no ``forward``: their call means nothing."""
    return [path for path, m in layer.named_modules() if type(m).forward is not nn.Module.forward]


@pytest.mark.parametrize(("name", "width"), CASES, ids=NAMES)
def test_a_layer_gives_what_its_modules_give_one_by_one(name: str, width: str):
    layer, x, more = fresh(name, width)
    parameters = dict(layer.named_parameters())
    found = results(layer, x, more, parameters)
    with plainly():
        assert not told(found, results(layer, x, more, parameters))
    with torch.no_grad():
        for way, signal in ways(x, LAYERS[name]):
            assert forward_gap(layer.eval(), signal, more) < 1e-10, way


@pytest.mark.parametrize(("name", "width", "kind"), at(ON_MODULES), ids=lambda part: part)
def test_what_is_put_on_a_module_counts_wherever_it_is(name: str, width: str, kind: str):
    layer = prepared(name, width)[0]
    called = [path for path in paths(layer) if not isinstance(layer.get_submodule(path), Aggregation)]
    faults = {path or "the layer": module_fault(name, width, kind, path) for path in called}
    assert not any(faults.values()), listed(kind, faults)


@pytest.mark.parametrize("kind", ON_MODULES)
@pytest.mark.parametrize(
    "name", [name for name, case in LAYERS.items() if len(case.widths) == 2 and name not in NO_SUM]
)
def test_what_is_put_on_the_sum_of_messages_counts(name: str, kind: str):
    """PyG's layers call a module for it. Corrections of single entries are no messages."""
    width = LAYERS[name].widths[-1]
    layer = prepared(name, width)[0]
    sums = [path for path in paths(layer) if isinstance(layer.get_submodule(path), Aggregation)]
    faults = {path: module_fault(name, width, kind, path) for path in sums}
    assert sums and not any(faults.values()), listed(kind, faults)


def module_fault(name: str, width: str, kind: str, path: str) -> str:
    layer, x, more = fresh(name, width)
    parameters, module = dict(layer.named_parameters()), layer.get_submodule(path)
    signals = list(ways(x, LAYERS[name], path)) if kind not in DOUBLE_GRADIENT else []
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
            apart = told(found, merged(name, width, DOUBLES[kind], path))
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


@lru_cache(None)
def untouched(name: str, width: str) -> Results:
    layer, x, more = fresh(name, width)
    return results(layer, x, more, dict(layer.named_parameters()))


@lru_cache(None)
def merged(name: str, width: str, doubles: str, path: str) -> Results | None:
    """What the layer gives with the effect on a matrix, or a linear map, merged into its weights: as much of it as
    has such a form; None where nothing has.

    Args:
        doubles: "input", "output", "gradient of the input", "gradient of the output".
    """
    layer, x, more = fresh(name, width)
    module = layer.get_submodule(path)
    linear = isinstance(module, StructuredLinear)
    matrix = module.weight if linear else module
    if doubles.startswith("gradient"):  # what comes into the module has twice the gradient, or what is inside too
        inside = {f"{path}.{key}".lstrip(".") for key, _ in module.named_parameters()}
        twice = doubles == "gradient of the output"
        y, gradients = untouched(name, width)
        return y, {key: gradients[key] * (1 + twice) for key in inside & set(gradients)}
    factor = {Dense: "weight", LowRank: "left", Hashed: "scale"}.get(type(matrix))
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
@pytest.mark.parametrize(("name", "width", "kind"), at(ON_PARAMETERS), ids=lambda part: part)
def test_what_a_parameter_has_become_counts_wherever_it_is(name: str, width: str, kind: str):
    faults = {}
    for key, _ in prepared(name, width)[0].named_parameters():
        path, _, parameter = key.rpartition(".")
        if isinstance(prepared(name, width)[0].get_submodule(path), nn.ParameterList):  # which is never called
            continue
        if kind in ("weight norm, new", "parametrization") and hasattr(nn.ModuleDict, parameter):  # torch refuses such
            continue
        faults[key] = parameter_fault(name, width, kind, path, parameter)
    assert not any(faults.values()), listed(kind, faults)


def parameter_fault(name: str, width: str, kind: str, path: str, parameter: str) -> str:
    (layer, x, more), (plain, _, _) = fresh(name, width), fresh(name, width)
    key, signals = f"{path}.{parameter}".lstrip("."), list(ways(x, LAYERS[name], path))
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


def pulled_back(found: Results, key: str, become: Callable[[], Tensor], parameters: dict[str, Tensor]) -> Results:
    """Gradients of the parameters that a parameter is made of, from its own."""
    y, gradients = found
    gradients = dict(gradients)
    own = [name for name in parameters if name not in gradients]
    parts = torch.autograd.grad(become(), [parameters[name] for name in own], gradients.pop(key))
    return y, gradients | dict(zip(own, parts, strict=True))
