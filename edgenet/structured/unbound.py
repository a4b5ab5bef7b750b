"""Unbound tables: matrices that get their rows from the first graph they meet, and where they must not be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from edgenet.errors import SupportError
from edgenet.structured.base import StructuredMatrix
from edgenet.structured.dense import Dense

_BIND = "Call bind(edge_index, num_nodes) on the layer first"


class UnboundParameter(UninitializedParameter):
    """What stands in a table that has no rows yet. Whatever needs its numbers is told to bind first.

    Raises:
        SupportError: in every operation but moves and copies: ``to_empty``, ``requires_grad_``, averages of models.
    """

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Sequence[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.to and not args[0].is_meta and _to_meta(*args[1:], **kwargs):
            raise _no_numbers("to('meta')")  # Module.to would make a parameter of no size of it
        try:
            return super().__torch_function__(func, types, args, kwargs)
        except ValueError:
            raise _no_numbers(getattr(func, "__name__", str(func))) from None


def _to_meta(*args: Any, **kwargs: Any) -> bool:
    return any(isinstance(value, str | torch.device) and str(value) == "meta" for value in (*args, *kwargs.values()))


def _no_numbers(name: str) -> SupportError:
    return SupportError(f"this table has no numbers for {name}: it gets its rows from a graph. {_BIND}.")


def unbound(rows: int = -1, columns: int = -1) -> Dense:
    """A dense table, of which a size that is -1 comes with the graph."""
    table = Dense.lazy(rows, columns)
    if table.is_lazy:
        table.weight = UnboundParameter()
    return table


def is_unbound(matrix: nn.Module | None) -> bool:
    """Whether it has no size yet. What an adapter wraps answers for it."""
    return bool(getattr(matrix, "is_lazy", False))


def refuse_making(*tables: StructuredMatrix | nn.Parameter | None) -> None:
    """Refuse to give tables their rows here, if their numbers would be lost, or could never be trained.

    To be called wherever a table meets its graph, before anything changes.

    Args:
        tables: those without rows; None counts for nothing.

    Raises:
        SupportError: in inference mode, under a compiler, tracer, function transform or fake tensors, on the meta
            device, and for tables that were frozen before they were made; with the call to make instead.
    """
    given = [table for table in tables if table is not None]
    parameters = [p for table in given for p in ([table] if isinstance(table, nn.Parameter) else table.parameters())]
    reason = _mode() or _kind(parameters)
    if reason is not None:
        raise SupportError(f"a table of edge weights or node taps gets no rows {reason}. {_BIND}, outside of that.")


def _kind(parameters: list[nn.Parameter]) -> str | None:
    """What is wrong with the parameters that are to get numbers, if anything."""
    if any(p.device.type == "meta" for p in parameters):
        return "on the meta device"
    if not all(p.requires_grad for p in parameters):
        return "while requires_grad is False, by which random numbers would be frozen"
    return None


def _mode() -> str | None:
    """The mode in which no parameter can be made that lasts, if there is one."""
    if torch.compiler.is_compiling():
        return "under torch.compile or torch.export"
    if torch._C._are_functorch_transforms_active():
        return "inside torch.func"
    if torch._C._len_torch_dispatch_stack():
        return "among fake tensors"
    if torch._C._is_tracing():
        return "while it is traced"
    if torch.is_inference_mode_enabled():
        return "in torch.inference_mode(), where parameters are made that no optimizer can change"
    return None
