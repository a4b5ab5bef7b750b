"""Pieces of graphs: what is in them is in the graph, by the right ids, and the same on any threads and workers."""

import warnings

import pytest
import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import NegativeSampling, NodeSamplerInput

from edgenet import ops
from edgenet.errors import BackendError, ConfigError, EdgeIndexError, ShapeError
from edgenet.sampling import LinkNeighborLoader, NeighborLoader, NeighborSampler


def random_data(nodes=60, edges=300, seed=0, **fields):
    """A multigraph with loops, repeated edges, and nodes without any."""
    draw = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(0, nodes - 3, (2, edges), generator=draw)
    edge_index[:, :5] = edge_index[:, 5:10]
    return Data(x=torch.randn(nodes, 4, generator=draw), edge_index=edge_index, num_nodes=nodes, **fields)


def check_ids(data, batch):
    """Nodes and edges of a batch are those of the graph that their ids name."""
    ends = data.edge_index[:, batch.e_id]
    assert torch.equal(batch.n_id[batch.edge_index], ends)
    assert torch.equal(batch.x, data.x[batch.n_id])


def sample(data, fan_out, seeds, **options):
    return NeighborSampler(data, fan_out, **options).sample_from_nodes(NodeSamplerInput(None, torch.tensor(seeds)))


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("disjoint", [False, True])
def test_batches_hold_what_their_ids_name(replace, disjoint):
    data = random_data()
    for batch in NeighborLoader(data, [4, 3, 2], batch_size=7, replace=replace, disjoint=disjoint, shuffle=True):
        check_ids(data, batch)
        assert sum(batch.num_sampled_nodes) == batch.num_nodes and sum(batch.num_sampled_edges) == batch.num_edges
        first, edges_before = 0, 0
        for hop, (nodes, edges) in enumerate(zip(batch.num_sampled_nodes, batch.num_sampled_edges, strict=False)):
            target = batch.edge_index[1, edges_before : edges_before + edges]
            assert ((target >= first) & (target < first + nodes)).all()  # every hop enters the nodes of the one before
            wanted = (data.edge_index[1].bincount(minlength=60))[batch.n_id[first : first + nodes]]
            most = (4, 3, 2)[hop]
            drawn = torch.bincount(target - first, minlength=nodes)
            assert torch.equal(drawn, torch.where(wanted > 0, most, 0) if replace else wanted.clamp_max(most))
            first, edges_before = first + nodes, edges_before + edges
        if not replace:
            assert len((batch.e_id * batch.num_nodes + batch.edge_index[1]).unique()) == batch.num_edges
        if disjoint:
            assert torch.equal(batch.batch[batch.edge_index[0]], batch.batch[batch.edge_index[1]])
            assert batch.batch[: batch.batch_size].tolist() == list(range(batch.batch_size))


def test_all_neighbours_are_the_in_edges_of_what_is_reached():
    data = random_data()
    found = sample(data, [-1, -1], [3, 11])
    inside, edges = {3, 11}, set()
    for _ in range(2):
        new = {e for e, t in enumerate(data.edge_index[1].tolist()) if t in inside}
        edges |= new
        inside |= set(data.edge_index[0, list(new)].tolist())
    assert set(found.node.tolist()) == inside and set(found.edge.tolist()) == edges


def test_induced_pieces_have_every_edge_between_their_nodes():
    data = random_data()
    found = sample(data, [3, 3], [3, 11], subgraph_type="induced")
    inside = torch.zeros(60, dtype=torch.bool).index_fill_(0, found.node, True)
    assert torch.equal(found.edge.sort().values, inside[data.edge_index].all(0).nonzero().squeeze(1))
    assert torch.equal(torch.stack([found.node[found.row], found.node[found.col]]), data.edge_index[:, found.edge])


def test_bidirectional_pieces_have_the_edges_that_lead_back_with_ids_of_their_own():
    both = random_data().edge_index
    both = torch.cat([both, both.flip(0)], 1)
    data = Data(x=torch.randn(60, 4), edge_index=both)
    drawn, found = (sample(data, [2, 2], [3, 11], subgraph_type=kind) for kind in ("directional", "bidirectional"))
    ends = data.edge_index[:, drawn.edge]
    pairs = {tuple(p) for p in ends.T.tolist()}
    wanted = {e for e, (s, t) in enumerate(both.T.tolist()) if (t, s) in pairs} | set(drawn.edge.tolist())
    assert set(found.edge.tolist()) == wanted and torch.equal(found.node, drawn.node)
    assert torch.equal(torch.stack([found.node[found.row], found.node[found.col]]), both[:, found.edge])


