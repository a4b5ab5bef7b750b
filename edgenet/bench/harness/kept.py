"""Results that are kept in files beside what they are the results of, so that a command goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgenet.writing import write_text


def kept(file: Path, job: Mapping[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The JSON-able result of a job, from the file where that holds the result of the same job; else computed, and put
    there."""
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["job"] == job:
            return stored["result"]
    file.parent.mkdir(parents=True, exist_ok=True)
    result = compute()
    write_text(file, json.dumps({"job": job, "result": result}, indent=2) + "\n")
    return result
