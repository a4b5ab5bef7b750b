"""Building: the graphs that tables describe, with features in the place of columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.data.own.answers import Answers, of_columns
from edgenet.data.own.choice import TASKS, Choice
from edgenet.data.own.columns import Column, as_number, features, is_nothing, learn, missing
from edgenet.data.own.learned import Learned
from edgenet.data.own.splitting import Masks
from edgenet.data.own.table import Table
from edgenet.data.own.tables import GRAPH, ID, LABEL, SOURCE, SPLIT, TARGET, WEIGHT, Tables, Wiring, wired
from edgenet.errors import ConfigError, DataError


@dataclass(frozen=True)
class Found:
    """What is to be learned from, whatever it was read from.

    Attributes:
        whole: one graph; with ``edge_label_index``, and ``edge_label_attr`` perhaps, where edges are learned of.
        graph_of: (N,) graph of each node, where graphs are learned of.
        answers, masks: of the rows that are learned of, in their order.
        learned: what predictions will need.
        warnings: what a user should know.
    """

    whole: Data
    graph_of: Tensor | None
    answers: Answers
    masks: Masks
    learned: Learned
    warnings: list[str] = field(default_factory=list)


def learn_of(tables: Tables, choice: Choice) -> Found:
    """The graphs, the answers, the split, and how columns become features, learned of the rows to train on.

    Raises:
        DataError, EdgeIndexError: if a table has bad content; with its file and line.
        ConfigError: if it is not plain what is to be learned.
    """
    wiring = wired(tables)
    task, table, targets = _aim(tables, choice)
    if task == "graph" and wiring.graph_of is None:
        raise DataError(
            f"{tables.where}: graphs are learned of, and nodes do not say which they are in: a column graph."
        )
    answers = of_columns(table, targets, choice.kind)
    own = table.one(SPLIT)
    masks = choice.masks_of(answers, table, own)
    unread = {
        *targets,
        *choice.ignore,
        *([own] if own else []),
        *([choice.split] if isinstance(choice.split, str) else []),
    }
    rows = _training(task, masks["train"], wiring, len(tables.edges))
    nodes = _learned(tables.nodes, (ID, GRAPH, LABEL), unread, rows[0])
    edges = _learned(tables.edges, (SOURCE, TARGET, GRAPH, WEIGHT, LABEL), unread, rows[1])
    undirected = bool(tables.undirected) if choice.undirected is None else choice.undirected
    degrees = not nodes
    learned = Learned(
        task, answers.kind, answers.names, 2 if degrees else sum(c.width for c in nodes), sum(c.width for c in edges),
        nodes, edges, degrees, undirected,
    )  # fmt: skip
    warnings = [line for one, columns in ((tables.nodes, nodes), (tables.edges, edges)) if one is not None
                for line in missing(columns, one)]  # fmt: skip
    for one in (tables.nodes, tables.edges):
        label = None if one is None else one.one(LABEL)
        if one is not None and label is not None and label not in unread:
            warnings.append(f"{one.where}: column {label!r} holds answers by its name, and is no feature.")
    whole = whole_of(tables, wiring, learned)
    if task == "graph" and wiring.graph_of is not None:
        return Found(whole, torch.from_numpy(wiring.graph_of), answers, masks, learned, warnings)
    return Found(whole, None, answers, masks, learned, warnings)


def whole_of(tables: Tables, wiring: Wiring, learned: Learned) -> Data:
    """One graph of all nodes and edges, with the features that the columns become.

    Raises:
        DataError: if a column is missing, or a cell does not fit.
    """
    edge_index, count = torch.from_numpy(wiring.edge_index), len(wiring.names)
    assert learned.edges is not None and learned.nodes is not None
    attr = torch.from_numpy(features(learned.edges, tables.edges))
    weight = _weights(tables.edges)
    data = Data(edge_index=edge_index, num_nodes=count)
    if learned.task == "edge":
        data.edge_label_index = edge_index
        if learned.edge_features:
            data.edge_label_attr = attr
    if learned.undirected:
        data.edge_index, back = both_ways(edge_index, count)
        attr = torch.cat([attr, attr[back]])
        weight = None if weight is None else torch.cat([weight, weight[back]])
    if learned.edge_features:
        data.edge_attr = attr
    if weight is not None:
        data.edge_weight = weight
    if learned.degrees:
        data.x = degree_features(data.edge_index, count)
    elif tables.nodes is None:
        named = ", ".join(column.name for column in learned.nodes)
        raise DataError(f"{tables.where}: the model reads of nodes {named}, and none has a table: --nodes FILE.")
    else:
        data.x = torch.from_numpy(features(learned.nodes, tables.nodes))
    return data


def both_ways(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """The edges, and behind them the reverse of each that has none yet; with the places of those."""
    there = edge_index[0] * num_nodes + edge_index[1]
    reverse = edge_index[1] * num_nodes + edge_index[0]
    back = (~torch.isin(reverse, there)).nonzero().squeeze(1)
    return torch.cat([edge_index, edge_index[:, back].flip(0)], dim=1), back


def degree_features(edge_index: Tensor, num_nodes: int) -> Tensor:
    """(N, 2) for nodes of which nothing is said: log(1 + edges that come in), and 1."""
    degree = torch.bincount(edge_index[1], minlength=num_nodes).float()
    return torch.stack([degree.log1p(), torch.ones(num_nodes)], dim=1)


def _aim(tables: Tables, choice: Choice) -> tuple[str, Table, list[str]]:
    """What is learned of, the table of its rows, and the columns of its answers."""
    having = {}
    for task in TASKS:
        table = tables.of(task)
        if table is not None and (choice.task in (None, task)):
            named = [name for name in choice.target if name in table.columns]
            label = table.one(LABEL)
            if choice.target and len(named) == len(choice.target):
                having[task] = named
            elif not choice.target and label is not None:
                having[task] = [label]
    if len(having) == 1:
        ((task, columns),) = having.items()
        table = tables.of(task)
        assert table is not None
        return task, table, columns
    if having:
        raise ConfigError(
            f"{tables.where}: {' and '.join(having)}s have answers; choose what to learn of: "
            f"--task {next(iter(having))}."
        )
    listed = "; ".join(
        f"{table.where} has {', '.join(table.columns)}"
        for table in (tables.of(task) for task in TASKS)
        if table is not None
    )
    wanted = f"a column {' and '.join(map(repr, choice.target))}" if choice.target else "a column label"
    of = f" of {choice.task}s" if choice.task else ""
    raise DataError(f"{tables.where}: no table{of} has {wanted} to learn ({listed}). Name it: --target COLUMN.")


def _training(task: str, train: np.ndarray, wiring: Wiring, num_edges: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) and (E,) truths: the nodes and edges by which columns are scaled."""
    nodes, edges = np.ones(len(wiring.names), dtype=bool), np.ones(num_edges, dtype=bool)
    if task == "node":
        nodes = train
    elif task == "edge":
        edges = train
    elif wiring.graph_of is not None:
        nodes = train[wiring.graph_of]
        edges = nodes[wiring.edge_index[0]]
    return nodes, edges


def _learned(table: Table | None, meanings: tuple[Any, ...], unread: set[str], rows: np.ndarray) -> tuple[Column, ...]:
    """How the columns of a table that mean nothing else become features."""
    if table is None:
        return ()
    taken = {table.one(names) for names in meanings} | unread
    return tuple(learn(table, name, rows) for name in table.columns if name not in taken)


def _weights(edges: Table) -> Tensor | None:
    """(E,) float32 of the column of weights; None where there is none."""
    name = edges.one(WEIGHT)
    if name is None:
        return None
    values = []
    for row, cell in enumerate(edges.columns[name]):
        number = None if is_nothing(cell) else as_number(cell)
        if number is None or not np.isfinite(number):
            raise DataError(f"{edges.at(row)}: the weight of an edge is a finite number, got {cell!r}.")
        values.append(number)
    return torch.tensor(values, dtype=torch.float32)
