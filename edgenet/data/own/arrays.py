"""Graphs of arrays: of an ``.npz`` or ``.pt`` file, or what a user's function returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from edgenet.data.check import check_edge_index, check_finite
from edgenet.data.files import read_npz
from edgenet.data.graph_file import MAX_NODES
from edgenet.data.own.answers import Answers, of_array
from edgenet.data.own.building import Found, both_ways, degree_features
from edgenet.data.own.choice import Choice
from edgenet.data.own.learned import Learned
from edgenet.data.own.splitting import SPLITS, Masks, checked
from edgenet.errors import ConfigError, DataError, ShapeError

#: arrays that an ``.npz`` file may have; of others --target can name those to learn
ARRAYS = (
    "edge_index", "num_nodes", "x", "y", "edge_weight", "edge_attr", "batch", "edge_label_index", "edge_label",
    "train_mask", "val_mask", "test_mask",
)  # fmt: skip


def read_arrays(path: Path, target: Sequence[str] | None = ()) -> Data:
    """The arrays of an ``.npz`` file as a ``Data``.

    Args:
        target: names that are known besides ``ARRAYS``; None: any may be there.

    Raises:
        DataError: if the file is damaged, lacks ``edge_index``, or an array is of no numbers, or of an unknown name.
    """
    arrays = read_npz(path)
    unknown = [] if target is None else [name for name in arrays if name not in (*ARRAYS, *target)]
    if unknown or "edge_index" not in arrays:
        amiss = f"holds {', '.join(unknown)}" if unknown else "lacks edge_index"
        raise DataError(f"{path}: {amiss}; a graph file has edge_index and may have {', '.join(ARRAYS[1:])}.")
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise DataError(f"{path}: {name} is of dtype {array.dtype}; wanted numbers.")
    count = arrays.pop("num_nodes", None)
    if count is not None and (count.size != 1 or count.dtype.kind not in "iu" or int(count.item()) < 0):
        raise DataError(f"{path}: num_nodes is one whole number, got {count.tolist()!r:.80}.")
    kinds = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}
    data = Data(**{name: torch.from_numpy(array.astype(kinds[array.dtype.kind])) for name, array in arrays.items()})
    data.num_nodes = nodes_of(data) if count is None else int(count.item())
    return data


def learn_of_data(graphs: Sequence[Data], choice: Choice, where: str, given: Sequence[int] | None = None) -> Found:
    """The graphs as one, the answers and the split.

    Args:
        graphs: one, or several.
        given: how many of the graphs, in their order, are for train, val and test.

    Raises:
        DataError, ShapeError, EdgeIndexError: if arrays do not fit together.
        ConfigError: if it is not plain what is to be learned.
    """
    if choice.ignore:
        raise ConfigError(f"{where}: ignore leaves out columns of tables, and these data have none.")
    several = len(graphs) > 1 or graphs[0].get("batch") is not None
    whole, graph_of = joined([checked_graph(data, where) for data in graphs], where)
    task, name = _aim(graphs, whole, graph_of, choice, where, several)
    field = whole if task != "graph" or len(graphs) == 1 else None
    y = field[name] if field is not None else torch.cat([_row(data[name], where) for data in graphs])
    rows = {"node": int(whole.num_nodes), "graph": int(graph_of.max()) + 1}.get(task)
    if task == "edge":
        rows = _pairs(whole, where).shape[1]
        whole.edge_label_index = _pairs(whole, where)
        if whole.get("edge_attr") is not None and rows == whole.edge_index.shape[1]:
            whole.edge_label_attr = whole.edge_attr
    y = y.reshape(1) if y.dim() == 0 else y
    if len(y) != rows:
        raise DataError(f"{where}: {name} has {len(y)} rows, and there are {rows} {task}s to learn of.")
    answers = of_array(y, choice.kind, f"{where}, {name}")
    masks = _masks(whole, answers, choice, where, task, graph_of, given)
    undirected = bool(choice.undirected)
    learned = Learned(task, answers.kind, answers.names, 0, 0, degrees=whole.get("x") is None, undirected=undirected)
    whole = finished(whole, learned, where)
    width = whole.edge_label_attr.shape[-1] if "edge_label_attr" in whole else 0
    learned = Learned(task, answers.kind, answers.names, whole.x.shape[-1], width, degrees=learned.degrees,
                      undirected=undirected)  # fmt: skip
    return Found(whole, graph_of if task == "graph" else None, answers, masks, learned)


def finished(whole: Data, learned: Learned, where: str) -> Data:
    """The fields that models read, and no others; edges both ways, and degrees for features, where these are wanted."""
    kept = ("edge_index", "x", "edge_weight", "edge_attr", "edge_label_index", "edge_label_attr")
    data = Data(**{name: whole[name] for name in kept if whole.get(name) is not None}, num_nodes=whole.num_nodes)
    if learned.undirected:
        data.edge_index, back = both_ways(whole.edge_index, int(whole.num_nodes))
        for name in ("edge_weight", "edge_attr"):
            if name in data:
                data[name] = torch.cat([whole[name], whole[name][back]])
    if learned.degrees:
        data.x = degree_features(data.edge_index, int(whole.num_nodes))
    elif data.get("x") is None:
        raise ShapeError(f"{where}: has no features x, and the model was trained on {learned.num_features} a node.")
    return data


def joined(graphs: Sequence[Data], where: str) -> tuple[Data, Tensor]:
    """Graphs as one that falls into pieces; and the graph of every node."""
    sizes = torch.tensor([int(data.num_nodes) for data in graphs])
    if len(graphs) == 1:
        batch = graphs[0].get("batch")
        count = int(sizes[0])
        if batch is not None:
            whole = batch.shape == (count,) and not batch.is_floating_point()
            if not whole or (count and not 0 <= int(batch.min()) <= int(batch.max()) < count):
                raise ShapeError(f"{where}: batch is the graph of each of {count} nodes, a whole number from 0 on.")
        return graphs[0], torch.zeros(count, dtype=torch.int64) if batch is None else batch.long()
    starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    fields: dict[str, Any] = {}
    for name in set().union(*(set(data.keys()) for data in graphs)) - {"num_nodes"}:
        parts = [data.get(name) for data in graphs]
        lacking = next((number for number, part in enumerate(parts) if not isinstance(part, Tensor)), None)
        if lacking is not None:
            raise DataError(f"{where}: graph {lacking} has no {name}, and others have one.")
        moved = [p + starts[k] if name in ("edge_index", "edge_label_index") else p for k, p in enumerate(parts)]
        shapes = {p.shape[1:] if p.dim() and name not in ("edge_index", "edge_label_index") else 0 for p in moved}
        if len(shapes) > 1:
            raise ShapeError(f"{where}: {name} is of different widths in different graphs.")
        along = -1 if name in ("edge_index", "edge_label_index") else 0
        fields[name] = torch.cat([p.reshape(1) if p.dim() == 0 else p for p in moved], dim=along)
    whole = Data(**fields, num_nodes=int(sizes.sum()))
    return whole, torch.repeat_interleave(torch.arange(len(graphs)), sizes)


def checked_graph(data: Data, where: str) -> Data:
    """A copy whose numbers are float32 and int64, refused where no model could use it."""
    made = Data(**{name: value for name, value in data.to_dict().items() if isinstance(value, Tensor)})
    made.num_nodes = int(data.num_nodes or 0)
    if made.get("edge_index") is None:
        raise DataError(
            f"{where}: there is no edge_index; there are {', '.join(map(str, data.keys())) or 'no fields'}."
        )
    check_edge_index(made.edge_index, made.num_nodes, where)
    if made.num_nodes > MAX_NODES and made.get("x") is None:
        raise DataError(f"{where}: claims {made.num_nodes:,} nodes; without features there may be {MAX_NODES:,}.")
    edges = made.edge_index.shape[1]
    if made.get("x") is not None:
        x = made.x.reshape(-1, 1) if made.x.dim() == 1 else made.x
        if x.dim() != 2 or len(x) != made.num_nodes or x.is_complex():
            raise ShapeError(f"{where}: x is (nodes, features) for {made.num_nodes} nodes, got {tuple(x.shape)}.")
        made.x = x.float()
        check_finite(made.x, "x", where)
    for name in ("edge_weight", "edge_attr"):
        value = made.get(name)
        if value is None:
            continue
        if value.dim() not in ((1,) if name == "edge_weight" else (1, 2)) or len(value) != edges:
            raise ShapeError(f"{where}: {name} has a row for each of {edges} edges, got {tuple(value.shape)}.")
        made[name] = value.float() if name == "edge_weight" or value.dim() == 2 else value.float().unsqueeze(1)
        check_finite(made[name], name, where)
    return made


def nodes_of(data: Data) -> int:
    """How many nodes there are: rows of x, or of batch, or one more than the largest end of an edge."""
    for name in ("x", "batch"):
        if data.get(name) is not None:
            return len(data[name])
    edges = data.edge_index
    return int(edges.max()) + 1 if edges.numel() and not edges.is_floating_point() else 0


def _aim(
    graphs: Sequence[Data], whole: Data, graph_of: Tensor, choice: Choice, where: str, several: bool
) -> tuple[str, str]:
    """What is learned of, and the name of the field with the answers."""
    if len(choice.target) > 1:
        raise ConfigError(f"{where}: of arrays one is learned, with a column for every label; got {choice.target}.")
    edge = "edge_label" in whole and choice.task in (None, "edge")
    name = choice.target[0] if choice.target else "edge_label" if edge else "y"
    if whole.get(name) is None:
        held = ", ".join(key for key in map(str, whole.keys()) if key != "num_nodes")
        raise DataError(f"{where}: has no {name} to learn; there are {held}. Name the field: --target FIELD.")
    rows = len(whole[name]) if whole[name].dim() else 1
    count = int(graph_of.max()) + 1 if several and len(graph_of) else 0
    sizes = {"graph": count, "node": int(whole.num_nodes), "edge": _pairs(whole, where).shape[1]}
    if choice.task is not None:
        return choice.task, name
    if name == "edge_label":
        return "edge", name
    fits = [task for task, size in sizes.items() if size and size == rows]
    if not fits:
        told = ", ".join(f"{size} {task}s" for task, size in sizes.items())
        raise DataError(f"{where}: {name} has {rows} rows, and there are {told}: it is an answer of none of them.")
    if len(fits) > 1 and not (several and fits[0] == "graph"):
        if "node" in fits:
            return "node", name
        raise ConfigError(f"{where}: {name} may be of {' or '.join(fits)}s; choose: --task {fits[0]}.")
    return fits[0], name


def _pairs(whole: Data, where: str) -> Tensor:
    """(2, L) pairs of nodes that are learned of: ``edge_label_index``, or the edges."""
    pairs = whole.get("edge_label_index")
    if pairs is None:
        return whole.edge_index
    check_edge_index(pairs, int(whole.num_nodes), f"{where}, edge_label_index")
    return pairs


def _row(y: Tensor, where: str) -> Tensor:
    """The answer of one graph as a row."""
    y = y.reshape(1) if y.dim() == 0 else y
    if len(y) != 1:
        raise DataError(f"{where}: a graph has one row of answers, (1,) or (1, labels); got {tuple(y.shape)}.")
    return y


def _masks(
    whole: Data, answers: Answers, choice: Choice, where: str, task: str, graph_of: Tensor, given: Sequence[int] | None
) -> Masks:
    if given is not None:
        ends = np.cumsum([0, *given])
        home = graph_of.numpy() if task == "node" else np.arange(len(answers.known))
        if task == "edge":
            home = graph_of.numpy()[whole.edge_label_index[0].numpy()]
        masks = {name: (home >= ends[k]) & (home < ends[k + 1]) & answers.known for k, name in enumerate(SPLITS)}
        return checked(masks, answers, where)
    found = {name: whole[f"{name}_mask"].numpy() for name in SPLITS if whole.get(f"{name}_mask") is not None}
    fits = {name: mask for name, mask in found.items() if len(mask) == len(answers.known)}
    pieces = int(graph_of.max()) + 1 if len(graph_of) else 0
    if fits or task != "node" or pieces < 3:
        return choice.masks_of_arrays(answers, fits, where)
    by_graph = Answers(torch.zeros(pieces), np.ones(pieces, dtype=bool), "value", ())  # no graph is in two parts
    drawn = choice.masks_of_arrays(by_graph, {}, where)
    return checked({name: mask[graph_of.numpy()] & answers.known for name, mask in drawn.items()}, answers, where)


def as_graphs(thing: Any, where: str) -> tuple[list[Data], list[int] | None]:
    """The graphs of what a function returned, and how many are for train, val and test, where it said so.

    Raises:
        DataError: if it is no ``Data``, list of them, or three of these.
    """
    if isinstance(thing, Data):
        return [thing], None
    if isinstance(thing, tuple) and len(thing) == 3 and all(isinstance(part, Data | Sequence) for part in thing):
        parts = [as_graphs(part, where)[0] for part in thing]
        return [data for part in parts for data in part], [len(part) for part in parts]
    if hasattr(thing, "__len__") and hasattr(thing, "__getitem__") and not isinstance(thing, str | Mapping | Tensor):
        graphs = [thing[number] for number in range(len(thing))]
        if graphs and all(isinstance(one, Data) for one in graphs):
            return graphs, None
    given = "None" if thing is None else f"a {type(thing).__name__}"
    raise DataError(
        f"{where}: gave {given}. Wanted are a Data of PyG, a list of them, three of these for train, val and test, or "
        f"an edgenet.data.Dataset."
    )
