"""Neighbourhoods are those that powers of the adjacency matrix show, and are searched for once a graph."""

import numpy as np
import pytest
import torch
from oracles import matrix

import edgenet
from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.nn.graph_signal import neighbourhoods
from edgenet.testing import GRAPHS

graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def distances(graph: Graph, most: int) -> np.ndarray:
    """[i, j]: edges of the shortest walk from j to i; most + 1 where none is short enough."""
    n = graph.num_nodes
    step = matrix(graph, torch.ones(graph.num_edges)) + np.eye(n)
    reached, found = np.eye(n), np.where(np.eye(n) > 0, 0, most + 1)
    for hops in range(1, most + 1):
        reached = step @ reached
        found[(reached > 0) & (found > hops)] = hops
    return found


@graphs
@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_they_are_those_of_a_dense_search(graph, hops):
    near, wanted = neighbourhoods(graph, hops), distances(graph, hops)
    centre, node = np.nonzero(wanted <= hops)  # by centre, then by node
    assert near.centre.tolist() == centre.tolist() and near.node.tolist() == node.tolist()
    assert near.distance.tolist() == wanted[centre, node].tolist()
    assert near.size.tolist() == (wanted <= hops).sum(1).tolist() and near.num_nodes == graph.num_nodes


def test_those_of_some_centres_come_in_their_order():
    near = neighbourhoods(GRAPHS["directed"], 2)
    some = near.at(torch.tensor([7, 12, 0]))
    for place, centre in enumerate([7, 12, 0]):
        assert some.node[some.centre == place].tolist() == near.node[near.centre == centre].tolist()
        assert some.distance[some.centre == place].tolist() == near.distance[near.centre == centre].tolist()
    assert some.start.tolist() == [0, *some.size.cumsum(0).tolist()]
    assert some.centre.tolist() == sorted(some.centre.tolist())


def test_a_graph_remembers_them_until_its_edges_change():
    graph = Graph(GRAPHS["path"].edge_index.clone(), 5)
    first = neighbourhoods(graph, 2)
    assert neighbourhoods(graph, 2) is first and neighbourhoods(graph, 1) is neighbourhoods(graph, 1)
    with edgenet.kept(False):
        assert neighbourhoods(graph, 2) is not first
    graph.edge_index[:, -2:] = torch.tensor([[0, 4], [4, 0]])  # the end of the path now touches its beginning
    assert set(neighbourhoods(graph, 1).node[neighbourhoods(graph, 1).centre == 0].tolist()) == {0, 1, 4}


def test_two_sets_of_nodes_and_hops_below_zero_are_refused():
    with pytest.raises(ShapeError, match="one set of nodes, got 5 sources and 2 targets"):
        neighbourhoods(Graph(torch.tensor([[4, 0], [0, 1]]), num_nodes=2, num_sources=5), 1)
    with pytest.raises(ConfigError, match="hops=-1"):
        neighbourhoods(GRAPHS["path"], -1)
