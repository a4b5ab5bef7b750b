"""EndWhen: a training that ends when what was asked for is there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from edgenet.compress.callbacks import Callback, Training
from edgenet.errors import ConfigError


class EndWhen(Callback):
    """Ends a training after the first epoch whose record meets all bounds: ``EndWhen({"loss": 0.01}, {"val": 1.0})``.

    The names are those of the record: loss, train, val, val_loss, and what callbacks add. ``patience`` ends a training
    that no longer gets better; this ends one that is good enough.

    Args:
        at_most: {name: the number it may not be above}.
        at_least: {name: the number it may not be below}.

    Raises:
        ConfigError: if there is no bound, or one is no finite number; during training, if a record has no such number.

    Example:
        >>> rule, karate = edgenet.compress.EndWhen({"loss": 100.0}), edgenet.data.load("karate")
        >>> edgenet.fit(edgenet.NodeClassifier(34, 4), karate, callbacks=[rule], epochs=50, progress=False).epochs
        1
    """

    def __init__(self, at_most: Mapping[str, float] | None = None, at_least: Mapping[str, float] | None = None) -> None:
        self.at_most, self.at_least = dict(at_most or {}), dict(at_least or {})
        if not self.at_most and not self.at_least:
            raise ConfigError('EndWhen wants a bound, {"loss": 0.01} say, and has none.')
        for name, bound in (*self.at_most.items(), *self.at_least.items()):
            if not isinstance(bound, Real) or isinstance(bound, bool) or not math.isfinite(bound):
                raise ConfigError(f"EndWhen: the bound of {name!r} is a finite number, got {bound!r}.")
        self.met = False

    def on_start(self, training: Training) -> None:
        self.met = False

    def after_epoch(self, training: Training) -> None:
        record = training.record
        for name in (*self.at_most, *self.at_least):
            if not isinstance(record.get(name), Real):
                raise ConfigError(
                    f"EndWhen waits for {name!r}, and a record has {', '.join(record)}. Name one of them, or hand in "
                    f"the data that it is measured on."
                )
        low = all(record[name] <= bound for name, bound in self.at_most.items())
        self.met = low and all(record[name] >= bound for name, bound in self.at_least.items())

    def ends(self, training: Training) -> bool:
        return self.met

    def state_dict(self) -> dict[str, Any]:
        return {"met": self.met}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.met = bool(state["met"])
