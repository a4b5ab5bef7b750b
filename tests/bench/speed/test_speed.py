"""The commands that measure speed: their jobs, their processes, and the section that they write."""

import json
import os
import sys
from importlib import import_module

import pytest

from edgenet.bench.harness import cells, graphs, peers, performance, timing, worker
from edgenet.bench.harness.beside import beside_the_fastest
from edgenet.bench.harness.graphs import Size
from edgenet.bench.harness.peak import high_water, settled
from edgenet.bench.pages import check
from edgenet.bench.pages.record import rows_file
from edgenet.bench.speed import SECTIONS, aggregation, dense_filter, edges, memory, threads
from edgenet.cli import main
from edgenet.errors import ConfigError

pytestmark = pytest.mark.float32  # as it is measured


@pytest.fixture
def small(monkeypatch):
    """Tiny graphs, calls that are made once, and jobs that run in this process, through JSON as always."""
    for name, size in {"cora": Size(50, 120, 20), "ppi": Size(40, 200, 20), "arxiv": Size(90, 1_000, 40)}.items():
        monkeypatch.setitem(graphs.GRAPHS, name, size)
    monkeypatch.setattr(graphs, "_cora", lambda data_root: None)
    monkeypatch.setattr(dense_filter, "GRAPHS", {10: Size(10, 30, 6)})
    monkeypatch.setattr(edges, "SIZES", (400, 900, 10_000))
    monkeypatch.setattr(aggregation, "COPY", 100)
    monkeypatch.setattr(timing, "SHORTEST", 0)
    monkeypatch.setattr("gc.collect", lambda: 0)  # takes long in a process that holds all tests
    jobs = []

    def here(job):
        jobs.append(job)
        return json.loads(json.dumps(worker.measured(json.loads(json.dumps(job)))))

    monkeypatch.setattr(worker, "in_its_own_process", here)
    return jobs


def run(tmp_path, monkeypatch, name, *arguments):
    """(exit code, the page, its rows)."""
    out = tmp_path / "page.md"
    typed = ["bench", name, "--out", str(out), *arguments]
    monkeypatch.setattr(sys, "argv", ["edgenet", *typed])
    code = main(typed)
    return code, out.read_text(encoding="utf-8"), json.loads(rows_file(out).read_text(encoding="utf-8"))["rows"]


def settings(tmp_path, **changes):
    chosen = {"peers": list(peers.PEERS), "graphs": list(graphs.GRAPHS), "malloc": list(worker.MALLOC), "rounds": 7}
    return performance.Settings(**{**chosen, "page": tmp_path / "page.md", **changes})


TIMED = [name for name in SECTIONS if name != "memory"]


def test_every_speed_bench_has_its_parts():
    for name, text in SECTIONS.items():
        module = import_module(f"edgenet.bench.speed.{name}")
        assert text and module.TITLE and module.LIMITS
        assert all(callable(getattr(module, part)) for part in ("jobs", "measure", "claim", "parts"))


@pytest.mark.parametrize("name", SECTIONS)
def test_every_job_is_json_and_names_what_measures_it(name, tmp_path):
    jobs = import_module(f"edgenet.bench.speed.{name}").jobs(settings(tmp_path))
    assert len(jobs) > 3
    for job in jobs:
        assert json.loads(json.dumps(job)) == job
        assert callable(import_module(job["measure"]).measure)
        assert job["malloc"] in worker.MALLOC and job["threads"] in (1, 2) and job["rounds"] == 7
    assert len({json.dumps(job) for job in jobs}) == len(jobs)


def test_no_job_needs_a_graph_or_peer_that_was_not_asked_for(tmp_path):
    for name in TIMED:
        few = import_module(f"edgenet.bench.speed.{name}").jobs(
            settings(tmp_path, graphs=["ppi"], peers=[], malloc=["tuned"])
        )
        assert few and all(job.get("graph", "ppi") == "ppi" and job["peers"] == [] for job in few)
        assert all(job["malloc"] == "tuned" for job in few)


