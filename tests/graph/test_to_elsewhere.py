"""to_networkx, to_scipy: a graph as other packages have it, and back."""

import pytest
import torch

from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.testing.graphs import GRAPHS


@pytest.mark.parametrize("name", GRAPHS)
def test_networkx_has_every_edge_and_its_weight(name):
    graph, weights = GRAPHS[name], torch.rand(GRAPHS[name].num_edges)
    made = graph.to_networkx(weights)
    assert list(made.nodes) == list(range(graph.num_nodes))
    got = sorted((a, b, w) for a, b, w in made.edges(data="weight"))
    assert got == sorted(zip(graph.source.tolist(), graph.target.tolist(), weights.tolist(), strict=True))
    back, again = Graph.from_networkx(made)
    assert back.num_nodes == graph.num_nodes
    pairs = sorted(zip(*back.edge_index.tolist(), [] if again is None else again.tolist(), strict=True))
    assert pairs == got


@pytest.mark.parametrize("name", GRAPHS)
def test_scipy_multiplies_as_the_graph_walks(name):
    graph, weights = GRAPHS[name], torch.rand(GRAPHS[name].num_edges)
    x = torch.randn(graph.num_nodes, 2)
    want = torch.zeros_like(x).index_add(0, graph.target, weights.unsqueeze(1) * x[graph.source])
    torch.testing.assert_close(torch.as_tensor(graph.to_scipy(weights) @ x.numpy()), want)
    if graph.num_nodes:
        back, values = Graph.from_scipy(graph.to_scipy())
        assert int(values.sum()) == graph.num_edges and back.num_nodes == graph.num_nodes


def test_two_sets_of_nodes_stay_apart():
    graph = Graph(torch.tensor([[0, 2], [1, 1]]), 2, 3)
    made = graph.to_networkx(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "both")
    assert made.number_of_nodes() == 5 and made.nodes[("source", 2)] == {"bipartite": 0}
    assert next(iter(made.edges(data="both"))) == (("source", 0), ("target", 1), [1.0, 2.0])
    assert graph.to_scipy().shape == (2, 3)


def test_weights_that_do_not_fit_are_refused():
    graph = GRAPHS["path"]
    with pytest.raises(ShapeError, match=r"one row for each of 8 edges, got \(3,\)"):
        graph.to_networkx(torch.ones(3))
    with pytest.raises(ShapeError, match=r"one number an edge, got \(8, 2\)"):
        graph.to_scipy(torch.ones(8, 2))
    with pytest.raises(ShapeError, match="got list"):
        graph.to_scipy([1.0])
    assert graph.to_scipy(torch.ones(8, dtype=torch.bfloat16)).sum() == 8
