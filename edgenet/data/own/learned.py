"""Learned: what a training knew of its data, which a prediction about others needs: columns, classes, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgenet import reading
from edgenet.data.own.columns import Column
from edgenet.errors import CheckpointError

FORMAT = 1
#: its name in the folder of a run
FILE = "data.json"


@dataclass(frozen=True)
class Learned:
    """What is known of a user's data after a training.

    Attributes:
        task: "node", "edge" or "graph".
        kind: "class", "multilabel" or "value".
        names: of the classes, of the labels, or of the values.
        num_features: F of a node; edge_features: of an edge, 0 for none.
        nodes, edges: how the columns of tables become features; None where the data were arrays.
        degrees: whether nodes, having no features, got two that tell how many edges come in.
        undirected: whether every edge was taken both ways.
    """

    task: str
    kind: str
    names: tuple[str, ...]
    num_features: int
    edge_features: int = 0
    nodes: tuple[Column, ...] | None = None
    edges: tuple[Column, ...] | None = None
    degrees: bool = False
    undirected: bool = False

    @property
    def num_outputs(self) -> int:
        """Scores of a row."""
        return max(1, len(self.names))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        columns = {
            name: None if value is None else [column.to_dict() for column in value]
            for name, value in (("nodes", self.nodes), ("edges", self.edges))
        }
        plain = {name: getattr(self, name) for name in ("task", "kind", "num_features", "edge_features", "degrees")}
        return {"format": FORMAT, **plain, "undirected": self.undirected, "names": list(self.names), **columns}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> Learned:
        """
        Raises:
            CheckpointError: if it is no description of data, or of another format.
        """
        if not isinstance(values, Mapping) or values.get("format") != FORMAT:
            raise CheckpointError(f"{where}: describes no data of a training, or is of another format than {FORMAT}.")
        try:
            columns = {
                name: None if values[name] is None else tuple(map(Column.from_dict, values[name]))
                for name in ("nodes", "edges")
            }
            names = tuple(map(str, values["names"]))
            sizes = {name: int(values[name]) for name in ("num_features", "edge_features")}
            truths = {name: bool(values[name]) for name in ("degrees", "undirected")}
            return cls(str(values["task"]), str(values["kind"]), names, **sizes, **truths, **columns)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise CheckpointError(f"{where}: damaged ({type(error).__name__}: {str(error)[:80]}).") from error

    @classmethod
    def read(cls, file: Path) -> Learned:
        """
        Raises:
            CheckpointError: if the file cannot be read, or is damaged.
        """
        return cls.from_dict(reading.read_json(file, CheckpointError), str(file))
