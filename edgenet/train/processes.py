"""Processes: one training on several, each of which learns from a part of every batch.

Every process draws the same order of batches and takes every world-th item of each. Gradients are means over the whole
batch, as DDP's; the first process's scores decide, and it alone writes the folder. A training on one process is the
same code with nobody to ask.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgenet.errors import ConfigError, PlanError
from edgenet.phi import Phi
from edgenet.train.batches import Batch
from edgenet.train.folders import SeedFolder

_PARALLEL: ContextVar[bool] = ContextVar("data parallel", default=False)
_Items = TypeVar("_Items", Tensor, list)


@contextlib.contextmanager
def data_parallel(seconds: float = 600.0) -> Iterator[int]:
    """While this lasts, ``fit`` and runs share every batch among the processes of ``torch.distributed.run``.

    Losses are means over rows: a loss that is a sum is another on several processes. Batches of loaders are not split,
    and refused. Dropout draws the same numbers on all; batch norm sees its process's part.

    Args:
        seconds: after which a process that waits for another gives up, with an error.

    Yields:
        The number of this process, from 0.

    Raises:
        ConfigError: if the environment names no other processes.

    Example:
        >>> with edgenet.train.data_parallel():  # doctest: +SKIP
        ...     edgenet.fit(model, data, folder="run")
    """
    if not dist.is_initialized() and "RANK" not in os.environ:
        raise ConfigError("there are no other processes: start with `python -m torch.distributed.run`.")
    made = not dist.is_initialized()
    if made:
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timedelta(seconds=seconds))
    token = _PARALLEL.set(True)
    try:
        yield dist.get_rank()
    finally:
        _PARALLEL.reset(token)
        if made:
            dist.destroy_process_group()


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _PARALLEL.get() else 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return not _PARALLEL.get() or dist.get_rank() == 0


def mine(items: _Items) -> tuple[_Items, bool]:
    """This process's part of a batch, and whether there is none: then an item stands for it, which counts nothing."""
    if world() == 1:
        return items, False
    part = items[dist.get_rank() :: world()]
    return (part, False) if len(part) else (items[:1], True)


def weight_of(batch: Batch) -> float:
    """The share of this process's rows in a batch. All processes ask."""
    if world() == 1:
        return 1.0
    counts = torch.tensor([0.0 if batch.idle else float(len(batch.target))], dtype=torch.float64)
    whole = counts.clone()
    dist.all_reduce(whole)
    return (counts / whole).item()


def add_up_(model: nn.Module) -> None:
    """Add up the gradients of all processes, in one message for each dtype and one for each sparse gradient."""
    if world() == 1:
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    known = torch.tensor([[p.grad is not None, p.grad is not None and p.grad.is_sparse] for p in parameters]).int()
    dist.all_reduce(known, op=dist.ReduceOp.MAX)
    together: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for p, (there, sparse) in zip(parameters, known.tolist(), strict=True):
        if there and p.grad is None:
            p.grad = torch.zeros_like(p).to_sparse(1) if sparse else torch.zeros_like(p)
        if sparse and p.grad is not None:
            p.grad = p.grad.coalesce()
            dist.all_reduce(p.grad)
        elif there:
            together.setdefault((p.dtype, p.device), []).append(p)
    for some in together.values():
        flat = torch.cat([p.grad.reshape(-1) for p in some if p.grad is not None])
        dist.all_reduce(flat)
        for p, piece in zip(some, flat.split([p.numel() for p in some]), strict=True):
            p.grad = piece.view_as(p)


def start_together_(model: nn.Module) -> None:
    """Give a model the numbers that it has on the first process."""
    if world() > 1:
        with torch.no_grad():
            for p in model.parameters():
                dist.broadcast(p, 0)


def check_together(model: nn.Module, splits: bool) -> None:
    """
    Args:
        splits: whether the batches fall into parts.

    Raises:
        PlanError: if a table of edge weights has not met its graph.
        ConfigError: if batches do not fall into parts.
    """
    if world() > 1:
        if not splits:
            raise ConfigError(
                "several processes share batches of a graph's nodes, of graphs, signals or rows that are made here; "
                "batches of loaders and sequences are not split. Hand in the data themselves."
            )
        check_bound(model)


def agreed(numbers: Mapping[str, float], rows: int) -> dict[str, float]:
    """The numbers of the first process; of its own rows' loss and metric ("loss", "train"), the means over all rows."""
    if world() == 1:
        return dict(numbers)
    values = torch.tensor(list(numbers.values()), dtype=torch.float64)
    own = rows * torch.tensor([numbers["loss"], numbers["train"], 1.0], dtype=torch.float64)
    dist.broadcast(values, 0)
    dist.all_reduce(own)
    loss, metric, _ = (own / own[-1]).tolist()
    return dict(zip(numbers, values.tolist(), strict=True)) | {"loss": loss, "train": metric}


def check_bound(model: nn.Module) -> None:
    """
    Raises:
        PlanError: if a table of edge weights has not met its graph: each process would draw its own.
    """
    for path, part in model.named_modules():
        if isinstance(part, Phi) and getattr(part, "is_bound", True) is False:
            raise PlanError(
                f"{path or type(part).__name__}: bind first: its table does not know its edges. Call "
                f"bind(edge_index, num_nodes) on the layer or model with the full graph."
            )


# ---------------------------------------------------------------- folders
class WatchedFolder(SeedFolder):
    """The folder of a training that another process writes: checkpoints are read, and nothing is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.metrics = None  # type: ignore[assignment]  # a file of records that is not written

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        yield

    def make(self) -> None:
        """Nothing: the first process makes it."""

    def keep(self, state: Any) -> None:
        """Nothing."""

    def finish(self, *args: Any) -> None:
        """Nothing."""

    def read(self, *args: Any) -> Any:
        return SeedFolder(self.path).read(*args)


def folder_of(path: Path) -> SeedFolder:
    """The folder of a training, as this process may use it."""
    return SeedFolder(path) if is_first() else WatchedFolder(path)


@contextlib.contextmanager
def first_enters(opened: contextlib.AbstractContextManager[Any]) -> Iterator[None]:
    """A folder that the first process opens and holds, while the others wait."""
    with opened if is_first() else contextlib.nullcontext():
        if world() > 1:
            dist.barrier()
        yield
