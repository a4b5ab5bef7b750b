"""The command that times structured matrices: its cases, its check, its floor and its page."""

import json
import sys

import pytest
import torch

from edgenet.bench.harness import floor, timing, worker
from edgenet.bench.harness.floor import Machine
from edgenet.bench.pages import check
from edgenet.bench.pages.record import rows_file
from edgenet.bench.speed import structured_cases, structured_measure, structured_page
from edgenet.bench.speed.structured_cases import IMPLEMENTATIONS, cases, tensorly_layer
from edgenet.cli import main
from edgenet.structured import STRUCTURES, TensorTrain

pytestmark = pytest.mark.float32  # as it is measured


@pytest.fixture
def small(monkeypatch):
    """Calls that are made once, small probes, and jobs that run in this process, through JSON as always."""
    monkeypatch.setattr(timing, "SHORTEST", 0)
    monkeypatch.setattr(floor, "READ", (1 << 10, 1 << 12))
    monkeypatch.setattr(floor, "PRODUCTS", ((8, 8, 8),))
    monkeypatch.setattr(structured_page, "TARGETS", [((64, 64), "low rank at 10x", {1: 1e9, 5: 1e-9})])
    monkeypatch.setattr(structured_page, "SLOWEST_BATCH", 5)
    jobs = []

    def here(job):
        jobs.append(job)
        return json.loads(json.dumps(worker.measured(json.loads(json.dumps(job)))))

    monkeypatch.setattr(worker, "in_its_own_process", here)
    return jobs


def run(tmp_path, monkeypatch, *arguments):
    """(exit code, the page, its rows)."""
    out = tmp_path / "page.md"
    typed = ["bench", "structured", "--out", str(out), *arguments]
    monkeypatch.setattr(sys, "argv", ["edgenet", *typed])
    code = main(typed)
    return code, out.read_text(encoding="utf-8"), json.loads(rows_file(out).read_text(encoding="utf-8"))["rows"]


def rows(page, heading):
    """(cells of the header, cells of the rows by their first) of the table under a heading."""
    lines = page.partition(f"### {heading}\n")[2].partition("\n##")[0].splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return table[0], {cells[0]: cells for cells in table[2:]}


def test_the_page_has_a_table_for_every_shape_and_number_of_threads(small, tmp_path, monkeypatch):
    pytest.importorskip("tltorch")
    given = ("--shapes", "64x64,48x64", "--batches", "1,5", "--threads", "1,2", "--rounds", "2")
    code, page, raw = run(tmp_path, monkeypatch, *given)
    assert code == 0 and f"edgenet bench structured --out {tmp_path / 'page.md'}" in page
    assert len(check.problems(tmp_path)) == 1  # there is no index
    assert [(job["shape"], job["threads"]) for job in small] == [([64, 64], 1), ([64, 48], 1), ([64, 64], 2),
                                                                 ([64, 48], 2)]  # fmt: skip
    for heading, square in (("64 -> 64, one thread", True), ("48 -> 64, 2 threads", False)):
        name = {"64 -> 64, one thread": "page_64x64_1_thread", "48 -> 64, 2 threads": "page_48x64_2_threads"}[heading]
        assert f"- [{heading}]({name}.md)" in page
        header, body = rows((tmp_path / f"{name}.md").read_text(encoding="utf-8"), heading)
        assert header[:3] == ["implementation", "parameters", "batch 1, ms"] and header[5] == "batch 5, ms"
        assert ("unitary, complex" in body) == square
        assert {"`torch.nn.Linear`", "oneDNN product", "tensorly-torch, rank 4, factorized"} <= set(body)
        for cells in body.values():
            assert len(cells) == len(header) and all(cells) and float(cells[-1]) <= timing.LIMIT
            assert cells[2].endswith("%)") and float(cells[4]) > 0
        assert body["`torch.nn.Linear`"][3].startswith("1.00 / ") and body["oneDNN product"][3].endswith(" / 1.00")
    families = {row.get("family") for row in raw["records"][0][1]["rows"]} - {None}
    assert families == set(STRUCTURES) - {"csr"}  # packed rows: what sparse matrices multiply by in eval mode


