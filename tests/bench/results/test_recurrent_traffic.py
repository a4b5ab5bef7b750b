"""The section on graph recurrent networks: its numbers are those of the runs, and of what is foretold without any."""

import numpy as np
import pytest
import torch

from edgenet.bench.results import recurrent_traffic as page
from edgenet.bench.results import recurrent_traffic_rows as table
from edgenet.bench.results import recurrent_traffic_run as run
from edgenet.bench.results.recurrent_traffic_rows import Row
from edgenet.data import load, metr_la
from edgenet.models import GraphRecurrent

from bench.told import told  # isort: skip

pytestmark = pytest.mark.float32  # as it is measured

SMALL = {
    "metr_la": {"ahead": [1, 3], "past": 2, "stride": 300, "operators": 2},
    "graph_process": {"steps": 300, "past": 2, "num_nodes": 6},
    "chickenpox": {"past": 3, "stride": 40},
}
MODEL = {"layer": "gcnn", "order": 1, "hidden_channels": 3}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, settings in table.SETTINGS.items():
        monkeypatch.setitem(table.SETTINGS, name, {**settings, "training": {"epochs": 1, "batch_size": 20}})
        monkeypatch.setitem(table.DATA, name, SMALL[name])
    monkeypatch.setattr(page, "run_all", lambda jobs, processes, run: [run(job) for job in jobs])


def test_the_page_has_a_line_a_row_with_the_errors_of_its_runs(tmp_path, data_root):
    roads = Row("metr_la", "roads", {**MODEL, "shifts": 2, "normalize": None, "gate": "node"})
    one = Row("metr_la", "one operator", MODEL, {"operators": 1})
    rows = [roads, one, Row("graph_process", "edges", MODEL), Row("chickenpox", "counties", MODEL)]
    text = "\n\n".join(told(page, 2, tmp_path, 1, data_root, rows))
    results = [run.measured((one, seed, tmp_path, data_root)) for seed in range(2)]
    mean = np.mean([result["mae"][1] for result in results])
    line = next(line for line in text.splitlines() if line.startswith("| one operator"))
    assert f"{mean:.2f} ± " in line and f"{results[0]['parameters']:,}" in line
    for heading in ("### Traffic", "### Known weights", "### Chickenpox", "the mean of the time of day"):
        assert heading in text
    assert "at once" not in text and "which printed test errors too" in text and "rates were not searched" in text
    assert f"over {run.AT_ONCE} test windows" in text  # those that ``sensitivity`` looks at
    assert "15 minutes, from the best" in text and "5 minutes, from the best" in text
    assert len(list((tmp_path / "traffic").glob("*/*.json"))) == 8


def test_errors_are_in_miles_an_hour_of_speeds_and_not_of_changes(tmp_path, data_root, monkeypatch):
    monkeypatch.setattr(GraphRecurrent, "forward", lambda self, x, *more, **named: self.head.bias * 0 + zeros(x))

    def zeros(x):  # no change at all
        return torch.zeros(*x.shape[:1], x.shape[2], 2)

    result = run.measured((Row("metr_la", "still", MODEL, {"operators": 1}), 0, tmp_path, data_root))
    plain = run.still_and_usual(data_root, table.DATA["metr_la"])
    assert result["mae"] == pytest.approx(plain["last"], rel=1e-4)  # float32


def test_the_usual_speed_is_the_mean_of_a_sensor_at_that_time_of_training_days(data_root):
    speed = metr_la.read(metr_la.find(run.places(data_root))).speed
    found = run.still_and_usual(data_root, table.DATA["metr_la"])["usual"][0]
    trained, test = int(0.7 * 2016), int(0.8 * 2016)
    errors = []
    for t in range(test + 2, 2016 - 2):  # the last reading of a window of 2, plus 1
        same = [s for s in range(trained) if s % 288 == t % 288]
        errors.append(np.abs(speed[same].mean(0) - speed[t]).mean())
    assert found == pytest.approx(np.mean(errors))


def test_sensitivity_is_the_derivative_of_the_next_step_by_the_last_one():
    data = load("graph_process", **SMALL["graph_process"]).test[0]
    model = GraphRecurrent(1, 1, last=True, layer="edge_varying", bank="heads", order=1, hidden_channels=3).bind(data)
    found = run.sensitivity(model, data)
    x, step = data.x[:64].clone(), 1e-2
    moved = x.clone()
    moved[:, -1, 4, 0] += step
    with torch.no_grad():
        wanted = (model(moved, data.edge_index) - model(x, data.edge_index))[..., 0].mean(0) / step
    torch.testing.assert_close(found[:, 4], wanted, rtol=1e-2, atol=1e-3)  # a difference of float32
    assert run.correlation(torch.zeros(4), torch.rand(4)) is None
    assert run.correlation(torch.arange(4.0), -torch.arange(4.0)) == pytest.approx(-1)


def test_rows_have_names_of_their_own_and_options_that_models_take():
    rows = table.rows()
    assert len({(row.dataset, row.file) for row in rows}) == len(rows)
    for row in rows:
        GraphRecurrent(3, 2, last=True, num_nodes=5, **row.model)
