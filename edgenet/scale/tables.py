"""Putting the tables of a model's edges where there is room: on several processes, or in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgenet.errors import BackendError, ConfigError, PlanError
from edgenet.phi import Phi
from edgenet.scale.mapped import Mapped
from edgenet.scale.replicated import Replicated
from edgenet.scale.row_optimizer import RowOptimizer
from edgenet.scale.row_table import RowTable
from edgenet.scale.sharded import Sharded
from edgenet.shortcuts import untouched
from edgenet.structured.unbound import is_unbound
from edgenet.train.processes import check_bound

ENGINES = ("torchrec", "torch")


def shard_tables_(model: nn.Module, optimizer: RowOptimizer | None = None, engine: str = "torchrec") -> list[str]:
    """Put a ``Sharded`` table in the place of every dense table of edge weights; called by all processes.

    Numbers are those of the first process. What is left of the model's parameters is for an optimizer and DDP; both are
    made afterwards.

    Args:
        model: whose tables know their graph.
        optimizer: of the rows.
        engine: "torchrec"; or "torch", where it cannot be installed: a ``Replicated`` table, which the optimizer of the
            model trains with its other parameters.

    Returns:
        The paths of the tables.

    Raises:
        PlanError: if a table is not bound, not dense, or not of float32, or there is none.
        BackendError: if the engine is missing.
        ConfigError: if a row optimizer is given for "torch".

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying").bind(graph)
        >>> edgenet.scale.shard_tables_(layer, engine="torch")
        ['phi.edge_table']
    """
    if engine not in ENGINES:
        raise BackendError(f"an engine of tables is {' or '.join(ENGINES)}, got {engine!r}.")
    if engine == "torch" and optimizer is not None:
        raise ConfigError("engine='torch' leaves tables to the optimizer of the model: leave the row optimizer out.")

    def sharded(path: str, weight: Tensor) -> nn.Module:
        if dist.is_initialized():
            dist.broadcast(weight, 0)
        if engine == "torch":
            return Replicated(weight)
        return Sharded((weight.shape[0], weight.shape[1]), optimizer, weight, weight.device)

    return _replaced(model, sharded)


def map_tables_(model: nn.Module, folder: str | Path, optimizer: RowOptimizer | None = None) -> list[str]:
    """Put a ``Mapped`` table, a file in the folder, in the place of every dense table of edge weights. Files that are
    there are gone on with.

    Returns:
        The paths of the tables, which are the files' names too.

    Raises:
        PlanError: as ``shard_tables_``.
        CheckpointError: if a file is there and holds another table.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying").bind(graph)
        >>> edgenet.scale.map_tables_(layer, "mapped")
        ['phi.edge_table']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def mapped(path: str, weight: Tensor) -> nn.Module:
        return Mapped((weight.shape[0], weight.shape[1]), folder / f"{path}.safetensors", optimizer, weight)

    return _replaced(model, mapped)


def row_tables(model: nn.Module) -> dict[str, Any]:
    """The tables that ``shard_tables_`` and ``map_tables_`` put in, by path.

    Raises:
        PlanError: if there are none.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying").bind(graph)
        >>> paths = edgenet.scale.shard_tables_(layer, engine="torch")
        >>> list(edgenet.scale.row_tables(layer)) == paths
        True
    """
    found = {path: part for path, part in model.named_modules() if isinstance(part, RowTable | Replicated)}
    if not found:
        raise PlanError(f"this {type(model).__name__} has no row tables: call shard_tables_ or map_tables_ first.")
    return found


def dense_state(model: nn.Module) -> dict[str, Any]:
    """The ``state_dict`` of everything but the row tables.

    Example:
        >>> layer = edgenet.EdgeNetConv(3, 8, phi="edge_varying").bind(graph)
        >>> _ = edgenet.scale.map_tables_(layer, "left out")
        >>> [name for name in edgenet.scale.dense_state(layer) if "edge_table" in name]
        []
    """
    with _left_out(model):
        return model.state_dict()


@contextmanager
def _left_out(model: nn.Module) -> Iterator[None]:
    tables = [part for part in model.modules() if isinstance(part, RowTable)]
    for table in tables:
        table._left_out = True
    try:
        yield
    finally:
        for table in tables:
            table._left_out = False


def _replaced(model: nn.Module, make: Callable[[str, Tensor], nn.Module]) -> list[str]:
    check_bound(model)
    slots: list[tuple[str, Any]] = [
        (path, part) for path, part in model.named_modules() if isinstance(part, Phi) and hasattr(part, "edge_table")
    ]
    for path, phi in slots:
        table = phi.edge_table
        if is_unbound(table):
            raise PlanError(f"{path}: bind first: its table has no size yet.")
        if not (getattr(table, "is_dense", False) and untouched(table)):
            raise PlanError(f"{path}.edge_table is a {type(table).__name__}; a dense table without hooks is wanted.")
        if table.to_dense().dtype != torch.float32:
            raise PlanError(f"{path}.edge_table is of {table.to_dense().dtype}; row tables are of float32: .float().")
    made: dict[int, nn.Module] = {}
    paths = []
    for path, phi in slots:
        name, table = f"{path}.edge_table".lstrip("."), phi.edge_table
        if id(table) not in made:
            made[id(table)] = make(name, table.to_dense().detach().clone())
            paths.append(name)
        phi.edge_table = made[id(table)]
    if not paths:
        raise PlanError(f"this {type(model).__name__} has no tables of edge weights.")
    return paths
