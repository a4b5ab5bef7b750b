"""edgenet report."""

import json
from pathlib import Path


def test_report_shows_errors_of_compression_in_three_forms(run, gat):
    run("compress", "gat", "--ratio", "2", "--family", "low_rank", "--out", "small")
    code, out, err = run("report", "small", "--json", "--picture", "report.png")
    assert code == 0 and "picture: report.png" in err
    content = json.loads(out)
    assert any(row["error"] for row in content["rows"])
    assert Path("report.png").read_bytes()[:4] == b"\x89PNG"
    assert run("report", "small", "--markdown")[1].startswith("| name | shape |")
    assert "total" in run("report", "gat")[1]
