"""remove_: carry out a removal plan on a model. zeros_of: the plan of a model whose weights have zeros already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from edgenet.errors import PlanError
from edgenet.graph import Graph
from edgenet.models import Stack
from edgenet.nn import EdgeNetConv
from edgenet.nn.keep import combined, copied_module, keep_inputs_, keep_taps_
from edgenet.nn.lift import Lift
from edgenet.nn.parallel import Parallel
from edgenet.nn.taps import Taps
from edgenet.selection.plan import Kept, RemovalPlan
from edgenet.shortcuts import hooked


@dataclass(frozen=True)
class Removed:
    """What has become of one layer; numbers are pairs (before, after).

    Attributes:
        name: of the layer.
        hops: that are combined.
        heads: that are walked.
        taps: signals (hop, head) that are combined.
        parameters: trainable numbers.
        edges: rows of its table of edge weights; None if it has none.

    Example:
        >>> plan = edgenet.selection.RemovalPlan({"": edgenet.selection.Kept(taps=((2, 0),))})
        >>> [removed] = edgenet.selection.remove_(edgenet.nn.specializations.gcnn(3, 8, order=4), plan)
        >>> removed.hops
        (5, 1)
    """

    name: str
    hops: tuple[int, int]
    heads: tuple[int, int]
    taps: tuple[int, int]
    parameters: tuple[int, int]
    edges: tuple[int, int] | None

    def __str__(self) -> str:
        parts = [
            f"{what} {pair[0]:,} -> {pair[1]:,}"
            for what in ("hops", "heads", "taps", "edges", "parameters")
            if (pair := getattr(self, what)) is not None
        ]
        return f"{self.name or 'layer'}: {', '.join(parts)}"


def remove_(
    model: nn.Module,
    plan: RemovalPlan,
    *,
    readers: Mapping[str, str | None] | None = None,
    edge_index: Any = None,
    blocks: Any = None,
) -> list[Removed]:
    """Remove from the layers of a model what a plan does not keep, in place: all of it, or nothing.

    Taps, hops and heads go as ``edgenet.nn.keep.keep_taps_`` says. Where heads stand side by side, their channels leave
    the output, and what reads it loses those inputs. Of a table with a row for every edge (``EdgeVarying``,
    ``EdgeMatrix``), the rows of other blocks go, and these edges weigh 0 from then on; loops that the layer adds itself
    stay, as the graph's own that they replace. Other phis weigh what they are given: hand them the edges
    ``plan.layers[name].edges(labels)`` alone; a softmax over in-edges and a normalisation then see those only.
    Parameters are new ones: make the optimizer afterwards.

    Args:
        model: with the ``EdgeNetConv`` layers that the plan names, or such a layer.
        readers: layer -> the module that reads its output through functions of single channels (activation, dropout),
            by path; None where nothing in the model does. Of edgenet's models they are known.
        edge_index: (2, E) the edges of the graph that tables are bound to.
        blocks: (E,) their labels.

    Returns:
        What has become of each layer.

    Raises:
        PlanError: if there is no such layer, or two names are of one; if a part cannot do without what is to go, is
            compressed or pruned, or has no size yet; if heads go from an output of which the reader is not known, or to
            which something else is added; if edges of a table are to go, and there are no labels.

    Example:
        >>> plan = edgenet.selection.RemovalPlan({"": edgenet.selection.Kept(taps=((0, 0), (1, 0)))})
        >>> layer = edgenet.nn.specializations.gcnn(3, 8, order=4)
        >>> _ = edgenet.selection.remove_(layer, plan)
        >>> layer.order
        1
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile has wrapped
    _carry_out(copied_module(model), plan, readers, edge_index, blocks)  # what fails, fails here
    return _carry_out(model, plan, readers, edge_index, blocks)


def _carry_out(
    model: nn.Module, plan: RemovalPlan, readers: Mapping[str, str | None] | None, edge_index: Any, blocks: Any
) -> list[Removed]:
    report = []
    layers = {name: _layer(model, name) for name in plan.layers}
    for name, conv in layers.items():
        alike = [other for other in layers if layers[other] is conv]
        if len(alike) > 1:
            raise PlanError(f"{' and '.join(map(repr, alike))} are one layer: leave all but one name out of the plan.")
        if any(is_lazy(parameter) for parameter in conv.parameters()):
            raise PlanError(f"{name or 'the layer'}: its size is not known yet: run the model once first.")
    for name, kept in plan.layers.items():
        conv = layers[name]
        before = _sizes(conv)
        try:
            channels = keep_taps_(conv, kept.taps)
            _remove_edges(conv, kept, edge_index, blocks)
        except PlanError as error:
            raise PlanError(f"{name or 'the layer'}: {error}") from error
        if channels is not None and conv is not model:
            for reader in _readers(model, name, readers):
                try:
                    keep_inputs_(model.get_submodule(reader), channels)
                except (AttributeError, PlanError) as error:  # torch says so where there is no such module
                    raise PlanError(f"{reader!r}, which reads {name!r}, cannot lose inputs: {error}") from error
        report.append((name, conv, before))
    # readers lose inputs after their own turn
    return [_removed(name, before, _sizes(conv)) for name, conv, before in report]


