"""A model as torch.export has it: one graph of operations, for all sizes that may differ."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._dynamo.exc import UserError
from torch.export import ExportedProgram

from edgenet.errors import ConversionError
from edgenet.export.example import free_sizes, sides, takes_sequences


class Traced(NamedTuple):
    """A program, and what it was traced with.

    Attributes:
        program: of torch.export.
        given: the example, by name.
        positional: how many of its arguments are positional.
        any_nodes, any_edges: whether their numbers are free.
        one_sequence: whether the signals are the steps of one sequence.
    """

    program: ExportedProgram
    given: dict[str, Any]
    positional: int
    any_nodes: bool
    any_edges: bool
    one_sequence: bool

    def shapes(self) -> dict[str, tuple[int | str, ...]]:
        """The shape of every input, free sizes by name."""
        free = free_sizes(self.given, self.any_nodes, self.any_edges, self.one_sequence)
        found: dict[str, tuple[int | str, ...]] = {}
        for name, value in self.given.items():
            axes = free[name] if isinstance(value, tuple) else (free[name],)
            for (label, side), own in zip(sides(name, value), axes, strict=False):
                found[label] = tuple(own[i].__name__ if i in own else size for i, size in enumerate(side.shape))
        return found

    def call(self, function: Any) -> Any:
        """The function of the example, as the program is called."""
        values = list(self.given.values())
        named = dict(list(self.given.items())[self.positional :])
        return function(*values[: self.positional], **named)


#: whether the numbers of nodes, and of edges, are free: tried one after the other
_FREE = ((True, True), (False, True), (False, False))


def traced(model: nn.Module, given: dict[str, Any]) -> Traced:
    """The model in eval mode as a program, whose numbers of nodes and edges are free, unless the model itself is of so
    many: bound to a graph, with numbers for each node, or with a readout of all nodes. Takes the model over.

    Raises:
        ConversionError: if the model does not run, or torch.export cannot take it whole; with the reason.
    """
    if any(isinstance(part, torch.jit.ScriptModule) for part in model.modules()):
        raise ConversionError("TorchScript is not supported: hand over the module that was scripted.")
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise ConversionError("a layer has no size yet: run the model once on an example, then export it.")
    model.eval()
    positional, steps = _leading(model, given), takes_sequences(model)
    values = list(given.values())
    named = dict(list(given.items())[positional:])
    reason: Exception | None = None
    with torch.no_grad(), quietly():
        _try(model, values[:positional], named)
        for free in _FREE if "edge_index" in given else _FREE[:1]:
            try:
                shapes = free_sizes(given, *free, steps)
                program = torch.export.export(
                    model, tuple(values[:positional]), named, dynamic_shapes=shapes, strict=False
                )
                return Traced(program, given, positional, *free, steps)
            except Exception as error:  # whatever a model's own code raises under a trace
                reason = error
                # ours, or torch's of sizes that the model has once for all; no other ends with fixed sizes
                if not isinstance(error, ValueError | UserError):
                    break
    text = (str(reason).splitlines() or [""])[0]
    raise ConversionError(
        f"torch.export cannot take this {type(model).__name__} as one graph: {type(reason).__name__}: {text}"
    ) from reason


def _try(model: nn.Module, values: list[Any], named: dict[str, Any]) -> None:
    """Call the model as it is, whose layers say what is wrong with an example as no trace does.

    Raises:
        ConversionError: if it raises what is no error of edgenet's.
    """
    try:
        model(*values, **named)
    except Exception as error:
        if type(error).__module__ == "edgenet.errors":
            raise
        raise ConversionError(
            f"this {type(model).__name__} does not run on the example: {type(error).__name__}: {error}"
        ) from error


def _leading(model: nn.Module, given: dict[str, Any]) -> int:
    """How many of the arguments are the first ones of ``forward``, so that they can be given by position."""
    parameters = inspect.signature(model.forward).parameters.values()
    first = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return next((i for i, (a, b) in enumerate(zip(given, first, strict=False)) if a != b), min(len(given), len(first)))


@contextmanager
def quietly() -> Iterator[None]:
    """Without what torch's exporters write about parts of their own."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
