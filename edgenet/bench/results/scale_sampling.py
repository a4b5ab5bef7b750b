"""The part of ``edgenet bench scale`` on samplers: seeds and edges a second, and their share of a training step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.sampler import NodeSamplerInput

from edgenet import ops
from edgenet.bench.harness.graphs import sample
from edgenet.models import NodeClassifier
from edgenet.sampling import NeighborLoader, NeighborSampler
from edgenet.text import markdown_table

GRAPHS = ("arxiv", "products8")
SEEDS = 1024  # nodes of a batch
BATCHES = 10
FEATURES, CLASSES = 100, 47
#: what is drawn: fan-outs and options of the sampler
CASES: dict[str, tuple[list[int], dict[str, Any]]] = {
    "15, 10, 5": ([15, 10, 5], {}),
    "10, 10": ([10, 10], {}),
    "10, 10, with replacement": ([10, 10], {"replace": True}),
    "10, 10, disjoint": ([10, 10], {"disjoint": True}),
    "10, 10, by weight": ([10, 10], {"weight_attr": "weight"}),
}
LIMITS = (
    "Both graphs are made (power laws of the sizes of published graphs): numbers of nodes say nothing of their "
    "neighbourhoods, so every look-up misses the caches. Processor time of one thread; what more threads give was not "
    "measured on this shared machine. No other sampler is beside it: pyg-lib cannot be installed by pip alone, and "
    "torch-sparse was not compiled.",
)
Found = dict[str, list[dict[str, Any]]]


def results(seeds: int, runs: Path, processes: int, data_root: Path | None) -> Found:
    """Rates of every case, by the definition in plain torch too, and the parts of training steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rates, steps = [], []
        for graph in GRAPHS:
            data = _data(graph, data_root)
            for case, (fan_out, options) in CASES.items():
                for backend in ("native", "reference") if case == "10, 10" else ("native",):
                    rates.append({"graph": graph, "case": case, **_rate(data, fan_out, options, backend)})
            steps += [{"graph": graph, "layers": layer, **_step(data, layer)} for layer in ("gcn", "gat")]
        return {"rates": rates, "steps": steps}
    finally:
        torch.set_num_threads(before)


def _data(graph: str, data_root: Path | None) -> Data:
    found, draw = sample(graph, data_root), torch.Generator().manual_seed(0)
    nodes, edges = found.num_nodes, found.edge_index.shape[1]
    x = torch.randn(nodes, FEATURES, generator=draw, dtype=torch.float32)
    y = torch.randint(CLASSES, (nodes,), generator=draw)
    return Data(x=x, y=y, edge_index=found.edge_index, weight=torch.rand(edges, generator=draw))


def _timed(call: Callable[[int], Any]) -> tuple[float, list[Any]]:
    """Processor seconds of a call, the median over batches, and what the calls gave; the first call is not counted."""
    call(0)
    seconds, found = [], []
    for batch in range(1, BATCHES + 1):
        start = time.process_time()
        found.append(call(batch))
        seconds.append(time.process_time() - start)
    return median(seconds), found


def _rate(data: Data, fan_out: Sequence[int], options: Mapping[str, Any], backend: str) -> dict[str, Any]:
    start = time.process_time()
    sampler = NeighborSampler(data, fan_out, **options)
    made = time.process_time() - start
    nodes = torch.randperm(data.num_nodes, generator=torch.Generator().manual_seed(0))

    def draw(batch: int) -> int:
        seeds = nodes[batch * SEEDS : (batch + 1) * SEEDS]
        return len(sampler.sample_from_nodes(NodeSamplerInput(None, seeds)).edge)

    with ops.use(backend):
        seconds, edges = _timed(draw)
    return {"backend": backend, "made": made, "seconds": seconds, "edges": sum(edges) / len(edges)}


def _step(data: Data, layer: str) -> dict[str, float]:
    """Processor seconds of the parts of a step: drawing, slicing features, and the model forward, back and updated."""
    torch.manual_seed(0)
    loader = NeighborLoader(data, [10, 10], batch_size=SEEDS, filter_per_worker=False)
    heads = {"heads": 4} if layer == "gat" else {}
    model = NodeClassifier(FEATURES, CLASSES, layer=layer, hidden_channels=64 // heads.get("heads", 1), **heads).float()
    adam = torch.optim.Adam(model.parameters())
    nodes = torch.randperm(data.num_nodes, generator=torch.Generator().manual_seed(1))
    seeds = [nodes[batch * SEEDS : (batch + 1) * SEEDS] for batch in range(BATCHES + 1)]
    drawing, drawn = _timed(lambda batch: loader.collate_fn(seeds[batch]))
    drawn.insert(0, drawn[0])
    slicing, pieces = _timed(lambda batch: loader.filter_fn(drawn[batch]))
    pieces.insert(0, pieces[0])

    def step(batch: int) -> None:
        piece = pieces[batch]
        adam.zero_grad()
        F.cross_entropy(model(piece.x, piece.edge_index)[: piece.batch_size], piece.y[: piece.batch_size]).backward()
        adam.step()

    return {"drawing": drawing, "slicing": slicing, "model": _timed(step)[0]}


# ---------------------------------------------------------------- on the page
def claim(found: Found) -> str:
    rows = [row for row in found["rates"] if row["backend"] == "native"]
    last = next(row for row in rows if (row["graph"], row["case"]) == ("products8", "15, 10, 5"))
    shares = [_share(row) for row in found["steps"]]
    return (
        f"One thread draws {SEEDS / last['seconds']:,.0f} seeds or {last['edges'] / last['seconds'] / 1e6:.1f} million "
        f"edges a second on 15.5 million edges with fan-outs 15, 10, 5. Drawing is {100 * min(shares):.0f} to "
        f"{100 * max(shares):.0f} % of a training step."
    )


def _share(row: Mapping[str, float]) -> float:
    return row["drawing"] / (row["drawing"] + row["slicing"] + row["model"])


def parts(found: Found) -> list[str]:
    rates = [
        [row["graph"], row["case"], row["backend"], f"{SEEDS / row['seconds']:,.0f}", f"{row['edges']:,.0f}",
         f"{row['edges'] / row['seconds'] / 1e6:.2f}", f"{row['made']:.2f}"]
        for row in found["rates"]
    ]  # fmt: skip
    steps = [
        [row["graph"], row["layers"], *(f"{1e3 * row[part]:.1f}" for part in ("drawing", "slicing", "model")),
         f"{100 * _share(row):.0f} %"]
        for row in found["steps"]
    ]  # fmt: skip
    return [
        f"Batches of {SEEDS:,} random seeds, processor time of one thread, the median of {BATCHES} batches after one "
        "that is not counted. *arxiv* has 169,343 nodes and 2,332,486 edges, *products8* 306,128 and 15,464,784. "
        "*native* is compiled; *reference* is the definition in plain torch, which draws the same edges. *Made in* is "
        "the time to sort the edges, once a data set.",
        "### Rates",
        markdown_table(
            ("graph", "fan-out", "backend", "seeds a second", "edges a batch", "million edges a second", "made in (s)"),
            rates,
        ),
        "### Parts of a training step",
        f"Two layers, 64 channels, {FEATURES} features, fan-outs 10, 10; milliseconds.",
        markdown_table(("graph", "layers", "drawing", "slicing features", "model", "drawing's share"), steps),
    ]
