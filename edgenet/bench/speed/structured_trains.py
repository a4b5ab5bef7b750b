"""Our tensor trains beside tensorly-torch's of the same cores, in its fastest form."""

from __future__ import annotations

from collections.abc import Sequence

from edgenet.bench.harness.cells import digits
from edgenet.bench.harness.performance import Record
from edgenet.bench.harness.timing import passed
from edgenet.bench.speed.structured_cases import IMPLEMENTATIONS, TENSORLY
from edgenet.text import markdown_table


def beside_tensorly(records: Sequence[Record]) -> list[str]:
    """The table of tensor trains, and where tensorly-torch is ahead; nothing where it was not measured."""
    rows, behind = [], []
    for job, result in records:
        found = {row["name"]: row["batches"] for row in result["rows"]}
        for name in (row["name"] for row in result["rows"] if row.get("family") == "tensor_train"):
            theirs = {form: found.get(f"{TENSORLY}, {name.partition(', ')[2]}, {form}") for form in IMPLEMENTATIONS}
            for batch in job["batches"]:
                ours = found[name][str(batch)]
                times = {form: cells[str(batch)]["median"] for form, cells in theirs.items()
                         if cells is not None and passed(cells[str(batch)])}  # fmt: skip
                if not times or not passed(ours):
                    continue
                form = min(times, key=lambda form: times[form])
                ratios = {other: digits(time / ours["median"]) for other, time in times.items()}
                m, n = job["shape"]
                where = (f"{n} -> {m}", name, str(job["threads"]), str(batch))
                if times[form] < ours["median"]:
                    behind.append(f"{', '.join(where[:2])}, batch {batch} ({form}: {ratios[form]})")
                    ratios[form] = f"**{ratios[form]}**"
                each = (ratios.get(other, "-") for other in IMPLEMENTATIONS)
                rows.append((*where, digits(1e3 * ours["median"]), form, ratios[form], *each))
    if not rows:
        return []
    header = ("in -> out", "matrix", "threads", "batch", "edgenet, ms", "fastest of tensorly-torch", "× edgenet",
              *IMPLEMENTATIONS)  # fmt: skip
    ahead = f"**tensorly-torch is faster in {len(behind)} of {len(rows)} rows**: {'; '.join(behind)}." if behind else ""
    return [
        "### Tensor trains beside tensorly-torch",
        markdown_table(header, rows),
        ahead or "tensorly-torch is faster in no row.",
    ]
