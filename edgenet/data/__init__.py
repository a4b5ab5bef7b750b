"""Data sets by name, split and checked: ``load("cora")``.

Five tasks: saying something of nodes, of pairs of nodes, of graphs, of signals on a fixed graph, and of sequences
(``Dataset``). What is known of every set stands in ``DATASETS``; a file of your own is loaded by its path, of the kinds
that ``load_file`` tells, and ``read_graph`` reads back what ``export`` wrote. Nothing in a data file is ever executed,
no global random state is touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgenet.data.catalogue import DATASETS, Recipe, available, describe
from edgenet.data.facts import Facts

if TYPE_CHECKING:
    from edgenet.data.check import check_data
    from edgenet.data.dataset import Dataset
    from edgenet.data.fresh_batches import Fresh, fresh
    from edgenet.data.graph_file import export, read_graph
    from edgenet.data.opening import load, prepare
    from edgenet.data.own import load_file, load_object
    from edgenet.data.sequences import check_sequences

__all__ = [
    "DATASETS",
    "Dataset",
    "Facts",
    "Fresh",
    "Recipe",
    "available",
    "check_data",
    "check_sequences",
    "describe",
    "export",
    "fresh",
    "load",
    "load_file",
    "load_object",
    "prepare",
    "read_graph",
]

_FROM = {
    "Dataset": "dataset",
    "Fresh": "fresh_batches",
    "check_data": "check",
    "check_sequences": "sequences",
    "export": "graph_file",
    "fresh": "fresh_batches",
    "load": "opening",
    "load_file": "own",
    "load_object": "own",
    "prepare": "opening",
    "read_graph": "graph_file",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line lists data sets without loading torch."""
    if name in _FROM:
        return getattr(import_module(f"edgenet.data.{_FROM[name]}"), name)
    if name in DATASETS or name == "planetoid":  # the modules that make them
        return import_module(f"edgenet.data.{name}")
    raise AttributeError(f"module 'edgenet.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