def _layer(model: nn.Module, name: str) -> EdgeNetConv:
    try:
        layer = model.get_submodule(name)
    except AttributeError as error:
        raise PlanError(f"{name!r} is no module of this {type(model).__name__}: {error}.") from error
    if not isinstance(layer, EdgeNetConv):
        known = [path for path, module in model.named_modules() if isinstance(module, EdgeNetConv)]
        raise PlanError(f"{name!r} is a {type(layer).__name__}; layers with taps are {', '.join(map(repr, known))}.")
    return layer


def _readers(model: nn.Module, name: str, readers: Mapping[str, str | None] | None) -> list[str]:
    around = [model.get_submodule(path) for path in _paths_above(name)]
    if any(isinstance(module, Parallel) for module in around):
        raise PlanError(f"{name}: other layers are added to its heads, which cannot be removed from the sum.")
    if any(getattr(module, "adds_to_heads", False) for module in (model.get_submodule(name), around[0])):
        raise PlanError(f"{name}: a map of the input is added to its heads, which cannot be removed with them.")
    if readers is not None and name in readers:
        reader = readers[name]
        return [] if reader is None else [reader]
    depth = name.removeprefix("convs.")
    if isinstance(model, Stack) and depth.isdecimal():
        if len(model.skips):
            raise PlanError(f"{name}: what a skip connection adds to its heads cannot be removed with them.")
        following = model.readers(int(depth))
        if following is not None:
            return following
    raise PlanError(
        f"{name}: heads leave its output, and what reads that must lose inputs; name it: readers={{{name!r}: path}}, "
        f"or None if nothing in the model reads it."
    )


def _paths_above(name: str) -> list[str]:
    """ "a.b" and "a" and "", of "a.b.c"."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in reversed(range(len(parts)))]


def _remove_edges(conv: EdgeNetConv, kept: Kept, edge_index: Any, blocks: Any) -> None:
    if kept.blocks is None or not conv.phi.numbers_an_edge:
        return
    if edge_index is None or blocks is None:
        raise PlanError("its table loses blocks of edges: pass edge_index and the labels, blocks, of its edges.")
    bound = conv.phi.bound_graph()
    if bound is None:
        raise PlanError("its table of edge weights has no graph yet: bind it, or run the model once.")
    stay, nodes = kept.edges(blocks), bound.num_nodes
    graph, _ = Graph.of(edge_index, nodes)
    if len(stay) != graph.num_edges:
        raise PlanError(f"there are {len(stay)} labels for {graph.num_edges} edges; give one for each.")
    graph = graph.transpose() if conv.flow == "target_to_source" else graph
    key, stay = graph.target * nodes + graph.source, stay.to(graph.target.device)
    gone = ~torch.isin(key, key[stay])  # a repeated edge stays if one of its labels does
    if conv.add_self_loops:  # the loops are those that the layer adds, which have no labels
        gone &= graph.source != graph.target
    conv.phi.remove_edges_(graph.source[gone], graph.target[gone])


Sizes = tuple[int, int, int, int, int | None]  # numbers as in ``Removed``, in its order


def _removed(name: str, before: Sizes, after: Sizes) -> Removed:
    hops, heads, taps, parameters = zip(before[:4], after[:4], strict=True)
    edges = None if before[4] is None or after[4] is None else (before[4], after[4])
    return Removed(name, hops, heads, taps, parameters, edges)


def _sizes(conv: EdgeNetConv) -> Sizes:
    parameters = sum(p.numel() for p in conv.parameters() if p.requires_grad)
    return len(conv.hops), conv.heads, len(combined(conv)), parameters, conv.phi.table_rows


@torch.no_grad()
def zeros_of(layer: EdgeNetConv, name: str = "") -> RemovalPlan:
    """The plan that keeps what is not zero: a layer without taps whose weights are all 0, and heads whose lift is,
    computes what it did. Heads that are averaged stay, as their number counts, and so do those that mix as they walk.

    After training with ``compress.GroupLasso`` or ``compress.L1Inf`` on columns of linear taps, or on rows of a lift,
    that is what the penalty has left.

    Args:
        layer: whose sizes are known.
        name: of the layer in its model.

    Raises:
        PlanError: if nothing is left, or sizes are not known.

    Example:
        >>> layer = edgenet.nn.specializations.gcnn(3, 8, order=2)
        >>> edgenet.selection.zeros_of(layer).layers[""].taps  # nothing is zero yet
        ((0, 0), (1, 0), (2, 0))
    """
    if any(is_lazy(parameter) for parameter in layer.parameters()):
        raise PlanError(f"the size of {name or 'the layer'} is not known yet: run the model once first.")
    pairs = combined(layer)
    stays = torch.ones(len(pairs), dtype=torch.bool)
    used = layer.taps.used(len(pairs)) if _says_all(layer.taps, Taps) else None
    if used is not None:
        stays &= used.cpu()
    apart = not layer.phi.mixes_channels and getattr(layer.taps, "merge", None) != "mean"
    lifted = layer.lift.used_heads() if apart and _says_all(layer.lift, Lift) else None
    if lifted is not None and len(lifted) == layer.heads:
        stays &= lifted.cpu()[[h for _, h in pairs]]
    if not stays.any():
        raise PlanError(f"all taps of {name or 'the layer'} are zero, so that nothing would be left of it.")
    return RemovalPlan({name: Kept(tuple(pair for pair, stay in zip(pairs, stays.tolist(), strict=True) if stay))})


def _says_all(part: nn.Module, kind: type) -> TypeGuard[Any]:
    """Whether a part's weights tell what it gives: nobody has wrapped it, or hangs on it."""
    return isinstance(part, kind) and not hooked(part)
