"""The page of ``edgenet bench compressed``, made of its rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from edgenet.bench.harness import report
from edgenet.bench.pages import Content
from edgenet.bench.results.compressed_statistics import Interval, interval, mcnemar
from edgenet.text import markdown_table

TITLE = "Attention networks, made small"
#: (times smaller in bytes of tensors, points of accuracy that may be lost)
AIMS = ((100, 0.1), (250, 0.5))
_NAMES = {
    "structure": "{family}, {bits} bits", "power_of_two": "{family}, powers of two, {bits} bits",
    "binary": "{family}, signs", "small_gat": "small GAT, {bits} bits, distilled",
    "small_gat_labels": "small GAT, {bits} bits, from labels", "rounding": "rounded to {bits} bits, nothing else",
    "rounding_tuned": "dense, {bits} bits, distilled", "pruning": "largest entries, nothing else",
    "features": "fewer words or pixels, {bits} bits, distilled",
    "classes": "table of the teacher's classes (not withheld)",
    "most_frequent": "most frequent class", "labels_spread": "training labels, spread over the graph",
    "classes_spread": "teacher's classes of known nodes, spread",
}  # fmt: skip
_HEADER = (
    "", "teachers", "bytes of tensors", "times smaller", "of the folder", "test", "minus teacher", "agrees",
    "McNemar p < .05", "forward, ms", "peak, MB",
)  # fmt: skip
Rows = Sequence[Mapping[str, Any]]


def content(rows: Rows) -> Content:
    """Claim, tables, protocol, limits."""
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    tables: list[str] = []
    for name in problems:
        mine = [row for row in rows if row["problem"] == name]
        tables += [f"### {name}", _introduction(mine)]
        if name in curves(rows):
            tables.append(f"![Test accuracy against size, {name}](compressed_{name}.png)")
        tables.append(_table(mine, lambda row: row["kind"] in ("structure", "small_gat") and row["headline"]))
        tables.append(_ahead(mine))
        tables.append(_table(mine, lambda row: row["kind"] != "structure" and not _is_headline_gat(row)))
        tables.append(_grid(mine))
    return Content(claim=_claim(rows), tables=[table for table in tables if table], protocol=_PROTOCOL, limits=_LIMITS)


_PROTOCOL = [
    "Every teacher is trained here with a seed of its own, and made small once. Neither labels of test nodes nor the "
    "teacher's scores at them are read: not by the fit to the features, not by fine-tuning, not by the choice of the "
    "epoch, which is that of the best agreement with the teacher on validation nodes. Features and edges of test nodes "
    "are part of the graph that the networks walk. Sizes of factors, bits and the share of dropped words come from "
    "earlier experiments with six other teachers on Cora, whose test accuracies were seen; how a temperature is found "
    "was chosen by validation nodes of one more teacher, of seed 100, which is in no row.",
    "The recipe is that of `edgenet.train.fine_tune(model, data, teacher=...)`: scores of the teacher alone, on the "
    "same input, of which 0.7 of the words or pixels are dropped at half of the steps; floats first, then few bits. "
    "Of each family the largest member is taken with which the whole model is so many times smaller. *8 bits* and *4 "
    "bits* are those of every number; *2 bits* those of large factors and dense lifts, with 6 for small factors and 4 "
    "for all else; *1 bit* has 4 and 2. Scales are floats, and counted. A small GAT is the better, by agreement on "
    "validation nodes, of the widest with one head and the widest with eight, or as many as fit; both are trained.",
    "Bytes are those of the files that `save_pretrained` writes: the tensors' numbers, and the whole folder, which "
    "also has a description of 9 kB, a header and a model card. Models are judged as they are read back. *Minus "
    "teacher*: the mean difference in points over teachers, with its 95 % interval by Student's t. *McNemar*: of how "
    "many teachers the exact test on their test nodes tells the two apart. A forward pass is the least processor time "
    "of 15; its peak is what the process takes more during one.",
]
_LIMITS = [
    "One split a data set: intervals are over teachers and not over test nodes. A table of the teacher's classes is "
    "smaller than any network and as accurate; it knows nothing of a node that is new, or whose words change.",
    "Rows of two teachers or fewer say little: they are to be compared with each other by several points alone.",
]


def curves(rows: Rows) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """(times smaller, test accuracy) of the headline rows, by problem and by name, where there are some."""
    drawn: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name in dict.fromkeys(row["problem"] for row in rows):
        mine = [row for row in rows if row["problem"] == name]
        of: dict[str, list[tuple[float, float]]] = {}
        for group in _groups([row for row in mine if row["kind"] in ("structure", "small_gat") and row["headline"]]):
            of.setdefault(_name(group[0]), []).append((_times(group, mine), fmean(row["test"] for row in group)))
        if any(len(points) > 1 for points in of.values()):
            drawn[name] = of
    return drawn


# ---------------------------------------------------------------- numbers
def _groups(rows: Rows) -> list[list[Mapping[str, Any]]]:
    """Rows of one case together, in order; those that the family has no member for are left out."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["kind"] != "teacher" and not row.get("none"):
            found.setdefault((row["kind"], row["family"], row["bits"], row["ratio"]), []).append(row)
    return list(found.values())


