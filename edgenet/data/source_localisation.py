"""Which community did a diffusion start in? Classifying signals on a fixed graph, made from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch_geometric.data import Data

from edgenet.data import shift
from edgenet.data.check import check_data
from edgenet.data.communities import hubs, spectral_clusters, stochastic_block_model
from edgenet.data.dataset import Dataset
from edgenet.data.facts import FACEBOOK_FILE
from edgenet.data.facts import FACTS as KNOWN
from edgenet.data.files import check_sha256, read_bytes
from edgenet.data.graph_file import read_graph
from edgenet.data.places import Place, not_found, search
from edgenet.errors import ConfigError, DataError

FACEBOOK_SOURCES = (38, 224)
LAYOUTS = (f"graphs/{FACEBOOK_FILE}", f"source_localisation/{FACEBOOK_FILE}", FACEBOOK_FILE)
PROTOCOLS = ("heldout", "paper")
MIN_TIMES, MAX_TIMES = 4, 25
# so that an ideal receiver comes close to 1 and a linear one does not: the two Facebook sources are far apart
NOISE, FACEBOOK_NOISE = 0.3, 3.0

FACTS = KNOWN["source_localisation"]


def make(
    where: Sequence[Place],
    *,
    graph: str = "sbm",
    protocol: str = "heldout",
    num_nodes: int = 50,
    num_communities: int = 5,
    sources: Sequence[int] | None = None,
    noise: float | None = None,
    t_max: int | None = None,
    sizes: Sequence[int] | None = None,
    seed: int = 0,
    graph_seed: int | None = None,
    verify: bool = True,
) -> Dataset:
    """Signals x = S^t delta_s: a unit impulse at source s after t hops, S = W / lambda_max. The class is the source.

    ``protocol="heldout"``:

        x = sqrt(N) S^t delta_s / ||S^t delta_s|| + noise * g,   g standard normal in R^N

    with t drawn uniformly from the times of the split: 0, 1, 4, 5, 8, 9, ... for training, 2, 6, 10, ... for
    validation, 3, 7, 11, ... for testing, so that training sees walks of even and of odd length. Signals are scaled
    to a mean square of 1, so the ratio of signal to noise is 1 / noise^2 at every t, and length says nothing about the
    class. The times end with the first one at which the two closest sources are less than 2 noise apart (an ideal
    receiver confuses them one time in six): beyond it S^t delta_s is the leading eigenvector for every s.

    ``protocol="paper"``: x = S^t delta_s exactly, t uniform on 0, ..., t_max - 1 in all three splits. There are only
    communities * t_max different signals, so the test signals occur in training, and for large t the classes differ in
    scale alone. For running published settings again, not for comparing models.

    Args:
        where: folders in which the Facebook graph is looked for.
        graph: ``"sbm"``: stochastic block model, edges with probability 0.8 within and 0.2 between communities, drawn
            until connected; ``"facebook"``: the 234-node ego graph; or the path of an ``.npz`` (``read_graph``).
        protocol: ``"heldout"`` or ``"paper"``.
        num_nodes: of the SBM, at least ``num_communities``; communities differ in size by at most 1.
        num_communities: of the SBM, or clusters of a given graph.
        sources: nodes, one per class. By default the node of highest degree in each community; for the Facebook graph
            38 and 224; for another graph the same of its spectral clusters.
        noise: standard deviation; default 0.3, on the Facebook graph 3, in the paper's protocol 0.
        t_max: number of times, 0 to t_max - 1; default as above, between 4 and 25; in the paper's protocol the number
            of nodes of an SBM, and 25 on a given graph.
        sizes: signals for training, validation, testing; default (2000, 500, 1000), in the paper's protocol
            (10000, 2400, 200).
        seed: draws the signals, and the graph unless ``graph_seed`` is given.
        graph_seed: draws the graph.
        verify: compare the checksum of the Facebook graph.

    Returns:
        Signals (S, N, 1). ``info`` has the times of each split and ``ideal_accuracy`` of the test split: what a
        receiver reaches that knows t and all noiseless signals. No model can be expected to do better.

    Raises:
        ConfigError: if an option is out of range.
        DatasetNotFoundError: the graph's file is nowhere.
        DataError, EdgeIndexError, ShapeError: the graph's file cannot be used.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"source_localisation: protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}.")
    paper = protocol == "paper"
    noise = _default_noise(graph, paper) if noise is None else noise
    usual = (10000, 2400, 200) if paper else (2000, 500, 1000)
    sizes = usual if sizes is None else split_sizes("source_localisation", sizes)
    _check_noise(noise)
    rng_graph = np.random.default_rng([0, seed if graph_seed is None else graph_seed])
    adjacency, found, hubs = _graph(where, graph, num_nodes, num_communities, rng_graph, verify)
    operator, largest = shift.over_lambda_max(adjacency, f"source_localisation ({found})")
    nodes = adjacency.shape[0]
    chosen = _checked_sources(hubs() if sources is None else sources, adjacency)
    if t_max is not None:
        split_times(t_max, paper)  # says so before the work when it is too small
    elif paper:
        t_max = nodes if graph == "sbm" else MAX_TIMES
    clean = diffuse(operator, chosen, MAX_TIMES if t_max is None else t_max)  # (T, classes, N)
    if not paper:
        clean = math.sqrt(nodes) * clean / np.linalg.norm(clean, axis=2, keepdims=True)
        t_max = _informative_times(clean, noise) if t_max is None else t_max
    times = split_times(t_max, paper)
    rng = np.random.default_rng([1, seed])
    edge_index, edge_weight = shift.edges(operator)
    lists, test_accuracy = {}, 0.0
    for split, size in zip(("train", "val", "test"), sizes, strict=True):
        t, label = rng.choice(times[split], size), rng.integers(len(chosen), size=size)
        x = clean[t, label] + (noise * rng.standard_normal((size, nodes)) if noise else 0.0)
        lists[split] = [_signals(x, label, edge_index, edge_weight, split)]
        if split == "test":
            test_accuracy = ideal_accuracy(clean, t, label, x)
    info: dict[str, Any] = {
        "source": FACTS.source,
        "licence": FACTS.licence,
        "split": "diffusion times shared by all splits" if paper else FACTS.split,
        "seed": seed,
        "graph_seed": seed if graph_seed is None else graph_seed,
        "normalisation": "S = W / lambda_max" + ("" if paper else "; signals of mean square 1 before noise"),
        "protocol": protocol,
        "noise": noise,
        "t_max": t_max,
        "times": times,
        "sources": chosen,
        "lambda_max": largest,
        "ideal_accuracy": test_accuracy,
        "found": found,
        "warnings": [],
    }
    if paper:
        info["warnings"].append(
            f"only {len(chosen) * t_max} different signals: test signals occur in training, accuracy rewards memory"
        )
    return Dataset("source_localisation", "signal", "class", "accuracy", 1, len(chosen), *lists.values(), info)


