"""The page that ``edgenet bench structured`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgenet.bench.harness import timing
from edgenet.bench.harness.cells import digits
from edgenet.bench.harness.performance import Record
from edgenet.bench.pages import Content
from edgenet.bench.speed.structured_cases import LINEAR, ONEDNN
from edgenet.text import markdown_table

#: the times of nn.Linear over ours that are aimed at, one thread: (m, n), name, {batch: target}
TARGETS: list[tuple[tuple[int, int], str, dict[int, float]]] = [
    ((4096, 4096), "Kronecker, one term", {1: 100, 32: 35, 1024: 20}),
    ((4096, 4096), "tensor train, rank 4", {1: 45, 32: 18, 1024: 12}),
    ((4096, 4096), "low rank at 10x", {1: 25, 32: 18, 1024: 15}),
    ((4096, 4096), "block-circulant, block 16", {1: 18, 32: 6, 1024: 4}),
    ((4096, 4096), "block-circulant, block 64", {1: 40, 32: 15, 1024: 9}),
    ((4096, 4096), "row split at 10x, 64 blocks", {1: 20, 32: 8, 1024: 6}),
    ((4096, 4096), "block-term, 4 blocks of rank 4, 3 modes", {1: 10, 32: 1, 1024: 0.9}),
    ((4096, 4096), "hashed at 10x, built at every call", {1024: 0.7}),
    ((4096, 25088), "tensor train, rank 4", {1: 90, 1024: 20}),
]
TITLE = "Forward time of structured matrices"
LIMITS = (
    "One product, not a network: what a layer saves, a network need not. Random matrices: how well a family fits a "
    "weight is another page's matter. Gradients were not timed."
)
MOST = 3  # tables on one page
SLOWEST, SLOWEST_BATCH = 1.3, 1024  # times nn.Linear that no family but hashed may take, and at which batch
_BUSY = 0.5  # load average at the start from which the machine counts as busy


def content(rows: dict[str, Any]) -> Content:
    """The page: what was aimed at, and every table, or links to the pages that have one each."""
    measured = [record for record in rows["records"] if "failed" not in record[1]]
    problems = [f"> {problem}" for problem in rows["problems"]]
    tables = [part for record in measured for part in _tables(*record)]
    if rows["pages"]:
        links = [f"- [{title_of(job)}]({name}.md)"
                 for name, (job, _) in zip(rows["pages"], rows["records"], strict=True)]  # fmt: skip
        tables = ["### Tables", "\n".join(links)]
    options = [] if rows["pages"] else _sizes(measured)
    return Content(
        "\n\n".join([_claim(measured), *problems]),
        [*_targets(measured), *tables, *options],
        [*_machine(measured, rows["load"], rows["minutes"]), _method(rows["rounds"])],
        LIMITS,
    )


def name_of(stem: str, job: dict[str, Any]) -> str:
    """The name of the page of one table."""
    (m, n), threads = job["shape"], job["threads"]
    return f"{stem}_{n}x{m}_{threads}_thread{'s' * (threads > 1)}"


def title_of(job: dict[str, Any]) -> str:
    """The heading of one table."""
    m, n = job["shape"]
    return f"{n} -> {m}, {_threads(job['threads'])}"


def _claim(records: Sequence[Record]) -> str:
    """The family that is furthest ahead of the dense layer, at the smallest and at the largest batch."""
    found = []
    for job, result in records:
        for batch in dict.fromkeys((job["batches"][0], job["batches"][-1])):
            ratios = [(ratio, row["name"]) for row in result["rows"] if row.get("family")
                      and (ratio := _faster(result, LINEAR, row, batch)) is not None]  # fmt: skip
            if ratios:
                ratio, name = max(ratios)
                found.append(f"{digits(ratio)} times ({name}, {title_of(job)}, batch {batch})")
    if not found:
        return "No structured matrix was measured."
    return f"The fastest structured matrix is faster than `torch.nn.Linear` by {'; '.join(found)}."


def _machine(records: Sequence[Record], load: float | None, minutes: float) -> list[str]:
    if not records:
        return []
    result = records[0][1]
    busy = "" if load is None else f", load average {load:.1f} at the start"
    text = [f"Vector instructions {result['instructions']}{busy}; {minutes:.1f} minutes in all."]
    if load is not None and load > _BUSY:
        text.append(
            f"> **The machine was busy** (load average {load:.1f} before anything was measured): other work shared its "
            f"caches, memory and cores. Processor time leaves out waiting for a core, but not that; wall time, at more "
            f"threads than one, leaves out nothing. Measure again on an idle machine before these numbers are used."
        )
    missing = {name: reason for _, result in records for name, reason in result["missing"].items()}
    return text + [f"{name} is left out: {reason}." for name, reason in missing.items()]


def _method(rounds: int) -> str:
    return (
        "`y = x W^T` in float32, eval mode, under `torch.inference_mode()`; W is (out, in), without bias. What a "
        "matrix derives of its parameters once in eval mode (merged cores, spectra, packed rows, a built matrix) is "
        "made before, except where it says *built at every call*. Each table is one process; all implementations run "
        f"in turn, warm-up first, then up to {rounds} rounds (fewer, at least {timing.FEWEST}, where a round takes "
        f"long); quick calls are repeated for {1e3 * timing.SHORTEST:.0f} ms in each. One thread: processor time of "
        "the process; more: time by the clock on the wall, which other work on the machine moves too.\n\n"
        "*ms*: the median round, and in brackets the spread, largest minus smallest over the median. *Faster*: median "
        "time of `torch.nn.Linear` over ours / that of oneDNN's float32 product, which torch carries too, over ours. "
        "tensorly-torch calls the tensor train of a matrix block-TT; it holds the same cores here, and has no "
        "block-term matrix. A unitary matrix is complex: one product of its numbers is four real ones. Hashed matrices "
        "that are built lie behind a vector in their pool, as in a model; aligned ones multiply by pieces of low "
        "rank.\n\n"
        "*Floor*: the longer of two times. (1) The bytes of the parameters at rest (indices included), the input and "
        "the output, each moved once, at the rate of reading a block of about that size again and again, which small "
        "ones do from the cache. (2) Twice the multiply-adds, as `multiply_adds(batch)` counts them, at the rate of "
        "the fastest large float32 product. Both rates are measured in the same process, before and after, and the "
        "better one counts. Calls of ops, which are what costs at batch 1, are in no floor.\n\n"
        "*Error*: the largest over the batches, of the same calls: root mean square of the difference from `x @ "
        "to_dense().T`, computed in float64, over that of the latter, on at most 32 rows spread over the batch. Up to "
        f"{timing.LIMIT:.0e} passes; a cell whose check fails shows no time."
    )


# ---------------------------------------------------------------- the tables
def _tables(job: dict[str, Any], result: dict[str, Any]) -> list[str]:
    threads = job["threads"]
    header = ["implementation", "parameters"]
    for batch in job["batches"]:
        header += [f"batch {batch}, ms", "faster: Linear / oneDNN", "floor, ms"]
    rows = []
    for row in result["rows"]:
        cells = [row["name"], f"{row['parameters']:,}"]
        for batch in job["batches"]:
            cell = row["batches"][str(batch)]
            ratios = [_faster(result, name, row, batch) for name in (LINEAR, ONEDNN)]
            cells += [_time(cell), " / ".join("-" if r is None else digits(r) for r in ratios), _ms(cell["floor"])]
        errors = [cell["error"] for cell in row["batches"].values()]
        cells.append("not measured" if None in errors else _error(max(errors)))
        rows.append(cells)
    return [
        f"### {title_of(job)}",
        _rates(result, threads),
        markdown_table([*header, "error"], rows),
    ]


def _rates(result: dict[str, Any], threads: int) -> str:
    machine = result["machine"]
    sizes = sorted((int(size), rate / 1e9) for size, rate in machine["bandwidth"].items())
    reads = ", ".join(f"{rate:.0f} of {_bytes(size)}" for size, rate in sizes)
    loads = [f"{load:.1f}" for load in result["load"] if load is not None]
    busy = f" Load average {loads[0]} before, {loads[-1]} after (this process included)." if loads else ""
    return (
        f"{'Processor' if threads == 1 else 'Wall'} time.{busy} Reading, GB/s: {reads}. Peak: "
        f"{machine['peak'] / 1e9:.0f} GFLOP/s. The smallest `torch.nn.Linear`, 1 -> 1: {1e6 * machine['call']:.1f} us."
    )


def _bytes(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def _threads(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.4f}" if seconds < 1e-5 else digits(1e3 * seconds)


def _time(cell: dict[str, Any]) -> str:
    if not _passed(cell):
        return "-"
    spread = (max(cell["seconds"]) - min(cell["seconds"])) / cell["median"] if cell["median"] else 0.0
    return f"{_ms(cell['median'])} ({100 * spread:.0f} %)"


def _error(error: float) -> str:
    return f"{error:.0e}" if error <= timing.LIMIT else f"**WRONG: {error:.1e}**"


def _passed(cell: dict[str, Any]) -> bool:
    return cell["failed"] is None and cell["error"] <= timing.LIMIT


def _faster(result: dict[str, Any], than: str, row: dict[str, Any], batch: int) -> float | None:
    """The median time of a dense product over that of a row."""
    dense = [other["batches"][str(batch)] for other in result["rows"] if other["name"] == than]
    cell = row["batches"][str(batch)]
    if not dense or not _passed(dense[0]) or not _passed(cell) or not cell["median"]:
        return None
    return dense[0]["median"] / cell["median"]


# ---------------------------------------------------------------- the targets
def _targets(records: Sequence[Record]) -> list[str]:
    """Measured ratios beside those aimed at, and what the floor allows."""
    rows, unmet = [], []
    for shape, name, targets in TARGETS:
        for job, result in records:
            if tuple(job["shape"]) != shape or job["threads"] != 1:
                continue
            for row in (row for row in result["rows"] if row["name"] == name):
                for batch, target in targets.items():
                    if batch in job["batches"]:
                        rows.append(_target(job, result, row, batch, target))
                        if rows[-1][-1] != "met":
                            unmet.append(rows[-1])
    slow = _slow(records)
    if not rows and not slow:
        return []
    header = ("in -> out", "matrix", "batch", "measured", "aimed at", "at the floor", "over oneDNN", "")
    text = ["### Against the aims", "How many times faster than `torch.nn.Linear`, one thread. *At the floor*: the "
            "time of `torch.nn.Linear` over the floor of the matrix: with its multiply-adds, no code exceeds it on "
            "this machine. *Over oneDNN*: how many times faster than oneDNN's product."]  # fmt: skip
    if rows:
        text += [markdown_table(header, rows), f"Met: {len(rows) - len(unmet)} of {len(rows)}."]
    if unmet:
        text[-1] += " Not met: " + "; ".join(
            f"{name}, {shape}, batch {batch}: {found} of {target} (the floor allows {most})"
            for shape, name, batch, found, target, most, *_ in unmet
        ) + "."  # fmt: skip
    return [*text, *slow]


def _target(
    job: dict[str, Any], result: dict[str, Any], row: dict[str, Any], batch: int, target: float
) -> tuple[str, ...]:
    linear = result["rows"][0]["batches"][str(batch)]
    found = _faster(result, LINEAR, row, batch)
    other = _faster(result, ONEDNN, row, batch)
    most = linear["median"] / row["batches"][str(batch)]["floor"] if _passed(linear) else None
    if found is None:
        verdict = "not measured"
    elif found >= target:
        verdict = "met"
    else:
        verdict = "not met" if most is None or most >= target else "not met; beyond the floor"
    (m, n), numbers = job["shape"], [digits(value) if value is not None else "-" for value in (found, most, other)]
    return f"{n} -> {m}", row["name"], str(batch), numbers[0], f"{target:g}", numbers[1], numbers[2], verdict


def _slow(records: Sequence[Record]) -> list[str]:
    """Families that are slower than the dense layer by more than is allowed."""
    found, looked = [], False
    for job, result in records:
        if SLOWEST_BATCH not in job["batches"] or job["threads"] != 1:
            continue
        looked = True
        for row in result["rows"]:
            ratio = _faster(result, LINEAR, row, SLOWEST_BATCH)
            if row.get("family") not in (None, "hashed") and ratio is not None and ratio < 1 / SLOWEST:
                found.append(f"{row['name']}, {job['shape'][1]} -> {job['shape'][0]} ({digits(1 / ratio)} times)")
    if not looked:
        return []
    rule = f"No family but hashed is to take more than {SLOWEST} times `torch.nn.Linear` at batch {SLOWEST_BATCH}: "
    return [rule + (f"not met by {'; '.join(found)}." if found else "met.")]


def _sizes(records: Sequence[Record]) -> list[str]:
    """The options of every matrix."""
    lines: dict[str, None] = {}
    for job, result in records:
        for row in result["rows"]:
            if row.get("options"):
                lines[f"- {job['shape'][1]} -> {job['shape'][0]}, {row['name']}: `{row['options']}`"] = None
    return ["### Options of the matrices", "\n".join(lines)] if lines else []
