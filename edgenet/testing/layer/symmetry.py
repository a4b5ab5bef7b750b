"""What a layer promises of its graph: neither the order of edges nor the numbers of nodes mean anything, and small or
joined graphs are no exceptions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgenet.testing.contract import Contract, require, same
from edgenet.testing.layer.case import LayerCase, each, of_edges, takes

SYMMETRY: Contract[LayerCase] = Contract()


@SYMMETRY.promise("shape")
def shape(case: LayerCase) -> None:
    """It gives a finite row for every node (target), of as many columns as it was asked for, or as that many a head."""
    layer, x, more = case.ready()
    y, rows = layer(x, **more), len(x[1] if case.pair else x)
    require(isinstance(y, Tensor) and y.dim() == 2 and len(y) == rows, f"{rows} rows are wanted, got {_shape(y)}")
    out = case.channels[1]
    require(
        y.shape[1] > 0 and y.shape[1] % out == 0, f"{out} columns were asked for, or so many a head, got {_shape(y)}"
    )
    require(bool(y.isfinite().all()), "it gives what is not finite")


def _shape(y: Any) -> Any:
    return tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__


@SYMMETRY.promise("shuffled edges", repeated={"each once": 0, "some twice": 2})
def shuffled(case: LayerCase, repeated: int) -> None:
    """The order of the edge list changes nothing, also where edges stand in it twice, with weights of their own."""
    layer, x, more = case.ready()
    edges = more["edge_index"]
    again = torch.cat([torch.arange(edges.shape[1]), torch.arange(repeated)])  # the first two are there and back
    more = of_edges(more, lambda value: value[again], edges[:, again])
    more |= {name: torch.cat([value[:-repeated], value[2 : 2 + repeated]]) for name, value in more.items()
             if repeated and name != "edge_index"}  # fmt: skip
    order = torch.randperm(len(again))
    other = of_edges(more, lambda value: value[order], more["edge_index"][:, order])
    same(layer(x, **other), layer(x, **more), "on a shuffled edge list it gives something else")


@SYMMETRY.promise("relabelled nodes")
def relabelled(case: LayerCase) -> None:
    """With the nodes numbered anew, every node gets what it got. Tables and taps of nodes look them up by ``n_id``."""
    layer, x, more = case.ready()
    orders = each(x, lambda side: torch.randperm(len(side)))
    sources, targets = orders if case.pair else (orders, orders)
    source, target = more["edge_index"]
    edges = torch.stack([sources.argsort()[source], targets.argsort()[target]])  # the new node i is the old order[i]
    other = of_edges(more, lambda value: value, edges)
    if not case.pair and takes(layer, "n_id"):
        other["n_id"] = sources
    phi: Any = getattr(layer, "phi", None)
    if case.pair and phi is not None and phi.bound_graph() is not None:
        other["e_id"] = torch.arange(edges.shape[1])  # two sets of nodes have no numbers in common
    renamed = tuple(side[order] for side, order in zip(x, orders, strict=True)) if case.pair else x[sources]
    same(layer(renamed, **other), layer(x, **more)[targets], "when nodes are numbered anew, they get something else")


@SYMMETRY.promise("batch of graphs")
def batch_of_graphs(case: LayerCase) -> str | None:
    """Two graphs side by side, without an edge between them, get what each gets alone."""
    if case.pair:
        return "a pair of signals is on one graph"
    layer, x, more = case.ready()
    edges, few = more["edge_index"], len(x) - 2
    inside = (edges < few).all(0)  # the second graph is a part of the first, for which tables have weights too
    parts = [(x, more, torch.arange(len(x)))]
    part = of_edges(more, lambda value: value[inside], edges[:, inside])
    parts.append((-2 * x[:few], part, torch.arange(few)))
    ids = {"n_id": torch.cat([part[2] for part in parts])} if takes(layer, "n_id") else {}
    together = {name: torch.cat([given[name] for _, given, _ in parts]) for name in more if name != "edge_index"}
    together["edge_index"] = torch.cat([edges, part["edge_index"] + len(x)], 1)
    got = layer(torch.cat([signal for signal, _, _ in parts]), **together, **ids)
    alone = [layer(signal, **given, **({"n_id": nodes} if ids else {})) for signal, given, nodes in parts]
    same(got, torch.cat(alone), "two graphs in a batch get something else than each alone")
    return None


@SYMMETRY.promise("batch of signals")
def batch_of_signals(case: LayerCase) -> str | None:
    """(B, N, F) signals on one graph get what each gets alone."""
    if case.pair or not case.batches:
        return f"{case.name} takes one signal at a time"
    layer, x, more = case.ready()
    signals = torch.stack([x, -2 * x, x.flip(0)])
    alone = torch.stack([layer(signal, **more) for signal in signals])
    same(layer(signals, **more), alone, "signals in a batch get something else than each alone")
    return None


@SYMMETRY.promise("small graphs", what=["no edges", "one node", "no nodes"])
def small(case: LayerCase, what: str) -> str | None:
    """On a graph without edges, of one node, or of none, it gives a finite row for every node, and has gradients."""
    layer, x, more = case.fresh()
    if case.pair and what == "one node":
        return "a pair has two kinds of nodes"
    nodes = {"no edges": None, "one node": 1, "no nodes": 0}[what]
    x = each(x, lambda side: side[:nodes].clone().requires_grad_())
    edges = torch.zeros(2, 1 if what == "one node" else 0, dtype=torch.long)
    given = of_edges(more, lambda value: value[: edges.shape[1]], edges)
    if not case.pair and takes(layer, "n_id"):
        given["n_id"] = torch.arange(len(x))
    if case.pair and nodes == 0 and takes(layer, "e_id"):  # a piece of the graph that a table of edges belongs to
        given["e_id"] = torch.arange(0)
    y, rows = layer(x, **given), len(x[1] if case.pair else x)
    require(len(y) == rows and bool(y.isfinite().all()), f"with {what}, {rows} finite rows are wanted, got {_shape(y)}")
    if y.requires_grad:
        y.sum().backward()
        bad = [name for name, p in layer.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        require(not bad, f"with {what}, the gradients of {', '.join(bad)} are not finite")
    return None
