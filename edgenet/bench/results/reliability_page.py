"""The page of ``edgenet bench reliability``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgenet.bench.pages import Content
from edgenet.text import markdown_table

TITLE = "Hard to break"
FAULTS = ("raw", "memory", "hang", "crash")
#: what may become of a damaged file, and how the page calls it
KINDS = {"read": "other", "read, as before": "as before", "refused": "refused", **{kind: kind for kind in FAULTS}}
_PROTOCOL = (
    "*Files.* A good file of every reader is damaged at random (bits, cuts, repeated blocks, large numbers, deep "
    "nesting, headers), and read in a process with a limit of memory and of time. *as before*: read with the same "
    "result; *other*: read with another result, which is legal; *refused*: a typed error that names the file. The rest "
    "are faults: another exception, more than 10 times the file plus 200 MB, over 10 seconds of processor, a crash.",
    "*Kills.* Training runs, and savers over an old folder, are killed at random moments with SIGKILL, and go on.",
    "*Long runs.* One process takes steps; the slope is of its resident memory over the second half.",
    "*The gate.* The same calls with the checks before compiled code and without, in turn, in one process: medians of "
    "processor time, one thread.",
)
_LIMITS = (
    "Damage is random: a file that was made by somebody who knows the code is the subject of `docs/security.md`. The "
    "cost of the gate is that of its checks alone, without what the kernels do for their status."
)


def content(rows: Mapping[str, Any]) -> Content:
    """The page, of the parts that were made."""
    found = {name: row["found"] for name, row in rows.items()}
    tables: list[str] = []
    if "files" in found:
        tables += ["### Damaged files", _files(found["files"])]
    if "kills" in found:
        tables += ["### Kills", "\n".join(f"- {line}." for line in found["kills"])]
    if "soak" in found:
        head = list(found["soak"][0])
        cells = [list(row.values()) for row in found["soak"]]
        tables += ["### Long runs", markdown_table(head, cells)]
    if "gate" in found:
        cells = [
            (row["call"], f"{row['checked'] * 1e6:,.0f}", f"{row['unchecked'] * 1e6:,.0f}", f"{_cost(row):+.1%}")
            for row in found["gate"]
        ]
        tables += ["### The gate", markdown_table(("call", "checked, us", "unchecked, us", "cost"), cells)]
    return Content(_claim(found), tables, list(_PROTOCOL), _LIMITS)


def _files(rows: list[dict[str, Any]]) -> str:
    cells = [(row["reader"], *(f"{row[kind]:,}" for kind in KINDS)) for row in rows]
    cells.append(("all", *(f"{sum(row[kind] for row in rows):,}" for kind in KINDS)))
    return markdown_table(("reader", *KINDS.values()), cells)


def _claim(found: Mapping[str, Any]) -> str:
    said = []
    if "files" in found:
        rows = found["files"]
        faults = sum(row[kind] for row in rows for kind in FAULTS)
        number = sum(row[kind] for row in rows for kind in KINDS)
        said.append(f"Of {number:,} damaged files for {len(rows)} readers {faults or 'none'} did harm.")
    if "kills" in found:
        said.append("Killed runs that go on have equal bits; of a killed saver the old model or the new one loads.")
    if "soak" in found:
        slopes = [float(row["bytes a step"]) for row in found["soak"]]
        said.append(f"Memory grows by at most {max(slopes):.1f} bytes a step over {found['soak'][0]['steps']} steps.")
    if "gate" in found:
        costs = ", ".join(f"{_cost(row):+.1%} ({row['call']})" for row in found["gate"])
        said.append(f"Checks before compiled code cost {costs}.")
    return " ".join(said) or "Nothing was run."


def _cost(row: Mapping[str, float]) -> float:
    return row["checked"] / row["unchecked"] - 1
