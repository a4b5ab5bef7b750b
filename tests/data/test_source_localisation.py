"""Source localisation: the published task, and one that memory cannot solve."""

import json
import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from edgenet import data
from edgenet.data import source_localisation as task
from edgenet.errors import ConfigError, DataError, DatasetNotFoundError, EdgeIndexError, ShapeError


def dense(graph):
    shift = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    shift[graph.edge_index[1], graph.edge_index[0]] = graph.edge_weight.double()
    return shift


def clean_signal(graph, source, t):
    impulse = torch.zeros(graph.num_nodes, dtype=torch.float64)
    impulse[source] = 1
    for _ in range(t):
        impulse = dense(graph) @ impulse
    return impulse


def nearest_training_signal(loaded, of=lambda x: x):
    """Accuracy of answering with the class of the most similar training signal: pure memory."""
    (train,), (test,) = loaded.train, loaded.test
    distance = torch.cdist(of(test.x[:, :, 0]), of(train.x[:, :, 0]))
    return float((train.y[distance.argmin(1)] == test.y).double().mean())


def length(x):
    return x.norm(dim=1, keepdim=True)


def test_the_three_splits_live_on_one_graph_with_largest_eigenvalue_one():
    loaded = data.load("source_localisation")
    shapes = [tuple(getattr(loaded, split)[0].x.shape) for split in ("train", "val", "test")]
    assert shapes == [(2000, 50, 1), (500, 50, 1), (1000, 50, 1)]
    graph = loaded.train[0]
    for split in (loaded.val, loaded.test):
        assert torch.equal(split[0].edge_index, graph.edge_index)
        assert torch.equal(split[0].edge_weight, graph.edge_weight)
    shift = dense(graph)
    assert torch.equal(shift, shift.T) and not shift.diagonal().any()
    assert abs(float(torch.linalg.eigvalsh(shift)[-1]) - 1) < 1e-6  # weights are float32
    assert graph.x.dtype == graph.edge_weight.dtype == torch.float32 and graph.y.dtype == torch.int64
    assert json.loads(json.dumps(loaded.info)) == loaded.info


def test_without_noise_a_signal_is_the_scaled_diffusion_of_an_impulse_at_the_source_of_its_class():
    loaded = data.load("source_localisation", noise=0.0, t_max=5, sizes=(40, 10, 10))
    for split in ("train", "val", "test"):
        (graph,) = getattr(loaded, split)
        wanted = {
            (label, t): clean_signal(graph, source, t)
            for label, source in enumerate(loaded.info["sources"])
            for t in loaded.info["times"][split]
        }
        for x, label in zip(graph.x[:, :, 0].double(), graph.y.tolist(), strict=True):
            candidates = [wanted[label, t] for t in loaded.info["times"][split]]
            scaled = [math.sqrt(50) * signal / signal.norm() for signal in candidates]
            assert min(float((x - signal).abs().max()) for signal in scaled) < 1e-5  # float32


def test_noise_has_the_deviation_it_is_given():
    quiet = data.load("source_localisation", noise=0.0, t_max=4, sizes=(1, 1, 2000))
    loud = data.load("source_localisation", noise=0.7, t_max=4, sizes=(1, 1, 2000))
    assert quiet.info["sources"] == loud.info["sources"]
    # mean square of the signal is 1, of the noise 0.49
    assert abs(float(quiet.test[0].x.square().mean()) - 1) < 1e-5
    assert abs(float(loud.test[0].x.square().mean()) - 1.49) < 0.02


def test_no_diffusion_time_occurs_in_two_splits_and_training_sees_both_parities():
    for t_max in range(task.MIN_TIMES, 30):
        times = task.split_times(t_max, shared=False)
        flat = [t for split in times.values() for t in split]
        assert sorted(flat) == list(range(t_max)) and all(times.values())
        assert {t % 2 for t in times["train"]} == {0, 1}, "walks of even and of odd length are both trained on"
    assert data.load("source_localisation").info["times"] == {"train": [0, 1, 4], "val": [2], "test": [3]}


