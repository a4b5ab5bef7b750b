"""The table of packed kernels: cases are checked, timed beside their baselines, and shown with what is wrong."""

import pytest
import torch

from edgenet.bench.harness import timing, worker
from edgenet.bench.speed import packed, packed_codes
from edgenet.bench.speed.packed_case import Case

from bench.told import told  # isort: skip


@pytest.fixture
def quick(monkeypatch):
    """Small cases, measured here, in the shortest time."""
    monkeypatch.setattr(timing, "SHORTEST", 1e-6)
    monkeypatch.setattr(packed, "ROUNDS", 1)
    monkeypatch.setattr(packed, "MODULES", {packed_codes.__name__: "Small ones", "edgenet.no_such_module": "None"})
    monkeypatch.setattr(packed_codes, "_WIDTH", 384)
    monkeypatch.setattr(packed_codes, "_GROUP", 128)
    monkeypatch.setattr(worker, "in_its_own_process", worker.measured)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(default)


def test_every_case_passes_its_check_and_names_its_baselines(quick, monkeypatch):
    monkeypatch.setattr(packed_codes, "_kronecker", lambda batch, weight: _case(3.0))  # 64 x 64 do not divide 384
    _, method, table, _ = told(packed)
    assert "one thread" in method.lower() and "nothing set" in method
    lines = table.splitlines()
    assert lines[0] == "### Small ones" and len(lines) == 4 + 15
    assert all("`F.linear` (MKL): " in line for line in lines[4:17]) and "WRONG" not in table
    assert "PowerOfTwo (PS) of 5 bits" in table and "unified blocks of 1 x 16" in table


def _case(value):
    def broken():
        raise RuntimeError("no memory")

    one = torch.ones(2)
    return Case("three", 1, lambda: 3 * one, {"other": lambda: one, "broken": broken}, 1e-6, lambda: value * one)


def test_a_wrong_result_and_a_baseline_that_fails_are_told(quick, monkeypatch):
    monkeypatch.setattr(packed_codes, "cases", lambda: [_case(3.0), _case(2.0)])
    right, wrong = told(packed)[2].splitlines()[4:]
    assert "WRONG" not in right and "broken: RuntimeError: no memory" in right
    assert "**WRONG**, above 1e-06" in wrong


def test_a_process_that_ends_is_told(quick, monkeypatch):
    monkeypatch.setattr(worker, "in_its_own_process", lambda job: {"failed": "no memory"})
    assert told(packed)[2] == "### Small ones\n\n> Not measured: no memory"
