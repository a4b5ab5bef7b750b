"""The whole edge-varying tensor of a layer whose matrices are in factors: built, or taken over as nearly as it goes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.phi.channels import matrices_of
from edgenet.phi.edge_varying import EdgeVarying
from edgenet.phi.factored import EdgeFactored
from edgenet.structured.svd import double, truncated_svd


def whole_tensor(
    phi: EdgeFactored, graph: Graph, edge_weight: Tensor | None = None, edge_attr: Tensor | None = None
) -> list[Tensor]:
    """W of every hop, (E + N, F_out, F_in), a matrix for every edge of the graph and then for every node; for small
    ones."""
    like = next(phi.maps.parameters())
    signal = like.new_zeros(graph.num_nodes, 1, 1)
    weight, diagonal = phi(signal, signal, graph, edge_weight, edge_attr), phi.diagonal(graph)
    source, target = graph.source, graph.target
    if diagonal is not None:
        node = torch.arange(graph.num_nodes, device=source.device)
        source, target = torch.cat([source, node]), torch.cat([target, node])
        weight = torch.cat([weight, diagonal.to(weight)], 1)
    found = []
    for k, maps in enumerate(phi.maps):
        a = weight[k]
        if phi.is_bilinear:
            u, v = (part.squeeze(-1) for part in phi.ends(graph, k))
            a = a * u[target] * v[source]
        theta = torch.einsum("er,rfg->efg", a, matrices_of(maps))
        if phi.corrections is not None:
            row = phi.correction_rows(graph)
            table = phi.corrections[k].to_dense(phi.corrected.edge_rows + phi.corrected.node_rows)
            theta = theta + table[row.clamp_min(0)] * (row >= 0)[:, None, None]
        found.append(theta)
    return found


@torch.no_grad()
def fit_(phi: EdgeFactored, graph: Graph, tensors: list[Tensor]) -> None:
    """Take over given matrices as nearly as the form allows.

    Coefficients and channel maps are those of the truncated singular value decomposition of the (E + N, F_out F_in)
    unfolding of every hop, the nearest in CP form; structures in the slots then project each factor. Shared taps
    are least squares. Corrections take the largest of what is left. Exact where the rank is large enough.

    Args:
        graph: the bound graph, or the one to bind to.
        tensors: for every hop (E + N, F_out, F_in), as ``whole_tensor`` gives them; of repeated edges the last counts.

    Raises:
        ShapeError: for node-bilinear weights, for which no such fit is known, and for weights that are not one an
            edge.
    """
    if not phi.is_bound:
        phi.bind(graph)
    per_edge = isinstance(phi.coefficients, EdgeVarying) and phi.coefficients.where.one_an_edge
    if phi.is_bilinear or not (per_edge or phi.base == "shared"):
        raise ShapeError(f"only weights of one graph's edges are fitted, and no node-bilinear ones; got {phi}.")
    unfolded = [double(theta.flatten(1)) for theta in tensors]
    matrices = _fit_tables(phi, graph, unfolded) if per_edge else _least_squares(phi, graph, unfolded)
    for part, matrix in zip(phi.maps, matrices, strict=True):
        like = next(part.parameters())
        part.set_(matrix.unflatten(1, (part.out_channels, part.in_channels)).to(like))
    if phi.corrections is not None:
        _fit_corrections(phi, graph, tensors)


def _fit_tables(phi: EdgeFactored, graph: Graph, unfolded: list[Tensor]) -> list[Tensor]:
    """Fill the tables of coefficients; the (R, F_out F_in) matrices that go with them."""
    c = phi.coefficients
    row, node = c.edge_rows(graph, None), c.where.of_nodes(graph)
    kept = torch.cat([row, torch.where(node < 0, -1, node + c.where.edge_rows)] if phi.self_loops else [row])
    rows = c.where.edge_rows + c.where.node_rows * phi.self_loops
    tables = [m.new_zeros(rows, m.shape[1]).index_put((kept[kept >= 0],), m[kept >= 0]) for m in unfolded]
    factors = [_factors(table, phi.rank) for table in tables]
    table = torch.cat([a for a, _ in factors], 1)
    like = next(phi.maps.parameters())
    c.edge_table.reset_parameters(table[: c.where.edge_rows].to(like))
    if c.node_table is not None:
        c.node_table.reset_parameters(table[c.where.edge_rows :].to(like))
    return [matrix for _, matrix in factors]


def _least_squares(phi: EdgeFactored, graph: Graph, unfolded: list[Tensor]) -> list[Tensor]:
    """The (R, F_out F_in) matrices for the coefficients that there are."""
    weight, diagonal = phi(None, double(torch.zeros(graph.num_nodes, 1, 1)), graph), phi.diagonal(graph)
    a = weight if diagonal is None else torch.cat([weight, diagonal.to(weight)], 1)
    return [torch.linalg.lstsq(double(a[k]), m, driver="gelsd").solution for k, m in enumerate(unfolded)]


def _fit_corrections(phi: EdgeFactored, graph: Graph, tensors: list[Tensor]) -> None:
    for part in phi.corrections:
        part.reset_parameters()
    row = phi.correction_rows(graph)
    rows = phi.corrected.edge_rows + phi.corrected.node_rows * phi.self_loops
    for part, theta, near in zip(phi.corrections, tensors, whole_tensor(phi, graph), strict=True):
        rest = near.new_zeros(rows, part.width)
        rest = rest.index_put((row[row >= 0],), (theta.to(near) - near).flatten(1)[row >= 0]).flatten()
        position = rest.abs().topk(len(part.position)).indices
        part.place_(position, rest[position])
    phi.forget_rows()


def _factors(table: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(rows, R) and (R, columns) whose product is nearest to a table; zeros where it has no rank that large."""
    useful = min(rank, *table.shape)
    u, s, vh = truncated_svd(table, useful) if useful else (table[:, :0], table.new_zeros(0), table[:0])
    root = s.sqrt()
    missing = rank - useful
    return nn.functional.pad(u * root, (0, missing)), nn.functional.pad(vh * root[:, None], (0, 0, 0, missing))
