"""The cases of recurrent networks compute what they are checked against, at small sizes."""

import pytest
import torch

from edgenet.bench.harness import worker
from edgenet.bench.harness.timing import relative_error
from edgenet.bench.speed import recurrent, recurrent_inference, recurrent_training
from edgenet.structured import structure

from bench.told import told  # isort: skip


@pytest.mark.float32
def test_every_case_computes_the_same_by_all_its_calls():
    families = {"dense": structure("dense"), "low rank": structure("low_rank", rank=2)}
    found = recurrent_inference.cases(sizes=(32,), steps=3) + recurrent_training.cases(families, steps=3, size=8)
    assert len(found) == 4 + 3
    for case in found:
        assert relative_error(case.ours(), case.check()) < case.tolerance, case.what
        if "GRU" in case.what or "low rank" in case.what:
            continue  # whose first baseline has the weight that was not compressed
        for name, call in case.others.items():
            assert relative_error(call(), case.check()) < case.tolerance, (case.what, name)


@pytest.mark.float32
def test_a_bridge_holds_the_same_matrix():
    families = {"low rank": structure("low_rank", rank=2)}
    lstm, gru = recurrent_training.cases(families, steps=3, size=8)
    for case in (lstm, gru):
        torch.testing.assert_close(case.ours(), case.others["behind a bridge"](), rtol=1e-4, atol=1e-5)


def test_the_section_says_how_to_read_it(monkeypatch):
    monkeypatch.setattr(worker, "all_measured", lambda jobs: [{"failed": "no memory"} for _ in jobs])
    claim, how, reading, *tables, _ = told(recurrent)
    assert claim == "Nothing was measured." and "Allocator" in how and reading == recurrent._READING
    assert [table.splitlines()[0] for table in tables] == [f"### {title}" for title in recurrent.MODULES.values()]
