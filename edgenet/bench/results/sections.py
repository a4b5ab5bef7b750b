"""Experiments of several results, each of which is measured alone and has a page of its own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from edgenet.bench.pages import Content, from_parts, publish
from edgenet.errors import ConfigError
from edgenet.text import did_you_mean


def chosen(table: Mapping[str, tuple[str, str]], parts: str) -> list[str]:
    """The results that ``--parts`` names, between commas.

    Raises:
        ConfigError: if one is unknown, or there is none.
    """
    names = [name.strip() for name in parts.split(",") if name.strip()]
    for name in names:
        if name not in table:
            raise ConfigError(f"--parts has {name!r}; there are {', '.join(table)}.{did_you_mean(name, table)}")
    if not names:
        raise ConfigError(f"--parts names none; there are {', '.join(table)}.")
    return names


def page_of(out: Path, name: str) -> Path:
    """Where a result stands: beside ``out``, whose name its own begins with."""
    return out.with_name(f"{out.stem}_{name}.md")


def measure(
    out: Path,
    table: Mapping[str, tuple[str, str]],
    names: list[str],
    seeds: int,
    *given: Any,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Measure results, and write the page of each.

    Args:
        table: result: (its heading, the module that measures it by ``results(seeds, *given)``; of times, by
            ``results()``). The module makes ``parts`` and ``claim`` of what it found, and has LIMITS.
        more: what single results are given besides, by name.
    """
    for name in names:
        heading, module = table[name]
        made = import_module(module)
        timed = module.startswith("edgenet.bench.speed.")
        found = made.results() if timed else made.results(seeds, *given, **(more or {}).get(name, {}))
        rows = {"module": module, "found": found}
        settings = made.settings() if hasattr(made, "settings") else {}
        publish(page_of(out, name), heading, content, rows, settings=settings, seeds=range(0 if timed else seeds))


def content(rows: Mapping[str, Any]) -> Content:
    """The page of a result."""
    made = import_module(rows["module"])
    return from_parts(made.claim(rows["found"]), made.parts(rows["found"]), made.LIMITS)