def _teachers(rows: Rows) -> dict[int, Mapping[str, Any]]:
    return {row["teacher"]: row for row in rows if row["kind"] == "teacher"}


def _lost(group: Rows, mine: Rows, key: str = "test") -> Interval:
    """Points over those of the teacher."""
    teachers = _teachers(mine)
    return interval([100 * (row[key] - teachers[row["teacher"]][key]) for row in group])


def _times(group: Rows, mine: Rows, key: str = "tensors") -> float:
    teachers = _teachers(mine)
    return fmean(teachers[row["teacher"]][key] / row[key] for row in group)


def _name(row: Mapping[str, Any]) -> str:
    words = {"family": row["family"].replace("_", " "), "bits": row["bits"]}
    return _NAMES[row["kind"]].format(**words).replace("32 bits", "floats").replace("1 bits", "1 bit")


def _count(rows: Rows) -> str:
    return f"{len(rows)} teacher{'s' if len(rows) > 1 else ''}"


def _is_headline_gat(row: Mapping[str, Any]) -> bool:
    return bool(row["kind"] == "small_gat" and row["headline"])


# ---------------------------------------------------------------- tables
def _introduction(mine: Rows) -> str:
    teachers = list(_teachers(mine).values())
    size = teachers[0]
    passes = [row["processor"] for row in teachers if "processor" in row]
    told = f", a forward pass {1000 * min(passes):.1f} ms" if passes else ""
    return (
        f"{_count(teachers)} of {size['tensors']:,} bytes, {size['folder']:,} with their folder: test "
        f"{report.spread([row['test'] for row in teachers], digits=2)}{told}."
    )


def _table(mine: Rows, wanted: Any) -> str:
    cells = []
    for group in _groups([row for row in mine if row["kind"] != "teacher" and wanted(row)]):
        told = "gained" in group[0]
        apart = sum(mcnemar(row["gained"], row["lost"]) < 0.05 for row in group) if told else 0
        network = group[0]["folder"] is not None
        passes = [row["processor"] for row in group if "processor" in row]
        peaks = [row["peak"] for row in group if row.get("peak") is not None]
        cells.append(
            (
                _name(group[0]),
                str(len(group)),
                f"{fmean(row['tensors'] for row in group):,.0f}",
                f"{_times(group, mine):.0f}x",
                f"{_times(group, mine, 'folder'):.0f}x" if network else "",
                report.spread([row["test"] for row in group], digits=2),
                str(_lost(group, mine)),
                f"{100 * fmean(row['agreement_test'] for row in group):.1f}",
                f"{apart} of {len(group)}" if told else "",
                f"{1000 * min(passes):.1f}" if passes else "",
                f"{fmean(peaks) / 1e6:.1f}" if peaks else "",
            )
        )
    return markdown_table(_HEADER, cells) if cells else ""