def test_the_published_protocol_pays_memory_and_scale_and_says_so():
    paper = data.load("source_localisation", protocol="paper", sizes=(5000, 10, 500))
    assert nearest_training_signal(paper) > 0.99 and nearest_training_signal(paper, of=length) > 0.9
    assert paper.info["noise"] == 0 and "250 different signals" in paper.info["warnings"][0]
    assert paper.info["times"]["train"] == paper.info["times"]["test"] == list(range(50))
    assert len(torch.unique(paper.train[0].x[:, :, 0], dim=0)) <= 250


@pytest.mark.parametrize("seed", range(4))
def test_heldout_times_pay_neither_memory_nor_scale_but_can_be_solved(seed):
    heldout = data.load("source_localisation", seed=seed)
    assert nearest_training_signal(heldout) < 0.5
    assert abs(nearest_training_signal(heldout, of=length) - 0.2) < 0.06, "the length tells one of five as chance does"
    assert heldout.info["ideal_accuracy"] > 0.9


def test_the_ideal_accuracy_is_that_of_the_closest_noiseless_signal():
    clean = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.4], [0.4, 0.6]]])  # (times, classes, nodes)
    t, label = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    x = np.array([[0.9, 0.0], [0.6, 0.5], [0.5, 0.4], [0.0, 0.1]])
    assert task.ideal_accuracy(clean, t, label, x) == 0.75


def test_times_end_where_the_sources_come_closer_than_twice_the_noise():
    quiet = data.load("source_localisation", noise=0.05).info["t_max"]
    assert quiet > data.load("source_localisation", noise=0.3).info["t_max"] == 5
    assert data.load("source_localisation", noise=0.0).info["t_max"] == task.MAX_TIMES
    assert data.load("source_localisation", noise=50.0).info["t_max"] == task.MIN_TIMES


def test_the_block_model_has_its_probabilities_and_is_connected():
    adjacency, community = task.stochastic_block_model(400, 5, np.random.default_rng(0))
    assert np.bincount(community).tolist() == [80] * 5
    same = community[:, None] == community
    weights, pairs = adjacency.toarray(), ~np.eye(400, dtype=bool)
    assert abs(weights[same & pairs].mean() - 0.8) < 0.01 and abs(weights[~same].mean() - 0.2) < 0.01
    assert (weights == weights.T).all() and not weights.diagonal().any()