@pytest.mark.parametrize("name", TIMED)
def test_a_bench_writes_its_numbers_beside_their_checks_and_its_page_is_what_its_rows_make(
    small, name, tmp_path, monkeypatch
):
    given = ["--graphs", "cora,ppi,arxiv", "--rounds", "1", "--malloc", "default"]
    code, page, raw = run(tmp_path, monkeypatch, name, *given)
    assert code == 0 and "edgenet is ahead of the best peer in" in page
    assert f"edgenet bench {name} --out" in page and "GPU: not measured" in page and "WRONG" not in page
    assert "(made, power law" in page
    rows = [row for _, result in raw["records"] for row in result["rows"]]
    assert rows and all(row["error"] <= timing.LIMIT for row in rows if row["errors"])
    assert len(check.problems(tmp_path)) == 1  # there is no index
    for job, result in raw["records"]:
        if job["measure"] == f"edgenet.bench.speed.{name}":
            row = result["rows"][0]
            kind = next(iter(row["times"]))
            least = cells.digits(1e3 * min(row["times"][kind]["seconds"]))
            assert any(line.startswith("|") and row["name"] in line and f"| {least} | 1.00 |" in line
                       for line in page.splitlines())  # fmt: skip
    assert len(small) == 1 + len(raw["records"])


def test_aggregation_has_tables_of_threads_and_of_growth_and_a_picture(small, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    code, page, _ = run(tmp_path, monkeypatch, "aggregation", "--graphs", "arxiv", "--rounds", "1")
    assert code == 0 and "### Two threads" in page and "| arxiv, shuffled |" in page
    assert [job["edges"] for job in small if job["measure"] == edges.__name__] == [400, 900] * 2
    assert "Time grows as edges to the power" in page and "![time against edges](page_edges.png)" in page
    assert (tmp_path / "page_edges.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert threads.jobs(settings(tmp_path)) == []


def test_the_exponent_is_the_slope_of_the_logarithms():
    assert edges.exponent([(10, 3.0), (100, 300.0), (1000, 30000.0)]) == pytest.approx(2)


def test_wrong_numbers_are_marked_have_no_time_and_fail_the_command(small, tmp_path, monkeypatch, capsys):
    right = aggregation.ways

    def wrong(graph, job):
        ours, (name, function), *others = right(graph, job)
        return [ours, (name, lambda weight, x: function(weight, x) * 1.001), *others]

    monkeypatch.setattr(aggregation, "ways", wrong)
    code, page, _ = run(tmp_path, monkeypatch, "aggregation", "--graphs", "cora", "--rounds", "1", "--malloc", "tuned")
    (row,) = [line for line in page.splitlines() if "index_add" in line and line.startswith("|")]
    assert code == 1 and "| - | - | - | - |" in row and "**WRONG: 1.0e-03**" in row
    text = "WRONG: torch `index_add` in 8 x 8 on cora, tuned allocator: the error of"
    assert f"> {text}" in page and f"edgenet: {text}" in capsys.readouterr().err


def test_a_job_that_ends_badly_is_on_the_page_and_the_rest_too(small, tmp_path, monkeypatch):
    here = worker.in_its_own_process

    def out_of_memory(job):
        return {"failed": "the process was ended by SIGKILL"} if job.get("graph") == "ppi" else here(job)

    monkeypatch.setattr(worker, "in_its_own_process", out_of_memory)
    code, page, _ = run(tmp_path, monkeypatch, "epoch", "--graphs", "cora,ppi", "--rounds", "1", "--malloc", "default")
    assert code == 1 and "| Cora: 8 heads" in page
    assert "> Not measured: training step on ppi, default allocator: the process was ended by SIGKILL" in page


def test_a_peer_that_does_not_import_is_left_out_with_a_sentence(small, tmp_path, monkeypatch):
    def broken():
        raise ImportError("no such package")

    monkeypatch.setitem(peers.PEERS, "dgl", ("dgl", broken))
    given = ("--graphs", "cora", "--rounds", "1", "--malloc", "default", "--peers", "pyg,dgl")
    code, page, raw = run(tmp_path, monkeypatch, "epoch", *given)
    assert code == 0 and "dgl is left out: ImportError: no such package." in page
    assert "PyG `GATConv`" in page and "DGL `GATConv`" not in page
    assert raw["records"][0][0]["peers"] == ["pyg"]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--graphs", "cora,redit"], "--graphs has 'redit'; there are cora, ppi, arxiv, products8."),
        (["--graphs", ","], "--graphs names none"),
        (["--peers", "jraph"], "--peers has 'jraph'; there are pyg, dgl, scatter."),
        (["--malloc", "jemalloc"], "--malloc has 'jemalloc'"),
        (["--rounds", "0"], "--rounds is at least 1, got 0."),
    ],
)
def test_an_option_that_names_nothing_is_one_line(small, tmp_path, capsys, arguments, says):
    for debug in ([], ["--debug"]):  # which may stand behind the name of the bench, or before it
        code = main(["bench", *debug, "layers", "--out", str(tmp_path / "page.md"), *arguments, *debug])
        err = capsys.readouterr().err
        assert code == 2 and says in err and ("Traceback" in err) == bool(debug)
    assert small == [] and not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written_is_told_before_anything_is_measured(small, tmp_path):
    (tmp_path / "page.md").mkdir()
    assert main(["bench", "epoch", "--out", str(tmp_path / "page.md")]) == 2 and small == []