def test_the_page_says_which_aims_are_not_met_and_the_floor_beside_them(small, tmp_path, monkeypatch):
    given = ("--shapes", "64x64", "--batches", "1,5", "--rounds", "2", "--families", "low_rank")
    _, page, raw = run(tmp_path, monkeypatch, *given)
    table = page.partition("### Against the aims")[2].partition("\n##")[0]
    first, second = [line for line in table.splitlines() if line.startswith("| 64 -> 64")]
    assert "| 1e+09 |" in first and first.endswith("| not met; beyond the floor |") and second.endswith("| met |")
    assert "Met: 1 of 2. Not met: low rank at 10x, 64 -> 64, batch 1:" in table
    assert "take more than 1.3 times `torch.nn.Linear` at batch 5" in table
    (low,) = [row for row in raw["records"][0][1]["rows"] if row.get("family") == "low_rank"]
    cell, rank = low["batches"]["5"], 64 * 64 // 10 // 128
    assert cell["multiply_adds"] == 5 * rank * 128 and low["bytes"] == 4 * rank * 128 and cell["floor"] > 0


def test_a_wrong_product_shows_no_time_and_fails_the_command(small, tmp_path, monkeypatch, capsys):
    right = structured_measure.onednn
    monkeypatch.setattr(structured_measure, "onednn", lambda x, weight: right(x, weight) * 1.001)
    given = ("--shapes", "64x64", "--batches", "1,5", "--rounds", "1", "--families", "dense")
    code, page, _ = run(tmp_path, monkeypatch, *given)
    cells = rows(page, "64 -> 64, one thread")[1]["oneDNN product"]
    assert code == 1 and cells[2] == cells[5] == "-" and cells[-1].startswith("**WRONG: 1.0e-03")
    text = "WRONG: oneDNN product in 64 -> 64, threads: 1, batch 5: the error is 1.0e-03"
    assert f"> {text}" in page and f"edgenet: {text}" in capsys.readouterr().err


def test_a_job_that_ends_badly_and_a_library_that_is_not_here_are_on_the_page(small, tmp_path, monkeypatch):
    here = worker.in_its_own_process

    def broken():
        raise ImportError("no such package")

    def out_of_memory(job):
        return {"failed": "the process was ended by SIGKILL"} if job["shape"] == [64, 48] else here(job)

    monkeypatch.setattr(structured_measure, "tensorly", broken)
    monkeypatch.setattr(worker, "in_its_own_process", out_of_memory)
    given = ("--shapes", "64x64,48x64", "--batches", "1", "--rounds", "1", "--families", "tensor_train")
    code, page, _ = run(tmp_path, monkeypatch, *given)
    assert code == 1 and "> Not measured: 48 -> 64, threads: 1: the process was ended by SIGKILL" in page
    assert "tensorly-torch is left out: ImportError: no such package." in page
    assert list(rows(page, "64 -> 64, one thread")[1])[2:] == ["tensor train, rank 4", "tensor train, 3 modes, rank 8"]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--shapes", "64"], "--shapes are INxOUT, as in 1024x4096, got '64'."),
        (["--shapes", "0x64"], "--shapes are INxOUT, as in 1024x4096, got '0x64'."),
        (["--families", "dense,kroneker"], "--families has 'kroneker'; there are dense, low_rank"),
        (["--families", ","], "--families names none."),
        (["--batches", "1,0"], "--batches are whole numbers from 1, got '0'."),
        (["--threads", "two"], "--threads are whole numbers from 1, got 'two'."),
        (["--malloc", "jemalloc"], "--malloc has 'jemalloc'; there are default, tuned."),
        (["--rounds", "0"], "--rounds is at least 1, got 0."),
    ],
)
def test_an_option_that_names_nothing_is_one_line(small, tmp_path, capsys, arguments, says):
    code = main(["bench", "structured", "--out", str(tmp_path / "page.md"), *arguments])
    assert code == 2 and says in capsys.readouterr().err
    assert small == [] and not list(tmp_path.iterdir())


