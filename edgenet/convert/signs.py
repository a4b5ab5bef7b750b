"""Networks of signs: what changes around binary weights.

Activations become ``Sign``. In a ``Sequential`` a sign then moves behind the batch norms and max pools that follow it:
what comes to the next layer is signs again, and a maximum of signs, of which most are equal, has no use for a gradient.
(The maximum of signs is the sign of the maximum: outputs stay.) The bias of a layer right before a batch norm goes into
the mean that this takes away, so that the layer's sums are sums of signs. Convolutions of signs pad with -1, which is a
sign, where they would pad with 0, which is none.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Iterator, Set
from itertools import pairwise
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.pooling import _MaxPoolNd
from torch.nn.parameter import is_lazy

from edgenet.compress.places import Undo
from edgenet.errors import ConversionError
from edgenet.nn.sign import Sign
from edgenet.shortcuts import hooked
from edgenet.structured import StructuredConv

#: activations that become signs. Sigmoids do not: they are gates and outputs
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Softplus, nn.Softsign, nn.Tanh, nn.Hardtanh, nn.Hardswish,
)  # fmt: skip
_FUNCTIONS = frozenset(
    name
    for one in (
        "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
        "softsign", "tanh", "hardtanh", "hardswish",
    )
    for name in (one, f"{one}_")
)  # fmt: skip
_KNOWN = ("torch.", "torch_geometric.", "edgenet.")  # their layers hold the activations between them as modules


def check_activations(model: nn.Module) -> None:
    """That the activations of a model can be replaced: that they are modules, as far as its source shows.

    Raises:
        ConversionError: if a class calls one itself, one has hooks, or there is none of ``ACTIVATIONS`` to replace.
    """
    for path, module in model.named_modules():
        if type(module).__module__.startswith(_KNOWN):
            continue
        for called in _called(type(module)):
            raise ConversionError(
                f"{path or 'the model'}, a {type(module).__name__}, calls {called} itself, and a call cannot become a "
                f"Sign. Make it a module, self.act = torch.nn.ReLU(); or, for binary weights alone, take "
                f'compress_(model, {{".*": {{"structure": "binary"}}}}).'
            )
    for path, module in model.named_modules():
        if isinstance(module, ACTIVATIONS) and hooked(module):
            raise ConversionError(
                f"{path}, a {type(module).__name__}, has hooks, which a Sign would lose; remove them."
            )
    if not any(isinstance(module, (*ACTIVATIONS, Sign)) for module in _inside(model)):
        known = ", ".join(kind.__name__ for kind in ACTIVATIONS)
        raise ConversionError(
            f"a network of signs has signs between its layers, and this {type(model).__name__} has no activation "
            f'there to replace; known are the modules {known}. For binary weights alone take compress_(model, {{".*": '
            f'{{"structure": "binary"}}}}).'
        )


def to_signs_(model: nn.Module, binary: Set[str], inner: Set[str]) -> Undo:
    """Make a model with binary weights a network of signs, in place, as the text above says.

    Args:
        binary: the names of the slots with binary weights.
        inner: those that signs come to.

    Returns:
        What undoes it.
    """
    before = [
        (module, dict(module._modules), dict(module._parameters), dict(module._buffers)) for module in model.modules()
    ]
    padded = []
    new = {module: Sign().train(module.training) for module in _inside(model) if isinstance(module, ACTIVATIONS)}
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child in new:
                parent._modules[name] = new[child]
    times = Counter(child for parent in model.modules() for child in parent._modules.values() if child is not None)
    layers = {path.rpartition(".")[0] for path in binary}
    chosen = {module for path, module in model.named_modules() if path in layers}
    for parent in model.modules():
        if isinstance(parent, nn.Sequential) and type(parent).forward is nn.Sequential.forward:
            _move_signs_(parent)
            _move_biases_(parent, {layer for layer in chosen if times[layer] == 1}, times)
    for path, module in model.named_modules():
        of_signs = isinstance(module, StructuredConv) and f"{path}.weight" in binary & inner
        if of_signs and module.padding_mode == "zeros":
            padded.append((module, getattr(module, "padding_value", 0.0)))
            module.padding_value = -1.0

    def undo() -> None:
        for conv, value in padded:
            conv.padding_value = value
        for module, *tables in before:
            now: list[dict[str, Any]] = [module._modules, module._parameters, module._buffers]
            for table, old in zip(now, tables, strict=True):
                table.clear()
                table.update(old)

    return undo


def _inside(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model, but for those after the last layer of a ``Sequential``, which make its output."""
    after: set[nn.Module] = set()
    module = model
    while type(module) is nn.Sequential:
        tail: list[nn.Module] = []
        for child in reversed(module):
            if any(is_lazy(p) or p.dim() > 1 for p in child.parameters()):
                break
            tail.append(child)
        else:
            break
        after.update(part for one in tail for part in one.modules())
        module = child
    yield from (module for module in model.modules() if module not in after)


def _move_signs_(sequence: nn.Sequential) -> None:
    """Signs behind the batch norms and max pools that follow them."""
    parts = list(sequence._modules.values())
    for place in reversed(range(len(parts))):
        while isinstance(parts[place], Sign) and place + 1 < len(parts):
            if not isinstance(parts[place + 1], _BatchNorm | _MaxPoolNd):
                break
            parts[place : place + 2] = parts[place + 1], parts[place]
            place += 1
    sequence._modules.update(zip(list(sequence._modules), parts, strict=True))


def _move_biases_(sequence: nn.Sequential, layers: Set[nn.Module], times: Counter[nn.Module]) -> None:
    """Biases of layers into the means of the batch norms right behind."""
    for layer, norm in pairwise(list(sequence._modules.values())):
        if layer not in layers or not isinstance(norm, _BatchNorm) or times[norm] > 1 or hooked(layer):
            continue
        bias = layer._parameters.get("bias")
        if bias is None or bias.shape != (norm.num_features,):
            continue
        layer._parameters["bias"] = None
        if norm.running_mean is not None:
            norm._buffers["running_mean"] = norm.running_mean - bias.detach().to(norm.running_mean.dtype)


def _called(kind: type[nn.Module]) -> Iterator[str]:
    """Functions of ``_FUNCTIONS`` that the source of a class calls, and not as a module of its own."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):  # a class without a source, of which nothing can be said
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
            if name in _FUNCTIONS and not _is_own(function):
                yield ast.unparse(function)


def _is_own(function: ast.expr) -> bool:
    """``self.block.relu``, say."""
    while isinstance(function, ast.Attribute | ast.Subscript):
        function = function.value
        if isinstance(function, ast.Name):
            return function.id == "self"
    return False
