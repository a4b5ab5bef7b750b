"""The part on co-matrix adaptation: two short trainings, kept and told."""

from dataclasses import replace

import pytest

from edgenet.bench.results import recurrent_adaptation as part
from edgenet.train import Streams, Task

from bench.told import told  # isort: skip


def small(row):
    """A state of 16, so that a training takes a second."""
    if row.spec["structure"] == "doped":
        base = {"structure": "kronecker", "factor": [8, 4], "terms": 1}
        row = replace(row, spec={**row.spec, "base": base})
    return replace(row, hidden=16, embedding=8, callbacks=[{**one, **_less(one)} for one in row.callbacks])


def _less(rule):
    return {"ratio": 5.0, "every": 1} if rule["kind"] == "anneal" else {}


def scored(text):
    """A few sequences of what is scored else."""
    few = {name: text.val[0][name][:4].flatten() for name in ("x", "y")}
    streams = {split: Streams(**few, streams=2, length=64) for split in ("train", "val", "test")}
    return Task(**streams, metric="bits")


@pytest.mark.float32
def test_every_row_is_measured_kept_and_told(tmp_path, data_root, monkeypatch):
    named = {row.family: small(row) for row in part.rows()}
    chosen = [named[name] for name in ("doped, p 0.1, annealed", "pruned", "doped, no rows dropped")]
    monkeypatch.setattr(part, "rows", lambda: chosen)
    monkeypatch.setattr(part, "ITERATIONS", 20)
    monkeypatch.setattr(part, "LOOKED_AT", 4)
    monkeypatch.setattr(part, "scored", scored)
    monkeypatch.setattr(part, "run_all", lambda jobs, processes, run: [run(job) for job in jobs])
    text = told(part, 3, tmp_path, 1, data_root)
    again = told(part, 3, tmp_path, 1, data_root)
    assert text == again and len(list(tmp_path.rglob("*.json"))) == 3
    whole = "\n".join(text)
    assert "### Doped, p 0.1, annealed" in whole and "### Pruned" in whole
    first = part.measured((chosen[0], 20, tmp_path, data_root))
    assert [row["step"] for row in first["rows"]] == list(range(2, 21, 2))
    assert first["rows"][-1]["density"] == pytest.approx((64 * 24 // 5 - 32 - 8 * 6) / (64 * 24))
    pruned = part.measured((chosen[1], 20, tmp_path, data_root))
    assert "share" not in pruned["rows"][-1] and pruned["rows"][-1]["density"] == pytest.approx(307 / 1536)


def test_the_largest_rise_is_of_neighbours():
    assert part.rise({"rows": [{"loss": loss} for loss in (3.0, 2.5, 2.75, 2.7, 2.9)]}) == pytest.approx(0.25)
    assert part.rise({"rows": [{"loss": loss} for loss in (3.0, 2.0)]}) == 0
    assert part.rise({"rows": [{"loss": 3.0}]}) == 0
