"""The bench of tap selection: its rows are what was fitted on layers without the rest."""

import numpy as np
import pytest
import torch

from edgenet.bench.results import tap_selection, traffic_taps
from edgenet.bench.results.traffic import DAY, FILE, Traffic, traffic
from edgenet.errors import DataError, DatasetNotFoundError


@pytest.fixture
def week():
    """Seven days of 12 sensors on a one-way ring, each with the speed its upstream neighbour had 10 minutes before."""
    rng = np.random.default_rng(0)
    speed = rng.normal(60, 5, (7 * DAY, 12))
    for k in range(2, len(speed)):
        speed[k] = np.roll(speed[k - 2], 1) + 0.1 * rng.normal(size=12)
    ring = torch.arange(12)
    edges = torch.cat([torch.stack([ring, (ring + 1) % 12]), torch.stack([(ring + 1) % 12, ring])], 1)
    one, none = torch.ones(12, dtype=torch.double), torch.zeros(12, dtype=torch.double)
    weight = torch.stack([torch.cat([none, one]), torch.cat([one, none])], 1)
    return Traffic(torch.as_tensor(speed), edges, weight, torch.linspace(0.2, 1, 24, dtype=torch.double))


def test_the_hop_that_made_the_speeds_enters_first_and_suffices(week, tmp_path, monkeypatch):
    monkeypatch.setattr(traffic_taps, "ORDER", 3)
    forecast = traffic_taps.Forecast(week)
    rows = list(traffic_taps.by_taps(forecast, tmp_path / "path.png"))
    assert [row[0] for row in rows] == list(range(1, 8)) and (tmp_path / "path.png").exists()
    _, plan, layer, validation, test = rows[0]
    assert plan.kept.taps == ((1, 1),)  # one hop, from upstream
    assert layer.order == layer.heads == 1 and sum(p.numel() for p in layer.parameters()) == 5
    assert max(validation, test) < 0.1
    x, y = forecast.test
    got = layer(x, week.edge_index, week.edge_weight[:, [1]]).detach().flatten().numpy()
    assert np.abs(got - y).mean() == pytest.approx(test)


def test_no_instant_of_one_span_reads_another(week):
    forecast = traffic_taps.Forecast(week)
    assert [len(part[0]) for part in (forecast.training, forecast.validation, forecast.test)] == [12, 24, 48]
    late = week.speed[6 * DAY - traffic_taps.READINGS + 1 :].reshape(-1)
    early = week.speed[: 5 * DAY - traffic_taps.READINGS].reshape(-1)
    assert not torch.isin(torch.as_tensor(forecast.training[1]), late).any()
    assert not torch.isin(forecast.validation[0].reshape(-1), early).any()


def test_blocks_of_edges_enter_one_by_one(week):
    rows = list(traffic_taps.by_blocks(traffic_taps.Forecast(week)))
    assert [count for _, count, _, _ in rows] == [6, 12, 18, 24]
    assert all(name.startswith("block ") for name, *_ in rows) and rows[-1][3] <= 0.13


def test_the_two_hops_that_made_the_data_are_found():
    assert all(tap_selection.recovered(seed) for seed in range(3))


def test_the_week_is_read_and_checked(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DatasetNotFoundError, match="DCRNN"):
        traffic(tmp_path / "nowhere")
    np.savez(tmp_path / FILE, speed_mph=np.ones((4, 2)), adj_dcrnn=np.eye(2))
    with pytest.raises(DataError, match=r"\(2016, 207\)"):
        traffic(tmp_path)
    closeness = np.eye(207)
    closeness[0, 1], closeness[0, 2], closeness[3, 0] = 0.5, 0.25, 0.75
    np.savez(tmp_path / FILE, speed_mph=np.ones((2016, 207)), adj_dcrnn=closeness)
    week = traffic(tmp_path)
    pairs = [tuple(pair) for pair in week.edge_index.t().tolist()]
    of = {pair: week.edge_weight[e].tolist() for e, pair in enumerate(pairs)}
    assert len(pairs) == 6  # both ways, no loops
    assert of[1, 0] == [0.5 / 0.75, 0.0] and of[2, 0] == [0.25 / 0.75, 0.0]  # 0 averages over those downstream
    assert of[0, 1] == [0.0, 1.0] and of[3, 0] == [0.0, 1.0] and of[0, 3] == [1.0, 0.0]
    assert week.closeness[pairs.index((1, 0))] == 0.5
    x, y = week.samples([5], 3, 2)
    assert x.shape == (1, 207, 3) and y.shape == (207,)
