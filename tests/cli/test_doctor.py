"""`edgenet doctor` says what runs here, and why the rest does not."""

import json
import os
import re
import subprocess
import sys

import pytest

from edgenet import __version__, cli, doctor, ops
from edgenet.cli.doctor import _allocator as allocator
from edgenet.malloc import fresh_block
from edgenet.ops import backend, native

COLUMNS = re.compile(r"\s{2,}")


@pytest.fixture(autouse=True)
def _small_block(monkeypatch):
    monkeypatch.setattr(doctor, "fresh_block", lambda megabytes: fresh_block(1, turns=4))


def run(capsys, *arguments):
    assert cli.main(["doctor", *arguments]) == 0
    return capsys.readouterr().out


def rows(out):
    """op -> its cells, by backend."""
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("float32 tensors on"))
    table = lines[start + 2 : start + 2 + len(backend.ops())]
    return {op: dict(zip(backend.ORDER, cells, strict=True)) for op, *cells in map(COLUMNS.split, table)}


def test_every_op_is_listed_with_the_backend_that_runs_it(capsys):
    table = rows(run(capsys))
    assert list(table) == backend.ops()
    for op, cells in table.items():
        runs = [name for name, cell in cells.items() if "cpu" in cell]
        assert len(runs) == 1 and runs[0] in ops.available(op)
        assert (runs == ["native"]) == (native.library() is not None)
        for name, cell in cells.items():
            assert cell.startswith("(") == (name not in ops.available(op))


def test_a_reason_stands_once_and_holds_the_remedy(capsys):
    out = run(capsys)
    for states in ops.explain().values():
        for state in states.values():
            assert state == "active" or out.count(state) == 1


def test_the_compiled_object_and_what_the_allocator_does_are_said(capsys):
    out = run(capsys)
    assert str(native.path()) in out if native.library() else "why not" in out
    assert "filling a fresh block of 40 MB takes" in out
    assert "torch_geometric" in out and "capability" in out and "cuda" in out


def test_as_json_the_same_facts_can_be_read(capsys):
    facts = json.loads(run(capsys, "--json"))
    assert facts["versions"]["edgenet"] == __version__
    assert facts["compiled kernels"]["loaded"] == (str(native.path()) if native.library() else None)
    assert facts["backends"]["sddmm"]["scatter"] == {
        "runs by itself on": [],
        "why not": ops.explain()["sddmm"]["scatter"],
    }
    assert set(facts) == set(doctor.facts())


def test_switches_that_are_set_are_listed(capsys, monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "67108864")
    monkeypatch.setenv("HOME_OF_NOTHING", "unheard of")
    out = run(capsys)
    assert next(line for line in out.splitlines() if "MALLOC_TOP_PAD_" in line).endswith("67108864")
    assert "unheard of" not in out


def test_an_object_that_does_not_load_is_said_with_the_linkers_reason(capsys, monkeypatch, tmp_path):
    broken = tmp_path / "_base.so"
    broken.write_bytes(b"not an object")
    monkeypatch.delenv("EDGENET_NO_NATIVE", raising=False)
    monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(native, "path", lambda: broken)
    assert f"why not  {broken}: " in run(capsys)
    monkeypatch.setattr(native, "path", lambda: None)
    monkeypatch.setenv("EDGENET_NATIVE_DIR", str(tmp_path))
    out = run(capsys)
    assert f"none for this processor in {tmp_path}" in out and "built:" in out


@pytest.mark.parametrize(
    "tuned, says", [(True, "5 page faults: tuned"), (False, "see edgenet.tune_malloc()"), (None, "40 MB takes 3.5 ms")]
)
def test_the_allocator_is_judged_by_its_page_faults(tuned, says):
    text = allocator({"fresh block, megabytes": 40, "page faults": 5, "milliseconds": 3.5, "tuned": tuned})
    assert says in text and ("page faults" in text) == (tuned is not None)


def test_without_kernels_torch_scatter_and_triton_the_reference_runs_everything():
    code = "import sys; sys.modules.update(torch_scatter=None, triton=None)\n" \
           "from edgenet import cli; sys.exit(cli.main(['doctor']))"  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "EDGENET_NO_NATIVE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert all(cells["reference"] == "cpu" for cells in rows(done.stdout).values())
    assert "EDGENET_NO_NATIVE is set" in done.stdout and not done.stderr
