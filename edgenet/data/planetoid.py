"""Cora, CiteSeer, PubMed: citation graphs in the Planetoid raw layout, with the public split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import Planetoid

from edgenet.data import finding
from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS
from edgenet.data.fetching import fetch
from edgenet.data.files import check_sha256, read_bytes
from edgenet.data.places import Place, cache_folder, not_found
from edgenet.data.plain_pickle import loads
from edgenet.errors import DataError

NUM_VAL = 500


def make(
    where: Sequence[Place],
    name: str,
    *,
    normalize_features: bool = True,
    verify: bool = True,
    download: bool = True,
) -> Dataset:
    """One citation graph. Classes are topics, features are words of the paper.

    Args:
        where: folders to look in.
        name: ``"cora"``, ``"citeseer"`` or ``"pubmed"``.
        normalize_features: divide every row of x by its sum (at least 1), as PyG's ``NormalizeFeatures``.
        verify: compare checksums where they are known.
        download: fetch the files with PyG's downloader when they are nowhere.

    Raises:
        DatasetNotFoundError: no folder has the files, and they could not be fetched.
        DataError: a file is damaged, of another layout, or not the known one.
    """
    folder = find(where, name, download)
    facts = FACTS[name]
    data = read_planetoid(folder, name, facts.sha256 if verify else {})
    if normalize_features:
        data.x = data.x / data.x.sum(1, keepdim=True).clamp(min=1)
    info = {
        "source": facts.source,
        "licence": facts.licence,
        "split": facts.split,
        "seed": None,
        "normalisation": "every row of x divided by its sum" if normalize_features else "none",
        "found": str(folder),
        "warnings": [],
    }
    isolated = data.num_nodes - len(torch.unique(data.edge_index))
    if isolated:
        info["warnings"].append(f"{isolated} nodes have no edge")
    lists = [data]
    outputs = int(data.y.max()) + 1
    return Dataset(name, "node", "class", "accuracy", data.x.shape[1], outputs, lists, list(lists), list(lists), info)


def find(where: Sequence[Place], name: str, may_download: bool) -> Path:
    """The folder with the eight raw files, fetched into the user's cache when there is none."""
    looked = finding.looked(name, where)
    if looked.found is not None or not may_download:
        return looked.found or finding.find(name, where)
    files, parts = finding.FILES[name], finding.PLANETOID_PARTS
    # only PyG's download: its own reader unpickles the files
    folder = cache_folder() / files.layouts[0]
    problem = fetch([f"{Planetoid.url}/ind.{name}.{part}" for part in parts], folder)
    if problem is None:
        return folder
    tried = [*looked.tried, (Planetoid.url, f"download {problem}")]
    raise not_found(name, files.what, tried, FACTS[name].how_to_get)


