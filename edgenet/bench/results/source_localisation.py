"""``edgenet bench source_localisation``: which community did a diffusion start in, at times never trained on?"""

from __future__ import annotations

from pathlib import Path

import torch

from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import run_all
from edgenet.data import Dataset, load
from edgenet.presets import preset
from edgenet.text import markdown_table

_ORDER = {"order": 4}  # five taps, as in the paper
_AS_GIVEN = {"normalize": "none"}  # the data set's shift operator is W / lambda_max already

#: layer: title and options; five features a layer, one layer, linear readout of all nodes
NETWORKS = {
    "gcnn": ("GCNN", _ORDER | _AS_GIVEN),
    "node_varying": ("node varying", _ORDER | _AS_GIVEN),
    "edge_varying": ("edge varying", _ORDER),
    "hybrid": ("hybrid, a tenth of the nodes", _ORDER | _AS_GIVEN | {"nodes": 0.1}),
    "arma": ("ARMA, one pole", _ORDER | _AS_GIVEN),
    "gat": ("GAT, one head", {}),
    "gcat": ("GCAT, one head", _ORDER),
    "edge_varying_gat": ("edge-varying GAT, one head", _ORDER),
}
#: graph: title, options of the data set, epochs
GRAPHS = {
    "sbm50": ("SBM, 50 nodes", {"num_nodes": 50}, 20),
    "sbm100": ("SBM, 100 nodes", {"num_nodes": 100}, 20),
    "facebook": ("Facebook, 234 nodes", {"graph": "facebook"}, 10),
}
SIZES = [4000, 500, 1000]


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Train every network on every graph and write the page."""
    jobs = []
    for graph, (_, options, epochs) in GRAPHS.items():
        for layer, (_, own) in NETWORKS.items():
            for seed in range(seeds):
                changes = {
                    "dataset.options": {**options, "sizes": SIZES, "seed": seed},
                    "model.hidden_channels": 5,
                    "model.options": {"readout": "flatten", **own},
                    "training.seeds": [seed],
                    "training.epochs": epochs,
                    "out": str(runs / f"{graph}-{layer}-{seed}"),
                }
                jobs.append((preset("source_localisation", layer, changes), data_root))
    trained = run_all(jobs, processes)
    summaries = iter(trained)
    parts = [
        f"One unit impulse diffuses t hops over the graph and is measured with noise; the class is where it started. "
        f"Test diffusion times never occur in training. SBM graphs have one test time: what diffused longer drowns in "
        f"the noise. One layer of order 4 with 5 features, ReLU, linear readout of "
        f"all nodes; Adam, {SIZES[0]} training signals, the epoch of the best validation accuracy is kept. Accuracy in "
        f"percent, mean ± sample standard deviation over {seeds} seeds, each with a graph (SBM), signals and initial "
        f"weights of its own. *Ideal*: a receiver that knows t and every noiseless signal. *Memory*: the class of the "
        f"most similar training signal, no network at all."
    ]
    for _graph, (title, options, epochs) in GRAPHS.items():
        memory = [
            _memory(load("source_localisation", root=data_root, sizes=SIZES, seed=seed, **options))
            for seed in range(seeds)
        ]
        rows, ideal, times = [("memory", "-", "-", f"**{report.spread(memory)}**", "-")], [], {}
        for _layer, (name, _) in NETWORKS.items():
            own = [next(summaries) for _ in range(seeds)]
            results = [summary["seeds"][0] for summary in own]
            ideal = [summary["info"]["ideal_accuracy"] for summary in own]
            times = own[0]["info"]["times"]
            rows.append(
                (
                    name,
                    f"{results[0]['parameters']:,}",
                    report.spread([result["val"] for result in results]),
                    f"**{report.spread([result['test'] for result in results])}**",
                    report.spread([result["seconds"] for result in results], 1, 0),
                )
            )
        noise = own[0]["info"]["noise"]
        parts.append(
            f"## {title}\n\n{epochs} epochs; noise {noise}; diffusion times of seed 0: training {times['train']}, "
            f"validation {times['val']}, test {times['test']}. Ideal: {report.spread(ideal)}.\n\n"
            + markdown_table(("network", "parameters", "validation", "test", "seconds"), rows)
        )
    report.write(out, "Source localisation", [*parts, *report.measured_elsewhere(trained)])


def _memory(dataset: Dataset) -> float:
    """Test accuracy of answering with the class of the nearest training signal."""
    train, test = dataset.train[0], dataset.test[0]
    nearest = torch.cdist(test.x.flatten(1), train.x.flatten(1)).argmin(1)
    return float((train.y[nearest] == test.y).float().mean())
