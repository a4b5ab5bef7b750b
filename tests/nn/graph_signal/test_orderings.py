"""Orderings of nodes: by degree, by spectral proxies, by designed sampling."""

import numpy as np
import pytest
import torch

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.nn.graph_signal import ORDERINGS, as_numbered, by_degree, designed_sampling, spectral_proxies
from edgenet.testing import GRAPHS

graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def greedy(shift, power):
    """Anis, Gadde, Ortega 2016, algorithm 1, with the smallest eigenvector by scipy's general solver."""
    from scipy.linalg import eig

    proxy = np.linalg.matrix_power(shift.T, power) @ np.linalg.matrix_power(shift, power)
    chosen = []
    for _ in range(len(shift)):
        left = np.setdiff1d(np.arange(len(shift)), chosen)
        values, vectors = eig(proxy[left][:, left])
        chosen.append(int(left[np.abs(vectors[:, values.real.argmin()]).argmax()]))
    return chosen


def well_apart(nodes=9):
    """A weighed graph without symmetries, so that no two scores are the same."""
    generator = np.random.default_rng(3)
    dense = np.triu(generator.random((nodes, nodes)) * (generator.random((nodes, nodes)) < 0.5), 1)
    dense = dense + dense.T
    target, source = np.nonzero(dense)
    return Graph(torch.tensor(np.stack([source, target])), nodes), torch.tensor(dense[target, source]), dense


@graphs
@pytest.mark.parametrize("name", ORDERINGS)
def test_every_node_comes_once_in_any_graph(name, graph):
    order = ORDERINGS[name](graph)
    assert sorted(order.tolist()) == list(range(graph.num_nodes)) and order.dtype == torch.long


def test_the_degree_counts_the_weights_that_enter():
    graph, weight, dense = well_apart()
    assert by_degree(graph, weight).tolist() == np.argsort(-dense.sum(1)).tolist()
    assert by_degree(GRAPHS["star"]).tolist() == list(range(7))  # equal ones keep their order
    assert as_numbered(graph).tolist() == list(range(9))


@pytest.mark.parametrize("power", [1, 2])
def test_spectral_proxies_are_those_of_the_algorithm(power):
    graph, weight, dense = well_apart()
    assert spectral_proxies(graph, weight, power).tolist() == greedy(dense, power)
    assert spectral_proxies(graph, 1000 * weight, power).tolist() == greedy(dense, power)


def test_designed_sampling_scores_by_the_largest_entry_of_an_eigenvector():
    graph, weight, dense = well_apart()
    _, vectors = np.linalg.eig(dense)
    assert designed_sampling(graph, weight).tolist() == np.argsort(-np.abs(vectors).max(1)).tolist()


def test_wrong_graphs_and_options_are_refused():
    with pytest.raises(ConfigError, match="power of spectral proxies is 1 or more, got 0"):
        spectral_proxies(GRAPHS["path"], power=0)
    weight = torch.ones(8)
    weight[3] = torch.nan
    for ordering in (spectral_proxies, designed_sampling):
        with pytest.raises(ShapeError, match="finite edge weights"):
            ordering(GRAPHS["path"], weight)
        with pytest.raises(ShapeError, match="one set of nodes, got 5 sources and 2 targets"):
            ordering(Graph(torch.tensor([[4], [0]]), num_nodes=2, num_sources=5))
        with pytest.raises(ShapeError, match="one weight for each of 8 edges"):
            ordering(GRAPHS["path"], weight[:3])
