"""GraphML, which networkx, Gephi and igraph write: read as tables of nodes and edges."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from edgenet import reading
from edgenet.data.own.table import Table
from edgenet.data.own.tables import Tables
from edgenet.errors import DataError

_DEPTH = 64
_TAG = re.compile(rb"<(/?)[^<>!?]*?(/?)>")


def read_graphml(path: Path) -> Tables:
    """The nodes and edges of a file, with their attributes as columns.

    Raises:
        DataError: if the file is no GraphML, or an attribute is called as an end of an edge.
    """
    import networkx

    text = reading.content(path, reading.DATA, DataError)
    _check_tags(text, path)
    try:
        graph = networkx.read_graphml(io.BytesIO(text))
    except Exception as error:  # parsers raise their own, and networkx what its lines happen to
        raise DataError(f"{path}: no GraphML that can be read ({type(error).__name__}: {str(error)[:80]}).") from error
    nodes = [(("id", str(name)), *_texts(values)) for name, values in graph.nodes(data=True)]
    ends = [(("source", str(a)), ("target", str(b)), *_texts(values)) for a, b, values in graph.edges(data=True)]
    if not nodes:
        raise DataError(f"{path}: holds no nodes.")
    return Tables(
        str(path), _table(f"{path}, edges", ends, ["source", "target"]), _table(f"{path}, nodes", nodes, ["id"]),
        undirected=not graph.is_directed(),
    )  # fmt: skip


def _check_tags(text: bytes, path: Path) -> None:
    """Refuse definitions, of which a few lines may stand for gigabytes, and trees whose depth no graph has."""
    plain = text.replace(b"\0", b"")  # of UTF-16 too
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise DataError(f"{path}: no GraphML that is read: it defines entities. Write it anew without a DOCTYPE.")
    depth = 0
    for tag in _TAG.finditer(plain):
        depth += -1 if tag[1] else 0 if tag[2] else 1
        if depth > _DEPTH:
            raise DataError(f"{path}: no GraphML that is read: elements stand more than {_DEPTH} deep in each other.")


def _texts(values: dict[Any, Any]) -> list[tuple[str, str]]:
    return [(str(name), str(value).strip()) for name, value in values.items()]


def _table(where: str, rows: list[tuple[tuple[str, str], ...]], own: list[str]) -> Table:
    """Rows of pairs as columns; what is not said of a row is empty."""
    for row in rows:
        taken = [name for name, _ in row[len(own) :] if name in own]
        if taken:
            raise DataError(f"{where}: an attribute is called {taken[0]!r}, as that which every row has. Rename it.")
    names = list(dict.fromkeys([*own, *(name for row in rows for name, _ in row)]))
    columns: dict[str, list[str]] = {name: [] for name in names}
    for row in rows:
        said = dict(row)
        for name in names:
            columns[name].append(said.get(name, ""))
    return Table(where, columns)
