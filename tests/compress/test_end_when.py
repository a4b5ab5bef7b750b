"""EndWhen: a training that is good enough ends."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from edgenet import fit
from edgenet.compress import EndWhen
from edgenet.errors import ConfigError


class Falling:
    """The numbers of a record, epoch by epoch."""

    def __init__(self, **numbers):
        self.numbers = numbers

    def after_epoch(self, training):
        training.record |= {name: values[training.epoch - 1] for name, values in self.numbers.items()}


def trained(*rules, epochs=6, **options):
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(8, 3), torch.randn(8, 1))
    return fit(nn.Linear(3, 1), data, callbacks=rules, epochs=epochs, seed=0, progress=False, **options)


NUMBERS = {"far": [5.0, 4.0, 3.0, 2.0, 1.0, 0.0], "right": [0.0, 1.0, 0.5, 0.75, 1.0, 1.0]}


@pytest.mark.parametrize(
    ("rule", "epochs"),
    [
        (EndWhen({"far": 4.0}), 2),
        (EndWhen(at_least={"right": 0.75}), 2),
        (EndWhen({"far": 3.0}, {"right": 0.75}), 4),
        (EndWhen({"far": -1.0}), 6),
    ],
)
def test_a_training_ends_after_the_first_epoch_that_meets_all_bounds(rule, epochs):
    assert trained(Falling(**NUMBERS), rule).epochs == epochs
    assert trained(Falling(**NUMBERS), rule).epochs == epochs, "the same object begins anew"


def test_a_training_that_was_ended_and_is_resumed_stays_ended(tmp_path):
    class Killed:
        def __init__(self):
            self.at_end = EndWhen({"far": 4.0})

        def ends(self, training):
            if training.epoch == 2:
                raise KeyboardInterrupt  # after the checkpoint of the last epoch, before it is finished

    options = {"checkpoint_epochs": 1, "folder": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        trained(Falling(**NUMBERS), EndWhen({"far": 4.0}), Killed(), **options)

    class Calm:
        def ends(self, training):
            return False

    Calm.__name__ = Calm.__qualname__ = "Killed"
    Calm.__qualname__ = Killed.__qualname__
    assert trained(Falling(**NUMBERS), EndWhen({"far": 4.0}), Calm(), resume=True, **options).epochs == 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: EndWhen(), "wants a bound"),
        (lambda: EndWhen({"loss": "low"}), "bound of 'loss' is a finite number, got 'low'"),
        (lambda: EndWhen(at_least={"val": float("nan")}), "bound of 'val' is a finite number, got nan"),
        (lambda: trained(EndWhen(at_least={"val": 1.0})), "waits for 'val', and a record has epoch, loss, train"),
    ],
)
def test_bounds_that_say_nothing_are_refused(make, says):
    with pytest.raises(ConfigError, match=says):
        make()
