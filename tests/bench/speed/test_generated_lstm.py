"""The table of generated LSTMs: bits are compared, ways are timed beside each other, and what is wrong is told."""

import shutil

import pytest

from edgenet.bench.harness import timing, worker
from edgenet.bench.pages.record import as_read
from edgenet.bench.speed import generated_lstm


@pytest.fixture
def quick(monkeypatch):
    """A small LSTM, measured here, in the shortest time."""
    monkeypatch.setattr(timing, "SHORTEST", 1e-6)
    for name, value in {"ROUNDS": 1, "FRAMES": 3, "SIZE": (5, 16, 8, 1), "BLOCKS": (4,)}.items():
        monkeypatch.setattr(generated_lstm, name, value)
    monkeypatch.setattr(worker, "in_its_own_process", worker.measured)


@pytest.mark.float32
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on the PATH, which compiles generated code")
def test_every_way_is_timed_and_the_bits_are_compared(quick):
    text, table = generated_lstm.parts(as_read(generated_lstm.results()))
    assert "5 inputs, 1 layers of 16 cells" in text and "compared with those of the module" in text
    code, floats, torch_line, dense = table.splitlines()[2:]
    assert code.startswith("| generated code, 16 bits | 4 |") and "WRONG" not in code
    assert floats.startswith("| the same in float32 | 4 |") and torch_line.endswith("|  |")
    assert dense.startswith("| ours, float32, dense |  |")
    assert all(float(line.split("|")[3]) > 0 for line in (code, floats, torch_line, dense))
    assert "1.0" in (torch_line.split("|")[6].strip(), dense.split("|")[6].strip()), "the fastest dense one"


def test_other_bits_and_failures_are_told(quick, monkeypatch):
    row = {
        "block": 4,
        "seconds": {generated_lstm._CODE: 1e-5},
        "equal": False,
        "error": 0.1,
        "bytes": 9,
        "dense_bytes": 9,
    }
    monkeypatch.setattr(worker, "all_measured", lambda jobs: [row, {"failed": "there is no g++"}])
    wrong, failed = generated_lstm.parts(as_read(generated_lstm.results()))[1].splitlines()[2:]
    assert "**WRONG: other bits**" in wrong and "100,000" in wrong
    assert failed == "| not measured: there is no g++ | | | | | | | |"
