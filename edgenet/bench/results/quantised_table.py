"""Tables of ``edgenet bench quantised``: scores beside bytes on disk, and what was asked of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.results.quantised_run import Row
from edgenet.text import markdown_table

Results = Sequence[Mapping[str, Any]]  # of the seeds


def table(rows: Sequence[Row], found: Sequence[Results], published: Mapping[str, str] | None = None) -> str:
    """Every row beside the first one, which is what the differences and ratios are of.

    Args:
        found: results of each row, one a seed.
        published: {name of a row's file: what others report}; with it there is a column for that.
    """
    whole = found[0]
    header = ["", "", "parameters", "bytes", "smaller", "test", "difference"] + ["published"] * (published is not None)
    lines = []
    for row, results in zip(rows, found, strict=True):
        first = results[0]
        cells = [
            row.group.replace("_", " "),
            row.name,
            f"{first['parameters']:,}",
            f"{first['bytes']:,}",
            f"{whole[0]['bytes'] / first['bytes']:.1f}x",
            f"**{report.spread([one['test'] for one in results], digits=2)}**",
            "" if results is whole else f"{lost(whole, results):+.2f}",
        ]
        lines.append(cells + ([published.get(row.file, "")] if published is not None else []))
    return markdown_table(header, lines, right=range(2, 7))


def lost(whole: Results, results: Results) -> float:
    """Points of test accuracy over those of the first row, seed by seed; on average."""
    return 100 * fmean(one["test"] - other["test"] for one, other in zip(results, whole, strict=True))


def asked(demands: Sequence[tuple[str, str, float]], rows: Mapping[str, Results], wholes: Mapping[str, Results]) -> str:
    """What may be lost, what is, and whether that is within it.

    Args:
        demands: (name of a row's file, what it is, points that may be lost).
        rows: results by the name of the file.
        wholes: by the same names, the results that the difference is to.
    """
    lines = []
    for file, text, points in demands:
        difference = lost(wholes[file], rows[file])
        met = "yes" if within(difference, points) else "**no**"
        lines.append((text, f"-{points:.1f}", f"{difference:+.2f}", met))
    return markdown_table(("", "allowed", "measured", "met"), lines)


def within(difference: float, points: float) -> bool:
    """Whether no more points are lost than may be; exactly as many may."""
    return difference >= -points - 1e-9


def checks(found: Sequence[Results]) -> str:
    """Whether every file is as large as its report says, and scores as the network that was trained."""
    each = [one for results in found for one in results]
    sizes = sum(one["bytes"] != one["reported"] for one in each)
    gaps = [abs(one["val"] - one["val_trained"]) for one in each if one["val_trained"] is not None]
    same = "as `report` tells them" if not sizes else f"**not** as `report` tells them in {sizes} of {len(each)} runs"
    return (
        "*Parameters* are the numbers that train, two for a sign and a shift. *Bytes* are those of all tensors in "
        f"`model.safetensors`, statistics of batch norms included, {same}; the description beside them is left out. "
        "Every score is of the model that was read back from there. Against the network in training, the largest "
        f"difference in validation accuracy was {100 * max(gaps, default=0):.2f} points."
    )


def curves(rows: Sequence[Row], found: Sequence[Results]) -> dict[str, list[tuple[float, float]]]:
    """{group: (bytes, mean test accuracy in percent) of its rows}, for a picture."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row, results in zip(rows, found, strict=True):
        place = results[0]["bytes"], 100 * fmean(one["test"] for one in results)
        points.setdefault(row.group.replace("_", " "), []).append(place)
    return points
