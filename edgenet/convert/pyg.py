"""Which layers can be converted, and by what."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn
from torch_geometric.nn import (
    APPNP,
    ARMAConv,
    ChebConv,
    FastRGCNConv,
    GATConv,
    GATv2Conv,
    GCN2Conv,
    GCNConv,
    GINConv,
    GINEConv,
    NNConv,
    RGCNConv,
    SAGEConv,
    SGConv,
    TAGConv,
    TransformerConv,
)

from edgenet.convert.attention import gat, gatv2, transformer
from edgenet.convert.edge_features import gine, nnconv, rgcn
from edgenet.convert.neighbours import gin, sage
from edgenet.convert.shifts import appnp, arma, cheb, gcn, gcn2, sgc, tag
from edgenet.convert.source import Source
from edgenet.errors import ConversionError

#: What makes an EdgeNet layer of a layer: it takes the parameters over by way of the ``Source``, all of them, and
#: returns a module that is called as the layer was; mostly ``source.converted(...)``.
Converter = Callable[[Source], nn.Module]

#: How each layer is converted, by its class. Subclasses that change no method are converted likewise.
CONVERTERS: dict[type[nn.Module], Converter] = {
    GATConv: gat,
    GATv2Conv: gatv2,
    GCNConv: gcn,
    TAGConv: tag,
    SGConv: sgc,
    APPNP: appnp,
    ARMAConv: arma,
    ChebConv: cheb,
    SAGEConv: sage,
    GINConv: gin,
    TransformerConv: transformer,
    GCN2Conv: gcn2,
    GINEConv: gine,
    RGCNConv: rgcn,
    FastRGCNConv: rgcn,
    NNConv: nnconv,
}


def converted(source: Source) -> nn.Module:
    """The EdgeNet layer that computes what a layer does.

    Raises:
        ConversionError: if there is none, or an option is in the way.
    """
    layer = source.layer
    base = base_of(type(layer))
    if base is None:
        raise ConversionError(
            f"{source.path or 'the layer'}: {type(layer).__name__} has no EdgeNet form here; there are "
            f"{', '.join(cls.__name__ for cls in CONVERTERS)}. To convert part of a model, convert its layers one by "
            f"one: model.conv = to_edgenet(model.conv)."
        )
    source.check(base)
    modes = {module: module.training for module in layer.modules()}
    new = CONVERTERS[base](source)
    source.check_all_taken()
    source.carry_hooks(new)
    new.train(layer.training)
    for module, mode in modes.items():  # parts that were taken over whole keep theirs
        module.training = mode
    return new


def base_of(kind: type[nn.Module]) -> type[nn.Module] | None:
    """The nearest of its bases, or itself, that can be converted."""
    return next((cls for cls in kind.__mro__ if cls in CONVERTERS), None)


def check_converter(kind: Any, function: Any) -> None:
    """Refuse what ``CONVERTERS`` could not hold.

    Raises:
        ConversionError: if ``kind`` is no class of modules, or there is another converter for it, or ``function``
            cannot be called with a ``Source`` alone.
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)) or kind is nn.Module:
        raise ConversionError(f"a converter is for a class of layers, a subclass of nn.Module; got {kind!r}.")
    if CONVERTERS.get(kind, function) is not function:
        raise ConversionError(f"{kind.__name__} has a converter already, {CONVERTERS[kind].__qualname__}.")
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError) as error:
        raise ConversionError(
            f"a converter is called with one argument, the edgenet.convert.Source of a layer, and {function!r} cannot "
            f"be: {error}"
        ) from error
