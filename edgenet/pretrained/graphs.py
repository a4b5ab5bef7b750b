"""Fingerprints: which graph the tables of a model belong to, in one line."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.errors import ShapeError, SupportError
from edgenet.nn import SpectralConv
from edgenet.nn.taps import NodeVarying
from edgenet.phi.rows import ByEdge, OfGraph


def fingerprint(edge_index: Tensor, num_nodes: int | tuple[int, int]) -> dict[str, Any]:
    """The fingerprint of a graph, whatever the order of its edges and however often one is repeated.

    Args:
        edge_index: (2, E), sources above targets.
        num_nodes: N; (sources, targets) of a bipartite graph.

    Returns:
        ``num_nodes``, ``num_edges``, distinct ones, and ``sha256`` of the sorted target * N + source, as int64.

    Example:
        >>> edgenet.pretrained.fingerprint(edges, 4) == edgenet.pretrained.fingerprint(edges.flip(1), 4)
        True
    """
    sources, nodes = num_nodes if isinstance(num_nodes, tuple) else (num_nodes, num_nodes)
    return _of_keys(torch.unique(edge_index[1] * sources + edge_index[0]), nodes)


def fingerprints(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The graph of every table that belongs to one, by its path."""
    found = {}
    for path, module in model.named_modules():
        if isinstance(module, ByEdge) and module.is_bound:
            found[path] = _of_keys(module.key, int(module.num_nodes.reshape(-1)[0]))
        elif isinstance(module, OfGraph) and module.is_bound:
            found[path] = {"num_nodes": int(module.num_nodes)}
        elif isinstance(module, NodeVarying) and module.is_bound:
            found[path] = {"num_nodes": len(module.group)}
        elif isinstance(module, SpectralConv) and module.is_bound:
            known = len(module.key) > 0  # else a transform that was set by hand
            nodes = module.basis.shape[-2]
            found[path] = _of_keys(module.key, nodes) if known else {"num_nodes": nodes}
    return found


def bind(model: nn.Module, edges: Any, num_nodes: int | tuple[int, int] | None) -> None:
    """Bind all layers of a model to a graph.

    Raises:
        SupportError: if a table belongs to another graph; with both fingerprints.
    """
    if hasattr(edges, "edge_index"):
        edges, num_nodes = edges.edge_index, edges.num_nodes
    if num_nodes is None:
        raise ShapeError("a graph is an edge list with num_nodes: isolated nodes do not show in an edge list.")
    for path, module in model.named_modules():
        if not hasattr(module, "_graph_of") and not isinstance(module, SpectralConv):
            continue
        try:
            module.bind(edges, num_nodes)
        except SupportError as error:
            own = " and ".join(sorted({_in_words(of) for of in fingerprints(module).values()}))
            given = fingerprint(edges, num_nodes)
            raise SupportError(
                f"{path or 'the layer'} was saved with tables of {own}, and the graph given is one of "
                f"{_in_words(given)}: {error}"
            ) from error


def _of_keys(keys: Tensor, num_nodes: int) -> dict[str, Any]:
    data = torch.unique(keys.detach().cpu().long()).numpy().astype("<i8").tobytes()
    return {"num_nodes": num_nodes, "num_edges": len(data) // 8, "sha256": hashlib.sha256(data).hexdigest()}


def _in_words(of: dict[str, Any]) -> str:
    text = f"{of['num_nodes']} nodes"
    return text + (f", {of['num_edges']} edges (sha256 {of['sha256'][:12]}...)" if "sha256" in of else "")
