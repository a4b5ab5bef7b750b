"""What layers that are not edgenet's are called with in a model: tensors, and only what their ``forward`` names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from edgenet.errors import ConfigError
from edgenet.graph import Graph
from edgenet.structured import SparseSignal


def is_foreign(conv: nn.Module) -> bool:
    """Whether a layer is none of edgenet's, which take a ``Graph`` for the edges and sparse signals, nor holds one."""
    if getattr(conv, "takes_graph", False):
        return False
    return not any(getattr(part, "takes_graph", False) for part in conv.modules())


def as_tensors(
    conv: nn.Module, x: Any, edge_index: Any, values: tuple[Tensor, ...], given: Mapping[str, Tensor]
) -> tuple[Any, Any, tuple[Tensor, ...], dict[str, Tensor]]:
    """Signal, edges, and further arguments of a foreign layer.

    Ids of sampled nodes and edges, by position or in a ``Graph``, are for tables, which such layers do not have.

    Raises:
        ConfigError: if edge weights or features came, and its ``forward`` does not take them.
    """
    taken = taken_by(type(conv))
    for name in given:
        if taken is not None and name not in taken and name not in ("n_id", "e_id"):
            raise ConfigError(
                f"{name} came, and {type(conv).__name__}.forward takes {', '.join(taken)}: leave it out, or take "
                f"another layer."
            )
    x = x.to_dense() if isinstance(x, SparseSignal) else x
    edges = edge_index.edge_index if isinstance(edge_index, Graph) else edge_index
    return x, edges, values, {name: value for name, value in given.items() if taken is None or name in taken}


@lru_cache(maxsize=64)
def taken_by(kind: type[nn.Module]) -> tuple[str, ...] | None:
    """The names of the arguments of a ``forward``; None if it takes any."""
    parameters = list(inspect.signature(kind.forward).parameters.values())[1:]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return tuple(p.name for p in parameters if p.kind is not p.VAR_POSITIONAL)
