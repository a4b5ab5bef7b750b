"""Rules: the callbacks that ``[[callback]]`` and ``[compress]`` name."""

from __future__ import annotations

from edgenet.compress import Callback
from edgenet.compress.from_tables import make_callbacks
from edgenet.config import Settings
from edgenet.pretrained import from_pretrained


def rules_of(settings: Settings) -> list[Callback]:
    """New callbacks, for one training. Arguments that name the folder of a saved model get the model.

    Raises:
        ConfigError, PlanError: if a kind or an argument is unknown, or out of range.
        CheckpointError: if there is no such saved model.
    """
    return make_callbacks(settings.callback, settings.compress, from_pretrained)
