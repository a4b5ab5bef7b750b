"""to_edgenet: a model of PyG layers as a model of EdgeNet layers that computes the same."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch_geometric.nn import MessagePassing

from edgenet.convert.pyg import CONVERTERS, base_of, converted
from edgenet.convert.source import Source
from edgenet.errors import ConversionError
from edgenet.nn import EdgeNetConv


def to_edgenet(model: nn.Module, inplace: bool = False) -> nn.Module:
    """Put an EdgeNet layer in the place of every PyG layer of a model; the model computes the same as before.

    Outputs and gradients are equal to rounding, in training too (but for the draws of dropout). The layers keep their
    place, the arguments they are called with, dtype, device, mode and ``requires_grad``; see ``Converted``. Their
    parameters have other names, and partly other shapes: make optimizers afterwards, load checkpoints of PyG before.

    Args:
        model: any module; a PyG layer alone is converted itself.
        inplace: change ``model`` rather than a copy. All or nothing: an error leaves it as it was.

    Returns:
        The converted model. EdgeNet layers that it has already stay as they are.

    Raises:
        ConversionError: if a layer cannot be converted exactly; the text has its place, the option and what to do. Or
            if there is nothing to convert.

    Example:
        >>> from torch_geometric.nn import GAT
        >>> theirs = GAT(3, 8, num_layers=2, out_channels=2).eval()
        >>> ours = edgenet.to_edgenet(theirs)
        >>> torch.allclose(ours(x, edges), theirs(x, edges), atol=1e-6)
        True
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise ConversionError("a scripted model has no layers to replace; convert it before torch.jit.script.")
    for place, part in model.named_modules():
        if isinstance(part, torch.jit.ScriptModule) and part.original_name in {cls.__name__ for cls in CONVERTERS}:
            raise ConversionError(
                f"{place} is a scripted {part.original_name}, which cannot be replaced from within; put the layer that "
                f"it was made of in its place."
            )
    if not inplace:
        model = copied(model)
    others: set[nn.Module] = set()
    found = dict(_layers(model, others))
    if not found and not any(isinstance(module, EdgeNetConv) for module in model.modules()):
        raise ConversionError(f"there is no PyG layer in this {type(model).__name__}: nothing to convert.")
    places = Counter(id(p) for layer in found.values() for _, p in layer.named_parameters(remove_duplicate=False))
    places.update(id(p) for module in others for p in module._parameters.values() if p is not None)
    tied = frozenset(key for key, count in places.items() if count > 1)
    with torch.random.fork_rng(devices=[]):  # parameters that are drawn here are replaced at once
        new = {layer: converted(Source(layer, place, tied)) for place, layer in found.items()}
    if model in new:
        return new[model]
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in new:
                parent._modules[name] = new[child]
    return model


def copied(model: nn.Module) -> nn.Module:
    """A deep copy.

    Raises:
        ConversionError: if the model holds computed tensors, which pruning and the old ``weight_norm`` leave, or
            buffers without a size, as lazy batch norms do.
    """
    lazy = [path for path, buffer in model.named_buffers() if is_lazy(buffer)]
    if lazy:
        raise ConversionError(f"the model cannot be copied: {', '.join(lazy)} have no size yet; run it once first.")
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        places = [
            f"{place}.{name}".lstrip(".")
            for place, part in model.named_modules()
            for name, value in vars(part).items()
            if isinstance(value, torch.Tensor) and not value.is_leaf
        ]
        raise ConversionError(
            f"the model cannot be copied ({', '.join(places) or 'somewhere'} is computed of other tensors); make "
            f"pruning and weight norms permanent first: torch.nn.utils.prune.remove, remove_weight_norm."
        ) from error


def _layers(module: nn.Module, others: set[nn.Module], path: str = "") -> list[tuple[str, nn.Module]]:
    """The outermost layers, each once, by dotted name; every module around them is put among ``others``."""
    if (isinstance(module, MessagePassing) or base_of(type(module))) and not isinstance(module, EdgeNetConv):
        return [(path, module)]
    if module in others:
        return []
    others.add(module)
    found: dict[nn.Module, str] = {}
    for name, child in module._modules.items():
        if child is not None:
            for place, layer in _layers(child, others, f"{path}.{name}" if path else name):
                found.setdefault(layer, place)
    return [(place, layer) for layer, place in found.items()]
