"""Readouts by name, and those that were made elsewhere: PyG's aggregations, functions like ``global_add_pool``."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.nn import aggr as aggregations
from torch_geometric.nn.aggr import Aggregation, MultiAggregation

from edgenet.errors import ConfigError, ShapeError
from edgenet.models.readout import Attention, Flatten, Max, Mean, Node, Readout, Several, Sum, widened
from edgenet.text import did_you_mean

Pool = Callable[..., Tensor]
#: The readouts of edgenet, by name.
READOUTS: dict[str, type[Readout]] = {
    "mean": Mean, "sum": Sum, "max": Max, "attention": Attention, "flatten": Flatten, "node": Node,
}  # fmt: skip
_SAME: dict[Any, str] = {pyg.global_add_pool: "sum", pyg.global_mean_pool: "mean", pyg.global_max_pool: "max"}
_SAME |= {"add": "sum", "global_add_pool": "sum", "global_mean_pool": "mean", "global_max_pool": "max"}


class Aggregated(Readout):
    """An ``Aggregation`` of PyG. Numbers of 16 bits are added up in 32, but by one with parameters of 16 bits itself.

    Args:
        aggr: the aggregation.
    """

    def __init__(self, aggr: Aggregation) -> None:
        super().__init__()
        self.aggr = aggr

    def out_width(self, channels: int) -> int:
        return _tried(self, channels)

    def reset_parameters(self) -> None:
        self.aggr.reset_parameters()

    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        x, batch = _as_batch(x, batch)
        if torch.compiler.is_compiling() or bool((batch[1:] < batch[:-1]).any()):  # some want them sorted
            order = batch.argsort(stable=True)
            x, batch = x[order], batch[order]
        narrow = any(p.is_floating_point() and p.element_size() < 4 for p in self.aggr.parameters())
        return self.aggr(x if narrow else widened(x), batch, dim_size=size).to(x.dtype)


class Pooled(Readout):
    """A function of (N, F) signals, (N,) graphs and how many graphs there are, such as PyG's ``global_add_pool``.

    No file holds a function, so that a saved model with one is loaded into a model that was built: ``model=``.

    Args:
        pool: the function, or a module; one of two arguments gets the first two.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool, self.counts = pool, _arguments(pool) == 3

    def arguments(self) -> dict[str, Any]:
        if isinstance(self.pool, nn.Module):
            return {"pool": self.pool}
        raise ConfigError(
            f"the readout is the function {_name(self.pool)}, which no file holds; the names {', '.join(READOUTS)} and "
            f"aggregations of PyG can be saved whole"
        )

    def out_width(self, channels: int) -> int:
        return _tried(self, channels)

    def reset_parameters(self) -> None:
        reset = getattr(self.pool, "reset_parameters", None)
        if reset is not None:
            reset()

    def forward(self, x: Tensor, batch: Tensor | None, size: int) -> Tensor:
        x, batch = _as_batch(x, batch)
        y = self.pool(*((x, batch, size) if self.counts else (x, batch)))
        if not isinstance(y, Tensor) or y.dim() != 2 or len(y) != size:
            found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ShapeError(f"the readout {_name(self.pool)} is to give a row for each of {size} graphs, got {found}.")
        return y


def make_readout(readout: Any, channels: int, num_nodes: int | None, target_node: int | None) -> Readout:
    """The readout of that name, or what was handed in as one.

    Args:
        readout: as of ``GraphClassifier``.
        channels: F; -1 if the first input decides.
        num_nodes, target_node: what "flatten" and "node" need.

    Raises:
        ConfigError: if there is no such readout, or something is missing.
    """
    if isinstance(readout, Readout):
        return readout
    if isinstance(readout, MultiAggregation) and readout.mode == "cat":  # which no file could hold
        return Several([Aggregated(one) for one in readout.aggrs])
    if isinstance(readout, Aggregation):
        return Aggregated(readout)
    if isinstance(readout, list | tuple) and readout:
        return Several([make_readout(one, channels, num_nodes, target_node) for one in readout])
    if callable(readout) and not isinstance(readout, type) and readout not in _SAME:
        return Pooled(readout)
    name = _SAME.get(readout, readout) if isinstance(readout, str) or callable(readout) else readout
    if not isinstance(name, str):
        raise ConfigError(f"{_wanted()}; got {readout!r}{': make one first' if isinstance(readout, type) else ''}.")
    if name == "flatten":
        if num_nodes is None:
            raise ConfigError("the 'flatten' readout needs num_nodes, the size of the one graph it is for.")
        return Flatten(num_nodes)
    if name == "node":
        if target_node is None:
            raise ConfigError("the 'node' readout needs target_node, the node it reads.")
        return Node(target_node)
    if name == "attention":
        return Attention(channels)
    return READOUTS[name]() if name in READOUTS else Aggregated(_aggregation(name))


def is_named(readout: Any) -> bool:
    """Whether a configuration can say it."""
    if isinstance(readout, list | tuple):
        return all(is_named(one) for one in readout)
    return isinstance(readout, str)


def _aggregation(name: str) -> Aggregation:
    """The aggregation that PyG has under that name: "median", "SortAggregation"."""
    kinds = [getattr(aggregations, kind) for kind in aggregations.__all__]
    known: dict[str, type[Aggregation]] = {}
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Aggregation) and kind is not Aggregation:
            known |= {kind.__name__: kind, kind.__name__.removesuffix("Aggregation").lower(): kind}
    found = known.get(name, known.get(name.lower()))
    if found is None:
        near = did_you_mean(name, [*READOUTS, *known])
        raise ConfigError(f"{_wanted()}; got {name!r}.{near}")
    try:
        return found()
    except TypeError as error:
        raise ConfigError(
            f"readout {name!r} is a {found.__name__}, which has arguments of its own ({error}); make one and hand it "
            f"over: readout={found.__name__}(...)."
        ) from error


def _wanted() -> str:
    return (
        f"readout is one of {', '.join(READOUTS)}, an aggregation of PyG or its name (median, std, softmax, ...), a "
        f"list of such, or a function (x, batch, size)"
    )


def _as_batch(x: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, N, F) signals on one graph as those of the nodes of B graphs."""
    if batch is not None:
        return x, batch
    signals, nodes = x.shape[:2]
    return x.flatten(0, 1), torch.arange(signals, device=x.device).repeat_interleave(nodes)


def _tried(readout: Readout, channels: int) -> int:
    """How wide the result is, by a trial; -1 where that fails, and the first input is to tell."""
    if channels == -1:
        return -1
    try:
        trial = copy.deepcopy(readout).eval()  # norms inside must not learn of it
        like = next(trial.parameters(), torch.empty(0))
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            x = torch.zeros(2, channels, dtype=like.dtype, device=like.device)
            return trial(x, torch.zeros(2, dtype=torch.long, device=like.device), 1).shape[-1]
    except Exception:  # whatever a function may say to a graph of two nodes without a signal
        return -1


def _arguments(pool: Pool) -> int:
    """How many arguments it is called with.

    Raises:
        ConfigError: if it takes neither two nor three.
    """
    try:
        signature = inspect.signature(pool.forward if isinstance(pool, nn.Module) else pool)
    except (TypeError, ValueError):  # of a function in C
        return 3
    for count in (3, 2):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count
    raise ConfigError(f"a readout is called as readout(x, batch, size), and {_name(pool)} takes {signature}.")


def _name(pool: Any) -> str:
    return repr(getattr(pool, "__qualname__", type(pool).__name__))
