"""Hidden conductances: nothing of them is in the data, and they decide the answer."""

import math

import numpy as np
import pytest
import torch

from edgenet import data
from edgenet.data.hidden_conductance import geometric_graph
from edgenet.errors import ConfigError

SMALL = {"num_nodes": 30, "neighbours": 4, "sizes": [50, 20, 300]}


def test_the_graph_is_connected_and_joins_the_nearest_points():
    graph = geometric_graph(60, 3, np.random.default_rng(0))
    dense = graph.toarray()
    assert (dense == dense.T).all() and not dense.diagonal().any() and set(np.unique(dense)) == {0.0, 1.0}
    assert dense.sum(1).min() >= 3
    assert (np.linalg.matrix_power(dense + np.eye(60), 60) > 0).all()


def test_a_noiseless_signal_is_a_walk_by_conductances_that_start_at_the_class():
    loaded = data.load("hidden_conductance", noise=0.0, **SMALL)
    graph = loaded.test[0]
    assert loaded.num_outputs == 30 and loaded.info["ideal_accuracy"] > 0.99
    assert torch.allclose(graph.x.double().square().mean(1), torch.ones(300, 1), atol=1e-5)  # float32
    assert (graph.x >= 0).all()
    near = torch.eye(30, dtype=torch.bool)
    near[graph.edge_index[1], graph.edge_index[0]] = True
    reach = [torch.eye(30, dtype=torch.bool)]
    for _ in range(4):
        reach.append((reach[-1].double() @ near.double()) > 0)
    for x, source in zip(graph.x[:, :, 0], graph.y.tolist(), strict=True):
        assert not x[~reach[4][:, source]].any(), "nothing is further away than the walk is long"
    start = graph.x[torch.arange(300), graph.y, 0]
    assert (start.double() - math.sqrt(30)).abs().lt(1e-5).sum() > 30, "walks of no step"


def test_the_weights_that_are_given_are_equal_and_the_conductances_nowhere():
    one, other = (data.load("hidden_conductance", spread=spread, **SMALL) for spread in (1.0, 0.0))
    graph = one.train[0]
    assert len(graph.edge_weight.unique()) == 1
    assert torch.equal(graph.edge_index, other.train[0].edge_index) and torch.equal(graph.y, other.train[0].y)
    assert not torch.equal(graph.x, other.train[0].x)
    shift = torch.zeros(30, 30, dtype=torch.float64)
    shift[graph.edge_index[1], graph.edge_index[0]] = graph.edge_weight.double()
    assert abs(float(torch.linalg.eigvalsh(shift)[-1]) - 1) < 1e-6


def test_who_does_not_know_the_conductances_is_worse_and_only_then():
    info = data.load("hidden_conductance", sizes=[10, 10, 1000]).info
    assert info["ideal_accuracy"] - info["blind_accuracy"] > 0.2
    control = data.load("hidden_conductance", spread=0.0, sizes=[10, 10, 1000]).info
    assert control["ideal_accuracy"] == control["blind_accuracy"]


def test_the_graph_and_its_conductances_may_stay_while_the_signals_change():
    one, two = (data.load("hidden_conductance", seed=seed, graph_seed=7, noise=0.0, **SMALL) for seed in (1, 2))
    assert torch.equal(one.train[0].edge_index, two.train[0].edge_index)
    assert not torch.equal(one.train[0].y, two.train[0].y)
    kinds = [set(map(tuple, loaded.test[0].x[:, :, 0].tolist())) for loaded in (one, two)]
    assert len(kinds[0] & kinds[1]) > 20, "the same noiseless signals"


@pytest.mark.parametrize(
    "options, says",
    [
        ({"num_nodes": 5}, "at least 10.*got 5, 5, 5"),
        ({"neighbours": 100}, "got 100, 100, 5"),
        ({"times": 0}, "got 100, 5, 0"),
        ({"spread": -1.0}, "spread must be .* got -1"),
        ({"noise": math.inf}, "noise must be .* got inf"),
        ({"sizes": [1, 2]}, "three positive whole numbers"),
        ({"num_nodes": 400, "neighbours": 1}, "no connected graph of 400 nodes.*take more neighbours"),
    ],
)
def test_an_option_out_of_range_is_named(options, says):
    with pytest.raises(ConfigError, match=says):
        data.load("hidden_conductance", **options)


@pytest.mark.parametrize("sizes", [5, "345", [1, 2], [1, 2, 0], [1, 2, 3.0]])
@pytest.mark.parametrize("name", ["hidden_conductance", "source_localisation"])
def test_sizes_that_are_no_three_numbers_are_refused(name, sizes):
    with pytest.raises(ConfigError, match=f"{name}: sizes must be three positive whole numbers, got"):
        data.load(name, sizes=sizes)
