"""The file of rows beside a page: what its tables are made of, and what made it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from edgenet.bench.pages.content import Content
from edgenet.errors import ConfigError
from edgenet.writing import write_text

FOLDER = "rows"
#: what the rows of a page are whose runs nobody kept: the cells of its tables
READ_OFF = "read off the page"


@dataclass(frozen=True)
class Record:
    """What is known of a page.

    Attributes:
        title: its heading.
        provenance: command, commit, date, settings, seeds, backend, machine, packages.
        rows: what the page is made of, every seed; or the cells of its tables, where it was made without rows.
        content: "module:function" that makes the page of the rows; None where the rows are read off the page.
        code: a hash for each file of the code that made it.
    """

    title: str
    provenance: dict[str, Any]
    rows: Any
    content: str | None
    code: dict[str, str] = field(default_factory=dict)

    def made(self) -> Content:
        """The page's content, made again of its rows.

        Raises:
            ConfigError: if what made it is gone.
        """
        assert self.content is not None
        module, _, name = self.content.partition(":")
        try:
            function = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"the page {self.title!r} is made by {self.content}, which is gone: {error}. Measure it again by "
                f"`{self.provenance.get('command')}`, or keep its tables as they are: `edgenet bench adopt`."
            ) from error
        return function(self.rows)

    def write(self, page: Path) -> Path:
        """Write the file of rows; returns where."""
        file = rows_file(page)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, _text(vars(self)))
        return file

    @classmethod
    def read(cls, page: Path) -> Record:
        """The record of a page.

        Raises:
            ConfigError: if it has none, or that is no record.
        """
        file = rows_file(page)
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise ConfigError(
                f"{page} has no rows beside it ({file} is missing). Make it by `edgenet bench`, or keep an old page as "
                f"it is: `edgenet bench adopt {page}`."
            ) from error
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{file} is no file of rows: {error}.") from error


def rows_file(page: Path) -> Path:
    """Where the rows of a page are."""
    return page.parent / FOLDER / f"{page.stem}.json"


def name_of(content: Callable[[Any], Content]) -> str:
    """The name under which ``Record.made`` finds a function.

    Raises:
        ConfigError: if it cannot be found by a name.
    """
    if "." in content.__qualname__ or content.__name__ == "<lambda>":
        raise ConfigError(
            f"{content.__qualname__} cannot be found again by its name; give publish a function of a module."
        )
    return f"{content.__module__}:{content.__qualname__}"


def as_read(value: Any) -> Any:
    """JSON-able values as they come back from a file: keys are text, tuples lists, what is no number None."""
    return json.loads(json.dumps(value), parse_constant=lambda name: None)


def _text(value: dict[str, Any]) -> str:
    """JSON, where a row has a line of its own, so that a change of one row is a change of one line."""
    levels = 3 if isinstance(value["rows"], dict) else 2
    shown = {key: one for key, one in value.items() if key != "code"}
    parts = [f'"{key}": {_lines(one, levels if key == "rows" else 1, " ")}' for key, one in shown.items()]
    return "{\n " + ",\n ".join([*parts, f'"code": {json.dumps(value["code"])}']) + "\n}\n"


def _lines(value: Any, levels: int, indent: str) -> str:
    if not levels or not value or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    if isinstance(value, dict):
        entries = [f"{json.dumps(k, ensure_ascii=False)}: {_lines(v, levels - 1, inner)}" for k, v in value.items()]
    else:
        entries = [_lines(one, levels - 1, inner) for one in value]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return f"{begin}\n{inner}" + f",\n{inner}".join(entries) + f"\n{indent}{end}"
