"""Text that people and other programs read: TOML, tables in plain text and markdown, and names perhaps meant."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from edgenet.errors import ConfigError
from edgenet.printable import printable

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


# --- names ------------------------------------------------------------------------------------------------------------
def near_names(name: object, known: Iterable[str], number: int = 3, cutoff: float = 0.6) -> list[str]:
    """The known names that are nearest to a name, the nearest first; none where nothing is near.

    Args:
        number: at most so many.
        cutoff: how near they must be, from 0 (anything) to 1 (the same).
    """
    known = list(known)
    near = difflib.get_close_matches(str(name), known, number, cutoff)
    if near:
        return near
    lowered = {one.lower(): one for one in reversed(known)}
    return [lowered[one] for one in difflib.get_close_matches(str(name).lower(), lowered, number, cutoff)]


def did_you_mean(name: object, known: Iterable[str], number: int = 1, cutoff: float = 0.6) -> str:
    """The end of a message, `` Did you mean 'x' or 'y'?`` with the space before it; empty where nothing is near."""
    near = near_names(name, known, number, cutoff)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


# --- TOML -------------------------------------------------------------------------------------------------------------
def toml_string(text: str) -> str:
    """A TOML string of any text.

    Raises:
        ConfigError: if the text holds half a surrogate pair: bytes that were no UTF-8, which no TOML file can hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{text!a} holds bytes that are no UTF-8: a TOML file cannot hold them.") from error
    # as JSON, but that TOML knows no surrogate pairs, which JSON writes in ASCII, and wants DEL escaped
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(key: str) -> str:
    """A key of a TOML table, quoted where it must be."""
    return key if _BARE_KEY.fullmatch(key) else toml_string(key)


def toml_value(value: Any) -> str:
    """A TOML value on one line: text, a number, a truth value, a list, or a table inline. Keys of None are left out.

    Raises:
        ConfigError: if TOML has no such value, None in a list among them.
    """
    if isinstance(value, Mapping):
        items = [f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items() if item is not None]
        return f"{{ {', '.join(items)} }}" if items else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):  # NumPy's count, too
        return repr(int(value))
    if isinstance(value, Real):
        value = float(value)
        if math.isfinite(value):
            return repr(value)
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    raise ConfigError(
        f"a TOML file cannot hold {value!r}, a {type(value).__name__}; text, numbers, lists, tables it can."
    )


def toml_pairs(table: Mapping[str, Any]) -> list[str]:
    """Lines ``key = value`` of a TOML table. Keys of None are left out, as TOML has no null."""
    return [f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items() if value is not None]


def toml_document(content: Mapping[str, Any]) -> str:
    """A TOML file: values first, and then a table ``[key]`` for every mapping."""
    parts = [toml_pairs({key: value for key, value in content.items() if not isinstance(value, Mapping)})]
    for key, table in content.items():
        if isinstance(table, Mapping):
            parts.append([f"[{toml_key(key)}]", *toml_pairs(table)])
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def toml_tables(name: str, tables: Iterable[Mapping[str, Any]]) -> str:
    """A list of tables, ``[[name]]`` each, with an empty line between them."""
    return "\n\n".join("\n".join([f"[[{toml_key(name)}]]", *toml_pairs(table)]) for table in tables) + "\n"


# --- tables -----------------------------------------------------------------------------------------------------------
def plain_table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    right: Collection[int] | None = None,
    rule: int | None = None,
    full_rule: bool = False,
) -> str:
    """A table for the terminal: columns two spaces apart, a line of dashes below the header.

    Args:
        right: the columns that are set to the right; by default those that look like numbers all the way down.
        rule: the row before which there is another line of dashes.
        full_rule: whether the dashes run through, or stop between columns.
    """
    cells = [[printable(cell, lines=False) for cell in row] for row in (header, *rows)]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    if right is None:
        right = [
            k for k, column in enumerate(columns) if all(cell[:1].isdigit() or cell[:1] in "-" for cell in column[1:])
        ]

    def line(row: Sequence[str]) -> str:
        placed = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(placed).rstrip()

    lines = [line(row) for row in cells]
    dashes = "-" * max(map(len, lines)) if full_rule else "  ".join("-" * width for width in widths)
    if rule is not None:
        lines.insert(rule + 1, dashes)
    return "\n".join([lines[0], dashes, *lines[1:]])


def markdown_table(
    header: Sequence[object], rows: Iterable[Sequence[object]], right: Collection[int] | None = None
) -> str:
    """A table for a page. Bars and line breaks in cells are escaped.

    Args:
        right: the columns that are set to the right; by default all but the first.
    """
    right = range(1, len(header)) if right is None else right
    rules = ["---:" if column in right else "---" for column in range(len(header))]
    lines = [_markdown_line(header), f"|{'|'.join(rules)}|", *map(_markdown_line, rows)]
    return "\n".join(lines)


def _markdown_line(row: Sequence[object]) -> str:
    cells = (re.sub(r"\s*\n\s*", " ", printable(cell)).replace("|", "\\|") for cell in row)
    return f"| {' | '.join(cells)} |"