def _check_noise(noise: float) -> None:
    if not (math.isfinite(noise) and noise >= 0):
        raise ConfigError(f"source_localisation: noise must be a finite number of at least 0, got {noise}.")


def split_sizes(name: str, sizes: Any) -> tuple[int, int, int]:
    """How many signals are for training, validation and testing.

    Raises:
        ConfigError: if they are not three positive whole numbers.
    """
    several = isinstance(sizes, Iterable) and not isinstance(sizes, str)
    numbers = tuple(sizes) if several else ()
    if len(numbers) != 3 or not all(isinstance(size, int) and size >= 1 for size in numbers):
        got = list(numbers) if several else repr(sizes)
        raise ConfigError(f"{name}: sizes must be three positive whole numbers, got {got}.")
    return numbers


def _checked_sources(sources: Sequence[int], adjacency: Any) -> list[int]:
    """The sources, which are different nodes of the graph, with edges."""
    nodes, chosen = adjacency.shape[0], [int(source) for source in sources]
    if len(set(chosen)) != len(chosen) or len(chosen) < 2 or not all(0 <= source < nodes for source in chosen):
        raise ConfigError(
            f"source_localisation: sources must be two or more different nodes below {nodes}, got {chosen}."
        )
    lonely = [source for source in chosen if adjacency[[source]].nnz == 0]
    if lonely:
        raise ConfigError(f"source_localisation: sources {lonely} have no edge: nothing diffuses from them.")
    return chosen


def _signals(x: np.ndarray, label: np.ndarray, edge_index: np.ndarray, edge_weight: np.ndarray, split: str) -> Data:
    """(S, N) signals of a split on the graph, with their classes."""
    data = Data(
        x=torch.from_numpy(x.astype(np.float32))[:, :, None],
        y=torch.from_numpy(label.astype(np.int64)),
        edge_index=torch.from_numpy(edge_index.copy()),
        edge_weight=torch.from_numpy(edge_weight.copy()),
        num_nodes=x.shape[1],
    )
    return check_data(data, f"source_localisation ({split})")


