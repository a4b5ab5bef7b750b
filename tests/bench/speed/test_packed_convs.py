"""The cases of structured convolutions: what is timed computes what the dense kernel does."""

import pytest
import torch

from edgenet.bench.harness.timing import relative_error
from edgenet.bench.speed import packed_convs

pytestmark = pytest.mark.float32


@pytest.fixture
def cases(monkeypatch):
    monkeypatch.setattr(packed_convs, "CHANNELS", (64,))
    monkeypatch.setattr(packed_convs, "BATCHES", (1, 3))
    return packed_convs.cases()


def test_every_call_passes_its_check(cases):
    assert [case.batch for case in cases] == [1, 3] * len(packed_convs.KERNELS)
    for case in cases:
        want = case.check()
        for call in (case.ours, *case.others.values()):
            got = call()
            assert not got.requires_grad
            assert relative_error(got, want) <= case.tolerance, case.what


def test_the_first_baseline_is_onednns_and_cases_are_the_same_at_every_call(cases):
    again = packed_convs.cases()
    for one, other in zip(cases, again, strict=True):
        assert next(iter(one.others)) == "dense kernel (oneDNN)"
        assert torch.equal(one.check(), other.check())
