"""Best: the model that is kept, and how long there has been no better one."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from edgenet.config import TrainingTable
from edgenet.train.metrics import Metric


@dataclass
class Best:
    """The best epoch so far, and what decides whether there will be more.

    Attributes:
        epoch: its number; 0: none yet.
        val, val_loss: its validation metric and loss.
        state: the model's tensors then.
        lowest_loss: the lowest validation loss of any epoch.
        highest: the best validation metric of any epoch, with the lowest loss of those that have it.
        waited: epochs without improvement.
        losses: of the last epochs, where ``stop_by`` looks back over them.
    """

    epoch: int = 0
    val: float | None = None
    val_loss: float | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    lowest_loss: float = math.inf
    highest: tuple[float, float] | None = None
    waited: int = 0
    losses: list[float] = field(default_factory=list)

    def see(self, record: Mapping[str, Any], model: nn.Module, metric: Metric, table: TrainingTable) -> None:
        """Keep the model if this epoch is the best so far, and count the epochs without improvement.

        Without validation every epoch is better than the one before.
        """
        val, loss = record.get("val"), record.get("val_loss")
        if val is None or loss is None:
            self._keep(record, model)
            return
        higher = self.highest is None or metric.better(val, self.highest[0])
        equal = self.highest is not None and val == self.highest[0]
        better = {
            "metric": higher or (equal and self.highest is not None and loss < self.highest[1]),
            "loss": loss < self.lowest_loss,
        }
        again = {
            "metric": better["metric"] or (bool(table.ties) and equal),
            "loss": better["loss"] or (bool(table.ties) and loss == self.lowest_loss),
        }
        self.waited = 0 if any(again[name] for name in _WATCHED[table.stop_by]) else self.waited + 1
        if better["metric"]:
            self.highest = (val, loss)
        self.lowest_loss = min(loss, self.lowest_loss)
        if better[table.kept_by]:
            self._keep(record, model)
        if table.stop_by == "window":
            self.losses = [*self.losses, loss][-table.patience - 1 :]

    def _keep(self, record: Mapping[str, Any], model: nn.Module) -> None:
        self.epoch, self.val, self.val_loss = record["epoch"], record.get("val"), record.get("val_loss")
        self.state = {name: _copied(value) for name, value in model.state_dict().items()}

    def ends(self, table: TrainingTable, epoch: int) -> bool:
        """Whether nothing better is waited for after this epoch."""
        if table.stop_by != "window":
            return 0 < table.patience <= self.waited
        past = self.losses[:-1]
        return epoch > table.epochs // 2 and len(past) > 0 and self.losses[-1] > fmean(past)

    def fits(self, model: nn.Module) -> bool:
        """Whether the tensors that were kept are those of the model as it is now."""
        now = model.state_dict()
        same = now.keys() == self.state.keys()
        return same and all(
            not isinstance(value, Tensor) or now[name].shape == value.shape for name, value in self.state.items()
        )


#: what improvement is, by ``stop_by``; a window has a rule of its own
_WATCHED = {"metric": ("metric",), "loss": ("loss",), "either": ("metric", "loss"), "window": ()}


def _copied(value: Any) -> Any:
    """Of a tensor, or of what a module keeps beside its tensors (``get_extra_state``)."""
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
