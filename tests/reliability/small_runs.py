"""Trainings of a blink, and what they leave."""

from pathlib import Path

import torch
from torch import nn

import edgenet
from edgenet import train

EPOCHS = 6


def rows():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(12, 3, generator=generator)
    return torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long())


def trained(folder, *callbacks, **changes):
    """A training of ``EPOCHS`` epochs that goes on where there is something to go on with."""
    options = {"epochs": EPOCHS, "seed": 0, "progress": False, "resume": True, "batch_size": 4, **changes}
    return edgenet.fit(nn.Linear(3, 2), rows(), val=rows(), folder=folder, callbacks=list(callbacks), **options)


def numbers(result):
    """What must be the same, bit by bit."""
    records = [{name: value for name, value in record.items() if name != "seconds"} for record in result.history]
    return records, [p.tolist() for p in result.model.parameters()]


def epochs_in(folder):
    return [record["epoch"] for record in train.read_metrics(Path(folder) / "metrics.jsonl")]


class At:
    """Does something before an epoch."""

    def __init__(self, epoch, act):
        self.epoch, self.act = epoch, act

    def before_epoch(self, training):
        if training.epoch == self.epoch:
            self.act()