@pytest.mark.parametrize("on", ["node", "edge"])
@pytest.mark.parametrize("strategy", ["uniform", "last"])
def test_neighbours_in_time_are_not_from_the_future(on, strategy):
    data = random_data()
    data.time = torch.randint(0, 20, (60 if on == "node" else 300,), generator=torch.Generator().manual_seed(2))
    data.num_nodes = 60
    until = torch.randint(0, 20, (60,), generator=torch.Generator().manual_seed(3))
    loader = NeighborLoader(
        data, [2, 2], torch.arange(60), input_time=until, time_attr="time", temporal_strategy=strategy, batch_size=60
    )
    (batch,) = loader
    check_ids(data, batch)
    came = batch.time[batch.edge_index[0]] if on == "node" else batch.time
    assert (came <= until[batch.batch[batch.edge_index[1]]]).all() and batch.num_edges
    every = data.time[data.edge_index[0]] if on == "node" else data.time
    for seed in range(60):
        there = ((data.edge_index[1] == seed) & (every <= until[seed])).nonzero().squeeze(1)
        drawn = batch.e_id[(batch.edge_index[1] == seed).nonzero().squeeze(1)]
        assert len(drawn) == min(2, len(there))
        if strategy == "last":
            assert every[drawn].sort().values.tolist() == every[there].sort().values[-2:].tolist()


def test_weights_of_zero_are_never_drawn_and_large_ones_nearly_always():
    data = random_data()
    weight = torch.full((300,), 1e-6)
    weight[::2], weight[1::6] = 0, 1.0
    data.weight = weight
    for batch in NeighborLoader(data, [1], weight_attr="weight", batch_size=60):
        assert (batch.weight > 0).all()
        likely = torch.zeros(60).index_fill_(0, data.edge_index[1, weight == 1], 1).bool()
        assert torch.equal(batch.weight == 1, likely[batch.n_id[batch.edge_index[1]]])
    with pytest.raises(ShapeError, match="finite numbers of 0 or more, got -1"):
        data.weight = torch.full((300,), -1.0)
        NeighborSampler(data, [1], weight_attr="weight")


# ---------------------------------------------------------------- several types
def typed_data():
    draw = torch.Generator().manual_seed(1)
    data = HeteroData()
    for kind, count in (("author", 20), ("paper", 30), ("venue", 5)):
        data[kind].x = torch.randn(count, 3, generator=draw)
    for kind, sizes in (
        (("author", "writes", "paper"), (20, 30)),
        (("paper", "rev_writes", "author"), (30, 20)),
        (("paper", "cites", "paper"), (30, 30)),
        (("venue", "prints", "paper"), (5, 30)),
    ):
        data[kind].edge_index = torch.stack([torch.randint(0, n, (70,), generator=draw) for n in sizes])
    return data


@pytest.mark.parametrize("disjoint", [False, True])
def test_typed_batches_hold_what_their_ids_name(disjoint):
    data = typed_data()
    fan_out = {kind: [3, 2] for kind in data.edge_types} | {("venue", "prints", "paper"): [0, -1]}
    seen = 0
    for batch in NeighborLoader(data, fan_out, ("paper", torch.arange(30)), batch_size=4, disjoint=disjoint):
        for kind in data.edge_types:
            source, _, target = kind
            store = batch[kind]
            row, col = store.edge_index
            ends = torch.stack([batch[source].n_id[row], batch[target].n_id[col]])
            assert torch.equal(ends, data[kind].edge_index[:, store.e_id])
            assert sum(store.num_sampled_edges) == store.num_edges
            if disjoint:
                assert torch.equal(batch[source].batch[row], batch[target].batch[col])
        assert batch["venue"].num_sampled_nodes[1] == 0  # none at the first hop
        seen += batch["venue"].num_nodes
        assert batch["paper"].batch_size == len(batch["paper"].input_id)
    assert seen


def test_typed_pieces_of_all_neighbours_are_those_of_the_types_taken_as_one():
    """A HeteroData drawn whole has the edges of the same graph with all types' nodes in one numbering."""
    data = typed_data()
    found = NeighborSampler(data, [-1, -1]).sample_from_nodes(NodeSamplerInput(None, torch.tensor([2]), None, "paper"))
    joined = data.to_homogeneous()
    offset = 20  # of papers, after authors
    alone = sample(joined, [-1, -1], [2 + offset])
    for number, kind in enumerate(data.edge_types):
        own = alone.edge[joined.edge_type[alone.edge] == number]
        first = (joined.edge_type < number).sum()
        assert torch.equal(found.edge[kind].sort().values, (own - first).sort().values)