def test_the_claim_counts_cases_beside_the_fastest_peer():
    cases = [[("edgenet, dense", 4.0), ("edgenet", 2.0), ("PyG", 3.0), ("DGL", 5.0)], [("edgenet", 2.0), ("DGL", 1.0)],
             [("edgenet", 1.0)], [("edgenet", 1.0), ("PyG", 20.0)]]  # fmt: skip
    said = beside_the_fastest(cases, "a step")
    assert said == ("In a step, edgenet is ahead of the best peer in 2 of 3 cases; that peer takes 0.500 to 20.0 times "
                    "as much.")  # fmt: skip
    assert "Nothing was measured" in beside_the_fastest(cases[2:3], "a step")


def test_a_process_of_its_own_has_the_threads_and_the_allocator_of_its_job(monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "5")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    plain = worker.environment({"threads": 2, "malloc": "default"})
    assert plain["OMP_NUM_THREADS"] == plain["MKL_NUM_THREADS"] == "2" and "MALLOC_TOP_PAD_" not in plain
    tuned = worker.environment({"threads": 1, "malloc": "tuned"})
    assert tuned["MALLOC_TOP_PAD_"] == "67108864" and tuned["MALLOC_MMAP_THRESHOLD_"] == "8589934592"


def test_a_job_is_measured_in_another_process_and_one_that_fails_says_why(tmp_path):
    job = settings(tmp_path, peers=["scatter"]).job(peers.__name__, "what is here", "tuned")
    assert worker.in_its_own_process(job)["edgenet"]
    failed = worker.in_its_own_process({**job, "measure": graphs.__name__})
    assert failed["failed"].startswith("AttributeError") and "Traceback" in failed["stderr"]


def test_peak_memory_is_what_a_call_takes_beyond_what_was_there():
    import torch

    before = settled()
    if before is None:
        pytest.skip("this system does not tell a process its peak memory")
    kept = torch.ones(5_000_000, dtype=torch.float64)
    del kept
    assert 39e6 < high_water() - before < 60e6


def test_cells_have_three_digits():
    assert [cells.digits(value) for value in (1236.7, 99.94, 9.999, 5.678, 0.0123)] == [
        "1237",
        "99.9",
        "10.0",
        "5.68",
        "0.012",
    ]
    row = {"failed": None, "error": 3.2e-7, "times": {"forward": {"minimum": 0.002}}}
    ours = {"failed": None, "error": 0.0, "times": {"forward": {"minimum": 0.0005}}}
    assert cells.milliseconds(row, "forward") == "2.00" and cells.times_ours(row, ours, "forward") == "4.00"
    assert cells.milliseconds(row, "forward + backward") == "-" and cells.error(row) == "3e-07"
    assert cells.error({**row, "failed": "no memory"}) == "not measured"


def test_memory_is_measured_in_megabytes_beside_a_check(small, tmp_path, monkeypatch):
    code, page, raw = run(tmp_path, monkeypatch, "memory", "--graphs", "arxiv", "--rounds", "1", "--malloc", "default")
    if any(result["rows"][0]["failed"] for _, result in raw["records"]):
        pytest.skip("this system does not tell a process its peak memory")
    assert code == 0 and "forward + backward, MB" in page and "| edgenet `gat` |" in page
    with pytest.raises(ConfigError, match="arxiv"):
        memory.jobs(settings(tmp_path, graphs=["ppi"]))
