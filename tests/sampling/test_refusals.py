"""What samplers and loaders refuse, by name, before anything is drawn; and weights at the ends of their range."""

import pytest
import torch
from torch_geometric.data import Data

from edgenet import Graph, ops
from edgenet.errors import ConfigError, EdgeIndexError, ShapeError
from edgenet.ops import native
from edgenet.ops.kernels.sample_neighbors import sample_neighbors
from edgenet.sampling import ClusterLoader, NeighborLoader, SaintLoader, partition

EDGES = torch.tensor([[0, 1, 2, 2, 3, 3, 3, 1, 1], [1, 2, 0, 2, 1, 1, 0, 1, 3]])


def graph(**fields):
    return Data(x=torch.randn(5, 2), edge_index=EDGES, **fields)


def first(data, fan_out, seeds, **options):
    return next(iter(NeighborLoader(data, fan_out, seeds, batch_size=8, **options)))


@pytest.mark.parametrize("count", [2**40, 2**61, 2**62, 2**63, 2**64])
def test_draws_that_no_memory_holds_are_refused(count):
    begin, end = torch.arange(4), torch.arange(4) + 1
    with pytest.raises(ShapeError, match="too many"):  # 4 times 2^62 are 0 in 64 bits
        sample_neighbors(begin, end, count, True, 0)
    assert sample_neighbors(begin, end, count, False, 0)[1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize(("seed", "said"), [(-1, "node -1 is a seed"), (5, "node 5 is a seed")])
def test_seeds_that_are_no_nodes_are_named(seed, said, disjoint):
    with pytest.raises(EdgeIndexError, match=f"{said}.*0 to 4"):
        first(graph(), [2], torch.tensor([1, seed]), disjoint=disjoint)


def test_a_negative_seed_is_no_node_of_another_tree():
    with pytest.raises(EdgeIndexError, match="node -1 is a seed"):
        first(Data(x=torch.randn(5, 2), edge_index=EDGES[:, :0]), [2], torch.tensor([1, -1]), disjoint=True)


def test_seeds_are_whole_numbers():
    with pytest.raises(EdgeIndexError, match=r"whole numbers, got torch\.float"):
        first(graph(), [2], torch.tensor([1.5]))


@pytest.mark.parametrize("length", [2, 8])
def test_a_mask_of_seeds_is_of_all_nodes(length):
    with pytest.raises(ConfigError, match=rf"each of 5 nodes, got \({length},\)"):
        NeighborLoader(graph(), [2], torch.ones(length, dtype=torch.bool))


def test_times_are_no_nan():
    data = graph(time=torch.tensor([0, 1, torch.nan, 1, 2]))
    with pytest.raises(ShapeError, match="time is a real number, got NaN"):
        NeighborLoader(data, [2], time_attr="time")
    data.time = torch.tensor([0, 1, 1, 1, torch.nan])  # of a node that no edge leaves
    with pytest.raises(ConfigError, match="seed's time is NaN"):
        first(data, [2], torch.tensor([4]), time_attr="time")


def test_complex_weights_are_refused():
    with pytest.raises(ShapeError, match=r"real number, got torch\.complex"):
        NeighborLoader(graph(w=torch.ones(9, dtype=torch.complex64)), [2], weight_attr="w")


@pytest.mark.parametrize("backend", ["native", "reference"] if native.library() else ["reference"])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("size", [1e308, 1e-320])
def test_draws_by_equal_weights_are_uniform_however_large_or_small(size, replace, backend):
    edges = torch.stack([torch.arange(1, 101), torch.zeros(100, dtype=torch.long)])
    data = Data(x=torch.zeros(101, 1), edge_index=edges, w=torch.full((100,), size, dtype=torch.double))
    torch.manual_seed(0)
    with ops.use(backend):
        loader = NeighborLoader(data, [1], torch.tensor([0]), weight_attr="w", replace=replace)
        drawn = {int(next(iter(loader)).e_id) for _ in range(50)}
    assert len(drawn) > 25  # 39 of 100 on average


@pytest.mark.parametrize("options", [{"size": 2.5}, {"size": 2, "walk_length": 1.5}])
def test_random_subgraphs_have_whole_sizes(options):
    with pytest.raises(ConfigError, match="size >= 1"):
        SaintLoader(graph(), "walk", **options)


def test_random_subgraphs_want_an_edge_list():
    with pytest.raises(ConfigError, match="no edge_index"):
        SaintLoader(Data(x=torch.randn(5, 2)), "walk", size=2)


def test_adjacencies_of_torch_are_refused():
    data = Data(x=torch.randn(5, 2), adj_t=torch.eye(5).to_sparse_csr())
    with pytest.raises(ConfigError, match="give edge_index"):
        NeighborLoader(data, [2])


@pytest.mark.parametrize("parts", [[0, -1, 0, 0, 0], [0, 1.5, 0, 0, 0], [0, 1]])
def test_parts_that_are_none_are_refused(parts):
    with pytest.raises(ConfigError, match="one part for each of 5 nodes"):
        ClusterLoader(graph(), torch.tensor(parts))


def test_parts_may_have_any_numbers():
    loader = ClusterLoader(graph(), torch.tensor([0, 2**50, 0, 0, 9]))
    assert [batch.n_id.tolist() for batch in loader] == [[0, 2, 3], [4], [1]]


def test_a_graph_is_cut_into_a_whole_number_of_parts():
    with pytest.raises(ConfigError, match=r"got 2\.0"):
        partition(Graph(EDGES, 5), 2.0)
