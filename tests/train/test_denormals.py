"""A training computes numbers that are almost 0 as 0, and leaves the process as it was."""

import pytest
import torch
from torch import nn

from edgenet.train import fit
from edgenet.train.numbers import without_denormals

from train.small_data import nodes  # isort: skip


def kept() -> bool:
    return bool(torch.tensor(1e-40, dtype=torch.float32) * 1 != 0)


class Watching:
    """Notes whether denormals are kept, and ends a training as it is told."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.seen = fails, []

    def after_step(self, training) -> None:
        self.seen.append(kept())
        if self.fails:
            raise RuntimeError("in the midst of it")


@pytest.mark.parametrize("fails", [False, True])
def test_they_are_flushed_in_a_training_and_nowhere_else(fails):
    assert kept()
    watching = Watching(fails)
    try:
        fit(nn.Linear(4, 2), nodes().train[0], epochs=2, progress=False, callbacks=[watching])
    except RuntimeError as error:
        assert fails and "midst" in str(error)
    assert watching.seen and not any(watching.seen)
    assert kept()


def test_who_flushes_them_goes_on_flushing():
    torch.set_flush_denormal(True)
    try:
        with without_denormals():
            assert not kept()
        assert not kept()
    finally:
        torch.set_flush_denormal(False)
