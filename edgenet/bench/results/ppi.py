"""``edgenet bench ppi``: the three-layer GAT form beside PyG's own ``GATConv``, from the same weights on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.bench.harness.jobs import Job, run_all, trained
from edgenet.bench.harness.timing import relative_error
from edgenet.bench.pages import publish
from edgenet.bench.results.ppi_page import NETWORKS, OURS, PYG, content
from edgenet.config import RunConfig
from edgenet.data import Dataset, load
from edgenet.nn import SPECIALIZATIONS
from edgenet.presets import preset
from edgenet.train.from_config import model_of
from edgenet.train.numbers import default_dtype, seed_everything


class PyGLayer(nn.Module):
    """PyG's ``GATConv`` in the place of one of our layers, with the weights that ours would have.

    Ours is made first, and PyG's draws leave no trace: everything that is drawn afterwards, the order of the batches
    too, is the same for both.
    """

    def __init__(self, in_channels: int, out_channels: int, heads: int = 1, concat: bool = True) -> None:
        super().__init__()
        from torch_geometric.nn import GATConv

        ours = SPECIALIZATIONS[OURS](in_channels, out_channels, heads=heads, concat=concat)
        with torch.random.fork_rng(devices=()):
            self.conv = GATConv(in_channels, out_channels, heads=heads, concat=concat)
        hold_(self.conv, ours)
        self.out_width = heads * out_channels if concat else out_channels

    def bind(self, edges: Any, num_nodes: int | None = None) -> None:
        """It has no tables."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index)


@torch.no_grad()
def hold_(theirs: Any, ours: Any) -> None:
    """Fill the parameters of PyG's layer from ours."""
    for name, value in (
        ("lin.weight", ours.lift.linear.weight.weight),
        ("att_src", ours.phi.att_source.weight),
        ("att_dst", ours.phi.att_target.weight),
        ("bias", ours.bias),
    ):
        parameter = theirs.get_parameter(name)
        parameter.copy_(value.view_as(parameter))


def beside_pyg(job: Job) -> dict[str, Any]:
    """Train a run in which the layer "pyg_gat" is PyG's; how far its first scores are from ours stands beside it."""
    config, root = job
    SPECIALIZATIONS[PYG] = PyGLayer
    start = difference_at_start(config, load(config.dataset.name, root=root, **config.dataset.options))
    return {**trained(job), "start": start}


@torch.no_grad()
def difference_at_start(config: RunConfig, dataset: Dataset) -> float:
    """Root mean square of the difference of PyG's scores from ours, before the first step, over that of ours."""
    scores, first = [], dataset.train[0]
    with default_dtype(torch.float32):
        for layer in NETWORKS:
            seed_everything(config.training.seeds[0])
            model = model_of(config.replaced(model__layer=layer), dataset).eval()
            scores.append(model(first.x.float(), first.edge_index))
    ours, theirs = scores
    return relative_error(theirs, ours)


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, epochs: int = 10) -> None:
    """Train both and write the page."""
    gat = preset("ppi", OURS, {"training.epochs": epochs, "training.patience": 0})
    jobs: list[Job] = []
    for seed in range(seeds):
        for layer in NETWORKS:
            # a folder of an earlier page has runs that began with other weights
            config = gat.replaced(model__layer=layer, training__seeds=[seed], out=str(runs / f"{layer}-{seed}-equal"))
            jobs.append((config, data_root))
    summaries = run_all(jobs, processes, beside_pyg)
    rows = {
        "epochs": epochs,
        "info": {key: summaries[0]["info"].get(key) for key in ("source", "warnings")},
        "runs": [
            {"layer": config.model.layer, "start": summary["start"], "measured": summary["measured"],
             **{key: summary["seeds"][0][key] for key in ("seed", "parameters", "val", "test", "seconds", "epochs")}}
            for (config, _), summary in zip(jobs, summaries, strict=True)
        ],
    }  # fmt: skip
    publish(out, "PPI", content, rows, settings=gat.to_dict(), seeds=range(seeds))