# ---------------------------------------------------------------- links
@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("negative", [None, NegativeSampling("binary", 2), NegativeSampling("triplet", 2)], ids=str)
def test_links_are_those_that_were_asked_for(negative, disjoint):
    data = random_data()
    links = data.edge_index[:, :40]
    loader = LinkNeighborLoader(data, [2, 2], links, neg_sampling=negative, disjoint=disjoint, batch_size=16)
    found = []
    for batch in loader:
        check_ids(data, batch)
        if negative is not None and negative.is_triplet():
            ends = batch.src_index, batch.dst_pos_index
            assert batch.dst_neg_index.shape == (len(batch.src_index), 2)
        else:
            count = len(batch.input_id)
            ends = batch.edge_label_index[:, :count]
            assert batch.edge_label_index.shape[1] == count * (1 if negative is None else 3)
        found.append(torch.stack([batch.n_id[end] for end in ends]))
    assert torch.equal(torch.cat(found, 1), links)


# ---------------------------------------------------------------- the same again
def batches_of(loader):
    return [(batch.n_id.tolist(), batch.e_id.tolist(), batch.edge_index.tolist()) for batch in loader]


@pytest.mark.parametrize("links", [False, True])
def test_batches_do_not_depend_on_workers_or_threads(links):
    data = random_data()
    found = []
    for workers, threads in ((0, 1), (2, 1), (0, 2)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            torch.manual_seed(4)
            options = {"batch_size": 20, "shuffle": True, "num_workers": workers}
            if links:
                loader = LinkNeighborLoader(
                    data, [2, 2], data.edge_index[:, :40], neg_sampling=NegativeSampling("binary"), **options
                )
            else:
                loader = NeighborLoader(data, [2, 2], torch.arange(40), **options)
            found.append([batches_of(loader) for _ in range(2)])
        finally:
            torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]
    assert found[0][0] != found[0][1]


def test_epochs_differ_without_shuffling_and_workers_that_stay_learn_of_it():
    """Torch itself draws more numbers an epoch for new workers than for those that stay."""
    data = random_data()
    for workers in (0, 1):
        torch.manual_seed(4)
        loader = NeighborLoader(data, [1, 1], batch_size=30, num_workers=workers, persistent_workers=workers > 0)
        first, second, third = (batches_of(loader) for _ in range(3))
        assert first != second != third


def test_the_reference_draws_the_same_pieces():
    data = random_data()
    found = []
    for backend in ops.available("spmm"):
        if backend in ("native", "reference"):
            with ops.use(backend):
                found.append(sample(data, [5, 40, 2], list(range(30)), disjoint=True))
    for other in found[1:]:
        assert torch.equal(found[0].edge, other.edge) and torch.equal(found[0].node, other.node)


def test_a_loader_of_pygs_takes_the_sampler():
    data = random_data()
    for batch in NodeLoader(data, NeighborSampler(data, [2], seed=3), torch.arange(10), batch_size=5):
        check_ids(data, batch)


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "options, message",
    [
        ({"subgraph_type": "all"}, "subgraph_type is one of"),
        ({"temporal_strategy": "first"}, "temporal_strategy is one of"),
        ({"time_attr": "t"}, "time_attr 't' is no field"),
        ({"weight_attr": "w"}, "weight_attr 'w' is no field"),
        ({"num_neighbors": [2.5]}, "whole numbers"),
        ({"num_neighbors": [-2]}, "whole numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        NeighborSampler(random_data(), options.pop("num_neighbors", [2]), **options)


def test_loaders_say_what_is_missing():
    data = random_data()
    with pytest.raises(BackendError, match="one of edgenet, pyg_lib"):
        NeighborLoader(data, [2], backend="dgl")
    with pytest.raises(ConfigError, match="induced"):
        NeighborLoader(data, [2], directed=False)
    with pytest.raises(ConfigError, match="samplers read a Data"):
        NeighborSampler(3, [2])
    with pytest.raises(EdgeIndexError, match="node 60"):
        sample(data, [2], [60])
    with pytest.raises(ConfigError, match="Missing number of neighbors"):
        NeighborSampler(typed_data(), {("author", "writes", "paper"): [2]})
    data.time = torch.arange(300)
    with pytest.raises(ConfigError, match="input_time"):
        next(iter(NeighborLoader(data, [2], time_attr="time")))


def test_pyg_lib_samples_where_it_is_asked_for(monkeypatch):
    """Its sampler gets the options; without it the choice is refused."""
    import torch_geometric.typing

    data = random_data()
    with pytest.raises(BackendError, match="cannot be imported"):
        NeighborLoader(data, [2], backend="pyg_lib")
    monkeypatch.setattr(torch_geometric.typing, "WITH_PYG_LIB", True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = NeighborLoader(data, [2], backend="pyg_lib", replace=True)
    assert type(loader.node_sampler).__module__.startswith("torch_geometric") and loader.node_sampler.replace
    monkeypatch.setattr("edgenet.sampling.loaders.native.library", lambda: None)
    assert type(NeighborLoader(data, [2]).node_sampler).__module__.startswith("torch_geometric")
