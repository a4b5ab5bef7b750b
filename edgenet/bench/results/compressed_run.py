"""One row of ``edgenet bench compressed`` for one teacher: made, saved, read back, and compared with the teacher."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.bench.harness import peak, report
from edgenet.bench.harness.kept import kept
from edgenet.bench.results import compressed_make, compressed_tables
from edgenet.bench.results.compressed_cases import Case
from edgenet.bench.results.compressed_problems import RECIPES, Problem, problem
from edgenet.bench.results.compressed_sizes import tensor_bytes
from edgenet.pretrained import from_pretrained, save_pretrained

_FORWARDS = 15
Job = tuple[str, int, Case, Path, Path | None]  # a problem, the seed of its teacher, a row, folder of the runs, data


def measured(job: Job) -> dict[str, Any]:
    """The row, from its file where that is there.

    Its keys: accuracy (of labels: micro-F1) and agreement with the teacher on validation and test nodes; test nodes
    that are right in one of the two alone; bytes of tensors and of the whole folder; seconds of making it, of a forward
    pass, and bytes at its peak. "none" where the family has no member so small.
    """
    name, seed, case, folder, _ = job
    torch.set_num_threads(1)
    settings = json.loads(
        json.dumps({"recipe": RECIPES[name].__dict__, "tuning": compressed_make.TUNING}, default=dict)
    )
    told = {"problem": name, "seed": seed, **case.as_job(), **settings}
    found = kept(folder / name / str(seed) / f"{case.name}.json", told, lambda: _row(job))
    return {"problem": name, "teacher": seed, **case.as_job(), **found}


def teacher_row(name: str, seed: int, folder: Path, root: Path | None) -> dict[str, Any]:
    """The same, of the teacher itself."""
    own = problem(name, seed, folder / "teachers", root)
    told = {"problem": name, "seed": seed}
    found = kept(folder / name / str(seed) / "teacher.json", told, lambda: _judged(own, own.model))
    return {"problem": name, "teacher": seed, "kind": "teacher", **found}


def _row(job: Job) -> dict[str, Any]:
    name, seed, case, folder, root = job
    own = problem(name, seed, folder / "teachers", root)
    start = time.process_time()
    if case.kind in compressed_tables.KINDS:
        scores, size = compressed_tables.answers(own, case.kind)
        rows = {split: scores[own.first[f"{split}_mask"]] for split in ("val", "test")}
        return {**_compared(own, rows), "tensors": size, "folder": None, "seconds": time.process_time() - start}
    model = compressed_make.made(own, case, seed)
    if model is None:
        return {"none": True}
    return {**_judged(own, model), "seconds": time.process_time() - start}


def _judged(own: Problem, model: nn.Module) -> dict[str, Any]:
    """A model as it is read back from its files, where edgenet knows how to make it."""
    with tempfile.TemporaryDirectory() as place:
        save_pretrained(model, place)
        folder = sum(file.stat().st_size for file in Path(place).iterdir())
        tensors = tensor_bytes(model)
        read = model.eval() if isinstance(model, compressed_make.OnFeatures) else from_pretrained(place)
    scores = {split: own.scores(read, split)[0] for split in ("val", "test")}
    x, graph, _, _ = next(own.parts("val"))
    with torch.no_grad():
        read(x, graph)
        times = []
        for _ in range(_FORWARDS):
            begin = time.perf_counter()
            read(x, graph)
            times.append(time.perf_counter() - begin)
        before = peak.settled()
        read(x, graph)
        most = None if before is None else peak.high_water() - before
    return {
        **_compared(own, scores), "tensors": tensors, "folder": folder, "forward": min(times), "peak": most,
        "measured": report.settings(),
    }  # fmt: skip


def _compared(own: Problem, scores: dict[str, Tensor]) -> dict[str, Any]:
    """Scores of nodes beside the answers and the teacher's scores."""
    result: dict[str, Any] = {}
    for split, mine in scores.items():
        theirs, answer = own.scores(own.model, split)
        if own.dataset.target == "multilabel":
            result[split] = _micro_f1(mine > 0, answer > 0.5)
            result[f"agreement_{split}"] = ((mine > 0) == (theirs > 0)).double().mean().item()
            continue
        right, same = mine.argmax(1) == answer, mine.argmax(1) == theirs.argmax(1)
        known = theirs.argmax(1) == answer
        result[split] = right.double().mean().item()
        result[f"agreement_{split}"] = same.double().mean().item()
        if split == "test":
            result |= {"gained": int((right & ~known).sum()), "lost": int((known & ~right).sum())}
    return result


def _micro_f1(said: Tensor, true: Tensor) -> float:
    both = (said & true).sum().item()
    return 2 * both / max(1, said.sum().item() + true.sum().item())
