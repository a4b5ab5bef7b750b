"""Loaders of pieces around nodes and links: PyG's, with samplers of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch_geometric.loader as pyg
import torch_geometric.sampler
import torch_geometric.typing
from torch import Tensor

from edgenet.errors import BackendError, ConfigError
from edgenet.ops import native
from edgenet.sampling.neighbors import NeighborSampler
from edgenet.sampling.stored_graph import ALONE

BACKENDS = ("edgenet", "pyg_lib")
_OPTIONS = ("replace", "subgraph_type", "disjoint", "time_attr", "temporal_strategy", "weight_attr")


class Reseeded:
    """A loader whose sampler draws anew in every epoch, from a seed that the loader's generator gives."""

    _sampler: Any
    generator: torch.Generator | None

    def __iter__(self) -> Iterator[Any]:
        if hasattr(self._sampler, "seed"):  # pyg-lib's has none
            self._sampler.seed = int(torch.empty((), dtype=torch.long).random_(generator=self.generator))
        return super().__iter__()  # type: ignore[misc]  # the loader that this is mixed into


class NeighborLoader(Reseeded, pyg.NeighborLoader):
    """Batches of seed nodes and their sampled neighbours. Needs neither pyg-lib nor torch-sparse.

    A batch is a ``Data`` with ``n_id``, ``e_id`` (columns of the whole ``edge_index``), ``batch_size`` seeds that come
    first, ``num_sampled_nodes`` and ``num_sampled_edges``; tables and node-varying taps find their rows by these ids.
    Equal seeds of torch, or of ``generator``, give equal batches, whatever the numbers of threads and workers.

    Args:
        data, num_neighbors: as of ``NeighborSampler``.
        input_nodes: the seeds: indices, a mask, None for all; of a graph of several types (type, indices).
        backend: "edgenet", or "pyg_lib", whose draws follow no seed of ours. Default: ours, unless there are no
            compiled kernels and pyg-lib can be imported.
        **options: those of ``NeighborSampler``, of PyG's ``NeighborLoader`` and of torch's ``DataLoader``.

    Raises:
        ConfigError: as of ``NeighborSampler``, or if a mask of seeds is not of all nodes.
        BackendError: if there is no such backend, or pyg-lib cannot be imported.

    Example:
        >>> from torch_geometric.data import Data
        >>> loader = edgenet.sampling.NeighborLoader(Data(x=x, edge_index=edges), [-1], batch_size=2)
        >>> [batch.n_id.tolist() for batch in loader]
        [[0, 1, 3], [2, 3, 1]]
    """

    def __init__(
        self, data: Any, num_neighbors: Any, input_nodes: Any = None, *, backend: str | None = None, **options: Any
    ) -> None:
        self._sampler, options = _sampler(data, num_neighbors, backend, options)
        if isinstance(self._sampler, NeighborSampler):
            _check_mask(input_nodes, self._sampler.graph.nodes)
        super().__init__(data, num_neighbors, input_nodes, neighbor_sampler=self._sampler, **options)


class LinkNeighborLoader(Reseeded, pyg.LinkNeighborLoader):
    """The same around the ends of edges, with negative samples; see PyG's ``LinkNeighborLoader``.

    Args:
        data, num_neighbors, backend, options: as of ``NeighborLoader``.
        edge_label_index: (2, L) the links; None for all edges.

    Raises:
        ConfigError, BackendError: as of ``NeighborLoader``.

    Example:
        >>> from torch_geometric.data import Data
        >>> loader = edgenet.sampling.LinkNeighborLoader(Data(x=x, edge_index=edges), [-1], batch_size=4)
        >>> next(iter(loader)).edge_label_index.shape
        torch.Size([2, 4])
    """

    def __init__(
        self, data: Any, num_neighbors: Any, edge_label_index: Any = None, *, backend: str | None = None, **options: Any
    ) -> None:
        self._sampler, options = _sampler(data, num_neighbors, backend, options)
        super().__init__(data, num_neighbors, edge_label_index, neighbor_sampler=self._sampler, **options)


def _check_mask(seeds: Any, nodes: Mapping[str, int]) -> None:
    """Refuse a mask that is not of all nodes: PyG takes the numbers of its true places."""
    kind, mask = seeds if isinstance(seeds, tuple) and len(seeds) == 2 else (ALONE, seeds)
    if isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape != (nodes.get(kind, len(mask)),):
        raise ConfigError(f"a mask of seeds has a place for each of {nodes[kind]} nodes, got {tuple(mask.shape)}.")


def _sampler(
    data: Any, num_neighbors: Any, backend: str | None, options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The sampler, and the options that it leaves to the loader."""
    if "directed" in options:
        raise ConfigError("directed=False is subgraph_type='induced'.")
    if options.get("neighbor_sampler") is not None:
        return options.pop("neighbor_sampler"), options
    options.pop("is_sorted", None)  # what is sorted is sorted again, in the same order
    own = {name: options[name] for name in _OPTIONS if options.get(name) is not None}
    # PyG's loaders look whether seeds' times and those of the data go together
    left = {name: value for name, value in options.items() if name not in _OPTIONS or name == "time_attr"}
    if backend is None:
        backend = "pyg_lib" if native.library() is None and torch_geometric.typing.WITH_PYG_LIB else "edgenet"
    if backend not in BACKENDS:
        raise BackendError(f"a sampler is one of {', '.join(BACKENDS)}, got {backend!r}.")
    if backend == "edgenet":
        return NeighborSampler(data, num_neighbors, **own), left
    if not torch_geometric.typing.WITH_PYG_LIB:
        raise BackendError("pyg-lib cannot be imported; leave backend out, or install it as PyG's page says.")
    return torch_geometric.sampler.NeighborSampler(data, num_neighbors, **own), left
