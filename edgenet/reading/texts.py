"""JSON and TOML of a size and a depth that are known before they are parsed."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.reading.budget import TEXT, Budget, Refusal, content

_CHUNK = 1 << 20
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
# of a key with many dots TOML's parser copies what it has read at every one
_LONG_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:"[^"\n]*"|'[^'\n]*'|[\w-]+)[ \t]*\.[ \t]*){{{TEXT.depth}}}"""
)


def read_json(path: Path, refuse: Refusal, budget: Budget = TEXT) -> Any:
    """What a JSON file says.

    Raises:
        refuse: if it cannot be read, is no JSON in UTF-8, or is larger or deeper than its budget.
    """
    return parse_json(content(path, budget, refuse), str(path), refuse, budget)


def parse_json(text: bytes | str, where: str, refuse: Refusal, budget: Budget = TEXT) -> Any:
    """What a JSON text says.

    Args:
        where: what messages call it.

    Raises:
        refuse: as ``read_json``.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    _check_size(data, where, refuse, budget)
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError, MemoryError) as error:
        raise refuse(f"{where}: damaged, it is no JSON: {_reason(error)}.") from error


def read_toml(path: Path, refuse: Refusal) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        refuse: if it cannot be read, is no TOML in UTF-8, or is larger or deeper than ``TEXT``.
    """
    return parse_toml(content(path, TEXT, refuse), str(path), refuse)


def parse_toml(text: bytes, where: str, refuse: Refusal) -> dict[str, Any]:
    """What a TOML text says.

    Raises:
        refuse: as ``read_toml``.
    """
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise refuse(f"{where}: not TOML: no text in UTF-8 (byte {error.start}).") from error
    _check_size(text, where, refuse, TEXT)
    if found := _LONG_KEY.search(decoded):
        number = decoded.count("\n", 0, found.start()) + 1
        raise refuse(f"{where}:{number}: a key of more than {TEXT.depth} parts.")
    try:
        tables = tomllib.loads(decoded)
    except (ValueError, RecursionError, MemoryError) as error:
        raise refuse(f"{where}: not TOML: {_reason(error)}.") from error
    level: list[Any] = [tables]
    for _ in range(TEXT.depth):
        inside = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in inside if isinstance(item, dict | list)]
    if level:  # by keys with dots inside of inline tables
        raise refuse(f"{where}: has tables more than {TEXT.depth} deep inside each other.")
    return tables


def _check_size(data: bytes, where: str, refuse: Refusal, budget: Budget) -> None:
    if len(data) > budget.bytes:
        raise refuse(f"{where}: has {len(data)} bytes, and such a text may have {budget.bytes}.")
    opened = data.count(b"[") + data.count(b"{")
    if opened + data.count(b",") > budget.elements:
        raise refuse(f"{where}: has more than the {budget.elements} items that such a text may have.")
    if opened > budget.depth and (found := _depth(data)) > budget.depth:
        raise refuse(f"{where}: has lists and tables {found} deep inside each other, and such a text may have "
                     f"{budget.depth}.")  # fmt: skip


def _depth(data: bytes) -> int:
    """How deep brackets stand in brackets, outside double quotes."""
    data = _ESCAPED.sub(b"", data) if b"\\" in data else data
    level, deepest, quoted = 0, 0, 0
    for start in range(0, len(data), _CHUNK):
        piece = np.frombuffer(data[start : start + _CHUNK], np.uint8)
        inside = (np.cumsum(piece == ord('"')) + quoted) % 2
        steps = np.isin(piece, (ord("["), ord("{"))).astype(np.int64) - np.isin(piece, (ord("]"), ord("}")))
        levels = level + np.cumsum(np.where(inside, 0, steps))
        level, deepest = int(levels[-1]), max(deepest, int(levels.max()))
        quoted += int((piece == ord('"')).sum())
    return deepest


def _reason(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"no text in UTF-8 (byte {error.start})"
    return (str(error).strip().rstrip(".") or type(error).__name__)[:200]
