"""Additive: edge weights one can read, sums of smooth functions of one feature each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from edgenet import gso, ops
from edgenet.errors import PlanError, ShapeError
from edgenet.graph import Graph
from edgenet.phi.base import LayerSpec, Pair, Phi, source_and_target
from edgenet.phi.edge_features import checked_features
from edgenet.phi.explaining import Contributions, drawn, feature_names
from edgenet.phi.spline_functions import SplineFunctions
from edgenet.structured import SparseSignal
from edgenet.structured.parameters import replace_

#: From the sum of functions to the edge weight. "softmax" is over the in-edges of each node.
LINKS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "identity": lambda score: score,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "softmax": None,
}
ENDPOINTS = {"both": ("source", "target"), "source": ("source",), "target": ("target",), "none": ()}


class Additive(Phi):
    """Edge weights that are a link of a sparse sum of smooth functions, one of each feature:

    Phi^(k)[e] = link(b + sum_d f_d(a_ed) + sum_c g_c(x_jc) + sum_c h_c(x_ic)) [* edge weight],   e = (j -> i),

    with a the edge features and x the input signal at the two ends. The functions are splines in the basis of
    ``edgenet.estimators.SpAM``, zero at first, so that with the link "identity", b = 1, training starts from the shift
    operator. ``soft_threshold_`` after every optimizer step, by ``compress.GroupLasso`` say, sets whole functions to
    zero: Ravikumar et al. 2009, with gradient steps in place of backfitting. The basis is fitted to the first data that
    are met; with ``fit_basis`` it can be fitted to others.

    Args:
        order: K.
        heads: H.
        in_channels: F_in; a pair for the sources and targets of a bipartite graph; -1 reads it off the first input.
        edge_dim: D, edge features; -1 reads it off the first, None is for none.
        endpoints: whose features of x are read: "both", "source", "target" or "none".
        link: "identity", "sigmoid", "tanh", "softplus", or "softmax" over in-edges, for which functions of the receiver
            cancel and are refused.
        df: functions in the basis of one feature.
        degree: of the splines.
        share_hops: the same functions for all hops.
        normalize: multiply the weights by those of a shift operator, as in ``ShiftOperator``.

    Raises:
        ShapeError: if there is nothing to read, or an option is unknown; in ``forward``, if features are not those that
            were announced.

    Example:
        >>> phi = edgenet.phi.Additive(edge_dim=2)
        >>> edgenet.EdgeNetConv(3, 8, phi="additive", edge_dim=2)(x, edges, edge_attr=torch.rand(4, 2)).shape
        torch.Size([4, 8])
    """

    reads_target = False  # it reads the features themselves

    def __init__(
        self,
        order: int = 1,
        heads: int = 1,
        in_channels: int | tuple[int, int] = -1,
        edge_dim: int | None = None,
        endpoints: str = "both",
        link: str = "identity",
        df: int = 6,
        degree: int = 3,
        share_hops: bool = True,
        normalize: str | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("endpoints", endpoints, ENDPOINTS),
            ("link", link, LINKS),
            ("normalize", normalize, gso.NORMALISATIONS),
        ):
            if value not in known:
                raise ShapeError(f"{name} is one of {list(known)}, got {value!r}.")
        if edge_dim is not None and edge_dim < 1 and edge_dim != -1:
            raise ShapeError(f"edge_dim is how many features an edge has, -1 to read it off the first, got {edge_dim}.")
        if edge_dim is None and endpoints == "none":
            raise ShapeError("there is no feature to read: set edge_dim, or endpoints to 'both', 'source' or 'target'.")
        if link == "softmax" and "target" in ENDPOINTS[endpoints]:
            raise ShapeError(
                "a softmax over the in-edges of a node cancels what they share, so functions of the receiver do "
                "nothing; set endpoints='source' or 'none'."
            )
        self.order, self.heads, self.in_channels, self.edge_dim = order, heads, in_channels, edge_dim
        self.endpoints, self.link, self.df, self.degree, self.normalize = endpoints, link, df, degree, normalize
        self.share_hops = self.shares_hops = share_hops or order == 1
        self.follows_signal, self.needs_edge_attr = endpoints != "none", edge_dim is not None
        hops = 1 if self.shares_hops else order
        widths = in_channels if isinstance(in_channels, tuple) else (in_channels, in_channels)
        sizes = {"edge": edge_dim or 0, "source": widths[0], "target": widths[1]}
        self.functions = nn.ModuleDict(
            {
                part: SplineFunctions(sizes[part], hops, heads, df, degree)
                for part in ((() if edge_dim is None else ("edge",)) + ENDPOINTS[endpoints])
            }
        )
        # what all edges share cancels in a softmax
        self.intercept = None if link == "softmax" else nn.Parameter(torch.empty(hops, heads))
        self.reset_parameters()

    @classmethod
    def for_layer(cls, spec: LayerSpec, **options: Any) -> Self:
        return cls(spec.order, spec.heads, (spec.in_channels, spec.target_channels), **options)

    def reset_parameters(self) -> None:
        for functions in self.functions.values():
            functions.reset_parameters()
        if self.intercept is not None:
            nn.init.constant_(self.intercept, 1.0 if self.link == "identity" else 0.0)

    # ---------------------------------------------------------------- weights
    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        features = self._features(x, graph, edge_attr)
        self._fit(features, graph, False)
        sums = {part: self.functions[part](values) for part, values in features.items()}  # (M, [B,] hops, H)
        signal = next(reversed(sums.values()))  # the last part is an end of the edges, if any is
        batch = signal.shape[1] if signal.dim() == 4 else None
        hops = []
        for k in range(1 if self.shares_hops else self.order):
            score = self._score({part: values[..., k, :] for part, values in sums.items()}, k, graph, batch)
            link = LINKS[self.link]
            weight = ops.segment_softmax(score, graph) if link is None else link(score)
            hops.append(self._scaled(weight, graph, edge_weight))
        return hops[0].expand(self.order, -1, -1) if self.shares_hops else torch.stack(hops)

    def _score(self, sums: dict[str, Tensor], k: int, graph: Graph, batch: int | None) -> Tensor:
        """(E, [B *] H) before the link."""
        terms = []
        if self.intercept is not None:
            terms.append(self.intercept[k].repeat(1 if batch is None else batch).expand(graph.num_edges, -1))
        for part, values in sums.items():
            if batch is not None and values.dim() == 2:  # edge features are those of every signal
                values = values.unsqueeze(1).expand(-1, batch, -1)
            values = values.flatten(1)
            if part != "edge":
                values = values.index_select(0, graph.source if part == "source" else graph.target)
            terms.append(values)
        return reduce(torch.add, terms)

    def _scaled(self, weight: Tensor, graph: Graph, edge_weight: Tensor | None) -> Tensor:
        if edge_weight is not None and edge_weight.dim() == 1:
            edge_weight = edge_weight.unsqueeze(-1)
        if edge_weight is not None and (edge_weight.dim() != 2 or edge_weight.shape[1] not in (1, self.heads)):
            raise ShapeError(
                f"{self.heads} heads take (E,) or (E, {self.heads}) edge weights, got {tuple(edge_weight.shape)}."
            )
        if self.normalize not in (None, "none"):
            if edge_weight is not None and edge_weight.shape[1] != 1:
                raise ShapeError(
                    f"normalize={self.normalize!r} takes one column of edge weights; normalise beforehand."
                )
            normalise = gso.NORMALISATIONS[self.normalize]
            if edge_weight is None:
                shift = graph.memo((self.normalize, weight.dtype), lambda: normalise(graph, None, weight.dtype))
            else:
                shift = normalise(graph, edge_weight.squeeze(1))
            edge_weight = shift.unsqueeze(-1)
        if edge_weight is None:
            return weight
        factor = edge_weight.expand(-1, self.heads)
        return weight * (factor if factor.shape == weight.shape else factor.repeat(1, weight.shape[1] // self.heads))

    # ---------------------------------------------------------------- features and basis
    def _features(self, x: Tensor | Pair | None, graph: Graph, edge_attr: Tensor | None) -> dict[str, Tensor]:
        """What the functions of each part are of: (E, D) for edges, (nodes, [B,] F) for their ends."""
        found: dict[str, Tensor] = {}
        if (edge_attr is None) != (self.edge_dim is None):
            came = "none came" if edge_attr is None else f"edge_attr {tuple(edge_attr.shape)} came"
            raise ShapeError(f"this phi was made with edge_dim={self.edge_dim}, and {came}.")
        if edge_attr is not None:
            found["edge"] = checked_features(edge_attr, graph, self.edge_dim)
        for part, side in zip(("source", "target"), source_and_target(x), strict=True):
            if part in self.functions:
                if side is None:
                    raise ShapeError(f"the edge weights are functions of the {part}'s features: pass them, not None.")
                found[part] = side.to_dense() if isinstance(side, SparseSignal) else side
        return found

    def fit_basis(self, x: Tensor | Pair | None, graph: Graph, edge_attr: Tensor | None = None) -> Additive:
        """Fit the basis of every function to the features of these edges, and set all functions to zero."""
        self._fit(self._features(x, graph, edge_attr), graph, True)
        for functions in self.functions.values():
            functions.reset_parameters()
        return self

    def _fit(self, features: dict[str, Tensor], graph: Graph, again: bool) -> None:
        for part, functions in self.functions.items():
            if functions.is_fitted and not again:
                continue
            if graph.num_edges == 0:  # nothing is weighed yet
                continue
            values = features[part]
            if part != "edge":  # weighed by edges: that is where the functions are used
                index = graph.source if part == "source" else graph.target
                values = values.index_select(0, index).flatten(0, -2)
            if len(values):  # a batch may be empty
                functions.fit(values)

    # ---------------------------------------------------------------- sparsity
    def norms(self) -> dict[str, Tensor]:
        """(K, H, D) size sqrt(mean f^2) of every function of the parts "edge", "source" and "target"."""
        return {part: functions.norms() for part, functions in self.functions.items()}

    def penalty(self) -> Tensor:
        """The sum of the sizes of all functions, the penalty of a sparse additive model."""
        return sum(norms.sum() for norms in self.norms().values())

    @torch.no_grad()
    def soft_threshold_(self, amount: float) -> Additive:
        """f <- (1 - amount / ||f||)_+ f for every function."""
        for functions in self.functions.values():
            size = functions.norms().unsqueeze(-1)
            functions.coefficients.mul_(torch.where(size <= amount, 0, 1 - amount / size))  # NaN stays NaN
        return self

    def num_functions(self) -> int:
        """Functions that are not zero."""
        return int(sum((norms > 0).sum() for norms in self.norms().values()))

    @torch.no_grad()
    def _keep(self, order: int, heads: Tensor) -> None:
        hops = 1 if self.shares_hops else max(1, order)  # functions of no hop are those of one that is not walked
        owners = [(functions, "coefficients") for functions in self.functions.values()]
        for owner, name in owners + [(self, "intercept")] * (self.intercept is not None):
            old = getattr(owner, name)
            if isinstance(old, UninitializedParameter):
                raise PlanError("the number of features is not known yet: run the model once first.")
            replace_(owner, **{name: old[:hops, heads.to(old.device)]})
        for functions in self.functions.values():
            functions.hops, functions.heads = hops, len(heads)
        self.share_hops = self.shares_hops = self.shares_hops or order <= 1

    # ---------------------------------------------------------------- explanation
    def feature_names(
        self, edge_names: Sequence[str] | None = None, node_names: Sequence[str] | None = None
    ) -> list[str]:
        """A name of every feature: "edge 0", "source 3", "target age", ...

        Raises:
            ShapeError: if there are more or fewer names than features.
        """
        return feature_names(self.functions, edge_names, node_names)

    @torch.no_grad()
    def explain(
        self,
        x: Tensor | Pair | None,
        graph: Graph,
        edge_attr: Tensor | None = None,
        edge_names: Sequence[str] | None = None,
        node_names: Sequence[str] | None = None,
    ) -> Contributions:
        """What every function adds to the score of every edge.

        Args:
            x: (N, F_in) signal; may be None where only edge features are read.
            graph, edge_attr: as of ``forward``; a layer that adds self-loops weighs more edges than it was given.
            edge_names, node_names: of the features.
        """
        features = self._features(x, graph, edge_attr)
        self._fit(features, graph, False)
        parts = []
        for part, values in features.items():
            if values.dim() != 2:
                raise ShapeError(f"explain takes one signal at a time, (N, F_in), got {tuple(values.shape)}.")
            each = self.functions[part].each(values)  # (M, K, H, D)
            if part != "edge":
                each = each.index_select(0, graph.source if part == "source" else graph.target)
            parts.append(each)
        values = torch.cat(parts, -1).transpose(0, 1)
        intercept = values.new_zeros(len(values), self.heads) if self.intercept is None else self.intercept.detach()
        return Contributions(values, intercept, self.feature_names(edge_names, node_names))

    @torch.no_grad()
    def plot(
        self,
        edge_names: Sequence[str] | None = None,
        node_names: Sequence[str] | None = None,
        largest: int = 12,
        points: int = 200,
    ) -> Any:
        """Draw the functions that are not zero, a feature to an axis, a hop and head to a line.

        Args:
            edge_names, node_names: of the features.
            largest: how many features at most, those with the largest functions.
            points: of a curve, over the range of the data that the basis was fitted to.

        Returns:
            A matplotlib figure.

        Raises:
            ShapeError: if no data have been met.
        """
        return drawn(self.functions, self.feature_names(edge_names, node_names), largest, points)

    def extra_repr(self) -> str:
        return f"order={self.order}, heads={self.heads}, link={self.link!r}, share_hops={self.share_hops}"
