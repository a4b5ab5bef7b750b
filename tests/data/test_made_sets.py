"""digits, karate, csbm: made on demand, from their seed alone."""

import numpy as np
import pytest
import torch

from edgenet import data
from edgenet.data.digits import nearest_neighbours
from edgenet.errors import ConfigError

MADE = ("digits", "karate", "csbm", "source_localisation", "hidden_conductance", "copying_memory", "adding_problem")


def everything(dataset):
    graphs = dataset.train + dataset.val + dataset.test
    return [value for graph in graphs for _, value in sorted(graph.to_dict().items()) if torch.is_tensor(value)]


def equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(everything(one), everything(two), strict=True))


@pytest.mark.parametrize("name", MADE)
def test_a_seed_makes_one_data_set_and_touches_no_global_state(name):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, two, other = data.load(name, seed=3), data.load(name, seed=3), data.load(name, seed=4)
    assert equal(one, two) and not equal(one, other)
    assert torch.equal(before[0], torch.get_rng_state()) and (before[1] == np.random.get_state()[1]).all()


@pytest.mark.parametrize("name", ["digits", "karate", "csbm"])
def test_the_masks_part_the_nodes(name):
    graph = data.load(name).train[0]
    assert ((graph.train_mask.int() + graph.val_mask.int() + graph.test_mask.int()) == 1).all()
    assert graph.is_undirected() and not graph.has_self_loops() and graph.is_coalesced()
    assert graph.x.dtype == torch.float32 and graph.y.dtype == graph.edge_index.dtype == torch.int64


@pytest.mark.parametrize("name", MADE)
def test_the_facts_are_those_of_the_data(name):
    dataset, shapes = data.load(name), dict(data.describe(name)["shapes"])
    graph = dataset.train[0]
    known = {"features": dataset.num_features, "outputs": dataset.num_outputs}
    if dataset.task == "sequence":
        known |= {"steps": graph.x.shape[1], "train_sequences": len(graph.y)}
    else:
        known["nodes"] = graph.num_nodes
    if dataset.task == "signal":
        known |= {f"{split}_signals": len(getattr(dataset, split)[0].y) for split in ("train", "val", "test")}
    if "edges" in shapes:
        known["edges"] = graph.num_edges
    assert shapes == known


def test_digits_need_no_file_and_have_their_split():
    graph = data.load("digits").train[0]
    for split, each in (("train", 20), ("val", 30)):
        assert torch.bincount(graph.y[graph[f"{split}_mask"]]).tolist() == [each] * 10
    assert int(graph.test_mask.sum()) == 1297 and graph.x.min() >= 0 and graph.x.max() == 1
    agree = (graph.y[graph.edge_index[0]] == graph.y[graph.edge_index[1]]).double().mean()
    assert agree > 0.95, "near images show the same digit"
    assert torch.bincount(graph.edge_index[0]).min() >= 10


def test_nearest_neighbours_by_hand():
    points = np.array([[0.0], [1.0], [3.0], [3.0], [9.0]])  # two coincide; 1 is as near to 0 ... as 3 is far
    edges = {tuple(pair) for pair in nearest_neighbours(points, 1).T.tolist()}
    assert edges == {(0, 1), (1, 0), (2, 3), (3, 2), (2, 4), (4, 2)}


