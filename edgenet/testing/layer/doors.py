"""What a layer promises of its arguments: edges and signals in other forms are the same edges and signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import MessagePassing

from edgenet.graph import Graph
from edgenet.testing.contract import Contract, require, same
from edgenet.testing.layer.case import LayerCase, each

DOORS: Contract[LayerCase] = Contract()


def _adjacency(edges: Tensor, targets: int, sources: int) -> Tensor:
    """Transposed, as PyG's ``adj_t`` is: rows are targets."""
    values, size = torch.ones(edges.shape[1]), (targets, sources)
    return torch.sparse_coo_tensor(edges.flip(0), values, size, check_invariants=True).coalesce()


#: (edge_index, targets, sources) -> the same edges in another form
FORMS: dict[str, Callable[[Tensor, int, int], Any]] = {
    "Graph": lambda edges, targets, sources: Graph(edges, targets, sources),
    "EdgeIndex": lambda edges, targets, sources: EdgeIndex(edges, sparse_size=(sources, targets)),
    "COO": _adjacency,
    "CSR": lambda edges, targets, sources: _adjacency(edges, targets, sources).to_sparse_csr(),
}


@DOORS.promise("edges as", form=FORMS)
def edges(case: LayerCase, form: Callable[[Tensor, int, int], Any]) -> str | None:
    """A Graph, PyG's EdgeIndex, and a transposed sparse adjacency are the edges that they hold. Its values are ones."""
    layer, x, more = case.ready()
    if form in (FORMS["COO"], FORMS["CSR"]) and len(more) > 1:
        return "a sparse adjacency has its edges in another order than weights and features"
    sides = x if case.pair else (x, x)
    other = form(more["edge_index"], len(sides[1]), len(sides[0]))
    same(layer(x, **more | {"edge_index": other}), layer(x, **more), "it gives something else")
    return None


@DOORS.promise("strided edges")
def strided(case: LayerCase) -> None:
    """Edges that lie in memory pair by pair, and strided signals, are what they are."""
    layer, x, more = case.ready()
    turned = more["edge_index"].t().contiguous().t()
    spread = each(x, lambda side: torch.stack([side, side], -1).flatten(1)[:, ::2])
    same(layer(spread, **more | {"edge_index": turned}), layer(x, **more), "it gives something else")


@DOORS.promise("sparse features")
def sparse(case: LayerCase) -> str | None:
    """Sparse features are the features that they hold."""
    if case.pair or not case.sparse:
        return f"{case.name} reads no sparse features"
    layer, x, more = case.ready()
    x = x * (torch.arange(x.numel()).view_as(x) % 3 == 0)
    for form in (x.to_sparse_csr(), x.to_sparse_coo()):
        same(layer(form, **more), layer(x, **more), f"features in {form.layout} give something else")
    return None


@DOORS.promise("explained")
def explained(case: LayerCase) -> str | None:
    """PyG's explainers find the messages: a mask of ones changes nothing, zeros do, and the mask has a gradient."""
    layer, x, more = case.ready()
    if not any(isinstance(module, MessagePassing) for module in layer.modules()):
        return "it has no layer that PyG's explainers know"
    wanted, edge_index = layer(x, **more), more["edge_index"]
    masks = [torch.nn.Parameter(torch.full((edge_index.shape[1],), value)) for value in (1.0, 0.0)]
    given = []
    for mask in masks:
        set_masks(layer, mask, edge_index, apply_sigmoid=False)
        given.append(layer(x, **more))
        clear_masks(layer)
    same(given[0], wanted, "with a mask of ones on its edges it gives something else")
    same(layer(x, **more), wanted, "after an explanation it gives something else")
    require(not torch.equal(given[1], wanted), "a mask of zeros on its edges changes nothing")
    (gradient,) = torch.autograd.grad(given[0].square().sum(), [masks[0]])
    require(bool(gradient.ne(0).any()), "no gradient reaches a mask on its edges")
    return None
