"""A training whose optimizer and schedule were handed in goes on with whatever they keep."""

import pytest
import torch

import edgenet
from edgenet.compress import Callback


class Whitened(torch.optim.SGD):
    """Keeps a matrix larger than the parameter, a list and a switch, as Shampoo and its kin do."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                kept = self.state[p]
                if not kept:
                    kept.update(left=torch.eye(p.shape[0]), past=[], warm=True, least=float("inf"))
                kept["past"].append(float(p.grad.norm()))
                kept["left"] += p.grad.norm()
        return super().step(closure)


class Falling(torch.optim.lr_scheduler.LRScheduler):
    """Its state changes kinds and lengths as it goes."""

    mean, past = 0, ()

    def __init__(self, optimizer):
        self.mean, self.past = 0, []
        super().__init__(optimizer)

    def get_lr(self):
        self.mean += 0.5
        self.past = [*self.past, self.mean]
        return [rate / self.mean for rate in self.base_lrs]


class Stop(Callback):
    def __init__(self, at=0):
        self.at = at

    def before_epoch(self, training):
        if training.epoch == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "own",
    [
        {"optimizer": lambda parameters: Whitened(parameters, lr=0.01)},
        {"scheduler": lambda optimizer: Falling(optimizer)},
    ],
    ids=["optimizer", "scheduler"],
)
def test_state_of_ones_own_comes_back_to_the_same_bits(own, tmp_path):
    def trained(folder, at=0, resume=False):
        torch.manual_seed(0)
        model = edgenet.NodeClassifier(34, 4, layer="gcn")
        karate = edgenet.data.load("karate")
        edgenet.fit(model, karate, epochs=5, checkpoint_epochs=1, folder=folder, callbacks=[Stop(at)], resume=resume,
                    progress=False, seed=0, **own)  # fmt: skip
        return model.state_dict()

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped", at=4)
    whole, resumed = trained(tmp_path / "whole"), trained(tmp_path / "stopped", resume=True)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
