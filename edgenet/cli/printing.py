"""How commands write scores, facts and models."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import IO, TYPE_CHECKING, Any

from edgenet.errors import ConfigError
from edgenet.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from edgenet.compress import Report


def say(*lines: object, file: IO[str] | None = None) -> None:
    """Print lines. Everything that commands say comes here: what a terminal would obey in it is shown and not sent."""
    print(printable("\n".join(map(str, lines))), file=file, flush=file is None)


def emit(options: argparse.Namespace, facts: dict[str, Any], *lines: str) -> None:
    """Print what came of a command: the lines, or with ``--json`` the facts as one object, which has no NaN."""
    if options.json:
        say(json.dumps(_finite(facts), indent=2, ensure_ascii=False, allow_nan=False, default=str))
    else:
        say(*lines)


def note(text: str) -> None:
    """Say on stderr what a user should know, so that stdout holds results alone."""
    say(f"edgenet: {text}", file=sys.stderr)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def score(value: float | None) -> str:
    """A metric, four digits; nothing where there is none."""
    return "" if value is None else f"{value:.4f}"


def spread(values: Sequence[float | None]) -> str:
    """mean ± sample standard deviation, which one value has not; nothing where a value is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return ""
    return score(fmean(known)) + (f" ± {stdev(known):.4f}" if len(known) > 1 else "")


def facts_text(facts: dict[str, Any], indent: str = "") -> str:
    """Names and values, a line each; tables inside are indented, and what is empty is left out."""
    width, lines = max((len(str(key)) for key in facts), default=0), []
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}:", facts_text(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], str):
            lines += [f"{indent}{key}:", *(f"{indent}  {item}" for item in value)]
        elif value not in ("", None, {}, []):
            lines.append(f"{indent}{str(key).ljust(width)}  {value}")
    return "\n".join(lines)


def model_facts(model: nn.Module, folder: Path) -> tuple[dict[str, Any], str]:
    """Where a model was saved, and what it takes there; as facts and as a line."""
    from edgenet.compress import report
    from edgenet.pretrained.folder import read_config

    config, parameters = read_config(folder), report(model).total.parameters
    name, tables = config["tree"]["class"].rpartition(".")[2], config["graphs"]
    bound = f", {len(tables)} of its tables bound to a graph" if tables else ""
    size = (folder / config["file"]).stat().st_size
    facts = {"folder": str(folder), "class": name, "parameters": parameters, "bytes": size, "bound": len(tables)}
    return facts, f"model:   {folder}, {name}, {parameters:,} parameters, {size:,} bytes{bound}"


def picture_of(report: Report, path: Path) -> Path | None:
    """Draw a compression; where nothing can be drawn, stderr says why."""
    from edgenet import plots

    try:
        return plots.compression_picture(report, path)
    except ConfigError as error:
        note(f"no picture: {error}")
        return None
