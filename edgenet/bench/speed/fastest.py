"""Ours beside the fastest form of each peer: what stands first in a table of times, and where a peer is ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgenet.bench.harness.cells import digits, milliseconds
from edgenet.bench.harness.timing import passed

Row = dict[str, Any]
LIBRARIES = ("PyG", "DGL")  # that have a column of their own


def library(row: Row) -> str:
    """The first word of a name."""
    return row["name"].split()[0].rstrip(",")


def form(row: Row) -> str:
    """The name without the features that it was given, which have a column of their own."""
    return row["name"].removesuffix(", sparse features").removesuffix(", dense features")


def fastest(rows: Sequence[Row], kind: str) -> Row | None:
    """The row of least time among those whose check passed; None if there is none."""
    good = [row for row in rows if passed(row) and kind in row["times"]]
    return min(good, key=lambda row: row["times"][kind]["minimum"], default=None)


def ratio(row: Row | None, ours: Row, kind: str) -> str:
    """The time of a row over ours, in bold where the row is faster; "-" where one of them has none."""
    if row is None or not (passed(row) and passed(ours)) or kind not in row["times"] or kind not in ours["times"]:
        return "-"
    value = row["times"][kind]["minimum"] / ours["times"][kind]["minimum"]
    return digits(value) if value >= 1 else f"**{digits(value)}**"


def columns(time: str, libraries: Sequence[str] = LIBRARIES) -> tuple[str, ...]:
    """The headings of what ``beside`` makes; ``time`` is that of ours."""
    return f"edgenet {time}", "fastest peer", "× edgenet", *(f"fastest of {name}, × edgenet" for name in libraries)


def beside(rows: Sequence[Row], kind: str, libraries: Sequence[str] = LIBRARIES) -> tuple[str, ...]:
    """The cells of our time, of the fastest of all peers, and of the fastest form of each library.

    Args:
        rows: ours first.
    """
    ours, peers = rows[0], rows[1:]
    best = fastest(peers, kind)
    each = (fastest([row for row in peers if library(row) == name], kind) for name in libraries)
    named = "-" if best is None else form(best)
    return milliseconds(ours, kind), named, ratio(best, ours, kind), *(_named(row, ours, kind) for row in each)


def _named(row: Row | None, ours: Row, kind: str) -> str:
    if row is None:
        return "-"
    what = form(row).rpartition(", ")[2] if ", " in form(row) else ""
    return f"{ratio(row, ours, kind)} ({what})" if what else ratio(row, ours, kind)


def losses(table: Sequence[Sequence[str]], where: int, at: int | None = None) -> str:
    """The sentence on the rows of a table in which the fastest peer is faster than edgenet.

    Args:
        where: how many cells say what was measured.
        at: the cell of the ratio to the fastest peer; by default the third behind these.
    """
    at = where + 2 if at is None else at
    behind = [row for row in table if row[at].startswith("**")]
    if all(row[at] == "-" for row in table):
        return "No peer was measured."
    if not behind:
        return "No peer is faster than edgenet in this table."
    named = "; ".join(f"{', '.join(row[:where])}: {row[at - 1]} takes {row[at].strip('*')} of edgenet's time"
                      for row in behind)  # fmt: skip
    return f"**A peer is faster than edgenet in {len(behind)} of {len(table)} rows**: {named}."
