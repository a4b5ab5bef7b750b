"""ShiftOperator: the given graph shift operator at every hop."""

from __future__ import annotations

import torch
from torch import Tensor

from edgenet import gso
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.phi.base import Choice, LayerSpec, Pair, Phi, source_and_target
from edgenet.structured.parameters import replace_


class ShiftOperator(Phi):
    """Phi^(k) = S for every hop: the edge weights as given, or normalised here. GCNN, TAG, GCN, SGC.

    Args:
        order: K.
        heads: R shift operators, given as (E, R) edge weights; each has a head of its own.
        normalize: None (or "none") takes the edge weights as they are (1 where none are given); "sym" makes them
            D^(-1/2) A D^(-1/2), "rw" D^(-1) A, with D the weighted in-degree.
        edge_dropout: chance in [0, 1) that an edge is left out of a pass in training, the same for all hops of the
            pass. Loops stay. What is left is normalised (Rong et al. 2020, sec. 3: DropEdge); with normalize=None it
            weighs 1 / (1 - edge_dropout) times as much, so that the mean over passes is S.

    Raises:
        ConfigError: if ``edge_dropout`` is out of range.
        ShapeError: in ``forward``, if the edge weights have not R columns.

    Example:
        >>> phi = edgenet.phi.ShiftOperator(order=2, normalize="sym")
        >>> phi(x, x.unsqueeze(1), graph).shape
        torch.Size([2, 4, 1])
    """

    shares_hops = True
    reads_edge_attr = False

    def __init__(self, order: int = 1, heads: int = 1, normalize: str | None = None, edge_dropout: float = 0.0) -> None:
        super().__init__()
        if normalize not in gso.NORMALISATIONS:
            raise ShapeError(f"normalize is one of {list(gso.NORMALISATIONS)}, got {normalize!r}.")
        normalize = None if normalize == "none" else normalize
        if normalize is not None and heads != 1:
            raise ShapeError(
                f"normalize={normalize!r} is for one shift operator; normalise the {heads} columns beforehand."
            )
        if not 0 <= edge_dropout < 1:
            raise ConfigError(f"edge_dropout is a probability in [0, 1), got {edge_dropout}.")
        self.order, self.heads, self.normalize, self.edge_dropout = order, heads, normalize, edge_dropout

    def default_lift(self, spec: LayerSpec) -> Choice:
        return "identity", {}

    def default_taps(self, spec: LayerSpec) -> Choice:
        return "linear", {}

    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        dtype = source_and_target(z)[0].dtype
        if self.heads > 1:
            if edge_weight is None or edge_weight.shape != (graph.num_edges, self.heads):
                got = None if edge_weight is None else tuple(edge_weight.shape)
                raise ShapeError(
                    f"{self.heads} shift operators need ({graph.num_edges}, {self.heads}) edge weights, got {got}."
                )
            weight = gso.floating(edge_weight, dtype)
            if self._drops:
                weight = weight * self._left(graph, weight).unsqueeze(-1)
        else:
            flat = one_column(edge_weight)
            normalise = gso.NORMALISATIONS[self.normalize]
            if self._drops:
                flat = gso.adjacency(graph, flat, dtype)
                weight = normalise(graph, flat * self._left(graph, flat), dtype).unsqueeze(-1)
            elif flat is None:  # a property of the graph alone: computed once
                weight = graph.memo((self.normalize, dtype), lambda: normalise(graph, None, dtype)).unsqueeze(-1)
            else:
                weight = normalise(graph, flat, dtype).unsqueeze(-1)
        return weight.expand(self.order, -1, -1)

    @property
    def _drops(self) -> bool:
        """Whether edges are left out in this mode."""
        return self.training and self.edge_dropout > 0

    def _left(self, graph: Graph, like: Tensor) -> Tensor:
        """(E,) factors of the edges in one pass: 0 for those that are left out, 1 for loops and, before a
        normalisation, for the rest."""
        kept = 1.0 if self.normalize is not None else 1 / (1 - self.edge_dropout)
        drawn = torch.rand(graph.num_edges, device=like.device) >= self.edge_dropout
        return torch.where(graph.source == graph.target, 1.0, drawn * kept).to(like.dtype)

    def _keep(self, order: int, heads: Tensor) -> None:
        """Nothing is stored; the edge weights that are given must then have the columns of these heads."""

    def extra_repr(self) -> str:
        drops = f", edge_dropout={self.edge_dropout:g}" if self.edge_dropout else ""
        return f"order={self.order}, heads={self.heads}, normalize={self.normalize!r}{drops}"


class ShiftProduct(Phi):
    """Phi^(k) = mu_0^(k) I + mu_1^(k) S: the spectral (shift-invariant) EdgeNet.

    The paper constrains Phi^(k) to the eigenvectors of S and to its sparsity. On most graphs that leaves the span of I
    and S, so the family is the products of order-1 polynomials in S.

    Args:
        order: K.
        heads: H; one pair (mu_0, mu_1) for each hop and head.
        normalize: of S, as in ``ShiftOperator``.

    Example:
        >>> edgenet.EdgeNetConv(3, 8, order=2, phi="shift_product")(x, edges).shape
        torch.Size([4, 8])
    """

    reads_edge_attr = False
    has_diagonal = True

    def __init__(self, order: int = 1, heads: int = 1, normalize: str | None = None) -> None:
        super().__init__()
        if normalize not in gso.NORMALISATIONS:
            raise ShapeError(f"normalize is one of {list(gso.NORMALISATIONS)}, got {normalize!r}.")
        self.order, self.heads, self.normalize = order, heads, normalize
        self.weight = torch.nn.Parameter(torch.empty(order, 2, heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        torch.nn.init.uniform_(self.weight, -1, 1)

    def forward(
        self,
        x: Tensor | Pair,
        z: Tensor | Pair,
        graph: Graph,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        flat, dtype, normalise = one_column(edge_weight), self.weight.dtype, gso.NORMALISATIONS[self.normalize]
        if flat is None:
            shift = graph.memo((self.normalize, dtype), lambda: normalise(graph, None, dtype))
        else:
            shift = normalise(graph, flat, dtype)
        return self.weight[:, 1:] * shift[:, None]

    def diagonal(self, graph: Graph) -> Tensor:
        return self.weight[:, :1].expand(-1, graph.num_nodes, -1)

    @torch.no_grad()
    def _keep(self, order: int, heads: Tensor) -> None:
        replace_(self, weight=self.weight[:order, :, heads.to(self.weight.device)])

    def extra_repr(self) -> str:
        return f"order={self.order}, heads={self.heads}"


def one_column(edge_weight: Tensor | None) -> Tensor | None:
    """(E,) weights of one shift operator, given as (E,) or (E, 1)."""
    if edge_weight is None or edge_weight.dim() == 1:
        return edge_weight
    if edge_weight.dim() != 2 or edge_weight.shape[1] != 1:
        raise ShapeError(
            f"one shift operator has (E,) edge weights, got {tuple(edge_weight.shape)}; a layer for several columns is "
            f"made with as many heads (gcnn: shifts={edge_weight.shape[-1]})."
        )
    return edge_weight.squeeze(1)
