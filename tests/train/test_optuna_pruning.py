"""OptunaPruning: a study hears of every epoch, and its word ends a training."""

import pytest

from edgenet.errors import ConfigError
from edgenet.models import NodeClassifier
from edgenet.train import OptunaPruning, fit

from train.small_data import nodes  # isort: skip

optuna = pytest.importorskip("optuna", reason="sweeps are optuna's")


class Trial:
    """Wants a training to end after some epochs."""

    def __init__(self, most):
        self.most, self.heard = most, []

    def report(self, value, step):
        self.heard.append((step, value))

    def should_prune(self):
        return len(self.heard) >= self.most


def trained(*callbacks, **changes):
    model = NodeClassifier(4, 2, layer="gcn", hidden_channels=4)
    settings = {"epochs": 4, "lr": 0.01, "seed": 0, "progress": False} | changes
    return fit(model, nodes(), callbacks=callbacks, **settings)


def test_a_trial_hears_the_validation_of_every_epoch():
    trial = Trial(most=100)
    result = trained(OptunaPruning(trial))
    assert trial.heard == [(record["epoch"], record["val"]) for record in result.history]


def test_a_trial_that_is_to_be_pruned_ends_the_training():
    trial = Trial(most=2)
    with pytest.raises(optuna.TrialPruned):
        trained(OptunaPruning(trial, "val_loss"))
    assert [step for step, _ in trial.heard] == [1, 2]


def test_a_number_that_no_epoch_has_is_refused():
    with pytest.raises(ConfigError, match=r"tells a trial 'accuracy', and the record of an epoch has epoch, loss"):
        trained(OptunaPruning(Trial(9), "accuracy"))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_prunes_by_it():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.ThresholdPruner(lower=2.0)  # no accuracy is that high
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.optimize(lambda trial: trained(OptunaPruning(trial)).val, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 2
    assert list(study.trials[0].intermediate_values) == [1]
