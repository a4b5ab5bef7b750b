"""What tables keep beside their numbers to find the rows of a graph's edges."""

import pytest
import torch

from edgenet import EdgeNetConv, Graph
from edgenet.nn.specializations import edge_varying

NODES, EDGES = 200, 2000


def random_edges(loops=0):
    draw = torch.Generator().manual_seed(0)
    target = torch.randint(0, NODES, (EDGES,), generator=draw)
    source = (target + torch.randint(1, NODES, (EDGES,), generator=draw)) % NODES
    source[:loops] = target[:loops]
    return torch.stack([source, target])


def kept_bytes(layers, graph):
    """Bytes of all tensors beside the parameters: those of the layers, and rows that the graph remembers."""
    tensors = [t for layer in layers for t in layer.buffers()]
    for key, value in graph._memo.items():
        if isinstance(key, tuple) and key[0] in ("edge rows", "node rows"):
            tensors += [t for t in value if isinstance(t, torch.Tensor)]
    return sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors}.values())


@pytest.mark.parametrize("loops", [0, 20])
def test_tables_by_edge_id_keep_nothing_for_every_edge(loops):
    graph, x = Graph(random_edges(loops), NODES), torch.randn(NODES, 3)
    layers = [EdgeNetConv(3, 4, order=2, phi="edge_varying", share="edge_id").bind(graph) for _ in range(3)]
    found = [layer(x, graph) for layer in layers]
    assert kept_bytes(layers, graph) <= 32 * len(layers) + 8 * loops * len(layers)
    for layer, y in zip(layers, found, strict=True):
        table = layer.phi.edge_table.weight
        weight = torch.where((graph.source == graph.target).unsqueeze(1), 0, table)
        torch.testing.assert_close(layer.phi(x, x.unsqueeze(1), graph), weight.T.unsqueeze(-1))
        shuffled = torch.randperm(EDGES)
        torch.testing.assert_close(layer(x, graph.edge_index[:, shuffled], e_id=shuffled, n_id=torch.arange(NODES)), y)


def test_tables_by_the_ends_of_edges_share_eight_bytes_an_edge():
    """The sources of the sorted pairs, and the pair of every edge; both int32 and one for all tables of the graph."""
    graph, x = Graph(random_edges(), NODES), torch.randn(NODES, 3)
    layers = [EdgeNetConv(3, 4, phi="edge_varying").bind(graph) for _ in range(3)]
    for layer in layers:
        layer(x, graph)
    assert kept_bytes(layers, graph) <= 8 * EDGES + 4 * (NODES + 1) + 8 * len(layers)


def test_gradients_of_whole_tables_are_those_of_rows_looked_up():
    edges, x = random_edges(20), torch.randn(NODES, 3)
    layer = EdgeNetConv(3, 4, order=2, phi="edge_varying", share="edge_id").bind(edges, NODES)
    parameters = list(layer.parameters())
    whole = torch.autograd.grad(layer(x, edges).pow(2).sum(), parameters)
    ids = {"n_id": torch.arange(NODES), "e_id": torch.arange(EDGES)}
    order = torch.randperm(EDGES)
    ids["e_id"] = ids["e_id"][order]
    found = torch.autograd.grad(layer(x, edges[:, order], **ids).pow(2).sum(), parameters)
    torch.testing.assert_close(found, whole)
    assert (whole[1][:20] == 0).all() or (whole[2][:20] == 0).all()  # loops are the diagonal's


@pytest.mark.parametrize("options", [{}, {"bank": "mimo"}, {"bank": "heads", "heads": 2}])
def test_the_edge_varying_layer_takes_edge_ids(options):
    edges, x = random_edges(), torch.randn(NODES, 3)
    layer = edge_varying(3, 2, share="edge_id", **options).bind(edges, NODES)
    order = torch.randperm(EDGES)
    torch.testing.assert_close(layer(x, edges[:, order], e_id=order, n_id=torch.arange(NODES)), layer(x, edges))
