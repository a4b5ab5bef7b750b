"""``edgenet bench cora``: EdgeNets of seven kinds on Cora's public split."""

from __future__ import annotations

from pathlib import Path

from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import run_all
from edgenet.presets import preset
from edgenet.text import markdown_table

#: layer: what it is, and the published accuracy with its source
NETWORKS = {
    "gat": ("GAT form: 2 layers, 8 heads of 8", "83.0 ± 0.7 (Velickovic et al. 2018)"),
    "gcn": ("GCN form: 2 layers of 16", "81.5 (Kipf and Welling 2017)"),
    "gcnn": ("GCNN of order 2", ""),
    "gcat": ("GCAT of order 2, 8 heads of 8", ""),
    "edge_varying_gat": ("edge-varying GAT of order 2, 8 heads of 8", ""),
    "node_varying": ("node-varying of order 2, by groups of nodes", ""),
    "hybrid": ("hybrid edge-varying of order 2", ""),
}


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Train every network with its preset and write the page."""
    configs = [
        preset("cora", layer, {"training.seeds": list(range(seeds)), "out": str(runs / layer)}) for layer in NETWORKS
    ]
    summaries = run_all([(config, data_root) for config in configs], processes)
    rows = []
    for (layer, (title, published)), summary in zip(NETWORKS.items(), summaries, strict=True):
        results = summary["seeds"]
        test = [result["test"] for result in results]
        rows.append(
            (
                title,
                f"`{layer}`",
                f"{results[0]['parameters']:,}",
                report.spread([result["val"] for result in results]),
                f"**{report.spread(test)}**",
                f"{100 * min(test):.1f} to {100 * max(test):.1f}",
                published,
                report.spread([result["epochs"] for result in results], 1, 0),
                report.spread([result["seconds"] for result in results], 1, 0),
            )
        )
    header = ("network", "layer", "parameters", "validation", "test", "range", "published", "epochs", "seconds")
    settings = "\n".join(f"# {config.model.layer}\n{config.replaced(out=None).to_toml()}" for config in configs)
    report.write(
        out,
        "Cora",
        [
            f"Test accuracy in percent on the public split (140 / 500 / 1000 nodes, row-normalised features), mean ± "
            f"sample standard deviation over {seeds} seeds (0 to {seeds - 1}). The epoch of the best validation "
            f"accuracy is kept (ties: lower validation loss); test nodes choose nothing. Published numbers are "
            f"quoted, not measured here.",
            markdown_table(header, rows),
            *report.measured_elsewhere(summaries),
            f"## Settings\n\n```toml\n{settings}```",
        ],
    )
