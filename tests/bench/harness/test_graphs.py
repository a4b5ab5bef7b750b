"""The graphs that speed is measured on."""

import numpy as np
import pytest
import torch

from edgenet.bench.harness import graphs
from edgenet.errors import ConfigError


@pytest.mark.parametrize("size", [graphs.Size(50, 1_500, 49), graphs.Size(2_000, 9_000, 150, seed=3)], ids=str)
def test_a_power_law_graph_has_its_size_and_is_sorted_without_loops_and_repeats(size):
    source, target = edges = graphs.power_law(size)
    assert edges.shape == (2, size.edges) and edges.dtype == np.int64
    assert edges.min() >= 0 and edges.max() < size.nodes and (source != target).all()
    assert (np.diff(target * size.nodes + source) > 0).all()
    assert (graphs.power_law(size) == edges).all()
    assert (graphs.power_law(graphs.Size(size.nodes, size.edges, size.largest_degree, seed=9)) != edges).any()


def test_degrees_follow_a_power_law_up_to_about_the_largest():
    degree = np.bincount(graphs.power_law(graphs.Size(20_000, 200_000, 1_000))[1], minlength=20_000)
    assert 800 < degree.max() < 1_600 and np.median(degree) < 6 < 10 == degree.mean()


def test_shuffled_edges_are_the_same_edges():
    edges, shuffled = (graphs.sample("ppi", shuffle=shuffle).edge_index for shuffle in (False, True))
    n = graphs.GRAPHS["ppi"].nodes
    key, other = (e[1] * n + e[0] for e in (edges, shuffled))
    assert not key.equal(other) and key.equal(other.sort().values)


def test_cora_is_the_real_graph_where_its_files_are(data_root):
    found = graphs.sample("cora", data_root)
    size = graphs.GRAPHS["cora"]
    assert not found.made and found.x.shape == (size.nodes, 1433) and int(found.train_mask.sum()) == 140
    assert found.facts() == {"nodes": size.nodes, "edges": size.edges, "made": False}
    source, target = found.edge_index
    assert bool((torch.diff(target * size.nodes + source) > 0).all()) and bool((source != target).all())


def test_without_its_files_a_graph_of_coras_size_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = graphs.sample("cora", tmp_path)
    assert found.facts() == {"nodes": 2708, "edges": 10556, "made": True} and found.x is None


def test_an_unknown_graph_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match="no graph is called 'reddit'; there are cora, ppi"):
        graphs.sample("reddit")


def test_more_edges_than_pairs_of_nodes_raise():
    with pytest.raises(ConfigError, match="3 nodes have 6 pairs, so not 7 edges"):
        graphs.power_law(graphs.Size(3, 7, 2))
