"""``edgenet bench ppi``: the three-layer GAT form beside PyG's own ``GATConv``, trained the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import Job, run_all, trained
from edgenet.presets import preset
from edgenet.text import markdown_table

NETWORKS = {"gat": "edgenet `gat`", "pyg_gat": "PyG `GATConv`"}


class PyGLayer(nn.Module):
    """PyG's ``GATConv`` in the place of one of our layers."""

    def __init__(self, in_channels: int, out_channels: int, heads: int = 1, concat: bool = True) -> None:
        super().__init__()
        from torch_geometric.nn import GATConv

        self.conv = GATConv(in_channels, out_channels, heads=heads, concat=concat)
        self.out_width = heads * out_channels if concat else out_channels

    def bind(self, edges: Any, num_nodes: int | None = None) -> None:
        """It has no tables."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index)


def beside_pyg(job: Job) -> dict[str, Any]:
    """Train a run in which the layer "pyg_gat" is PyG's."""
    from edgenet.nn import SPECIALIZATIONS

    SPECIALIZATIONS["pyg_gat"] = PyGLayer
    return trained(job)


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, epochs: int = 10) -> None:
    """Train both and write the page."""
    gat = preset("ppi", "gat", {"training.epochs": epochs, "training.patience": 0})
    jobs: list[Job] = []
    for seed in range(seeds):
        for layer in NETWORKS:
            config = gat.replaced(model__layer=layer, training__seeds=[seed], out=str(runs / f"{layer}-{seed}"))
            jobs.append((config, data_root))
    summaries = run_all(jobs, processes, beside_pyg)
    rows = []
    for number, (_layer, title) in enumerate(NETWORKS.items()):
        results = [summary["seeds"][0] for summary in summaries[number :: len(NETWORKS)]]
        rows.append(
            (
                title,
                f"{results[0]['parameters']:,}",
                report.spread([result["val"] for result in results], digits=2),
                f"**{report.spread([result['test'] for result in results], digits=2)}**",
                report.spread([result["seconds"] / result["epochs"] for result in results], 1, 1),
            )
        )
    info = summaries[0]["info"]
    report.write(
        out,
        "PPI",
        [
            f"Micro-averaged F1 in percent; 3 layers (4 x 256, 4 x 256, 6 x 121 heads averaged), skip connections, no "
            f"dropout, Adam at 0.005, two graphs a step, {epochs} epochs, seeds 0 to {seeds - 1}; both in the same "
            f"loop, with the same data order. The epoch of the best validation F1 is kept.",
            markdown_table(("network", "parameters", "validation", "test", "seconds an epoch"), rows),
            "\n".join(f"> {warning}" for warning in info.get("warnings", [])) or "Original labels.",
            f"Data: {info.get('source', 'PPI')}.",
            *report.measured_elsewhere(summaries),
        ],
    )
