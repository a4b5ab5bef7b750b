"""Best: the model that is kept, and how long there has been no better one."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from edgenet.train.metrics import Metric


@dataclass
class Best:
    """The best epoch so far.

    Attributes:
        epoch: its number; 0: none yet.
        val, val_loss: its validation metric and loss.
        state: the model's tensors then.
        lowest_loss: the lowest validation loss of any epoch.
        waited: epochs without improvement.
    """

    epoch: int = 0
    val: float | None = None
    val_loss: float | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    lowest_loss: float = math.inf
    waited: int = 0

    def see(self, record: Mapping[str, Any], model: nn.Module, metric: Metric, stop_by: str) -> None:
        """Keep the model if this epoch is the best so far, and count the epochs without improvement.

        Without validation every epoch is better than the one before.
        """
        val, val_loss = record.get("val"), record.get("val_loss")
        if self.epoch == 0 or val is None or val_loss is None or self.val is None or self.val_loss is None:
            improved = True
        elif stop_by == "loss":
            improved = val_loss < self.val_loss
        else:
            improved = metric.better(val, self.val) or (val == self.val and val_loss < self.val_loss)
        if improved:
            self.epoch, self.val, self.val_loss = record["epoch"], val, val_loss
            self.state = {name: _copied(value) for name, value in model.state_dict().items()}
        again = improved
        if val_loss is not None:
            again = improved or (stop_by == "either" and val_loss < self.lowest_loss)
            self.lowest_loss = min(self.lowest_loss, val_loss)
        self.waited = 0 if again else self.waited + 1

    def fits(self, model: nn.Module) -> bool:
        """Whether the tensors that were kept are those of the model as it is now."""
        now = model.state_dict()
        same = now.keys() == self.state.keys()
        return same and all(
            not isinstance(value, Tensor) or now[name].shape == value.shape for name, value in self.state.items()
        )


def _copied(value: Any) -> Any:
    """Of a tensor, or of what a module keeps beside its tensors (``get_extra_state``)."""
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
