"""Data sets by name, split and checked: ``load("cora")``.

Five tasks: saying something of nodes, of pairs of nodes, of graphs, of signals on a fixed graph, and of sequences
(``Dataset``). What is known of every set stands in ``DATASETS``; a file of your own is loaded by its path (``load_file``
says which kinds), and ``read_graph`` reads back what ``export`` wrote. Nothing in a data file is ever executed, no global random state
is touched.
"""

from edgenet.data.catalogue import DATASETS, Recipe, available, describe, load, prepare
from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset, Facts
from edgenet.data.fresh_batches import Fresh, fresh
from edgenet.data.graph_file import export, read_graph
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
