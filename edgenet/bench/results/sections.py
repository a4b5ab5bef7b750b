"""Pages of several sections, each of which is measured alone."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from edgenet.bench.harness import page, report
from edgenet.errors import ConfigError
from edgenet.text import did_you_mean


def chosen(table: Mapping[str, tuple[str, str]], parts: str) -> list[str]:
    """The sections that ``--parts`` names, between commas.

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


def measure(
    out: Path,
    title: str,
    table: Mapping[str, tuple[str, str]],
    names: list[str],
    *given: Any,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Measure sections, and put each in its place on the page.

    Args:
        table: section: (its heading, the module that measures it by ``parts(*given)``; of times, by ``parts()``).
        more: what single sections are given besides, by name.

    Raises:
        ConfigError: if the page has half a section.
    """
    for name in names:
        heading, module = table[name]
        made = import_module(module)
        timed = module.startswith("edgenet.bench.speed.")
        found = made.parts() if timed else made.parts(*given, **(more or {}).get(name, {}))
        head = [f"## {heading}", f"```\n{report.command()}\n```", report.machine()]
        page.write_section(out, title, name, [*head, *found])
