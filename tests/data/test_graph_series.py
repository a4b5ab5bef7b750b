"""Series of signals on a graph: windows of one split alone, what stands in files, a process whose weights are known."""

import gzip
import json

import numpy as np
import pytest
import torch

from edgenet import data
from edgenet.data import chickenpox, metr_la, windows
from edgenet.errors import ConfigError, DataError
from edgenet.train import Task

SPLITS = ("train", "val", "test")


def whole(dataset, split):
    """Everything that a split shows: (S, past + horizons, N)."""
    one = getattr(dataset, split)[0]
    y = one.y.unsqueeze(-1) if one.y.dim() == 2 else one.y
    return torch.cat([one.x[..., 0], y.transpose(1, 2)], 1)


# ---------------------------------------------------------------- windows
def test_windows_are_the_series_and_lie_in_one_split():
    steps, more = 90, {"edge_index": torch.tensor([[0], [1]])}
    series = np.arange(steps)[:, None] + np.array([0.0, 1000.0])
    found = windows.cut(series[:, :, None], series, 3, (1, 4), 2, more, "made")
    spans = windows.spans(steps)
    assert spans == {"train": range(62), "val": range(62, 72), "test": range(72, 90)}
    for split in SPLITS:
        one = found[split][0]
        first = one.x[:, 0, 0, 0]
        assert first.tolist() == list(range(spans[split].start, spans[split].stop - 6, 2 if split == "train" else 1))
        assert (one.x[:, :, 0, 0] - first[:, None]).tolist() == [[0, 1, 2]] * len(first)
        assert (one.y[:, 0] - first[:, None]).tolist() == [[3, 6]] * len(first)
        assert (one.x[..., 1, 0] - one.x[..., 0, 0]).eq(1000).all() and (one.y[:, 1] - one.y[:, 0]).eq(1000).all()
        assert int(one.y.max()) - 1000 == spans[split].stop - (2 if split == "train" else 1)  # strides end before it


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"past": 0}, "past, stride and each of ahead"),
        ({"ahead": ()}, r"got 12, 1 and \[\]"),
        ({"ahead": 0}, r"and \[0\]"),
        ({"ahead": 1.5}, r"and \[1.5\]"),
        ({"ahead": (3, 0)}, r"\[3, 0\]"),
        ({"ahead": (True,)}, "whole numbers from 1"),
        ({"stride": 0}, "stride"),
        ({"past": 200, "ahead": (3,)}, "a window of 200 steps and 3 ahead is longer than the 201 steps"),
        ({"operators": 3}, "operators is 1 or 2"),
        ({"time_of_day": 1}, "True or False"),
    ],
)
def test_options_out_of_range_are_refused(options, says, real_data):
    with pytest.raises(ConfigError, match=says):
        data.load("metr_la", **options)


# ---------------------------------------------------------------- METR-LA
@pytest.fixture
def week(tmp_path, monkeypatch):
    """A file of the right shapes, with speeds that tell where they stand."""
    rng = np.random.default_rng(0)
    speed = (40 + 20 * rng.random((2016, 207))).astype(np.float32)
    closeness = np.zeros((207, 207), dtype=np.float32)
    closeness[0, 1], closeness[1, 0], closeness[2, 1], closeness[3, 3] = 0.5, 0.25, 0.75, 1.0
    np.savez(tmp_path / metr_la.METR_LA_FILE, speed_mph=speed, adj_dcrnn=closeness)
    return tmp_path, speed


def test_speeds_are_scaled_by_the_training_part_and_horizons_are_readings(week):
    root, speed = week
    made = data.load("metr_la", root, past=4, ahead=(3, 12), stride=5, verify=False)
    trained = speed[: int(0.7 * 2016)].astype(np.float64)
    assert made.info["mean"] == pytest.approx(trained.mean()) and made.info["std"] == pytest.approx(trained.std())
    assert (made.task, made.target, made.metric, made.num_features, made.num_outputs) == (
        "sequence", "value", "mae", 1, 2,
    )  # fmt: skip
    back = whole(made, "train").double() * made.info["std"] + made.info["mean"]
    np.testing.assert_allclose(back[1], speed[[5, 6, 7, 8, 11, 20]], rtol=1e-5)  # float32
    start = int(0.8 * 2016)
    back = whole(made, "test").double() * made.info["std"] + made.info["mean"]
    np.testing.assert_allclose(back[0, :4], speed[start : start + 4], rtol=1e-5)  # float32
    ends = np.arange(start + 3, 2016 - 12)
    assert made.info["persistence_mae"][1] == pytest.approx(np.abs(speed[ends + 12] - speed[ends]).mean(), rel=1e-5)
    assert data.load("metr_la", root, verify=False).train[0].y.dim() == 2  # of one horizon


def test_roads_are_edges_of_both_directions_with_one_operator_or_two(week):
    root, _ = week
    one = data.load("metr_la", root, verify=False).train[0]
    assert one.edge_index.tolist() == [[1, 0, 2, 1], [0, 1, 1, 2]]
    assert one.edge_weight.tolist() == [0.5, 0.5, 0.75, 0.75]
    two = data.load("metr_la", root, operators=2, verify=False).train[0]
    torch.testing.assert_close(two.edge_weight, torch.tensor([[1.0, 1.0], [1.0, 0.4], [0.0, 0.6], [1.0, 0.0]]).float())