def test_sources_are_the_hubs_of_the_communities():
    loaded = data.load("source_localisation", num_nodes=60, num_communities=3)
    degree = torch.bincount(loaded.train[0].edge_index[0], minlength=60)
    assert [source // 20 for source in loaded.info["sources"]] == [0, 1, 2] and loaded.num_outputs == 3
    assert all(degree[s] == degree[s // 20 * 20 : s // 20 * 20 + 20].max() for s in loaded.info["sources"])


def test_the_graph_may_stay_while_the_signals_change():
    one, two = (data.load("source_localisation", seed=seed, graph_seed=7) for seed in (1, 2))
    assert torch.equal(one.train[0].edge_index, two.train[0].edge_index)
    assert not torch.equal(one.train[0].x, two.train[0].x)


# --- given graphs -----------------------------------------------------------------------------------------------------
def test_the_facebook_graph_has_its_two_sources(real_data):
    if not (real_data / "graphs" / task.FACEBOOK_FILE).is_file():
        pytest.skip(f"no {task.FACEBOOK_FILE} in {real_data / 'graphs'}")
    loaded = data.load("source_localisation", graph="facebook")
    assert (loaded.train[0].num_nodes, loaded.train[0].num_edges) == (234, 8016)
    assert loaded.info["sources"] == [38, 224] and loaded.num_outputs == 2 and loaded.info["noise"] == 3.0
    assert loaded.info["ideal_accuracy"] > 0.9 and nearest_training_signal(loaded) < 0.85


def test_without_the_facebook_graph_the_miss_says_so(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"graphs/facebook_ego234\.npz .*\n.*(?s:.*)graph='path/to"):
        data.load("source_localisation", root=tmp_path, graph="facebook")


def two_cliques(tmp_path, **changes):
    """Two groups of 8 nodes joined by one edge; the hubs are 0 and 8."""
    edges = [(i, j) for base in (0, 8) for i in range(base, base + 8) for j in range(base, i)] + [(0, 8)]
    edge_index = np.array(edges + [(j, i) for i, j in edges]).T
    arrays = {"edge_index": edge_index, "num_nodes": 16} | changes
    np.savez(tmp_path / "graph.npz", **{name: value for name, value in arrays.items() if value is not None})
    return str(tmp_path / "graph.npz")


def test_a_given_graph_gets_the_hubs_of_its_clusters_as_sources(tmp_path):
    loaded = data.load("source_localisation", graph=two_cliques(tmp_path), num_communities=2)
    assert sorted(loaded.info["sources"]) == [0, 8]
    chosen = data.load("source_localisation", graph=two_cliques(tmp_path), sources=[3, 12, 1])
    assert chosen.info["sources"] == [3, 12, 1] and chosen.num_outputs == 3


@pytest.mark.parametrize(
    "changes, error, says",
    [
        ({"edge_index": np.array([[0.0, 1.0], [1.0, 0.0]])}, EdgeIndexError, "dtype float64"),
        ({"num_nodes": 15}, EdgeIndexError, "node 15 does not exist"),
        ({"edge_index": np.array([[0, 1], [1, -1]])}, EdgeIndexError, "node -1 does not exist"),
        ({"edge_index": np.array([[0, 1], [1, 2]])}, DataError, "must be symmetric"),
        ({"edge_index": np.array([[0, 1, 1], [1, 0, 1]])}, DataError, "self-loops"),
        ({"edge_index": np.array([[0, 0, 1, 1], [1, 1, 0, 0]])}, DataError, "repeated"),
        ({"edge_index": np.zeros((2, 0), dtype=int)}, DataError, "at least one edge"),
        ({"edge_weight": np.full(114, np.nan)}, ShapeError, "is nan"),
        ({"edge_weight": -np.ones(114)}, DataError, "not negative"),
        ({"edge_weight": np.ones(3)}, ShapeError, "one number for each of 114 edges"),
    ],
)
def test_a_given_graph_that_cannot_be_used_is_refused(tmp_path, changes, error, says):
    path = two_cliques(tmp_path, **changes)
    with pytest.raises(error, match=says):
        data.load("source_localisation", graph=path)


def test_a_source_without_an_edge_is_refused(tmp_path):
    path = two_cliques(tmp_path, num_nodes=17)
    with pytest.raises(ConfigError, match=r"sources \[16\] have no edge"):
        data.load("source_localisation", graph=path, sources=[0, 16])
    with pytest.raises(DataError, match=r"1 of them isolated.*pass sources"):
        data.load("source_localisation", graph=path, num_communities=2)


def test_a_graph_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"nowhere\.npz: no such file"):
        data.load("source_localisation", graph=str(tmp_path / "nowhere.npz"))


@pytest.mark.parametrize(
    "options, says",
    [
        ({"protocol": "papers"}, "heldout, paper, got 'papers'"),
        ({"noise": -1.0}, "at least 0, got -1"),
        ({"noise": math.nan}, "got nan"),
        ({"t_max": 3}, "at least 4.* got 3"),
        ({"t_max": 0}, "got 0"),
        ({"t_max": 0, "protocol": "paper"}, "at least 1.* got 0"),
        ({"sizes": (10, 10)}, "three positive whole numbers"),
        ({"sizes": (10, 10, 0)}, r"got \[10, 10, 0\]"),
        ({"num_nodes": 3}, "3 nodes cannot form 5"),
        ({"num_communities": 1}, "at least 2, got 1"),
        ({"sources": [4]}, r"two or more different nodes below 50, got \[4\]"),
        ({"sources": [4, 50]}, "below 50"),
        ({"sources": [4, 4]}, "different"),
    ],
)
def test_an_option_out_of_range_is_named(options, says):
    with pytest.raises(ConfigError, match=says):
        data.load("source_localisation", **options)


def test_lambda_max_agrees_with_a_dense_solver():
    from edgenet.data.shift import over_lambda_max

    for nodes in (4, 9, 10, 40):
        weight = np.random.default_rng(nodes).random((nodes, nodes))
        weight = np.triu(weight, 1) + np.triu(weight, 1).T
        scaled, largest = over_lambda_max(sp.csr_matrix(weight), "test")
        assert abs(largest - np.linalg.eigvalsh(weight)[-1]) < 1e-10
        np.testing.assert_allclose(scaled.toarray(), weight / largest, rtol=1e-12)
