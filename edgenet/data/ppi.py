"""PPI: 24 graphs of interacting proteins, one per tissue, in PyG's raw layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import PPI

from edgenet import reading
from edgenet.data import finding
from edgenet.data.check import check_data
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.fetching import fetch
from edgenet.data.files import read_bytes, read_npz, sha256, write_npz
from edgenet.data.places import Place, cache_folder, not_found
from edgenet.errors import DataError

SPLITS = ("train", "valid", "test")
FILES = finding.PPI_FILES

# train_labels.npy of the copy whose labels were made anew from the 2022 Gene Ontology
REGENERATED_LABELS = "9b6cd800906d3edfdca89977e616b48a890816eed3a91af8f7a5af8ee50cb685"
WARNING = (
    "The labels of this copy were regenerated from the 2022 Gene Ontology, and 3.35 % of its feature rows are zero: F1 "
    "on it is not comparable with published results. Compare methods with each other only."
)

FACTS = KNOWN["ppi"]
_CACHE_FORMAT = 1
# of what is packed: the zip file has 7 MB and 137 MB in it; its links are 800,000
_BUDGET = reading.Budget(bytes=256 << 20, elements=20_000_000, times=20, more=16 << 20)


def make(where: Sequence[Place], *, cache: bool = True, verify: bool = True, download: bool = True) -> Dataset:
    """PPI, split by graph. Features are gene sets, labels are functions of the protein.

    The JSON files take seconds to read, so their content is kept as plain arrays in the user's cache, under the
    checksum of the files it was made from. A cache that cannot be written is no error; ``info["cache"]`` says so.

    Args:
        where: folders to look in.
        cache: read and write that cache.
        verify: compare the checksum of a zip file whose name is a known one.
        download: fetch PyG's zip when there is no copy.

    Raises:
        DatasetNotFoundError: no folder has the files, and they could not be fetched.
        DataError: a file is damaged or of another layout.
    """
    path = find(where, download)
    arrays, note = _arrays(path, cache, verify)
    graphs = {split: _graphs(arrays, split, path) for split in SPLITS}
    warnings = [WARNING] if str(arrays["labels_sha256"]) == REGENERATED_LABELS else []
    info = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": FACTS.split,
        "seed": None,
        "normalisation": "none",
        "labels": "regenerated from the 2022 Gene Ontology" if warnings else "as in the file",
        "found": str(path),
        "cache": note,
        "warnings": warnings,
    }
    first = graphs["train"][0]
    return Dataset("ppi", "node", "multilabel", "micro_f1", first.x.shape[1], first.y.shape[1], *graphs.values(), info)


def find(where: Sequence[Place], may_download: bool) -> Path:
    """A folder with the twelve raw files, or a zip file; fetched into the user's cache when there is none."""
    looked = finding.looked("ppi", where)
    if looked.found is not None or not may_download:
        return looked.found or finding.find("ppi", where)
    folder = cache_folder() / "ppi"
    problem = fetch([PPI.url], folder)
    if problem is None:
        return folder / PPI.url.rpartition("/")[2]
    tried = [*looked.tried, (PPI.url, f"download {problem}")]
    raise not_found("ppi", finding.FILES["ppi"].what, tried, FACTS.how_to_get)


def _arrays(path: Path, use_cache: bool, verify: bool) -> tuple[dict[str, np.ndarray], str]:
    """The content as plain arrays, and a note about the cache."""
    read, key = _source(path, verify)
    cached = cache_folder() / "ppi" / f"graphs-{key[:16]}.npz"
    if use_cache and cached.is_file():
        try:
            arrays = read_npz(cached)
            if arrays.get("key") == f"{_CACHE_FORMAT}:{key}":
                return arrays, f"read from {cached}"
        except DataError:
            pass  # a damaged cache is made anew
    arrays = {"key": np.array(f"{_CACHE_FORMAT}:{key}")}
    for split in SPLITS:
        arrays |= _read_split(read, split, path)
    arrays["labels_sha256"] = np.array(sha256(read("train_labels.npy")))
    if not use_cache:
        return arrays, "not used"
    try:
        write_npz(cached, arrays)
    except OSError as error:
        return arrays, f"{cached} could not be written: {error.strerror or error}"
    return arrays, f"written to {cached}"


def _source(path: Path, verify: bool) -> tuple[Callable[[str], bytes], str]:
    """How to read a raw file by name, and one checksum over everything."""
    if path.is_dir():
        digest = hashlib.sha256()
        for name in FILES:
            digest.update(hashlib.sha256(read_bytes(path / name)).digest())
        return lambda name: read_bytes(path / name), digest.hexdigest()
    key = sha256(read_bytes(path))
    expected = FACTS.sha256.get(path.name)
    if verify and expected not in (None, key):
        raise DataError(
            f"{path}: sha256 is {key}, expected {expected}: the file is damaged or edited. Fetch it again, or pass "
            f"verify=False to use it as it is."
        )
    with reading.opened_zip(path, DataError, _BUDGET) as archive:
        members = {Path(name).name: name for name in archive.namelist()}
    missing = [name for name in FILES if name not in members]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}.")

    def read(name: str) -> bytes:
        with reading.opened_zip(path, DataError, _BUDGET) as archive:
            return reading.member(archive, members[name], path, DataError)

    return read, key