def _ahead(mine: Rows) -> str:
    """Kronecker products beside the better small GAT of equal size, teacher by teacher."""
    cells = []
    for ours, rival, words in _pairs(mine):
        cells.append((words, _name(ours[0]), _name(rival[0]), str(_paired(ours, rival, "test")),
                      str(_paired(ours, rival, "agreement_test"))))  # fmt: skip
    if not cells:
        return ""
    head = ("size", "ours", "small GAT, the better on validation", "test, ours minus its", "agreement, likewise")
    return markdown_table(head, cells)


def _pairs(mine: Rows) -> list[tuple[Rows, Rows, str]]:
    """Of every size our best and the small GAT's best, each chosen by agreement on validation nodes."""
    groups = _groups([row for row in mine if row["kind"] in ("structure", "small_gat") and row["headline"]])
    found = []
    for ratio in dict.fromkeys(group[0]["ratio"] for group in groups):
        best = {}
        for kind in ("structure", "small_gat"):
            here = [group for group in groups if group[0]["ratio"] == ratio and group[0]["kind"] == kind]
            best[kind] = max(here, key=lambda group: fmean(r["agreement_val"] for r in group), default=None)
        if best["structure"] and best["small_gat"]:
            found.append((best["structure"], best["small_gat"], f"{ratio}x"))
    return found


def _paired(ours: Rows, rival: Rows, key: str) -> Interval:
    its = {row["teacher"]: row[key] for row in rival}
    return interval([100 * (row[key] - its[row["teacher"]]) for row in ours if row["teacher"] in its])


def _grid(mine: Rows) -> str:
    """Points against the teacher of every family, at every size, in floats, 8, 4 and 2 bits."""
    groups = _groups([row for row in mine if row["kind"] == "structure"])
    ratios = sorted({group[0]["ratio"] for group in groups})
    lines: dict[tuple[str, int], dict[int, str]] = {}
    for group in groups:
        row = group[0]
        cell = f"{100 * fmean(r['test'] for r in group):.1f} ({_lost(group, mine).mean:+.1f})"
        lines.setdefault((row["family"], row["bits"]), {})[row["ratio"]] = cell
    if len(lines) < 2:
        return ""
    cells = [
        (family.replace("_", " "), "floats" if bits == 32 else str(bits), *(line.get(ratio, "") for ratio in ratios))
        for (family, bits), line in sorted(lines.items())
    ]
    return "Test, and minus the teacher, of every family:\n\n" + markdown_table(
        ("family", "bits", *(f"{ratio}x" for ratio in ratios)), cells
    )


# ---------------------------------------------------------------- the claim
def _claim(rows: Rows) -> str:
    parts = []
    for ratio, points in AIMS:
        said = []
        for name in dict.fromkeys(row["problem"] for row in rows):
            mine = [row for row in rows if row["problem"] == name]
            groups = [g for g in _groups([row for row in mine if row["kind"] == "structure"]) if _meets(g, mine, ratio)]
            if groups:
                best = max(groups, key=lambda group: (len(group), fmean(row["agreement_val"] for row in group)))
                lost = _lost(best, mine)
                verdict = "met" if lost.mean >= -points else "missed"
                said.append(f"{name} {lost} ({verdict})")
        if said:
            parts.append(
                f"{ratio} times smaller on disk, at most {points} points below the teacher: {', '.join(said)}."
            )
    ahead = []
    for name in dict.fromkeys(row["problem"] for row in rows):
        # of one teacher there is no interval
        pairs = [pair for pair in _pairs([row for row in rows if row["problem"] == name]) if len(pair[0]) > 1]
        keys = ("test", "agreement_test")
        sizes = [words for *both, words in pairs if any(_paired(*both, key).is_above for key in keys)]
        if pairs:
            ahead.append(f"{name} at {', '.join(sizes) or 'no size'}")
    if ahead:
        parts.append(
            f"Ahead of a small GAT of as few bits, distilled likewise, in accuracy or agreement by a paired interval: "
            f"{'; '.join(ahead)}."
        )
    return " ".join(parts) or "Nothing is claimed: there are no rows yet."


def _meets(group: Rows, mine: Rows, ratio: float) -> bool:
    """Whether a case is of the rows that are made for that size."""
    return group[0]["ratio"] == ratio and _times(group, mine) >= ratio
