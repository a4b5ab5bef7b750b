"""What comes of a training: of one model, of one seed, of all seeds of a run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from torch import nn

from edgenet.config import Settings


@dataclass(frozen=True)
class SeedResult:
    """The numbers of one training.

    Attributes:
        best_epoch: the epoch whose model was kept, of ``epochs`` that were run.
        val, test: its metric; None where there are no such data.
        parameters: trainable numbers of the model.
        seconds: of training and validation, over all resumptions.

    Example:
        >>> karate, make = edgenet.data.load("karate"), lambda: edgenet.NodeClassifier(34, 4)
        >>> result = edgenet.train.run_seeds(make, karate, seeds=[3], epochs=2, progress=False)
        >>> result.seeds[0].seed
        3
    """

    seed: int
    epochs: int
    best_epoch: int
    val: float | None
    test: float | None
    parameters: int
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """What came of ``fit``.

    Attributes:
        model: the one handed in, with the numbers of its best epoch, in evaluation mode.
        metric: name of the metric.
        best_epoch: the epoch whose model was kept, of ``epochs`` that were run: the best by validation, or the last.
        val, test: its metric; None where there are no such data.
        parameters: trainable numbers of the model.
        seconds: of training and validation, over all resumptions.
        history: the record of every epoch: epoch, loss, train, val, test, val_loss, seconds.

    Example:
        >>> result = edgenet.fit(edgenet.NodeClassifier(34, 4), edgenet.data.load("karate"), epochs=2, progress=False)
        >>> result.metric, result.epochs
        ('accuracy', 2)
    """

    model: nn.Module = field(repr=False)
    metric: str
    epochs: int
    best_epoch: int
    val: float | None
    test: float | None
    parameters: int
    seconds: float
    history: list[dict[str, Any]] = field(repr=False)

    def numbers(self, seed: int) -> SeedResult:
        """As the result of a seed."""
        return SeedResult(seed, self.epochs, self.best_epoch, self.val, self.test, self.parameters, self.seconds)


@dataclass(frozen=True)
class RunResult:
    """What came of all seeds.

    Attributes:
        config: the ``RunConfig``, or the ``Settings`` of ``run_seeds``.
        metric: "accuracy" and "micro_f1" in [0, 1], "rmse" in the units of the target, ...
        seeds: one result a seed.
        models: the best model of every seed, in evaluation mode.
        histories: the records of every seed's epochs.
        folder: of the run, or None.

    Example:
        >>> karate, make = edgenet.data.load("karate"), lambda: edgenet.NodeClassifier(34, 4)
        >>> result = edgenet.train.run_seeds(make, karate, seeds=[0, 1], epochs=2, progress=False)
        >>> len(result.seeds), 0 <= result.mean("test") <= 1
        (2, True)
    """

    config: Settings
    metric: str
    seeds: list[SeedResult]
    models: dict[int, nn.Module]
    histories: dict[int, list[dict[str, Any]]]
    folder: Path | None

    def mean(self, name: str = "test") -> float:
        """Mean of a number over the seeds; NaN where there is none."""
        values = [getattr(result, name) for result in self.seeds]
        return math.nan if None in values else fmean(values)

    def std(self, name: str = "test") -> float:
        """Sample standard deviation (n - 1) over the seeds; NaN for one seed."""
        values = [getattr(result, name) for result in self.seeds]
        return stdev(values) if len(values) > 1 and None not in values else math.nan

    def summary(self) -> dict[str, Any]:
        """JSON-able: the metric, mean and sample standard deviation, and all seeds."""
        spread = {
            name: {key: None if math.isnan(value) else value for key, value in numbers}
            for name in ("val", "test")
            for numbers in [(("mean", self.mean(name)), ("std", self.std(name)))]
        }
        return {"metric": self.metric, **spread, "seeds": [asdict(result) for result in self.seeds]}
