"""``edgenet bench quantile_path``: the whole path of l1,inf quantile regression beside single linear programs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import scipy
from threadpoolctl import threadpool_limits

from edgenet.bench.harness.timing import Implementation, timed
from edgenet.bench.results.estimates import timing_note, write_estimate
from edgenet.bench.results.quantile_program import dual, loss, primal, radius, solve
from edgenet.estimators import QuantilePath
from edgenet.plots.style import saved
from edgenet.text import markdown_table

#: (n, p, columns in a group) and the seconds of the prototype's path, quoted from its notes
SIZES = {
    (100, 20, 4): 0.03,
    (100, 100, 5): 0.38,
    (100, 200, 5): 0.97,
    (200, 40, 4): 0.21,
    (400, 40, 4): 0.42,
    (800, 40, 4): 0.67,
    (200, 400, 10): 6.2,
}
PENALTIES, TAU, ROUNDS, AGREES = 20, 0.5, 3, 1e-8
PICTURE = (200, 40, 4)


def draw(n: int, p: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, p) normal columns, an (n,) sum of the first group's with noise of Student's t (3), and groups (p,)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p))
    return x, x[:, :size].sum(1) + rng.standard_t(3, n), np.arange(p) // size


def compare(n: int, p: int, size: int, seed: int) -> dict[str, Any]:
    """Vertices; seconds of the path, and of all programs by each formulation; the largest relative difference of the
    path's objective from either program's, at equally spaced penalties from 0.95 to 0.02 of the largest."""
    x, y, groups = draw(n, p, size, seed)
    weight = np.ones(p // size)
    path = QuantilePath(TAU, groups).fit(x, y)
    penalties = np.linspace(0.95, 0.02, PENALTIES) * path.path_lambda_[0]
    programs = {
        form.__name__: [form(x, y, TAU, groups, weight, penalty=penalty) for penalty in penalties]
        for form in (primal, dual)
    }
    values: dict[str, list[float]] = {}

    def fit() -> None:
        path.fit(x, y)

    def solve_all(name: str) -> None:
        values[name] = [solve(program) for program in programs[name]]

    rows = timed(
        [
            Implementation("path", {"fit": fit}, dict),
            *(Implementation(name, {"fit": partial(solve_all, name)}, dict) for name in programs),
        ],
        ROUNDS,
    )
    for row in rows:
        if row["failed"] is not None:
            raise RuntimeError(f"{row['name']} at n = {n}, p = {p}: {row['failed']}")
    coefs, intercepts = path.coef(penalties), path.intercept(penalties)
    got = np.array([
        loss(y - b0 - x @ coef, TAU) + penalty * radius(coef, groups, weight)
        for coef, b0, penalty in zip(coefs, intercepts, penalties, strict=True)
    ])  # fmt: skip
    gap = max(np.abs(got / wanted - 1).max() for wanted in (values["primal"], -np.array(values["dual"])))
    seconds = {row["name"]: row["times"]["fit"]["minimum"] for row in rows}
    return {"vertices": len(path.path_t_), "gap": float(gap), **seconds}


def run(seeds: int, out: Path, runs: Path, processes: int, data_root: Path | None) -> None:
    """Time, compare and draw, and write the page."""
    note = timing_note(ROUNDS)
    with threadpool_limits(1):
        results = {size: [compare(*size, seed) for seed in range(seeds)] for size in SIZES}
    every = [result for some in results.values() for result in some]
    worst = max(result["gap"] for result in every)
    ratio = {form: min(result[form] / result["path"] for result in every) for form in ("primal", "dual")}
    picture = draw_picture(out)
    header = (
        "n x p, group", "vertices", "path s", "LP ms", f"{PENALTIES} LPs s", "ratio", "dual LP ms",
        f"{PENALTIES} dual LPs s", "ratio", "largest gap", "prototype's path s, quoted",
    )  # fmt: skip
    parts = [
        "Median regression on groups of columns: the sum of absolute errors, plus a penalty times the largest "
        "coefficient of every group, which keeps or drops whole groups. For any one penalty this is a linear program. "
        "`QuantilePath` follows the solution through all penalties at once, from the empty model to the unpenalised "
        "one; where the solution changes is a vertex. Below is the time of that whole path beside the time of "
        f"{PENALTIES} programs, at penalties equally spaced from 0.95 to 0.02 of the largest useful one, which is what "
        "a grid search would solve.",
        f"The programs are solved by HiGHS (`linprog` of scipy {scipy.__version__}; building them is not counted, and "
        "it cannot begin one at the solution of another) in two forms: as one writes it down (LP), and its dual, which "
        f"has fewer rows and suits HiGHS better. {note} Means over {seeds} seeds; normal columns, of which the first "
        "group matters, noise of Student's t with 3 degrees of freedom. *Gap*: the largest relative difference between "
        "the path's objective and that of HiGHS, in either form, over all those penalties and seeds.",
        markdown_table(header, [_row(size, some) for size, some in results.items()]),
        f"Required: a gap of at most {AGREES:.0e}. Largest found: {worst:.0e}, {_verdict(worst <= AGREES)}. Required: "
        f"the path takes less time than {PENALTIES} LPs. Least ratio of any seed: {ratio['primal']:.1f}, "
        f"{_verdict(ratio['primal'] > 1)}. The least ratio to the dual form, which was not required, is "
        f"{ratio['dual']:.1f}.",
        "Not claimed: that the path is the quickest way to the solution at one penalty, or at a few, which dual "
        "programs are. A solver that begins one program at the solution of the one before was not measured. The "
        "prototype's seconds are quoted from the notes on it, taken on a loaded machine with other random data: an "
        "order of magnitude, not a measurement of this page.",
        f"![Radii of groups and coefficients along the path, {PICTURE[0]} x {PICTURE[1]}, groups of {PICTURE[2]}]"
        f"({picture.name})",
        f"One path, {PICTURE[0]} x {PICTURE[1]} in groups of {PICTURE[2]}: left, the largest coefficient of every "
        "group against their sum, the radius t; right, all coefficients. Group 0 is the one that matters. The dashed "
        "line is the choice of Schwarz's criterion.",
    ]
    claim = (
        f"{PENALTIES} linear programs as one writes them take at least {ratio['primal']:.1f} times as long as the "
        f"whole path of l1,inf quantile regression, in their dual form at least {ratio['dual']:.1f} times, to the same "
        f"objective within {worst:.0e}."
    )
    limits = [part for part in parts if part.startswith("Not claimed")]
    shown = [part for part in parts if part not in limits]
    every_size = {" ".join(map(str, size)): some for size, some in results.items()}
    write_estimate(out, "A whole path of quantile regression", claim, shown, limits, seeds, every_size)


def _verdict(good: bool) -> str:
    return "passed" if good else "FAILED"


def draw_picture(page: Path) -> Path:
    """The path of one draw, beside the page."""
    x, y, groups = draw(*PICTURE, 0)
    picture = page.parent / "quantile_path.png"
    return saved(QuantilePath(TAU, groups).fit(x, y).plot(), picture, dpi=100)


def _row(size: tuple[int, int, int], some: list[dict[str, Any]]) -> tuple[str, ...]:
    mean = {key: fmean(result[key] for result in some) for key in some[0]}
    programs = []
    for form in ("primal", "dual"):
        programs += [f"{1000 * mean[form] / PENALTIES:.1f}", f"{mean[form]:.2f}", f"{mean[form] / mean['path']:.1f}"]
    n, p, columns = size
    gap = max(result["gap"] for result in some)
    return (
        f"{n} x {p}, {columns}", f"{mean['vertices']:.0f}", f"{mean['path']:.3f}", *programs, f"{gap:.0e}",
        f"{SIZES[size]:g}" if size in SIZES else "-",
    )  # fmt: skip
