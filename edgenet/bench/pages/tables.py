"""The tables of a page, as cells."""

from __future__ import annotations

import re

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_BAR = re.compile(r"(?<!\\)\|")

Table = list[list[str]]


def tables(text: str) -> list[Table]:
    """Every table of a page: its lines, the header first and without the rule below it, each a list of cells."""
    found: list[Table] = []
    inside = False
    for line in _FENCED.sub("", text).splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            cells = [cell.strip() for cell in _BAR.split(line.strip()[1:-1])]
            if not all(set(cell) <= set("-:") and cell for cell in cells):
                found[-1].append(cells)
        inside = line.startswith("|")
    return found
