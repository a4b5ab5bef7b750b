"""A sparse additive model beside pyGAM, which fits all functions at once."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from edgenet.bench.harness.peers import left_out
from edgenet.bench.harness.worker import Job, in_its_own_process
from edgenet.bench.results.spam_simulation import draw, draw_task
from edgenet.estimators import SpAM
from edgenet.text import markdown_table

#: (task, n, p)
GAMS = [(task, 400, p) for task in ("regression", "classification") for p in (20, 100, 1000)]
LIMIT = 120  # seconds of processor time of a fit
HELD_OUT = 2000


def measure(job: Job) -> dict[str, Any]:
    """One model of all features, its quality on ``HELD_OUT`` other draws, and its seconds of processor time.

    The process is ended when it has used up its time.
    """
    import resource
    import time

    resource.setrlimit(resource.RLIMIT_CPU, (job["limit"], job["limit"] + 5))
    task, n, p = job["task"], job["n"], job["p"]
    x, y = draw_task(task, n, p, 0)
    middle = float(np.median(draw(n, p, 0)[1]))
    x_new, y_new = draw_task(task, HELD_OUT, p, 1, middle)
    with threadpool_limits(1):
        if job["library"] == "edgenet":
            model, kept = SpAM(task), lambda: len(model.support_)
        else:
            import pygam

            kind = pygam.LinearGAM if task == "regression" else pygam.LogisticGAM
            terms = sum((pygam.s(j, n_splines=7) for j in range(1, p)), start=pygam.s(0, n_splines=7))
            model, kept = kind(terms), lambda: p
        began = time.process_time()
        model.fit(x, y)
        seconds = time.process_time() - began
        if seconds < 1:  # once more, warm
            began = time.process_time()
            model.fit(x, y)
            seconds = time.process_time() - began
        predicted = model.predict(x_new)
    if task == "regression":
        quality = 1 - float(np.mean((y_new - predicted) ** 2) / np.var(y_new))
    else:
        quality = float(np.mean(predicted == y_new))
    return {"seconds": seconds, "quality": quality, "kept": kept()}


def beside_pygam() -> list[str]:
    """The paragraphs and the table."""
    reason = left_out("pygam")
    rows = []
    for task, n, p in GAMS:
        for library in ("edgenet",) if reason else ("edgenet", "pyGAM"):
            job = {"measure": __name__, "title": f"{library}, {task}, {n} x {p}", "malloc": "default", "threads": 1,
                   "library": library, "task": task, "n": n, "p": p, "limit": LIMIT}  # fmt: skip
            result = in_its_own_process(job)
            if "failed" in result:
                ended = "SIGXCPU" in result["failed"]
                cells = (f"ended after {LIMIT}" if ended else result["failed"], "-", "-")
            else:
                cells = (f"{result['seconds']:.2f}", f"{result['quality']:.3f}", result["kept"])
            rows.append((f"{task}, {n} x {p}", library, *cells))
    text = (
        f"Beside pyGAM{'' if reason else ' ' + version('pygam')}, another problem: it has no penalty that sets "
        "functions to zero, and its seconds are those of one model with the default smoothness (0.6) and as many "
        "splines a feature (7, of which centring takes one), where ours are those of a whole path and the choice on it "
        "by GCV. Every row is one fit, the second where that takes less than a second, in a process of its own that "
        f"is ended after {LIMIT} seconds of processor time. *Held-out*: R^2, or accuracy, on {HELD_OUT} other draws. "
        "Four features matter: this is what `SpAM` is made for, and truths in which most features matter were not "
        "compared."
    )
    table = markdown_table(("problem", "", "seconds", "held-out", "features used"), rows)
    return [text, table, *([reason] if reason else [])]
