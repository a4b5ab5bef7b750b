"""The edges that convolutions were given: the graph of each is made once, and found again by their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
from torch.utils.weak import WeakIdKeyDictionary

from edgenet import shortcuts
from edgenet.graph.checks import check_memory, checked_shape
from edgenet.seen import Seen


class _HasEdges(Protocol):
    @property
    def edge_index(self) -> Tensor: ...


G = TypeVar("G", bound=_HasEdges)


class _Known(NamedTuple):
    """What is known of edges that a convolution was given before.

    Attributes:
        counts: numbers of targets and sources.
        parts: what the edges were read from, as it was.
        graph: of a copy of them, which nobody else has but those to whom a layer handed it out.
        own: that copy, as it was.
    """

    counts: tuple[int, int]
    parts: list[Seen]
    graph: Any
    own: Seen

    def still(self, parts: list[Tensor]) -> bool:
        """Whether the edges are these, by value, and nobody wrote into their copy."""
        if len(parts) != len(self.parts) or not self.own.at_a_glance(self.graph.edge_index):
            return False
        for seen, part in zip(self.parts, parts, strict=True):  # noqa: SIM110  a generator is one call more
            if not seen.still(part, closely=True):
                return False
        return True


# By identity of the tensor a convolution was given. Nothing here points back to it, so that it goes with it.
_KNOWN: WeakIdKeyDictionary = WeakIdKeyDictionary()


def remembered(
    make: Callable[..., G],
    key: Tensor,
    parts: list[Tensor],
    edges: Callable[[], Tensor],
    num_nodes: int,
    num_sources: int,
) -> G:
    """The graph of what a convolution was given; its edges are read, and what is computed for it kept, once.

    The graph has edges of its own, and whether they are still those that were given is found by comparing them.

    Args:
        make: the graph of edges and of the numbers of targets and sources.
        key: what was given.
        parts: the plain tensors that edges are read from.
        edges: reads them, (2, E).
    """
    if not shortcuts.keeping or traced():
        return make(edges(), num_nodes, num_sources)
    counts, known = (num_nodes, num_sources), _KNOWN.get(key)
    if known is not None and known.counts == counts and known.still(parts):
        return known.graph
    if key.is_meta or is_fake(key):
        return make(edges(), num_nodes, num_sources)
    for part in parts:
        check_memory("edges", part)
    checked_shape(edges())
    with torch.inference_mode(False):  # as in memo
        seen = [Seen(part) for part in parts]
        plain = key.layout == torch.strided and key.dtype == torch.long
        own = seen[0].value if plain else edges()  # which is a copy already
        graph = make(own, num_nodes, num_sources, _own=True)
        _KNOWN[key] = _Known(counts, seen, graph, Seen(graph.edge_index, own=True))
    return graph


def parts_of(key: Tensor) -> list[Tensor]:
    """The plain tensors that the edges of a sparse adjacency are read from."""
    if key.layout == torch.sparse_coo:
        return [key._indices()]
    if key.layout == torch.sparse_csr:
        return [key.crow_indices(), key.col_indices()]
    return [key.ccol_indices(), key.row_indices()]


def indices_of(adjacency: Tensor) -> Tensor:
    """(2, E) edges of a transposed sparse adjacency, in the order of its rows."""
    return adjacency.detach().to_sparse_coo().coalesce().indices().flip(0)


def traced() -> bool:
    """Whether tensors are now stand-ins for others, under a compiler, a transform or a mode: none is to be kept."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._is_tracing()
    )