def diffuse(operator: sp.csr_matrix, sources: Sequence[int], times: int) -> np.ndarray:
    """(times, sources, N): S^t delta_s for t = 0, ..., times - 1."""
    impulse = np.zeros((operator.shape[0], len(sources)))
    impulse[list(sources), np.arange(len(sources))] = 1.0
    signals = [impulse]
    while len(signals) < times:
        signals.append(operator @ signals[-1])
    return np.stack(signals).transpose(0, 2, 1)


def split_times(t_max: int, shared: bool) -> dict[str, list[int]]:
    """The diffusion times of every split: all of them in each, or every test time between two training times.

    Raises:
        ConfigError: if there are not enough times.
    """
    if t_max < (1 if shared else MIN_TIMES):
        raise ConfigError(
            f"source_localisation: t_max must be at least {1 if shared else MIN_TIMES}, so that every split has a time "
            f"of its own, got {t_max}."
        )
    times = range(t_max)
    if shared:
        return {split: list(times) for split in ("train", "val", "test")}
    return {
        "train": [t for t in times if t % 4 < 2],
        "val": [t for t in times if t % 4 == 2],
        "test": [t for t in times if t % 4 == 3],
    }


def ideal_accuracy(clean: np.ndarray, t: np.ndarray, label: np.ndarray, x: np.ndarray) -> float:
    """Share of signals closest to the noiseless signal of their own class at their time: maximum likelihood."""
    distance = np.linalg.norm(clean[t] - x[:, None, :], axis=2)
    return float((distance.argmin(1) == label).mean())


def _default_noise(graph: str, paper: bool) -> float:
    if paper:
        return 0.0
    return FACEBOOK_NOISE if graph == "facebook" else NOISE


def _informative_times(clean: np.ndarray, noise: float) -> int:
    """Number of times up to and including the first at which two classes are less than 2 noise apart."""
    for t in range(len(clean)):
        gaps = np.linalg.norm(clean[t][:, None] - clean[t][None], axis=2)
        if gaps[np.triu_indices(len(gaps), 1)].min() < 2 * noise:
            return min(max(t + 1, MIN_TIMES), MAX_TIMES)
    return MAX_TIMES


def _graph(
    where: Sequence[Place], graph: str, num_nodes: int, communities: int, rng: np.random.Generator, verify: bool
) -> tuple[sp.csr_matrix, str, Callable[[], Sequence[int]]]:
    """Adjacency, where it came from, and what finds the default sources."""
    if communities < 2:
        raise ConfigError(f"source_localisation: num_communities must be at least 2, got {communities}.")
    if graph == "sbm":
        if num_nodes < communities:
            raise ConfigError(f"source_localisation: {num_nodes} nodes cannot form {communities} communities.")
        adjacency, community = stochastic_block_model(num_nodes, communities, rng)
        return adjacency, "made from the seed", lambda: hubs(adjacency, community)
    if graph == "facebook":
        looked = search(where, LAYOUTS, lambda path: None if path.is_file() else "no such file")
        if looked.found is None:
            raise not_found("source_localisation", FACEBOOK_FILE, looked.tried, FACTS.how_to_get)
        path = looked.found
        if verify:
            check_sha256(read_bytes(path), FACTS.sha256[FACEBOOK_FILE], path)
        return _adjacency(read_graph(path), path), str(path), lambda: FACEBOOK_SOURCES
    path = Path(graph).expanduser()
    adjacency = _adjacency(read_graph(path), path)
    return adjacency, str(path), lambda: hubs(adjacency, spectral_clusters(adjacency, communities, rng))


def _adjacency(data: Data, path: Path) -> sp.csr_matrix:
    """Weights by (source, target); repeated edges and self-loops are not diffusion's business and are refused."""
    row, column = data.edge_index.numpy()
    weight = data.edge_weight.double().numpy() if "edge_weight" in data else np.ones(len(row))
    nodes = data.num_nodes
    if (row == column).any() or len(np.unique(row * nodes + column)) != len(row):
        raise DataError(
            f"{path}: the graph has self-loops or repeated edges; remove them (torch_geometric.utils.coalesce)."
        )
    return sp.csr_matrix((weight, (row, column)), shape=(nodes, nodes))
