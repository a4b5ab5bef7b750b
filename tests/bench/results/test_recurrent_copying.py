"""The part on long memory of ``edgenet bench recurrent``, on short waits."""

import json
from dataclasses import replace

import pytest

from edgenet.bench.results import recurrent_copying, recurrent_copying_run
from edgenet.bench.results.recurrent_copying_run import Row, lstm_width, measured, network, parameters

from bench.told import told  # isort: skip

pytestmark = pytest.mark.float32
COPYING = Row("copying_memory", 2, "unitary", 8, iterations=40)
ADDING = Row("adding_problem", 2, "unitary", 8, iterations=300, rate=0.01)


@pytest.fixture
def rows(monkeypatch):
    lstm = Row("adding_problem", 4, "lstm", 3, iterations=40, most_seeds=1)
    chosen = [COPYING, ADDING, lstm]
    monkeypatch.setattr(recurrent_copying, "rows", lambda: chosen)
    monkeypatch.setattr(recurrent_copying, "run_all", lambda jobs, processes, run: [run(job) for job in jobs])
    return chosen


def test_the_rows_are_those_that_are_asked_for_with_lstms_of_equal_parameters():
    rows = recurrent_copying.rows()
    assert [(row.task, row.length, row.net) for row in rows[:3]] == [
        ("copying_memory", 200, "unitary"), ("copying_memory", 500, "unitary"), ("adding_problem", 200, "unitary"),
    ]  # fmt: skip
    assert len({row.file for row in rows}) == len(rows)
    for row in rows:
        assert row.iterations % recurrent_copying_run.EVERY == 0
        if row.net == "lstm":
            (unitary,) = [one for one in rows if (one.task, one.length, one.net) == (row.task, row.length, "unitary")]
            wanted = parameters(network(unitary))
            assert wanted <= parameters(network(row)) < 1.1 * wanted
            assert parameters(network(replace(row, hidden=row.hidden - 1))) < wanted
    assert lstm_width(rows[0]) == rows[3].hidden == 33 and lstm_width(replace(rows[0], hidden=120)) == 32


def test_a_task_that_is_solved_ends_its_training_and_is_read_the_next_time(tmp_path, monkeypatch):
    found = measured((ADDING, 0, tmp_path))
    assert found["solved"] and found["iterations"] < ADDING.iterations
    assert found["test_loss"] < 0.015 and found["parameters"] == parameters(network(ADDING))
    monkeypatch.setattr(recurrent_copying_run, "fit", None)
    assert measured((ADDING, 0, tmp_path)) == found


def test_the_page_says_what_was_solved_and_what_was_not(tmp_path, rows):
    text = "\n".join(told(recurrent_copying, 2, tmp_path, 1, None))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    head, copying, adding, lstm = lines[0], *lines[1:4]
    table = [dict(zip(head, line, strict=True)) for line in (copying, adding, lstm)]
    assert [row["solved"] for row in table] == ["0 of 2", "2 of 2", "0 of 1"]
    assert table[0]["at iteration, by seed"] == "not in 40" and len(table[1]["at iteration, by seed"].split(",")) == 2
    assert table[0]["on 1,000 new sequences"].startswith("recall") and "error 0.0" in table[1]["on 1,000 new sequences"]
    kept = sorted(path.name for path in (tmp_path / "copying").iterdir())
    assert len(kept) == 5 and json.loads((tmp_path / "copying" / kept[0]).read_text())["job"]["seed"] == 0
