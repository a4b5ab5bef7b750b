"""Batches that are parts of a graph, or random subgraphs: what is in them, and that their sums are fair."""

import pytest
import torch
from torch_geometric.data import Data, HeteroData

from edgenet import Graph, NodeClassifier
from edgenet.errors import ConfigError
from edgenet.sampling import ClusterLoader, SaintLoader, partition

from sampling.test_neighbors import batches_of, check_ids, random_data  # isort: skip


def blocks(count=6, size=20, seed=0):
    """Cliques in a ring, each joined to the next by one edge, with shuffled nodes."""
    number = torch.arange(count * size)
    inside = torch.combinations(torch.arange(size)).T
    edges = torch.cat([inside + size * b for b in range(count)], 1)
    edges = torch.cat([edges, torch.stack([number[::size], (number[::size] + size) % len(number)])], 1)
    order = torch.randperm(len(number), generator=torch.Generator().manual_seed(seed))
    return order[edges]


@pytest.mark.parametrize("parts", [1, 2, 7, 60])
@pytest.mark.parametrize("seed", [0, 1])
def test_parts_are_of_nearly_equal_size_and_the_same_by_seed(parts, seed):
    data = random_data()
    graph = Graph(data.edge_index, 60)
    part = partition(graph, parts, seed)
    sizes = torch.bincount(part, minlength=parts)
    assert part.shape == (60,) and part.min() >= 0 and len(sizes) == parts
    assert sizes.max() <= max(-(-60 // parts), int(60 * 1.05 / parts))
    assert torch.equal(part, partition(graph, parts, seed))


def test_few_edges_leave_their_part():
    """Six cliques in a ring: parts of random nodes cut five edges of six, these a tenth."""
    edges = blocks()
    part = partition(Graph(edges, 120), 6)
    cut = float((part[edges[0]] != part[edges[1]]).double().mean())
    assert cut < 0.1


@pytest.mark.parametrize("graph", [Graph(torch.empty(2, 0, dtype=torch.long), 9), Graph(torch.tensor([[0], [0]]), 9)])
def test_nodes_without_edges_have_parts(graph):
    assert torch.bincount(partition(graph, 4), minlength=4).max() <= 3


def test_parts_that_cannot_be_are_refused():
    graph = Graph(random_data().edge_index, 60)
    for parts in (0, 61):
        with pytest.raises(ConfigError, match="1 to 60 parts"):
            partition(graph, parts)
    with pytest.raises(ConfigError, match="one part for each of 60 nodes"):
        ClusterLoader(random_data(), torch.zeros(59, dtype=torch.long))
    with pytest.raises(ConfigError, match="one PyG Data"):
        ClusterLoader(HeteroData(), 2)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_parts_have_every_node_once_and_all_edges_between_theirs(workers):
    data, seen = random_data(), []
    loader = ClusterLoader(data, 7, batch_size=3, shuffle=True, num_workers=workers)
    for batch in loader:
        check_ids(data, batch)
        inside = torch.zeros(60, dtype=torch.bool).index_fill_(0, batch.n_id, True)
        assert torch.equal(batch.e_id.sort().values, inside[data.edge_index].all(0).nonzero().squeeze(1))
        seen += batch.n_id.tolist()
    assert sorted(seen) == list(range(60)) and len(loader) == 3


def test_tables_find_their_rows_in_parts():
    data = random_data()
    model = NodeClassifier(4, 3, layer="edge_varying", hidden_channels=5, dropout=0).bind(data.edge_index, 60)
    for batch in ClusterLoader(data, 3):
        wanted = model(data.x, data.edge_index[:, batch.e_id])[batch.n_id]
        torch.testing.assert_close(model(batch.x, batch.edge_index, n_id=batch.n_id, e_id=batch.e_id), wanted)


# ---------------------------------------------------------------- random subgraphs
@pytest.mark.parametrize("kind", ["node", "edge", "walk"])
def test_subgraphs_are_induced_and_do_not_depend_on_workers(kind):
    data, found = random_data(), []
    for workers in (0, 2):
        torch.manual_seed(1)
        loader = SaintLoader(data, kind, 8, steps=4, num_workers=workers, coverage=2)
        batches = list(loader)
        for batch in batches:
            check_ids(data, batch)
            inside = torch.zeros(60, dtype=torch.bool).index_fill_(0, batch.n_id, True)
            assert torch.equal(batch.e_id.sort().values, inside[data.edge_index].all(0).nonzero().squeeze(1))
        found.append(batches_of(batches))
        assert found[-1] != batches_of(loader)
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["node", "edge", "walk"])
def test_norms_make_sums_over_subgraphs_those_of_the_graph(kind):
    """Over the subgraphs that the chances were counted by, exactly: the mean loss, and what every node sums up in those
    that it is in."""
    data = random_data()
    data.value = torch.rand(60)
    loader = SaintLoader(data, kind, 12, coverage=40)
    drawn, steps = 0, 0
    loss, total, count = torch.zeros(()), torch.zeros(60), torch.zeros(60)
    met = torch.zeros(300, dtype=torch.bool)
    while drawn < 40 * 60:
        batch = loader.subgraph(loader.sampler_of_nodes.draw(steps))
        source, target = batch.edge_index
        loss += (loader.node_norm[batch.n_id] * batch.value).sum()
        total.index_add_(0, batch.n_id[target], loader.edge_norm[batch.e_id] * batch.value[source])
        count[batch.n_id] += 1
        met[batch.e_id] = True
        drawn, steps = drawn + batch.num_nodes, steps + 1
    assert met.double().mean() > 0.5 and count.max() > 20
    torch.testing.assert_close(loss / steps, data.value[count > 0].sum() / 60)
    wanted = torch.zeros(60).index_add_(0, data.edge_index[1, met], data.value[data.edge_index[0, met]])
    torch.testing.assert_close(total[count > 0] / count[count > 0], wanted[count > 0])


def test_drawing_follows_the_papers_chances():
    """One node a time, by sum over edges v -> u of 1 / deg(u)^2; one edge a time, by 1 / deg(u) + 1 / deg(v)."""
    edges = torch.tensor([[0, 0, 1, 2, 2], [1, 2, 2, 0, 1]])
    data = Data(edge_index=edges, num_nodes=4)
    degree = torch.bincount(edges[1], minlength=4).double()
    chance = torch.zeros(4).index_add_(0, edges[0], degree[edges[1]] ** -2)
    loader = SaintLoader(data, "node", 1, coverage=0)
    drawn = torch.cat([loader.sampler_of_nodes.draw(step) for step in range(3000)]).bincount(minlength=4) / 3000
    torch.testing.assert_close(drawn, chance / chance.sum(), atol=0.036, rtol=0)  # 4 standard deviations
    loader = SaintLoader(data, "edge", 1, coverage=0)
    pairs = torch.zeros(4, 4)
    for step in range(3000):
        pairs[tuple(loader.sampler_of_nodes.draw(step).tolist())] += 1 / 3000
    wanted, by = torch.zeros(4, 4), 1 / degree[edges[0]] + 1 / degree[edges[1]]
    for (a, b), weight in zip(edges.T.tolist(), by.tolist(), strict=True):
        wanted[min(a, b), max(a, b)] += weight / float(by.sum())
    torch.testing.assert_close(pairs, wanted, atol=0.036, rtol=0)  # likewise


def test_subgraphs_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="one of node, edge, walk"):
        SaintLoader(random_data(), "tree", 3)
    with pytest.raises(ConfigError, match="there are none"):
        SaintLoader(Data(edge_index=torch.empty(2, 0, dtype=torch.long), num_nodes=3), "edge", 3)
    with pytest.raises(ConfigError, match="steps >= 1"):
        SaintLoader(random_data(), "walk", 3, steps=0)
