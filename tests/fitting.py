"""A short training on a line, and what tests ask of it."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from edgenet.train import fit

QUIET = {"progress": False, "seed": 0}


def line(count=32):
    """A linear map of four numbers to two."""
    random = torch.Generator().manual_seed(5)
    x = torch.randn(count, 4, generator=random)
    return TensorDataset(x, x @ torch.randn(4, 2, generator=random) + 1)


def trained(model=None, data=None, **options):
    torch.manual_seed(2)
    model = model or nn.Linear(4, 2)
    result = fit(model, data or line(), **{"loss": "mse", "epochs": 4, "batch_size": 8, **QUIET, **options})
    return result, torch.cat([p.detach().flatten() for p in model.parameters()])


class Watch:
    """Notes something at every optimizer step."""

    def __init__(self, note):
        self.note, self.seen = note, []

    def after_step(self, training):
        self.seen.append(self.note(training))