def read_planetoid(folder: Path, name: str, sha256: dict[str, str] | None = None) -> Data:
    """The eight raw files put together.

    The files list the nodes as ``allx`` (training and unlabelled nodes, in order; the first of them are ``x``) followed
    by ``tx``, whose row i belongs to node ``test.index[i]``. CiteSeer's test indices have gaps: those nodes have no
    words, no edges and no class; their features are zero, their class is 0 as in PyG, and no mask contains them.

    Returns:
        ``Data`` with x (N, F) float32 as in the file, y (N,), edge_index without self-loops and repeats, sorted by
        target and then source (PyG's order), and the three masks.

    Raises:
        DataError: naming the file and what is wrong in it.
    """
    part = {}
    for key in finding.PLANETOID_PARTS:
        path = folder / f"ind.{name}.{key}"
        content = read_bytes(path)
        check_sha256(content, (sha256 or {}).get(path.name), path)
        part[key] = _test_index(content, path) if key == "test.index" else loads(content, str(path))

    def file(key: str) -> Path:
        return folder / f"ind.{name}.{key}"

    rows = {}
    for features, labels in (("x", "y"), ("allx", "ally"), ("tx", "ty")):
        x, y = part[features], part[labels]
        if not sp.issparse(x) and not (isinstance(x, np.ndarray) and x.ndim == 2):
            raise DataError(f"{file(features)}: wanted a matrix, found a {type(x).__name__}.")
        if not (isinstance(y, np.ndarray) and y.ndim == 2):
            raise DataError(f"{file(labels)}: wanted an array with a row per node and a column per class.")
        if x.shape[0] != y.shape[0]:
            raise DataError(f"{file(features)} has {x.shape[0]} rows and {file(labels).name} {y.shape[0]}.")
        rows[features] = torch.from_numpy(np.asarray(x.toarray() if sp.issparse(x) else x, dtype=np.float32))
        rows[labels] = torch.from_numpy(np.asarray(y, dtype=np.float32))
    for wide, key in (("allx", "tx"), ("ally", "ty"), ("allx", "x"), ("ally", "y")):
        if rows[key].shape[1] != rows[wide].shape[1] or rows[wide].shape[1] == 0:
            raise DataError(
                f"{file(key)} has {rows[key].shape[1]} columns and {file(wide).name} {rows[wide].shape[1]}."
            )

    known, train = len(rows["allx"]), len(rows["x"])
    test = torch.from_numpy(part["test.index"])
    if len(test) != len(rows["tx"]) or len(test.unique()) != len(test) or len(test) == 0 or int(test.min()) != known:
        raise DataError(
            f"{file('test.index')}: {len(test)} indices ({len(test.unique())} different, from "
            f"{int(test.min()) if len(test) else 'none'}); wanted {len(rows['tx'])} different ones that start at "
            f"{known}, the number of rows of {file('allx').name}."
        )
    if train + NUM_VAL > known:
        raise DataError(f"{file('allx')}: {known} rows do not hold {train} training and {NUM_VAL} validation nodes.")
    nodes = int(test.max()) + 1
    if nodes > 2 * (known + len(test)):  # gaps are few; a wild index must not ask for wild memory
        raise DataError(f"{file('test.index')}: index {nodes - 1} in a graph of about {known + len(test)} nodes.")

    x = torch.zeros(nodes, rows["allx"].shape[1], dtype=torch.float32)
    y = torch.zeros(nodes, rows["ally"].shape[1], dtype=torch.float32)
    x[:known], y[:known] = rows["allx"], rows["ally"]
    x[test], y[test] = rows["tx"], rows["ty"]

    masks = {f"{split}_mask": torch.zeros(nodes, dtype=torch.bool) for split in ("train", "val", "test")}
    masks["train_mask"][:train] = True
    masks["val_mask"][train : train + NUM_VAL] = True
    masks["test_mask"][test] = True
    edge_index = _edge_index(part["graph"], nodes, file("graph"))
    return check_data(Data(x=x, y=y.argmax(1), edge_index=edge_index, **masks), str(folder))


def _test_index(content: bytes, path: Path) -> np.ndarray:
    try:
        return np.array([int(line) for line in content.decode("ascii").split()], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: wanted one whole number per line: {str(error)[:200]}.") from error


def _edge_index(graph: Any, num_nodes: int, path: Path) -> torch.Tensor:
    """Neighbour lists as (2, E): self-loops and repeats dropped, by target and then source."""
    if not isinstance(graph, dict) or not all(isinstance(row, list) for row in graph.values()):
        raise DataError(f"{path}: wanted a dict of neighbour lists.")
    flat = [node for row in graph.values() for node in row]
    for node in (*graph, *flat):
        if type(node) is not int or not 0 <= node < num_nodes:
            raise DataError(f"{path}: names node {node!r:.80}, but nodes are whole numbers from 0 to {num_nodes - 1}.")
    source = np.repeat(np.array(list(graph), dtype=np.int64), [len(row) for row in graph.values()])
    target = np.array(flat, dtype=np.int64)
    key = np.unique((target * num_nodes + source)[source != target])
    return torch.from_numpy(np.stack([key % num_nodes, key // num_nodes]))
