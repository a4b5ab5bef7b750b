"""Data sets by name, split and checked: ``load("cora")``.

Three tasks: classifying nodes, reading a class or a value off signals on a fixed graph, and saying something of
sequences, step by step or whole (``Dataset``). What is known of every set stands in ``DATASETS``; a set of your own is
one more entry, or a graph file read by ``read_graph``. Nothing in a data file is ever executed, no global random state
is touched.
"""

from edgenet.data.catalogue import DATASETS, Recipe, available, describe, load, prepare
from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset, Facts
from edgenet.data.fresh import Fresh, fresh
from edgenet.data.graph_file import export, read_graph
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
    "prepare",
    "read_graph",
]
