"""Graphs out of tables: edges between named nodes, with what other columns say of nodes, edges and graphs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgenet.data.own.columns import as_number
from edgenet.data.own.table import Table, read_csv
from edgenet.errors import DataError, DatasetNotFoundError, EdgeIndexError

#: names of columns that have a meaning, the first ones of which are those of the manual
SOURCE, TARGET = ("source", "src", "from"), ("target", "dst", "to")
ID, GRAPH, WEIGHT = ("id", "node", "node_id"), ("graph", "graph_id"), ("weight", "edge_weight")
LABEL, SPLIT = ("label", "y", "class"), ("split", "mask")


@dataclass(frozen=True)
class Tables:
    """What files say of one graph or several.

    Attributes:
        nodes: a row a node; None: nodes are what the ends of edges name.
        edges: a row an edge.
        graphs: a row a graph; None: there is one, or graphs have no columns.
        undirected: whether the file itself says that edges have no direction; None: it does not say.
    """

    where: str
    edges: Table
    nodes: Table | None = None
    graphs: Table | None = None
    undirected: bool | None = None

    def of(self, task: str) -> Table | None:
        """The table whose rows are learned of."""
        return {"node": self.nodes, "edge": self.edges, "graph": self.graphs}[task]


@dataclass(frozen=True)
class Wiring:
    """Which node each end of an edge is, and which graph each node is in, by their rows.

    Attributes:
        names: of the N nodes.
        edge_index: (2, E) int64.
        graph_of: (N,) int64; None where there is one graph.
        graph_names: of the graphs.
    """

    names: list[str]
    edge_index: np.ndarray
    graph_of: np.ndarray | None
    graph_names: list[str]


def read_tables(path: Path, nodes: str | None = None, graphs: str | None = None) -> Tables:
    """The csv files of a graph: ``path`` holds the edges, or is a folder of edges.csv, nodes.csv and graphs.csv.

    Raises:
        DatasetNotFoundError: if a file is not there.
        DataError: as ``read_csv``.
    """
    files: dict[str, Path | None] = {"edges": path, "nodes": None, "graphs": None}
    if path.is_dir():
        files = {name: _in(path, name) for name in files}
        if files["edges"] is None:
            raise DatasetNotFoundError(f"{path}: holds no edges.csv. A folder of tables has edges.csv and nodes.csv.")
    files |= {name: Path(given) for name, given in (("nodes", nodes), ("graphs", graphs)) if given is not None}
    for file in files.values():
        if file is not None and not file.is_file():
            raise DatasetNotFoundError(f"{file}: no such file.")
    read = {name: None if file is None else read_csv(file) for name, file in files.items()}
    edges = read["edges"]
    assert edges is not None
    return Tables(str(path), edges, read["nodes"], read["graphs"])


def wired(tables: Tables) -> Wiring:
    """Nodes by number, edges between them.

    Raises:
        DataError: if the ends of edges or the names of nodes have no column, or a name comes twice.
        EdgeIndexError: if an edge names a node that is not there, or joins two graphs; with its line.
    """
    edges, nodes = tables.edges, tables.nodes
    ends = [edges.one(names) for names in (SOURCE, TARGET)]
    if ends[0] is None or ends[1] is None:
        raise DataError(
            f"{edges.where}: an edge has two columns, source and target; there are {', '.join(edges.columns)}. Rename "
            f"the columns that hold its ends."
        )
    columns = [edges.columns[name] for name in ends if name is not None]
    graph = edges.one(GRAPH)
    given = None if graph is None else edges.columns[graph]
    if nodes is None:
        if given is not None:
            raise DataError(
                f"{edges.where}: has a column {graph!r}; of several graphs give the nodes too: --nodes FILE."
            )
        names = list(dict.fromkeys(cell for pair in zip(*columns, strict=True) for cell in pair))
        if names and all(as_number(name) is not None for name in names):
            names.sort(key=lambda name: (as_number(name) or 0.0, name))
        keys: list[tuple[str, ...]] = [(name,) for name in names]
        graph_of, graph_names = None, []
    else:
        names, keys, graph_of, graph_names = _nodes(nodes, given is not None, tables.graphs)
    place = {key: number for number, key in enumerate(keys)}
    index = np.empty((2, len(edges)), dtype=np.int64)
    for side, column in enumerate(columns):
        for row, cell in enumerate(column):
            key = (cell,) if given is None else (given[row], cell)
            if key not in place:
                named = f"{cell!r}" if given is None else f"{cell!r} of graph {given[row]!r}"
                raise EdgeIndexError(
                    f"{edges.at(row)}: the edge names the node {named}, which {nodes.where if nodes else 'no table'} "
                    f"has not. Add its row there, or take the edge away."
                )
            index[side, row] = place[key]
    if graph_of is not None:
        apart = np.flatnonzero(graph_of[index[0]] != graph_of[index[1]])
        if len(apart):
            raise EdgeIndexError(f"{edges.at(int(apart[0]))}: the edge joins two graphs, and each is by itself.")
    return Wiring(names, index, graph_of, graph_names)


def _nodes(
    nodes: Table, by_graph: bool, graphs: Table | None
) -> tuple[list[str], list[tuple[str, ...]], np.ndarray | None, list[str]]:
    """Names of the nodes, what edges call them by, the graph of each, and the graphs' names."""
    called, graph = nodes.one(ID), nodes.one(GRAPH)
    if called is None:
        raise DataError(f"{nodes.where}: a node has a column id; there are {', '.join(nodes.columns)}. Rename one.")
    if by_graph and graph is None:
        raise DataError(f"{nodes.where}: edges say which graph they are in, and nodes do not: give a column graph.")
    names = nodes.columns[called]
    homes = None if graph is None else nodes.columns[graph]
    keys = [(name,) if not by_graph or homes is None else (homes[row], name) for row, name in enumerate(names)]
    _check_once(nodes, keys, called)
    if homes is None:
        return names, keys, None, []
    graph_names = list(dict.fromkeys(homes))
    if graphs is not None:
        told = graphs.one(GRAPH) or graphs.one(("id",))
        if told is None:
            raise DataError(f"{graphs.where}: a graph has a column graph; there are {', '.join(graphs.columns)}.")
        _check_once(graphs, [(name,) for name in graphs.columns[told]], told)
        known = set(graphs.columns[told])
        for row, home in enumerate(homes):
            if home not in known:
                raise DataError(f"{nodes.at(row)}: is of graph {home!r}, which {graphs.where} has not.")
        empty = [name for name in graphs.columns[told] if name not in set(graph_names)]
        if empty:
            raise DataError(f"{graphs.where}: graph {empty[0]!r} has no node in {nodes.where}.")
        graph_names = graphs.columns[told]
    place = {name: number for number, name in enumerate(graph_names)}
    return names, keys, np.array([place[home] for home in homes], dtype=np.int64), graph_names


def _check_once(table: Table, keys: list[tuple[str, ...]], column: str) -> None:
    seen: dict[tuple[str, ...], int] = {}
    for row, key in enumerate(keys):
        if key[-1] == "" or key in seen:
            what = "is empty" if key[-1] == "" else f"holds {key[-1]!r}, as {table.at(seen[key])} does"
            raise DataError(f"{table.at(row)}: column {column!r} {what}; every row has a name of its own.")
        seen[key] = row


def _in(folder: Path, name: str) -> Path | None:
    found = [folder / f"{name}{suffix}" for suffix in (".csv", ".tsv") if (folder / f"{name}{suffix}").is_file()]
    return found[0] if found else None
