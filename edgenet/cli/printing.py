"""How commands write scores, facts and models."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from edgenet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from edgenet.compress import Report


def score(value: float | None) -> str:
    """A metric, four digits; nothing where there is none."""
    return "" if value is None else f"{value:.4f}"


def spread(values: Sequence[float | None]) -> str:
    """mean ± sample standard deviation, which one value has not; nothing where a value is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return ""
    return score(fmean(known)) + (f" ± {stdev(known):.4f}" if len(known) > 1 else "")


def print_facts(facts: dict[str, Any], indent: str = "") -> None:
    """Names and values, a line each; tables inside are indented, and what is empty is left out."""
    width = max((len(str(key)) for key in facts), default=0)
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            print(f"{indent}{key}:")
            print_facts(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], str):
            print(f"{indent}{key}:")
            for item in value:
                print(f"{indent}  {item}")
        elif value not in ("", None, {}, []):
            print(f"{indent}{str(key).ljust(width)}  {value}")


def print_model(model: nn.Module, folder: Path) -> None:
    """Where a model was saved, and what it takes there."""
    from edgenet.compress import report
    from edgenet.pretrained.folder import read_config

    config, parameters = read_config(folder), report(model).total.parameters
    name, tables = config["tree"]["class"].rpartition(".")[2], config["graphs"]
    bound = f", {len(tables)} of its tables bound to a graph" if tables else ""
    size = (folder / config["file"]).stat().st_size
    print(f"model:   {folder}, {name}, {parameters:,} parameters, {size:,} bytes{bound}")


def print_picture(report: Report, path: Path) -> None:
    """Draw a compression; where nothing can be drawn, stderr says why."""
    from edgenet import plots

    try:
        print(f"picture: {plots.compression_picture(report, path)}")
    except ConfigError as error:
        print(f"edgenet: no picture: {error}", file=sys.stderr)
