"""Rules: the callbacks that ``[[callback]]`` and ``[compress]`` name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenet.compress import CALLBACKS, Callback
from edgenet.config import Settings
from edgenet.pretrained import from_pretrained


def rules_of(settings: Settings) -> list[Callback]:
    """New callbacks, for one training. Arguments that name a saved model get the model.

    Raises:
        ConfigError, PlanError: if a kind or an argument is unknown, or out of range.
        CheckpointError: if there is no such saved model.
    """
    tables = [_with_models(table) for table in settings.callback]
    rules = [CALLBACKS[t.pop("kind")](**t) for t in tables]
    return rules


def _with_models(table: dict[str, Any]) -> dict[str, Any]:
    kind: Any = CALLBACKS.get(table["kind"])
    read = dict(table)
    for name in getattr(kind, "takes_models", ()):
        if isinstance(read.get(name), str | Path):
            read[name] = from_pretrained(read[name])
    return read
