"""Arguments that say what is learned of a user's own data."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgenet.cli.named import data_of, is_code

if TYPE_CHECKING:
    from edgenet.data import Dataset

#: argument -> its help; all but the first two are options of ``edgenet.data.load_file``
_TEXTS = {
    "nodes": "the table of nodes (.csv) beside a table of edges",
    "graphs": "the table of graphs (.csv)",
    "task": "node, edge or graph: what has answers; found out where one alone has",
    "target": "the column, or columns with commas between, or the field to learn (default: label, y or class)",
    "kind": "class, multilabel or value; found out from the answers",
    "split": "a column that says train, val or test; the number of a column of masks; or shares such as 0.6,0.2,0.2",
    "metric": "judge by it: accuracy, macro_f1, auroc, micro_f1, average_precision, rmse, mae, r2, bits",
}


def add_own_data(parser: argparse.ArgumentParser, use: str | None = None) -> None:
    """``--data`` and what belongs to it; ``use`` says what for, where that is not plain."""
    group = parser.add_argument_group("data of your own", use)
    text = "a file (.csv, .tsv, .npz, .pt, .graphml), a folder of tables, a data set by name, or module:function"
    group.add_argument("--data", metavar="FILE", help=text)
    for name, text in _TEXTS.items():
        choices = {"task": ("node", "edge", "graph"), "kind": ("class", "multilabel", "value")}.get(name)
        dest = f"own_{name}"  # the commands have a target, and predict its graphs, of their own
        group.add_argument(f"--{name}", dest=dest, choices=choices, metavar=name.upper(), help=text)
    group.add_argument(
        "--undirected", dest="own_undirected", action="store_true", default=None, help="take every edge both ways"
    )
    group.add_argument(
        "--ignore", dest="own_ignore", metavar="COLUMNS", help="columns that are no features, with commas between"
    )


def own_data(options: argparse.Namespace) -> dict[str, Any]:
    """The options of the data that were given."""
    given = {name: getattr(options, f"own_{name}") for name in (*_TEXTS, "undirected", "ignore")}
    return {name: value for name, value in given.items() if value is not None}


def read_own_data(options: argparse.Namespace) -> Dataset:
    """The data of ``--data``, with their options.

    Raises:
        ConfigError, DatasetNotFoundError, DataError: as ``edgenet.data.load``, and ``named.data_of``.
    """
    from edgenet.data import load

    if is_code(options.data):
        return data_of(options.data, own_data(options))
    return load(options.data, root=options.data_root, **own_data(options))
