"""``edgenet bench source_localisation``: where did a diffusion start, on graphs whose edges differ and on others?"""

from __future__ import annotations

from pathlib import Path

from edgenet.bench.harness.jobs import run_all
from edgenet.bench.pages import publish
from edgenet.bench.results.source_localisation_cases import NETWORKS, PROTOCOLS
from edgenet.bench.results.source_localisation_page import content
from edgenet.bench.results.source_localisation_run import measured


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Train every network of every protocol on as many graphs as there are seeds, and write the page."""
    cases = [
        (name, network, seed)
        for name, protocol in PROTOCOLS.items()
        for network in protocol.networks
        for seed in range(seeds)
    ]
    jobs = [(PROTOCOLS[name].config(network, seed, runs / name), data_root) for name, network, seed in cases]
    rows = [
        {"protocol": name, "network": network, **row}
        for (name, network, _), row in zip(cases, run_all(jobs, processes, measured), strict=True)
    ]
    settings = {
        name: {
            "dataset": {protocol.dataset: protocol.options},
            "epochs": protocol.epochs,
            "lr": protocol.lr,
            "networks": {network: NETWORKS[network][1:] for network in protocol.networks},
        }
        for name, protocol in PROTOCOLS.items()
    }
    publish(out, "Source localisation", content, rows, settings=settings, seeds=range(seeds))
