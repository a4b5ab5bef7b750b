"""Graphs whose neighbours differ, from a user's own files: WebKB and others, in the layout that PyG keeps them in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.utils import coalesce, to_undirected

from edgenet.data import finding
from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.facts import WEBKB_EDGES, WEBKB_NODES
from edgenet.data.files import read_lines, read_npz
from edgenet.data.places import Place
from edgenet.errors import ConfigError, DataError

NODES, EDGES = WEBKB_NODES, WEBKB_EDGES
MASKS = ("train_mask", "val_mask", "test_mask")

FACTS = KNOWN["heterophilic"]


def make(
    where: Sequence[Place], *, graph: str = "texas", split: int = 0, undirected: bool = False, seed: int = 0
) -> Dataset:
    """One graph from two files, whose first lines are headings.

    The one has node features and classes, ``node TAB f1,f2,... TAB class``, the other edges, ``source TAB target``.
    Repeated edges count once.

    Args:
        where: folders to look in.
        graph: name of its folder: texas, cornell, wisconsin, chameleon, squirrel, or that of a graph of yours.
        split: which of the graph's split files, ``<graph>_split_..._<split>.npz``, with three masks each.
        undirected: add the reverse of every edge. Without it the edges are those of the file, as in PyG.
        seed: draws the split where there are no split files, together with ``split``.

    Returns:
        x (N, F), y (N,) and three masks. ``info["homophily"]`` is the share of edges within a class.

    Raises:
        ConfigError: if there is no such split, or the graph's name is none of a folder.
        DatasetNotFoundError: no folder has the graph.
        DataError: a line is not as it should be; or masks overlap, have no node, or hold other numbers than 0 and 1.
    """
    if not re.fullmatch(r"\w[\w.-]*", graph):
        raise ConfigError(f"heterophilic: graph is the name of a folder, without slashes and stars, got {graph!r}.")
    folder = find(where, graph)
    features, label = read_nodes(folder / NODES)
    edges = coalesce(torch.from_numpy(read_edges(folder / EDGES, len(label))), num_nodes=len(label))
    if undirected:
        edges = to_undirected(edges, num_nodes=len(label))
    masks, said = _masks(folder, graph, split, len(label), seed)
    data = check_data(
        Data(x=torch.from_numpy(features), y=torch.from_numpy(label), edge_index=edges, **masks), f"{folder}"
    )
    same = (data.y[edges[0]] == data.y[edges[1]]).double()
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": said,
        "seed": seed,
        "normalisation": "none",
        "graph": graph,
        "undirected": undirected,
        "homophily": float(same.mean()) if len(same) else None,
        "found": str(folder),
        "warnings": [],
    }
    lists = [data]
    classes = int(label.max()) + 1
    return Dataset(
        "heterophilic", "node", "class", "accuracy", features.shape[1], classes, lists, list(lists), list(lists), info
    )


def find(where: Sequence[Place], graph: str = "texas") -> Path:
    """The folder of a graph's two files. Never downloaded."""
    return finding.find("heterophilic", where, finding.webkb(graph))


def graphs(root: str | Path) -> list[str]:
    """Names of the graphs below a folder, in alphabetical order."""
    names, root = set(), Path(root).expanduser()
    for layout in finding.WEBKB_FOLDERS:
        for path in root.glob(layout.format("*")):
            if (path / NODES).is_file() and (path / EDGES).is_file():
                names.add(path.relative_to(root).parts[layout.split("/").index("{0}")])
    return sorted(names - {"raw"})


def read_nodes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, F) float32 features and (N,) int64 classes.

    Raises:
        DataError: a line is not a number, features between commas and a class; a node is missing or comes twice; or
            features differ in number.
    """
    found: dict[int, tuple[list[float], int]] = {}
    for number, line in _lines(path):
        fields = line.split("\t")
        try:
            node, features, label = int(fields[0]), [float(f) for f in fields[1].split(",")], int(fields[2])
        except (ValueError, IndexError):
            raise DataError(
                f"{path}:{number}: {line[:80]!r} is not a node, its features between commas and its class, with tabs "
                f"between the three."
            ) from None
        if node in found or not 0 <= label < 2**31:
            raise DataError(f"{path}:{number}: node {node} comes twice, or its class {label} is out of range.")
        found[node] = features, label
    if sorted(found) != list(range(len(found))) or not found:
        raise DataError(f"{path}: nodes are numbered 0 to N - 1, and {len(found)} are there: {sorted(found)[:5]}...")
    wide = len(found[0][0])
    wrong = next((node for node, (features, _) in found.items() if len(features) != wide), None)
    if wrong is not None:
        raise DataError(
            f"{path}: node {wrong} has {len(found[wrong][0])} features and node 0 {wide}. Lists of the features that "
            f"are 1, as of the actor graph, are not read: write zeros and ones."
        )
    order = range(len(found))
    return np.array([found[k][0] for k in order], np.float32), np.array([found[k][1] for k in order], np.int64)


def read_edges(path: Path, nodes: int) -> np.ndarray:
    """(2, E) int64, sources above targets.

    Raises:
        DataError: a line is not two whole numbers, or one is no node.
    """
    found = []
    for number, line in _lines(path):
        try:
            source, target = (int(field) for field in line.split())
        except ValueError:
            raise DataError(f"{path}:{number}: {line[:80]!r} is not two whole numbers: source and target.") from None
        if not (0 <= source < nodes and 0 <= target < nodes):
            raise DataError(f"{path}:{number}: {source} to {target}, and nodes are numbered 0 to {nodes - 1}.")
        found.append((source, target))
    return np.array(found, np.int64).reshape(-1, 2).T.copy()


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a file below its headings, with their numbers."""
    return [(number, line) for number, line in enumerate(read_lines(path), 1) if number > 1 and line.strip()]


def _masks(folder: Path, graph: str, split: int, nodes: int, seed: int) -> tuple[dict[str, torch.Tensor], str]:
    """The three masks, and where they are from."""
    files = sorted(folder.glob("*_split_*.npz"))
    if not files:
        order = np.random.default_rng([seed, split]).permutation(nodes)
        parts = np.split(order, [round(0.6 * nodes), round(0.8 * nodes)])
        masks = {name: torch.zeros(nodes, dtype=torch.bool) for name in MASKS}
        for name, part in zip(MASKS, parts, strict=True):
            masks[name][torch.from_numpy(part)] = True
        return masks, f"drawn from seed {seed} and split {split}: 60 % train, 20 % val, 20 % test"
    chosen = [file for file in files if file.stem.endswith(f"_{split}")]
    if not chosen:
        raise ConfigError(
            f"heterophilic: {graph} has no split {split}; there are {', '.join(file.name for file in files)}."
        )
    arrays = read_npz(chosen[0])
    missing = [name for name in MASKS if name not in arrays or arrays[name].shape != (nodes,)]
    if missing:
        raise DataError(f"{chosen[0]}: {', '.join(missing)} must be there, one number for each of {nodes} nodes.")
    given = np.stack([arrays[name] for name in MASKS])
    if not np.isin(given, (0, 1)).all() or (given.sum(0) > 1).any() or not given.any(1).all():
        raise DataError(f"{chosen[0]}: masks are 0 or 1, none is empty, and no node is in two of them.")
    return {name: torch.from_numpy(arrays[name].astype(bool)) for name in MASKS}, chosen[0].name
