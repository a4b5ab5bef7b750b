"""The page of the full edge-varying layer holds what its runs measured."""

import json
import sys

import pytest
import torch

from edgenet.bench.harness import worker
from edgenet.bench.results import edge_tensor
from edgenet.cli import main


@pytest.mark.float32
def test_the_page_has_a_row_for_every_form_and_runs_that_are_done_are_read(tmp_path, monkeypatch, data_root):
    forms = {name: edge_tensor.FORMS[name] for name in ("CP, rank 2", "shared taps: no weight of an edge's own")}
    monkeypatch.setattr(edge_tensor, "FORMS", forms)
    monkeypatch.setattr(edge_tensor, "EPOCHS", 2)
    monkeypatch.setattr(edge_tensor, "in_its_own_process", lambda job: worker.measured(json.loads(json.dumps(job))))
    monkeypatch.setattr(sys, "argv", ["edgenet", "bench", "edge_tensor"])
    out, runs = tmp_path / "page.md", tmp_path / "runs"
    arguments = ["bench", "edge_tensor", "--seeds", "2", "--out", str(out), "--runs", str(runs)]
    arguments += ["--data-root", str(data_root)]
    assert main(arguments) == 0
    page = out.read_text(encoding="utf-8")
    found = [json.loads((runs / f"cp-2-{seed}.json").read_text())["result"] for seed in (0, 1)]
    (row,) = [line for line in page.splitlines() if line.startswith("| CP, rank 2")]
    assert f"{found[0]['parameters']:,}" in row and found[0]["virtual"] == [13_264 * 1433 * 16, 13_264 * 16 * 7]
    assert "304,116,992" in page and "1.22 GB" in page
    monkeypatch.setattr(edge_tensor, "in_its_own_process", lambda job: pytest.fail("this run is done"))
    assert main(arguments) == 0
    monkeypatch.setattr(edge_tensor, "EPOCHS", 3)
    monkeypatch.setattr(edge_tensor, "in_its_own_process", lambda job: {"failed": "no memory"})
    assert main(arguments) == 2  # another run, which fails
    assert torch.get_default_dtype() == torch.float32
