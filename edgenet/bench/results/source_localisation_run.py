"""One network on one graph of source localisation."""

from __future__ import annotations

from typing import Any

import torch

from edgenet.bench.harness.jobs import Job, trained
from edgenet.data import load
from edgenet.train import run


def measured(job: Job) -> dict[str, Any]:
    """Train a network, or read it where that is done.

    Returns:
        JSON-able: what ``trained`` says of its one seed, ``last``, the test accuracy after the last epoch, ``loss`` of
        that epoch's training, and ``live``: how many of the layer's channels are not 0 at some node of some validation
        signal. A ReLU whose channel is 0 everywhere gets no gradient, and stays so.
    """
    summary = trained(job)
    config, root = job
    dataset = load(config.dataset.name, root=root, **config.dataset.options)
    result = run(config, dataset=dataset, resume=True, progress=False)  # which is done, and is read
    (seed,) = result.models
    model, data = result.models[seed], dataset.val[0]
    with torch.no_grad():
        h = model.convs[0](data.x, data.edge_index, edge_weight=data.edge_weight)
        live = (model.activation(h) != 0).flatten(0, 1).any(0)
    last = result.histories[seed][-1]
    return {
        **summary["seeds"][0],
        "last": last["test"],
        "loss": last["loss"],
        "live": int(live.sum()),
        "ideal": summary["info"]["ideal_accuracy"],
        "blind": summary["info"].get("blind_accuracy"),
        "measured": summary["measured"],
    }