def test_nearest_neighbours_agree_with_all_distances_when_many_are_equal():
    points = np.random.default_rng(0).integers(3, size=(60, 3)).astype(float)
    distance = ((points[:, None] - points[None]) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    chosen = np.argsort(distance, axis=1, kind="stable")[:, :4]
    wanted = {(i, int(j)) for i in range(60) for j in chosen[i]}
    wanted |= {(j, i) for i, j in wanted}
    assert {tuple(pair) for pair in nearest_neighbours(points, 4).T.tolist()} == wanted


def test_whole_numbers_are_numbers_and_numpys_are_numbers_too():
    assert data.load("csbm", angle=1, degree=np.float32(6), num_nodes=np.int64(200)).train[0].num_nodes == 200


def test_karate_trains_on_one_member_of_each_community():
    graph = data.load("karate").train[0]
    assert (graph.num_nodes, graph.num_edges) == (34, 156)
    assert sorted(graph.y[graph.train_mask].tolist()) == [0, 1, 2, 3] and int(graph.val_mask.sum()) == 10


def agreement(angle):
    graph = data.load("csbm", angle=angle, seed=1).train[0]
    return float((graph.y[graph.edge_index[0]] == graph.y[graph.edge_index[1]]).double().mean())


def feature_signal(angle):
    """Correlation of the communities with the projection of x on the difference of the two class means."""
    graph = data.load("csbm", angle=angle, num_nodes=4000, num_features=50, seed=1).train[0]
    x, side = graph.x.double(), 2.0 * graph.y.double() - 1
    half = x[::2].T @ side[::2]  # the direction from one half, its use on the other: no fit to noise
    return float(torch.corrcoef(torch.stack([x[1::2] @ half, side[1::2]]))[0, 1])


def test_the_angle_of_csbm_moves_what_is_known_from_the_features_to_the_graph():
    # share of edges within communities is c_in / (c_in + c_out) = 1/2 + lambda / (2 sqrt d); 5000 edges: +- 0.01
    strength = (4.25 / 5) ** 0.5
    assert abs(agreement(0.0) - 0.5) < 0.03
    assert abs(agreement(1.0) - (0.5 + strength / 2)) < 0.03
    assert abs(agreement(-1.0) - (0.5 - strength / 2)) < 0.03
    assert feature_signal(0.0) > 0.2 and abs(feature_signal(1.0)) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_the_features_of_csbm_alone_tell_the_communities_above_the_threshold_only(seed):
    def spectral_accuracy(excess):
        graph = data.load("csbm", angle=0.0, num_nodes=4000, num_features=800, excess=excess, seed=seed).train[0]
        leading = torch.linalg.svd(graph.x.double(), full_matrices=False).U[:, 0]
        accuracy = float(((leading > 0) == (graph.y == 1)).double().mean())
        return max(accuracy, 1 - accuracy)  # a singular vector has no sign

    assert spectral_accuracy(-0.9) < 0.55  # chance is 0.5 +- 0.008; seen: 0.504 to 0.510
    assert spectral_accuracy(3.25) > 0.7  # for large N, 0.78: the squared overlap is 0.37; seen: 0.770 to 0.784


def test_csbm_has_the_degree_and_strengths_it_is_asked_for():
    dataset = data.load("csbm", angle=0.3, num_nodes=3000, num_features=600, degree=8, excess=1.0)
    assert abs(dataset.train[0].num_edges / 3000 - 8) < 0.4
    info = dataset.info
    assert abs(info["lambda"] ** 2 + info["mu"] ** 2 / (3000 / 600) - 2.0) < 1e-12
    assert abs(float(dataset.train[0].y.double().mean()) - 0.5) < 1e-12


@pytest.mark.parametrize(
    "name, options, says",
    [
        ("digits", {"neighbours": 0}, "1 to 1796, got 0"),
        ("digits", {"train_per_class": 150, "val_per_class": 30}, "nodes: 150 for training"),
        ("digits", {"train_per_class": 0}, "at least 1"),
        ("csbm", {"angle": 1.5}, r"\[-1, 1\], got 1.5"),
        ("csbm", {"num_nodes": 21}, "got 21"),
        ("csbm", {"degree": 2.0, "angle": 1.0}, "lambda\\^2 = 4.25"),
        ("csbm", {"train_share": 0.6, "val_share": 0.5}, "got 0.6, 0.5"),
        ("csbm", {"excess": -2.0}, "got -2.0"),
        ("csbm", {"excess": float("nan")}, "got nan"),
        ("csbm", {"num_nodes": 100.0}, "num_nodes must be a whole number, got 100.0 of type float"),
        ("csbm", {"num_nodes": True}, "num_nodes must be a whole number, got True of type bool"),
        ("csbm", {"angle": "abc"}, "angle must be a number, got 'abc' of type str"),
        ("csbm", {"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ("csbm", {"seed": None}, "seed must be a whole number, got None"),
        ("source_localisation", {"graph_seed": -1}, "graph_seed must be a whole number of at least 0, got -1"),
        ("source_localisation", {"graph_seed": 0.5}, "graph_seed must be a whole number, got 0.5"),
        ("source_localisation", {"graph": 3}, "graph must be text, got 3"),
        ("cora", {"verify": "no"}, "verify must be True or False, got 'no'"),
    ],
)
def test_an_option_out_of_range_is_named(name, options, says):
    with pytest.raises(ConfigError, match=says):
        data.load(name, **options)
