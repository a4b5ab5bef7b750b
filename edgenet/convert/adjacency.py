"""Edges that come as a sparse matrix, transposed as PyG's ``adj_t`` is, and weights that go back into one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_sparse(edges: Any) -> bool:
    """Whether edges came as a sparse matrix."""
    return (isinstance(edges, Tensor) and edges.layout != torch.strided) or hasattr(edges, "sparse_sizes")


def sides_of(adjacency: Any) -> tuple[int, int]:
    """(sources, targets) of a transposed adjacency."""
    targets, sources = adjacency.shape[:2] if isinstance(adjacency, Tensor) else adjacency.sparse_sizes()
    return sources, targets


def weighed(adjacency: Tensor, edge_index: Tensor, weights: Tensor) -> Tensor:
    """A sparse matrix laid out as the transposed ``adjacency`` is, with these (2, E) edges and (E, H) values.

    The edges are in the order in which it stores them.
    """
    size = (*adjacency.shape[:2], *weights.shape[1:])
    source, target = edge_index
    if adjacency.layout == torch.sparse_coo:
        return torch.sparse_coo_tensor(torch.stack([target, source]), weights, size, is_coalesced=True)
    by_rows = adjacency.layout == torch.sparse_csr
    along, across = (target, source) if by_rows else (source, target)
    ends = torch.arange(size[0 if by_rows else 1] + 1, device=along.device)
    make = torch.sparse_csr_tensor if by_rows else torch.sparse_csc_tensor
    return make(torch.searchsorted(along, ends), across, weights, size)


def stored_order(adjacency: Tensor, edge_index: Tensor) -> Tensor:
    """(E,) the permutation that brings edges into the order in which a matrix of that layout stores them."""
    source, target = edge_index
    major, minor = (source, target) if adjacency.layout == torch.sparse_csc else (target, source)
    order = torch.argsort(minor, stable=True)
    return order[torch.argsort(major[order], stable=True)]
