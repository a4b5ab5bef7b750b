"""Edge weights that are sums of functions, explained: what every function adds, named and drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgenet.errors import ShapeError
from edgenet.phi.spline_functions import SplineFunctions


@dataclass(frozen=True)
class Contributions:
    """What every function adds to the score of every edge.

    Attributes:
        values: (K, E, H, D), of D features; K = 1 where hops share their weights. Their sums and ``intercept`` are the
            scores that the link turns into edge weights.
        intercept: (K, H).
        names: of the D features.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 1, phi="additive", edge_dim=2, endpoints="none")
        >>> _ = layer(x, graph, edge_attr=torch.rand(4, 2))  # bases are laid at the first call
        >>> parts = layer.phi.explain(None, graph, torch.rand(4, 2), edge_names=["road", "rail"])
        >>> parts.names
        ['edge road', 'edge rail']
    """

    values: Tensor
    intercept: Tensor
    names: list[str]

    def of_edge(self, edge: int, hop: int = 0, head: int = 0) -> list[tuple[str, float]]:
        """The functions that are not zero at an edge, the largest first."""
        parts = zip(self.names, self.values[hop, edge, head].tolist(), strict=True)
        return sorted(((name, value) for name, value in parts if value), key=lambda part: -abs(part[1]))


def feature_names(
    functions_of: Mapping[str, SplineFunctions], edge_names: Sequence[str] | None, node_names: Sequence[str] | None
) -> list[str]:
    """A name of every feature, as ``Additive.feature_names``, of the functions of each part."""
    given = {"edge": edge_names, "source": node_names, "target": node_names}
    sizes = {part: functions.features for part, functions in functions_of.items()}
    for kind, names, parts in (("edge", edge_names, ("edge",)), ("node", node_names, ("source", "target"))):
        most = max(sizes.get(part, 0) for part in parts)
        if names is not None and len(names) != most:  # the ends of a bipartite graph share the longer list
            raise ShapeError(f"{len(names)} names came for {most} {kind} features: give one for each.")
    named = ((part, functions.features, given[part]) for part, functions in functions_of.items())
    return [f"{part} {d if own is None else own[d]}" for part, features, own in named for d in range(features)]


def drawn(functions_of: Mapping[str, SplineFunctions], names: Sequence[str], largest: int, points: int) -> Any:
    """A picture of the functions of each part, as ``Additive.plot``."""
    from matplotlib.figure import Figure

    curves: list[tuple[float, Tensor, Tensor]] = []  # size, (P,) feature, (P, K, H) function
    for functions in functions_of.values():
        if not functions.is_fitted:
            raise ShapeError("the functions have no basis yet: run the layer, or fit_basis, once.")
        at = torch.lerp(functions.low, functions.high, torch.linspace(0, 1, points).to(functions.low)[:, None])
        each, sizes = functions.each(at), functions.norms().amax((0, 1))
        curves += [(float(sizes[d]), at[:, d], each[..., d]) for d in range(functions.features)]
    shown = sorted((d for d in range(len(curves)) if curves[d][0] > 0), key=lambda d: -curves[d][0])[:largest]
    across = max(1, min(4, len(shown)))
    down = max(1, math.ceil(len(shown) / across))
    figure = Figure(figsize=(3.2 * across, 2.6 * down), layout="constrained")
    for place, d in enumerate(shown, 1):
        axis = figure.add_subplot(down, across, place)
        _, at, values = curves[d]
        axis.plot(at.cpu(), values.flatten(1).cpu())
        axis.set_xlabel(names[d])
        axis.spines[["top", "right"]].set_visible(False)
    if not shown:
        figure.text(0.5, 0.5, "all functions are zero", ha="center", va="center")
    return figure
