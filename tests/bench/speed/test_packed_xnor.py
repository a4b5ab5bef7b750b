"""Every case of packed signs computes what it is compared with."""

import pytest

from edgenet.bench.harness.timing import relative_error
from edgenet.bench.speed import packed_xnor


@pytest.mark.float32
def test_every_case_and_its_baselines_compute_the_same(monkeypatch):
    monkeypatch.setattr(packed_xnor, "_WIDTH", 96)
    cases = packed_xnor.cases()
    assert {case.batch for case in cases} == {1, 32, 256}
    for case in cases:
        wanted = case.check()
        assert relative_error(case.ours(), wanted) <= case.tolerance, case.what
        assert case.others and next(iter(case.others)).startswith("float32")
        for name, other in case.others.items():
            if "convolution" not in case.what:  # there channels are last
                # the int8 case's own baselines round nothing
                assert relative_error(other(), wanted) <= (0.02 if case.what.startswith("int8") else 1e-6), name