def test_the_time_of_day_is_its_sine_and_cosine(week):
    root, _ = week
    made = data.load("metr_la", root, time_of_day=True, past=2, verify=False)
    assert made.num_features == 3
    clock = made.train[0].x[72, 0, 0, 1:].double()  # 6 o'clock
    torch.testing.assert_close(clock, torch.tensor([1.0, 0.0]), rtol=0, atol=1e-6)  # float32


def test_another_file_under_that_name_is_told(week, tmp_path):
    root, speed = week
    with pytest.raises(DataError, match="sha256"):
        data.load("metr_la", root)
    np.savez(tmp_path / metr_la.METR_LA_FILE, speed_mph=speed[1:], adj_dcrnn=np.zeros((207, 207)))
    with pytest.raises(DataError, match="wants speed_mph of shape"):
        data.load("metr_la", root, verify=False)


def test_the_real_week_is_what_its_facts_say(real_data):
    made = data.load("metr_la", stride=24)
    facts = data.DATASETS["metr_la"].facts.shapes
    one = made.test[0]
    assert one.x.shape[1:] == (facts["steps"], facts["nodes"], facts["features"])
    assert one.edge_index.shape[1] == facts["edges"] and one.y.shape == one.x[:, 0, :, 0].shape
    assert made.info["persistence_mae"] == [pytest.approx(3.558, abs=1e-3)]


# ---------------------------------------------------------------- chickenpox
def test_counties_without_loops_packed_or_not(tmp_path, real_data):
    made = data.load("chickenpox", past=5, ahead=(1, 2))
    facts = data.DATASETS["chickenpox"].facts.shapes
    one = made.train[0]
    assert one.edge_index.shape[1] == facts["edges"] and (one.edge_index[0] != one.edge_index[1]).all()
    assert one.x.shape[1:] == (5, 20, 1) and one.y.shape[1:] == (20, 2)
    content = gzip.decompress(data.catalogue.DATASETS["chickenpox"].find(data.places.places()).read_bytes())
    (tmp_path / "chickenpox.json").write_bytes(content)
    again = data.load("chickenpox", tmp_path, past=5, ahead=(1, 2))
    assert again.info["found"] == str(tmp_path / "chickenpox.json")
    assert torch.equal(again.test[0].x, made.test[0].x)


@pytest.mark.parametrize("content", [b"no JSON", b"{}", json.dumps({"FX": [[1]], "edges": [[0, 1]]}).encode()])
def test_a_file_of_something_else_is_told(tmp_path, content):
    (tmp_path / "chickenpox.json").write_bytes(content)
    with pytest.raises(DataError, match=r"chickenpox\.json"):
        chickenpox.read(tmp_path / "chickenpox.json")


# ---------------------------------------------------------------- a process
def test_the_process_moves_by_the_weights_that_come_with_it():
    made = data.load("graph_process", num_nodes=8, steps=3000, noise=0.5, past=2, radius=0.7, neighbours=2)
    one = made.train[0]
    phi = torch.zeros(8, 8).index_put((one.edge_index[1], one.edge_index[0]), one.true_weight.double())
    phi = phi + torch.diag(one.true_loop.double())
    assert torch.linalg.eigvals(phi).abs().max().item() == pytest.approx(0.7, rel=1e-5)  # float32
    assert (phi < 0).any() and not torch.allclose(phi, phi.T)
    pushes = one.y.double() - one.x[:, -1, :, 0].double() @ phi.T
    assert pushes.std().item() == pytest.approx(0.5, rel=0.03)  # of 16,000 draws
    fitted = torch.linalg.lstsq(one.x[:, -1, :, 0].double(), one.y.double()).solution.T
    assert (fitted - phi).abs().max() < 0.1  # least squares of 2,096 windows find Phi
    assert made.info["ideal_rmse"] == pytest.approx(0.5, rel=0.05)
    assert made.info["mean_rmse"] > 0.55


def test_seeds_draw_process_and_graph_apart():
    def load(**options):
        return data.load("graph_process", num_nodes=6, steps=100, **options).train[0]

    one, same, other = load(seed=1), load(seed=1), load(seed=2, graph_seed=1)
    assert torch.equal(one.x, same.x) and torch.equal(one.true_weight, other.true_weight)
    assert not torch.equal(one.x, other.x) and not torch.equal(load(seed=2).true_loop, other.true_loop)
    assert (load(signs=False).true_weight > 0).all()
    half = load(seed=1, stride=2)
    assert torch.equal(half.x, one.x[::2])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"neighbours": 20}, "neighbours are 1 to num_nodes - 1"),
        ({"radius": 1.0}, "radius is in"),
        ({"noise": 0.0}, "noise above 0"),
        ({"steps": 10}, "longer than the 1 steps"),
        ({"steps": 0}, "steps is a whole number"),
    ],
)
def test_processes_that_cannot_be_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        data.load("graph_process", **options)


def test_they_can_be_trained_on():
    task = Task.of(data.load("graph_process", num_nodes=6, steps=100))
    task.prepare(torch.device("cpu"), torch.float64, 16)
    batch = next(task.training(torch.Generator()))
    assert batch.x.shape == (16, 4, 6, 1) and batch.target.shape == (16, 6)
