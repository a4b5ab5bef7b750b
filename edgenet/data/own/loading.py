"""Loading a user's own data: a file of any kind that is known, or what a function of theirs returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet import reading
from edgenet.data.dataset import Dataset
from edgenet.data.own.arrays import (
    as_graphs,
    checked_graph,
    finished,
    joined,
    learn_of_data,
    read_arrays,
)
from edgenet.data.own.building import Found, learn_of, whole_of
from edgenet.data.own.choice import Choice
from edgenet.data.own.graphml import read_graphml
from edgenet.data.own.learned import Learned
from edgenet.data.own.names import ARRAY_FILES, PICKLES, SUFFIXES, TABLE_FILES
from edgenet.data.own.pyg_file import read_pt
from edgenet.data.own.tables import Tables, read_tables, wired
from edgenet.errors import ConfigError, DataError, DatasetNotFoundError, ShapeError
from edgenet.text import did_you_mean


@dataclass(frozen=True)
class Questions:
    """Graphs to predict of, and what their rows are called.

    Attributes:
        graphs: one for nodes and edges, which ``edge_label_index`` names; for graphs one each.
        rows: columns that name the rows: node, or source and target, or graph.
    """

    graphs: list[Data]
    rows: dict[str, list[str]]


def load_file(
    path: str | Path,
    *,
    nodes: str | None = None,
    graphs: str | None = None,
    task: str | None = None,
    target: str | Sequence[str] | None = None,
    kind: str | None = None,
    split: str | int | list[float] | None = None,
    metric: str | None = None,
    undirected: bool | None = None,
    ignore: Sequence[str] = (),
    seed: int = 0,
) -> Dataset:
    """A user's own data, split, ready to train on.

    ==================  ================================================================================================
    ``.csv``, ``.tsv``  edges, a row each: columns source and target, weight where there is one, label and split where
                        edges are learned of; other columns are features of the edges
    a folder            ``edges.csv``; ``nodes.csv``: a column id, label and split, features; ``graphs.csv``: a column
                        graph, label and split, where nodes have a column graph
    ``.npz``            edge_index (2, E), x (N, F), y, edge_weight, edge_attr, batch, edge_label_index and edge_label,
                        train_mask, val_mask, test_mask (of several columns, if there are several splits)
    ``.pt``, ``.pth``   ``torch.save`` of a PyG ``Data``, of a list of them, or PyG's own ``processed/data.pt``
    ``.graphml``        nodes and edges with attributes, as tables
    ==================  ================================================================================================

    Args:
        path: the file, or the folder.
        nodes, graphs: other files of tables beside ``path``.
        task: "node", "edge" or "graph"; found out where one alone has answers.
        target: the column to learn, or several; of arrays the field. Default: label, y or class; of edges edge_label.
        kind: "class", "multilabel" or "value"; see ``answers.of_columns`` for what is found out.
        split: a column that says train, val or test; the number of a column of masks; or shares, "0.6,0.2,0.2".
            Default: what the file has, else these shares. Rows without an answer are in no part.
        metric: what is judged by; default: accuracy, micro_f1 or rmse.
        undirected: take every edge both ways. Default: as the file says; tables and arrays say nothing, and are taken
            as they are.
        ignore: columns that are no features.
        seed: of the shares.

    Raises:
        DatasetNotFoundError: there is no such file.
        DataError, EdgeIndexError, ShapeError: it has bad content. Nothing in it is ever executed.
        ConfigError: it is not plain what is to be learned, or an option does not fit.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("edges.csv").write_text("source,target\\nann,bob\\nbob,cid\\ncid,dan\\ndan,eve\\neve,ann\\n")
        >>> _ = Path("nodes.csv").write_text("id,age,label\\nann,31,a\\nbob,28,b\\ncid,44,a\\ndan,19,b\\neve,52,a\\n")
        >>> own = edgenet.data.load_file("edges.csv", nodes="nodes.csv", split="0.6,0.2,0.2")
        >>> own.num_features, own.num_outputs
        (1, 2)
    """
    choice = choice_of(task, target, kind, split, metric, undirected, ignore, seed)
    content = _read(Path(path), nodes, graphs, choice.target)
    if isinstance(content, Tables):
        return dataset_of(learn_of(content, choice), choice, str(path))
    return dataset_of(learn_of_data(content, choice, str(path)), choice, str(path))


def load_object(thing: Any, name: str, options: Mapping[str, Any]) -> Dataset:
    """What a user's function returned, as a data set.

    Args:
        thing: a ``Dataset``, a ``Data``, a list of them, or three of these for train, val and test.
        name: in messages.
        options: as of ``load_file``.

    Raises:
        as ``load_file``.

    Example:
        >>> from torch_geometric.data import Data
        >>> data = Data(x, edges, y=torch.tensor([0, 1, 0, 1]))
        >>> edgenet.data.load_object(data, "ring", {"split": "0.5,0.25,0.25"}).num_outputs
        2
    """
    if isinstance(thing, Dataset):
        if options:
            raise ConfigError(
                f"{name}: gave a Dataset, which says all of itself; {', '.join(options)} would do nothing."
            )
        return thing
    for option in ("nodes", "graphs"):
        if option in options:
            raise ConfigError(f"{name}: gave data of arrays; {option} names a table beside a file.")
    graphs, given = as_graphs(thing, name)
    choice = choice_of(**{**dict.fromkeys(_CHOICES), **options})
    return dataset_of(learn_of_data(graphs, choice, name, given), choice, name)


def questions_of(thing: Any, learned: Learned, nodes: str | None = None, graphs: str | None = None) -> Questions:
    """What a trained model is asked about: data as those it was trained on; answers are not read.

    Args:
        thing: a path, or a ``Data`` or a list of them.

    Raises:
        DataError: if columns are missing, or features differ in number from those of the training.
    """
    where = str(thing) if isinstance(thing, str | Path) else "the data"
    content = _read(Path(thing), nodes, graphs, None) if isinstance(thing, str | Path) else as_graphs(thing, where)[0]
    if isinstance(content, Tables):
        if learned.nodes is None:
            raise DataError(f"{where}: has tables, and the model was trained on arrays; their columns are not known.")
        wiring = wired(content)
        whole = whole_of(content, wiring, learned)
        graph_of = None if wiring.graph_of is None else torch.from_numpy(wiring.graph_of)
        names, graph_names = wiring.names, wiring.graph_names
    else:
        if learned.nodes is not None and not learned.degrees:
            raise DataError(f"{where}: has arrays, and the model was trained on tables, whose columns it reads.")
        several = len(content) > 1
        whole, graph_of = joined([checked_graph(data, where) for data in content], where)
        if learned.task == "edge" and whole.get("edge_label_index") is None:
            whole.edge_label_index = whole.edge_index
            if whole.get("edge_attr") is not None:
                whole.edge_label_attr = whole.edge_attr
        whole = finished(whole, learned, where)
        names = list(map(str, range(int(whole.num_nodes))))
        graph_of = graph_of if several or content[0].get("batch") is not None else None
        graph_names = []
    if whole.x.shape[-1] != learned.num_features:
        raise ShapeError(
            f"{where}: nodes have {whole.x.shape[-1]} features, and the model was trained on {learned.num_features}."
        )
    if learned.task == "edge":
        found = whole.edge_label_attr.shape[-1] if "edge_label_attr" in whole else 0
        if found != learned.edge_features:
            raise ShapeError(
                f"{where}: edges have {found} features, and the model was trained on {learned.edge_features}."
            )
        source, target = ([names[node] for node in side.tolist()] for side in whole.edge_label_index)
        return Questions([whole], {"source": source, "target": target})
    if learned.task == "graph":
        of = torch.zeros(int(whole.num_nodes), dtype=torch.int64) if graph_of is None else graph_of
        pieces = pieces_of(whole, of)
        return Questions(pieces, {"graph": graph_names or list(map(str, range(len(pieces))))})
    rows = {"node": names}
    if graph_of is not None and graph_names:
        rows = {"graph": [graph_names[number] for number in graph_of.tolist()], **rows}
    return Questions([whole], rows)


def dataset_of(found: Found, choice: Choice, name: str) -> Dataset:
    """A data set of what was found, with what predictions need in its ``info``.

    Raises:
        DataError: if there is nothing to tell apart.
    """
    answers, learned, warnings = found.answers, found.learned, list(found.warnings)
    if answers.kind == "class" and len(answers.names) < 2:
        raise DataError(
            f"{name}: all answers are {', '.join(answers.names) or 'empty'}; two classes at least are wanted."
        )
    if learned.degrees:
        warnings.append(f"{name}: nodes have no features; they get log(1 + edges that come in), and 1.")
    if answers.kind == "class":
        trained = set(answers.y[torch.from_numpy(found.masks["train"])].tolist())
        unseen = [text for number, text in enumerate(answers.names) if number not in trained]
        if unseen:
            warnings.append(f"{name}: no row to train on is of class {', '.join(unseen[:5])}.")
    sizes = {split: int(mask.sum()) for split, mask in found.masks.items()}
    info = {"found": name, "sizes": sizes, "seed": choice.seed, "learned": learned.to_dict(), "warnings": warnings}
    masks = {split: torch.from_numpy(mask) for split, mask in found.masks.items()}
    lists: list[list[Data]]
    if found.graph_of is None:
        data = found.whole
        data["edge_label" if learned.task == "edge" else "y"] = answers.y
        for split, mask in masks.items():
            data[f"{split}_mask"] = mask
        lists = [[data], [data], [data]]
    else:
        pieces = pieces_of(found.whole, found.graph_of)
        for number, data in enumerate(pieces):
            data.y = answers.y[number : number + 1]
        lists = [[pieces[number] for number in mask.nonzero().flatten().tolist()] for mask in masks.values()]
    return Dataset(
        Path(name.rpartition(":")[2]).stem or name, learned.task, answers.kind, choice.metric_of(answers.kind),
        learned.num_features, learned.num_outputs, *lists, info,
    )  # fmt: skip


def pieces_of(whole: Data, graph_of: Tensor) -> list[Data]:
    """Every graph by itself, of one that falls into pieces."""
    count = int(graph_of.max()) + 1 if len(graph_of) else 0
    node_order, edge_graph = graph_of.argsort(stable=True), graph_of[whole.edge_index[0]]
    edge_order = edge_graph.argsort(stable=True)
    sizes = torch.bincount(graph_of, minlength=count)
    starts, place = sizes.cumsum(0) - sizes, torch.empty_like(node_order)
    place[node_order] = torch.arange(len(node_order)) - starts[graph_of[node_order]]
    edge_sizes = torch.bincount(edge_graph, minlength=count).tolist()
    pieces = []
    for nodes, edges in zip(node_order.split(sizes.tolist()), edge_order.split(edge_sizes), strict=True):
        fields = {name: whole[name][edges] for name in ("edge_weight", "edge_attr") if name in whole}
        pieces.append(
            Data(x=whole.x[nodes], edge_index=place[whole.edge_index[:, edges]], **fields, num_nodes=len(nodes))
        )
    return pieces


_CHOICES = ("task", "target", "kind", "split", "metric", "undirected", "ignore", "seed")


def choice_of(
    task: Any, target: Any, kind: Any, split: Any, metric: Any, undirected: Any, ignore: Any, seed: Any
) -> Choice:
    """The choice that options make; names may come as one text with commas.

    Raises:
        ConfigError: if one is of another kind.
    """

    def names(value: Any, what: str) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else () if value is None else value
        if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
            raise ConfigError(f"{what} names columns, got {value!r}.")
        found = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
        if value and not found:
            raise ConfigError(f"{what} names columns, got {value!r}.")
        return found

    if undirected is not None and not isinstance(undirected, bool):
        raise ConfigError(f"undirected is true or false, got {undirected!r}.")
    if isinstance(split, str) and split.strip().isdigit():
        split = int(split)
    if split is not None and (isinstance(split, bool) or not isinstance(split, str | int | list)):
        raise ConfigError(f"split is a column, a number of one, or three shares such as 0.6,0.2,0.2; got {split!r}.")
    return Choice(
        task,
        names(target, "target"),
        kind,
        split,
        metric,
        undirected,
        names(ignore, "ignore"),
        0 if seed is None else seed,
    )


def _read(path: Path, nodes: str | None, graphs: str | None, target: Sequence[str] | None) -> Tables | list[Data]:
    """The tables or the arrays of a file. ``target``: fields that may be there too; None: those that may are not known,
    and unread."""
    path = path.expanduser()
    suffix = path.suffix.lower()
    if not path.exists():
        raise DatasetNotFoundError(f"{path}: no such file.")
    if suffix in PICKLES or (suffix not in ARRAY_FILES and reading.first_bytes(path, 1) == b"\x80"):
        raise DataError(
            f"{path}: is a pickle, which can run any code when it is read, so it is not. Where it holds a graph of "
            f"networkx, networkx.write_graphml(graph, '{path.stem}.graphml') writes a file that can be."
        )
    if path.is_dir() or suffix in TABLE_FILES:
        return read_tables(path, nodes, graphs)
    if nodes is not None or graphs is not None:
        raise ConfigError(f"{path}: has its nodes in itself; --nodes and --graphs go with tables of edges (.csv).")
    if suffix == ".graphml":
        return read_graphml(path)
    if suffix not in ARRAY_FILES:
        near = did_you_mean(suffix, SUFFIXES)
        raise DataError(f"{path}: is of no kind that is read; these are {', '.join(SUFFIXES)}, and folders.{near}")
    if suffix == ".npz":
        return [read_arrays(path, target)]
    content = read_pt(path)
    return content if isinstance(content, list) else [content]
