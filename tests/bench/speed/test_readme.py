"""The README's table of speed is made of the rows of the pages of times."""

from pathlib import Path

import pytest

from edgenet.bench.harness.timing import BOTH
from edgenet.bench.pages.marked import with_marked
from edgenet.bench.speed import layers, readme
from edgenet.errors import ConfigError

ROOT = Path(__file__).parents[3]


def row(name, milliseconds, kind):
    return {"name": name, "failed": None, "error": 1e-7, "times": {kind: {"minimum": milliseconds / 1e3}}}


def records(malloc):
    shape = {"layer": "gcn", "in_channels": 64, "channels": 64, "heads": None}
    forms = (
        ("edgenet `gcn`", 10),
        ("PyG `GCNConv`, edge_index", 50),
        ("PyG `GCNConv`, EdgeIndex", 40),
        ("DGL `GraphConv`", 9),
    )
    job = {"measure": layers.__name__, "malloc": malloc, "graph": "arxiv", "shape": shape}
    return [(job, {"rows": [row(name, time, BOTH) for name, time in forms]})]


def steps(malloc):
    names = ("edgenet, sparse features", "PyG `GATConv`, EdgeIndex, sparse features", "edgenet, dense features")
    rows = [row(name, time, "step") for name, time in zip(names, (10, 18, 70), strict=True)]
    return [({"malloc": malloc, "graph": "cora"}, {"rows": rows})]


def test_the_table_has_the_fastest_peer_first_and_only_equal_inputs_beside_each_other():
    both = [make("tuned") + make("default") for make in (records, steps)]
    lines = readme.table(*both).splitlines()[2:]
    assert lines == [
        "| GCN layer, 64 to 64, 2.3M edges | 10.0 | DGL `GraphConv` | **0.900** | 4.00 (EdgeIndex) | **0.900** |",
        "| training step, Cora, sparse features | 10.0 | PyG `GATConv`, EdgeIndex | 1.80 | 1.80 (EdgeIndex) | - |",
        "| training step, Cora, dense features | 70.0 | - | - | - | - |",
    ]


def test_a_page_that_was_not_measured_has_no_line_and_nothing_at_all_raises():
    assert len(readme.table([], steps("tuned")).splitlines()) == 4
    with pytest.raises(ConfigError, match="measure first"):
        readme.table([], steps("default"))


def test_the_readme_has_the_table_that_the_rows_make(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = Path("README.md").read_text(encoding="utf-8")
    made = with_marked(text, readme.MARK, readme.table(*map(readme.records_of, readme.PAGES)), "README")
    assert made == text, "the README is behind its rows: python -m edgenet.bench.speed.readme"