def _read_split(read: Callable[[str], bytes], split: str, path: Path) -> dict[str, np.ndarray]:
    """x, y, the number of nodes and edges of every graph, and all edges, numbered within their graph."""
    x = _array(read(f"{split}_feats.npy"), path, f"{split}_feats.npy", 2)
    y = _array(read(f"{split}_labels.npy"), path, f"{split}_labels.npy", 2)
    graph = _array(read(f"{split}_graph_id.npy"), path, f"{split}_graph_id.npy", 1)
    nodes = len(graph)
    if not len(x) == len(y) == nodes or nodes == 0:
        raise DataError(f"{path}: {split}: {len(x)} feature rows, {len(y)} label rows and {nodes} graph numbers.")
    if not np.isin(y, (0, 1)).all():
        raise DataError(f"{path}: {split}_labels.npy holds {y[~np.isin(y, (0, 1))][0]}; labels are 0 or 1.")
    step = np.diff(graph.astype(np.int64))
    if not np.isin(step, (0, 1)).all():
        raise DataError(f"{path}: {split}_graph_id.npy must climb by at most 1; the nodes of a graph lie together.")
    graph = np.concatenate([[0], np.cumsum(step)])
    source, target = _links(read(f"{split}_graph.json"), nodes, path, f"{split}_graph.json")
    crossing = graph[source] != graph[target]
    if crossing.any():
        edge = int(np.flatnonzero(crossing)[0])
        raise DataError(
            f"{path}: {split}_graph.json links nodes {source[edge]} and {target[edge]} of different graphs."
        )
    sizes = np.bincount(graph)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    # by source and then target: also groups the edges by graph. Repeats and self-loops are dropped, as PyG does
    key = np.unique((source * nodes + target)[source != target])
    source, target = key // nodes, key % nodes
    offset = first[graph[source]]
    return {
        f"{split}_x": x.astype(np.float32),
        f"{split}_y": y.astype(np.uint8),
        f"{split}_num_nodes": sizes,
        f"{split}_num_edges": np.bincount(graph[source], minlength=len(sizes)),
        f"{split}_edges": np.stack([source - offset, target - offset]).astype(np.int32),
    }


def _array(content: bytes, path: Path, name: str, dims: int) -> np.ndarray:
    array = reading.parse_npy(content, name, DataError, path)
    if array.ndim != dims or array.dtype.kind not in "biuf":
        raise DataError(f"{path}: {name} must be a {dims}-dimensional array of numbers.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{path}: {name} holds NaN or infinity at {np.argwhere(~np.isfinite(array))[0].tolist()}.")
    return array


def _links(content: bytes, nodes: int, path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Sources and targets in networkx's node-link format; both directions of an undirected file."""
    graph = reading.parse_json(content, f"{path}: {name} is no whole node-link JSON", DataError, _BUDGET)
    try:
        links = [(link["source"], link["target"]) for link in graph["links"]]
        edges = np.array(links).reshape(len(links), 2)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else f"is no node-link JSON: {error}"
        raise DataError(f"{path}: {name} {reason} ({len(content)} bytes).") from error
    if len(edges) and edges.dtype.kind not in "iu":
        raise DataError(f"{path}: {name}: links run between {edges.dtype}, and nodes are whole numbers.")
    if len(edges) and (edges.min() < 0 or edges.max() >= nodes):
        raise DataError(f"{path}: {name}: links run from {edges.min()} to {edges.max()}, nodes from 0 to {nodes - 1}.")
    edges = edges.astype(np.int64)
    if not graph.get("directed", False):
        edges = np.concatenate([edges, edges[:, ::-1]])
    return edges[:, 0], edges[:, 1]


def _graphs(arrays: dict[str, Any], split: str, path: Path) -> list[Data]:
    part = {name: torch.from_numpy(arrays[f"{split}_{name}"]) for name in ("x", "y", "edges", "num_nodes", "num_edges")}
    sizes, edges = part["num_nodes"].tolist(), part["num_edges"].tolist()
    pieces = zip(
        part["x"].split(sizes), part["y"].float().split(sizes), part["edges"].long().split(edges, dim=1), strict=True
    )
    return [
        check_data(Data(x=x.clone(), y=y.clone(), edge_index=edge_index.contiguous()), f"{path}: {split} graph {index}")
        for index, (x, y, edge_index) in enumerate(pieces)
    ]
