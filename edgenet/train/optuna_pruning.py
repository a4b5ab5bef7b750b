"""OptunaPruning: trainings of a sweep that fall behind the others are ended, by the word of Optuna."""

from __future__ import annotations

from typing import Any

from edgenet.compress import Callback, Training
from edgenet.errors import ConfigError


class OptunaPruning(Callback):
    """Tells a trial of Optuna how a training is going after every epoch, and ends it where the trial says so.

    In an objective: ``fit(model, data, callbacks=[OptunaPruning(trial)], ...)``. ``optuna.TrialPruned`` goes through
    ``fit`` to the study.

    Args:
        trial: of ``optuna``, or anything with its ``report`` and ``should_prune``.
        number: of the record of an epoch that is told: "val", "val_loss", "train", "loss".

    Raises:
        ConfigError: in training, if the record has no such number.

    Example:
        >>> class Trial:  # in the place of Optuna's
        ...     def report(self, value, step): print(step, value)
        ...     def should_prune(self): return False
        >>> model, karate = edgenet.NodeClassifier(34, 4), edgenet.data.load("karate")
        >>> rule = edgenet.train.OptunaPruning(Trial(), "val_loss")
        >>> _ = edgenet.fit(model, karate, epochs=2, callbacks=[rule], progress=False)
        1 ...
        2 ...
    """

    def __init__(self, trial: Any, number: str = "val") -> None:
        self.trial, self.number = trial, number

    def after_epoch(self, training: Training) -> None:
        value = training.record.get(self.number)
        if value is None:
            known = ", ".join(key for key, found in training.record.items() if found is not None)
            raise ConfigError(f"OptunaPruning tells a trial {self.number!r}, and the record of an epoch has {known}.")
        self.trial.report(float(value), training.epoch)
        if self.trial.should_prune():
            import optuna

            raise optuna.TrialPruned
