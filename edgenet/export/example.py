"""Inputs that a model is traced with, and which of their sizes may differ in every call."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph

#: arguments with a row an edge, and with a row a node
OF_EDGES = ("edge_weight", "edge_attr", "edge_values", "e_id")
OF_NODES = ("batch", "n_id", "initial")
#: of those, what a ``Data`` may hold
_OF_DATA = ("x", "edge_index", "edge_label_index", "edge_label_attr", "edge_weight", "edge_attr", "batch")
#: with an end of a pair that is scored, or a row a pair; and the axis of the pairs
OF_PAIRS = {"edge_label_index": 1, "edge_label_attr": 0}


def named_example(model: nn.Module, example: Any, steps: int | None = None) -> dict[str, Any]:
    """The example by the names of the arguments of the model's ``forward``, in their order.

    Args:
        example: a tuple, in the order of the arguments; a dict by their names; a ``Data``; or None for one that is made
            up: of the graph that a table of the model is bound to, or of five nodes.
        steps: T of a made-up example of sequences.

    Raises:
        ConfigError: if there is no such argument, or no example can be made up.
        ShapeError: if it has fewer than two nodes, edges or sequences, of which a trace would take for always so many.
    """
    if example is None:
        example = made_up(model, steps)
    known = list(inspect.signature(model.forward).parameters)
    if isinstance(example, Mapping):
        given = dict(example)
    elif hasattr(example, "edge_index") and not isinstance(example, Graph):
        given = {name: example[name] for name in _OF_DATA if name in known and example.get(name) is not None}
        if not getattr(model, "needs_edge_attr", True):  # layers of edgenet refuse what they were not made for
            given.pop("edge_attr", None)
    elif isinstance(example, tuple | list):
        given = dict(zip(known, example, strict=False))
        if len(example) > len(known):
            raise ConfigError(f"{type(model).__name__} takes {', '.join(known)}; got {len(example)} arguments.")
    else:
        raise ConfigError(
            f"an example is a tuple of arguments, a dict of them by name, or a Data, got {type(example).__name__}."
        )
    strange = [name for name in given if name not in known]
    if strange:
        raise ConfigError(f"{type(model).__name__} takes {', '.join(known)}, and none is called {strange[0]!r}.")
    third = given.get("edge_values")  # whole numbers are the graph of every node, as in PyG
    if isinstance(third, Tensor) and not (third.is_floating_point() or third.is_complex()) and "batch" not in given:
        given["batch"] = given.pop("edge_values")
    given = {name: _plain(name, given[name]) for name in known if given.get(name) is not None}
    _check_sizes(given)
    return given


def sides(name: str, value: Any) -> list[tuple[str, Tensor]]:
    """The tensors of an argument, with their names as inputs of a file: two of a pair, none of what is no tensor."""
    if isinstance(value, tuple):
        named = zip((f"{name}_source", f"{name}_target"), value, strict=False)
        return [(label, side) for label, side in named if isinstance(side, Tensor)]
    return [(name, value)] if isinstance(value, Tensor) else []


def _plain(name: str, value: Any) -> Any:
    """What a file can take: a dense tensor, contiguous, or a pair of such."""
    if isinstance(value, Graph):
        value = value.edge_index
    if isinstance(value, tuple | list):
        return tuple(_plain(name, side) for side in value)
    if not isinstance(value, Tensor):
        return value
    value = value.as_tensor() if hasattr(value, "as_tensor") else value  # PyG's EdgeIndex
    if value.layout != torch.strided:
        how = "an edge list (2, E)" if name == "edge_index" else f"{name}.to_dense()"
        raise ShapeError(f"files take dense tensors, and {name} is of {value.layout}: pass {how}.")
    return value.detach().contiguous()


def _check_sizes(given: dict[str, Any]) -> None:
    rows = ("x", -2 if "edge_index" in given else 0)
    for name, axis in (rows, ("edge_index", 1), *OF_PAIRS.items()):
        for side in given[name] if isinstance(given.get(name), tuple) else [given.get(name)]:
            if isinstance(side, Tensor) and side.dim() > 1 and side.shape[axis] < 2:
                raise ShapeError(
                    f"an example has two nodes, edges, pairs and sequences at least, for torch.export takes sizes of 0 "
                    f"and 1 for constants; got {name} {tuple(side.shape)}."
                )


def free_sizes(
    given: dict[str, Any], nodes: bool = True, edges: bool = True, one_sequence: bool = False
) -> dict[str, Any]:
    """The ``dynamic_shapes`` of ``torch.export``: numbers of nodes (of sources, too, in a bipartite graph), of edges,
    of pairs that are scored, and of sequences or signals are free.

    Args:
        nodes, edges: whether their numbers are free.
        one_sequence: whether signals (T, N, F) are the steps of one sequence, whose number is not free.
    """
    links, count, batch, pairs = (torch.export.Dim(name) for name in ("edges", "nodes", "batch", "pairs"))
    on_graph = "edge_index" in given
    free: dict[str, Any] = {}
    for name, value in given.items():
        if name == "x" and isinstance(value, tuple):
            free[name] = ({0: torch.export.Dim("sources")}, {0: count}) if nodes else ({}, {})
        elif not isinstance(value, Tensor):
            free[name] = None
        elif name == "x" and on_graph:
            several = value.dim() > (3 if one_sequence else 2)
            free[name] = ({value.dim() - 2: count} if nodes else {}) | ({0: batch} if several else {})
        elif name == "edge_index":
            free[name] = {1: links} if edges else {}
        elif name in OF_PAIRS:
            free[name] = {OF_PAIRS[name]: pairs}
        elif name in OF_EDGES:
            free[name] = {0: links} if edges else {}
        elif name in OF_NODES:
            free[name] = {0: count} if nodes else {}
        else:
            free[name] = {} if on_graph or value.dim() == 0 else {0: batch}
    return free


# ---------------------------------------------------------------- made up
_RING = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 0, 3], [1, 2, 3, 0, 0, 1, 2, 3, 3]])  # and node 4, alone


def made_up(model: nn.Module, steps: int | None = None) -> dict[str, Any]:
    """Random features on the graph that the model is bound to, or on a small one.

    Raises:
        ConfigError: if the model does not say what it reads.
    """
    known, width = inspect.signature(model.forward).parameters, getattr(model, "in_channels", None)
    if width is None and hasattr(model, "config"):
        width = cast(Any, model).config().get("in_channels")
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    needs = "edge features" if getattr(model, "needs_edge_attr", False) else ""
    if needs or not isinstance(width, int) or width < 1 or "x" not in known:
        raise ConfigError(
            f"an example cannot be made up for this {type(model).__name__}: it "
            f"{f'needs {needs}' if needs else f'says in_channels = {width}'}. Hand one in: "
            f"export(model, path, example=(x, edge_index)), or --data on the command line."
        )
    if "edge_index" not in known:
        return _sequences(model, width, steps, like)
    bound = [cast(Any, m).bound_graph() for m in model.modules() if hasattr(m, "bound_graph")]
    graph = next((g for g in bound if g is not None), None)
    edges = _RING if graph is None else graph.edge_index
    nodes = 5 if graph is None else graph.num_nodes
    lead = (2, _known_steps(steps)) if takes_sequences(model) else ()
    given = {"x": torch.rand(*lead, nodes, width).to(like), "edge_index": edges}
    if "edge_label_index" in known:
        given["edge_label_index"] = _RING[:, :3] % nodes
    features = getattr(model, "edge_features", 0)
    if "edge_label_attr" in known and features:
        given["edge_label_attr"] = torch.rand(3, features).to(like)
    if "batch" in known:
        given["batch"] = torch.arange(nodes) * 2 // nodes
    return given


def takes_sequences(model: nn.Module) -> bool:
    """Whether the model walks through the steps of signals on a graph, (B, T, N, F) or (T, N, F)."""
    return {"edge_index", "lengths"} <= set(inspect.signature(model.forward).parameters)


def _known_steps(steps: int | None) -> int:
    if steps is None:
        raise ConfigError(
            "a file of a recurrent model is for sequences of one length, whose steps it has one by one: say it by an "
            "example, or by --steps on the command line."
        )
    return steps


def _sequences(model: nn.Module, width: int, steps: int | None, like: Tensor) -> dict[str, Any]:
    steps = _known_steps(steps)
    if getattr(model, "embedding", None) is not None:
        return {"x": torch.randint(width, (2, steps))}
    return {"x": torch.rand(2, steps, width).to(like)}
