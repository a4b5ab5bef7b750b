"""predict: what a trained model says of data, answers known or not."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from edgenet.errors import ShapeError
from edgenet.train.numbers import device_of, dtype_of
from edgenet.train.task import Task


@torch.no_grad()
def predict(model: nn.Module, data: Any, *, batch_size: int = 100, name: str = "data") -> Tensor:
    """The scores of a model, a row for every node, pair of nodes, or graph, in the order of the data.

    Args:
        model: any module; it is in evaluation mode afterwards.
        data: a PyG ``Data``: a row for every node, or for every pair where it has ``edge_label_index``; or a list of
            ``Data``: a row for every graph. Their answers, if they have some, are not read.
        batch_size: graphs that are scored at once.
        name: in messages.

    Raises:
        ShapeError: if the model gives no row for each, or ``data`` is neither.
        ConfigError: if its ``forward`` wants what the data have not.

    Example:
        >>> model, karate = edgenet.NodeClassifier(34, 4), edgenet.data.load("karate")
        >>> edgenet.train.predict(model, karate.train[0]).shape
        torch.Size([34, 4])
    """
    single = isinstance(data, Data)
    graphs = [_asked(one) for one in _graphs(data, name)]
    task = Task(graphs[0] if single else graphs, batch_size=batch_size, name=name, loss="mse", metric="loss")
    task.prepare(device_of(model), dtype_of(model))
    model.eval()
    parts = [task.scores(task.output(model, batch), batch) for batch in task.source("train").ordered()]
    if not all(isinstance(part, Tensor) and part.dim() for part in parts):
        raise ShapeError(
            f"{name}: the model gives a {type(parts[0]).__name__}, and a tensor with a row each is wanted."
        )
    scores = torch.cat(parts)
    rows = _rows(graphs, single)
    if len(scores) != rows:
        raise ShapeError(
            f"{name}: the model gives {tuple(scores.shape)}, and there are {rows} rows to predict, "
            f"{_rows_are(graphs, single)}."
        )
    return scores


def _graphs(data: Any, name: str) -> list[Data]:
    """The graphs to predict of.

    Raises:
        ShapeError: if there is none, or one is no ``Data``.
    """
    graphs = [data] if isinstance(data, Data) or not isinstance(data, Iterable) else list(data)
    strange = [type(one).__name__ for one in graphs if not isinstance(one, Data)]
    if strange or not graphs:
        got = strange[0] if strange else "none"
        raise ShapeError(f"{name}: a Data of PyG is wanted, or a list of them, a row each; got {got}.")
    return graphs


def _rows_are(graphs: Sequence[Data], single: bool) -> str:
    """What the rows are of, and what to hand in for others."""
    if not single:
        return "one for every graph of the list; for one for every node, hand in a graph itself: predict(model, data)"
    if "edge_label_index" in graphs[0]:
        return "one for every pair of edge_label_index"
    return "one for every node; for one for every graph, hand in a list: predict(model, [data])"


def _asked(data: Data) -> Data:
    """The data without answers and masks; what a loop wants in their place is there, and says nothing."""
    asked = copy.copy(data)
    for field in ("train_mask", "val_mask", "test_mask", "edge_label"):
        if field in asked:
            del asked[field]
    asked.y = torch.zeros(1)
    return asked


def _rows(graphs: Sequence[Data], single: bool) -> int:
    if not single:
        return len(graphs)
    pairs = graphs[0].get("edge_label_index")
    return int(graphs[0].num_nodes or 0) if pairs is None else int(pairs.shape[1])
