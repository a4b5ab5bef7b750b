"""``edgenet bench compressed``: attention networks made 10 to 250 times smaller on disk, beside what must be beaten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenet import plots
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.pages import publish
from edgenet.bench.results.compressed_cases import CHOSEN_ON, cases
from edgenet.bench.results.compressed_make import REFIT_STEPS, TUNING
from edgenet.bench.results.compressed_page import TITLE, content, curves
from edgenet.bench.results.compressed_problems import RECIPES
from edgenet.bench.results.compressed_run import measured, teacher_row
from edgenet.errors import ConfigError
from edgenet.text import did_you_mean

#: part: how many teachers it has, and how many of them for rows that are no headline
PARTS = {"cora": (10, 2), "digits": (10, 2), "published": (1, 1), "ppi": (2, 2), "citeseer": (10, 2), "pubmed": (10, 2)}
_ONLY = ("headline", "made")


def run(
    seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None, parts: str = "cora, digits, published"
) -> None:
    """Make what is missing of the parts, the most telling rows first, and write the page of all rows that there are.

    Args:
        seeds: teachers, at most; parts have their own number.
        parts: of ``PARTS``, between commas. Rows of other parts are read where they are. With "headline" among them
            only the rows that all teachers have are made, with "made" none is.

    Raises:
        ConfigError: if a part is unknown.
    """
    named = [name.strip() for name in parts.split(",") if name.strip()]
    for name in named:
        if name not in (*PARTS, *_ONLY):
            known = (*PARTS, *_ONLY)
            raise ConfigError(f"--parts has {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}")
    rows: list[dict[str, Any]] = []
    for name in PARTS:
        teachers, few = (min(seeds, number) for number in PARTS[name])
        jobs = [
            (name, seed, case, runs, data_root)
            for case in cases(name)
            for seed in range(teachers if case.headline else few)
            if case.headline or "headline" not in named
        ]
        jobs.sort(key=lambda job: not job[2].headline)  # stable: headlines of all teachers first
        if name not in named or "made" in named:
            jobs = [job for job in jobs if (runs / name / str(job[1]) / f"{job[2].name}.json").exists()]
        for seed in sorted({job[1] for job in jobs}):
            rows.append(teacher_row(name, seed, runs, data_root))
        rows += run_all(jobs, processes, measured) if jobs else []
    for name, drawn in curves(rows).items():
        whole = [row["test"] for row in rows if row["problem"] == name and row["kind"] == "teacher"]
        picture = out.with_name(f"{out.stem}_{name}.png")
        plots.size_curves(drawn, picture, "test accuracy", sum(whole) / len(whole), f"Attention networks, {name}")
    settings = {
        "teachers": {name: {"model": dict(r.model), "training": dict(r.training)} for name, r in RECIPES.items()},
        "tuning": TUNING, "refit_steps": REFIT_STEPS, "settings chosen on teacher": CHOSEN_ON,
    }  # fmt: skip
    publish(out, TITLE, content, rows, settings=settings, seeds=sorted({row["teacher"] for row in rows}))