def test_a_busy_machine_is_said_so():
    result = {"versions": {"torch": "2"}, "instructions": "AVX512", "missing": {}}
    for load, busy in ((3.2, True), (0.1, False), (None, False)):
        text = "\n".join(structured_page._machine([({}, result)], load, 1))
        assert ("The machine was busy" in text) == busy and "1.0 minutes" in text


# ---------------------------------------------------------------- the floor
def test_the_floor_is_the_longer_of_moving_and_computing():
    machine = Machine({100: 1e3, 1000: 4e3, 10_000: 2e3}, peak=1e6, call=1e-6)
    assert machine.floor(100, 0) == 100 / 4e3  # a small block is read at least as fast as a larger one
    assert machine.floor(5000, 0) == 5000 / 4e3  # the cache may end anywhere between two blocks
    assert machine.floor(10_000, 0) == 10_000 / 2e3 and machine.floor(20_000, 0) == 20_000 / 2e3
    assert machine.floor(10, 0) == 10 / 4e3
    assert machine.floor(100, 10**6) == 2.0
    better = machine.best(Machine({100: 2e3, 1000: 1e3, 10_000: 2e3}, peak=2e6, call=2e-6))
    assert better == Machine({100: 2e3, 1000: 4e3, 10_000: 2e3}, peak=2e6, call=1e-6)


def test_rates_are_work_over_the_least_time(monkeypatch):
    monkeypatch.setattr(floor, "READ", (1 << 10, 1 << 12))
    monkeypatch.setattr(floor, "PRODUCTS", ((8, 4, 2), (8, 8, 8)))
    seconds = {"1024": 2.0, "4096": 4.0, "torch": 8.0, "oneDNN": 16.0, "call": 0.5}

    def timed(probes, rounds, clock):
        return [{"times": {"probe": {"minimum": seconds[probe.name]}}} for probe in probes]

    monkeypatch.setattr(floor, "timed", timed)
    assert Machine.measured(None) == Machine({1024: 512.0, 4096: 1024.0}, peak=2 * 8**3 / 8, call=0.5)


# ---------------------------------------------------------------- the cases
def test_cases_of_the_published_shapes_have_the_published_sizes():
    def parameters(n, name):
        (case,) = [case for case in cases((4096, n), list(STRUCTURES)) if case.name == name]
        with torch.device("meta"):
            return STRUCTURES[case.family].from_config({"shape": [4096, n], **case.options}).num_parameters()

    thin, thick, blocks = "tensor train, rank 4", "tensor train, 3 modes, rank 8", structured_page.TARGETS[6][1]
    for n, *wanted in (
        (25088, 2016, 36352, 22784, 20736),
        (4096, 1152, 20480, 12544, 8192),
        (1024, 1216, 11264, 8448, 4096),
    ):
        assert [parameters(n, name) for name in (thin, thick, blocks, "Kronecker, one term")] == wanted
        for name in ("low rank at 10x", "row split at 10x, 64 blocks"):
            assert 0.98 < 10 * parameters(n, name) / (4096 * n) <= 1


def test_every_aim_is_one_of_a_case():
    for shape, name, targets in structured_page.TARGETS:
        assert name in [case.name for case in cases(shape, list(STRUCTURES))] and targets


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_peer_multiplies_by_our_matrix(implementation):
    pytest.importorskip("tltorch")
    matrix = TensorTrain.random((24, 30), out_modes=[2, 3, 4], in_modes=[3, 5, 2], rank=3)
    x = torch.randn(7, 30)
    torch.testing.assert_close(tensorly_layer(matrix, implementation)(x), x @ matrix.to_dense().T)


@pytest.mark.parametrize("shape", [(64, 48), (64, 64)])  # of the second, a pool of its own would be aligned
def test_hashed_matrices_are_built_where_it_says_so(shape):
    found = cases(shape, ["hashed"])
    every, once, aligned = [case.build(shape) for case in found]
    assert every.training and not once.training and not aligned.training and "every call" in found[0].name
    full = shape[0] * shape[1]
    assert every.multiply_adds() == once.multiply_adds() == full > aligned.multiply_adds()
    assert every.num_parameters() == (full + shape[0]) // structured_cases.RATIO + 1
