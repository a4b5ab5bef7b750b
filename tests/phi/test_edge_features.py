"""Matrices and signals that edges are given by their features and types: against loops over edges, and in memory."""

import subprocess
import sys
import textwrap

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

from edgenet import EdgeNetConv, to_edgenet
from edgenet.compress import compress_
from edgenet.errors import ConfigError, PlanError, ShapeError, SupportError
from edgenet.graph import Graph
from edgenet.graph.typed import apart, from_edges
from edgenet.phi import EdgeAdded, EdgeNetwork, EdgeTyped
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
N, E = GRAPH.num_nodes, GRAPH.num_edges


def drawn(conv):
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.normal_()
    return conv


def summed(x, matrices):
    """Every edge multiplies its sender's signal by a matrix of its own."""
    y = x.new_zeros(N, matrices.shape[1])
    for e, (j, i) in enumerate(GRAPH.edge_index.t().tolist()):
        y[i] += matrices[e] @ x[j]
    return y


WIDTHS = pytest.mark.parametrize("widths", [(3, 5), (5, 3)], ids=["wider", "narrower"])


@WIDTHS
def test_a_network_makes_a_matrix_on_every_edge(widths):
    conv = drawn(EdgeNetConv(*widths, phi="edge_network", rank=4, edge_dim=2))
    x, attr = torch.randn(N, widths[0]), torch.randn(E, 2)
    phi, factors = conv.phi, conv.phi.network(attr)
    matrices = phi.maps[0].matrices()  # (R + 1, F_out, F_in)
    dense = torch.einsum("er,rfg->efg", factors, matrices[:4]) + matrices[4]
    torch.testing.assert_close(conv(x, GRAPH, attr), summed(x, dense) + conv.bias)
    weight = torch.rand(E)
    torch.testing.assert_close(
        conv(x, GRAPH, edge_attr=attr, edge_weight=weight), summed(x, weight[:, None, None] * dense) + conv.bias
    )


@WIDTHS
@pytest.mark.parametrize("bases", [None, 2])
def test_a_type_has_a_matrix(widths, bases):
    conv, x = EdgeNetConv(*widths, phi="edge_typed", num_types=3, bases=bases, residual=True), torch.randn(N, widths[0])
    drawn(conv)
    kind = torch.randint(3, (E,))
    matrices = conv.phi.maps[0].matrices()
    if bases:
        matrices = torch.einsum("rb,bfg->rfg", conv.phi.coefficients.to_dense(), matrices)
    pairs = list(zip(GRAPH.target.tolist(), kind.tolist(), strict=True))
    mean = torch.tensor([1 / pairs.count(pair) for pair in pairs])
    want = summed(x, matrices[kind] * mean[:, None, None]) + conv.bias + conv.root(x)
    torch.testing.assert_close(conv(x, GRAPH, kind), want)
    other = (kind + 1) % 3  # on the same graph, which keeps what it sorted
    assert not torch.allclose(conv(x, GRAPH, other), want)
    kind.copy_(other)
    torch.testing.assert_close(conv(x, GRAPH, kind), conv(x, GRAPH, other))


def test_features_are_added_and_rectified_before_the_sum():
    conv, x, attr = drawn(EdgeNetConv(3, 4, 2, 2, phi="edge_added", edge_dim=2)), torch.randn(N, 3), torch.randn(E, 2)
    signals, added = [conv.lift(x)], conv.phi.lift_edge(attr).view(E, 2, 4)
    for _ in range(2):
        z = torch.zeros(N, 2, 4)
        for e, (j, i) in enumerate(GRAPH.edge_index.t().tolist()):
            z[i] += (signals[-1][j] + added[e]).relu()
        signals.append(z)
    torch.testing.assert_close(conv(x, GRAPH, attr), sum(signals).flatten(1) + conv.bias)
    batch = torch.randn(3, N, 3)
    torch.testing.assert_close(conv(batch, GRAPH, attr)[1], conv(batch[1], GRAPH, attr))


def test_a_transformer_adds_features_to_keys_and_to_what_is_carried():
    conv = drawn(EdgeNetConv(3, 4, 1, 2, phi="dot_product", edge_dim=2, add_self_loops=False, bias=False))
    x, attr, phi = torch.randn(N, 3), torch.randn(E, 2), conv.phi
    value, key, query = (part(x).view(N, 2, 4) for part in (conv.lift.linear, phi.key, phi.query))
    term = phi.lift_edge(attr).view(E, 2, 4)
    score = (query[GRAPH.target] * (key[GRAPH.source] + term)).sum(-1) / 2
    y = torch.zeros(N, 2, 4)
    for i in range(N):
        into = (GRAPH.target == i).nonzero().squeeze(1)
        alpha = score[into].softmax(0)
        y[i] = (alpha.unsqueeze(-1) * (value[GRAPH.source[into]] + term[into])).sum(0)
    torch.testing.assert_close(conv(x, GRAPH, attr), y.flatten(1))
    smaller = EdgeNetConv(3, 4, 1, 2, phi="dot_product", edge_dim=2)
    smaller.phi.keep_(1, [1])
    assert smaller.phi.lift_edge.weight.shape == (4, 2)


def test_what_is_learned_of_types_is_forgotten_with_the_edges():
    edges = torch.tensor([[0, 1], [1, 2]])
    graph, kind = Graph(edges, 3), torch.tensor([1, 0])
    first = apart(graph, kind, 2, "target")
    assert first.edge_index.tolist() == [[0, 1], [3, 4]] and first.num_nodes == 6
    assert apart(graph, kind.clone(), 2, "target") is first
    assert apart(graph, 1 - kind, 2, "target").target.tolist() == [2, 5]
    assert apart(graph, kind, 2, "source").source.tolist() == [1, 2]
    edges[1, 0] = 2
    assert apart(graph, kind, 2, "target").target.tolist() == [5, 4]
    assert from_edges(graph).edge_index.tolist() == [[0, 1], [2, 2]]


def test_matrices_are_slots():
    conv = drawn(EdgeNetConv(8, 8, phi="edge_typed", num_types=4))
    compress_(conv, {r"phi\.maps\.0\.table": {"structure": "low_rank", "rank": 2}})
    x, kind = torch.randn(N, 8), torch.randint(4, (E,))
    matrices = conv.phi.maps[0].matrices()
    pairs = list(zip(GRAPH.target.tolist(), kind.tolist(), strict=True))
    mean = torch.tensor([1 / pairs.count(pair) for pair in pairs])
    torch.testing.assert_close(conv(x, GRAPH, kind), summed(x, matrices[kind] * mean[:, None, None]) + conv.bias)
    made = EdgeNetConv(8, 8, phi="edge_network", structure={"structure": "low_rank", "rank": 1})
    assert made.phi.maps[0].table.rank == 1


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: EdgeNetConv(-1, 4, phi="edge_typed", num_types=2), "1 at least, known beforehand"),
        (lambda: EdgeNetConv(3, 4, phi="edge_network", rank=0), "rank of 1 at least"),
        (lambda: EdgeNetConv(3, 4, phi="edge_typed", num_types=2, normalize="sym"), "got 'sym'"),
        (lambda: EdgeNetConv(3, 4, phi="edge_network", self_tap=True), "residual=True adds a map"),
        (lambda: EdgeNetConv(3, 4, phi=EdgeTyped(1, 3, 5, 2)), "from 3 to 5 channels"),
        (lambda: EdgeNetConv(3, 4, heads=2, phi="edge_typed"), "have no heads"),
        (lambda: EdgeAdded(channels=-1, edge_dim=2), "channels of 1 at least"),
        (lambda: EdgeNetConv(3, 4, phi="edge_added", edge_dim=2)(torch.ones(N, 3), GRAPH, torch.ones(E - 1, 2)),
         "one row for each of 47 edges"),
        (lambda: EdgeNetConv(3, 4, phi="edge_added", edge_dim=2)(torch.ones(N, 3), GRAPH, torch.ones(E, 3)),
         r"edge_dim=2 features, got \(47, 3\)"),
        (lambda: EdgeNetConv(3, 4, phi="edge_typed", num_types=2)(torch.ones(N, 3), GRAPH), "edge features and none"),
        (lambda: EdgeNetConv(3, 4, phi="edge_typed", num_types=2)(torch.ones(N, 3), GRAPH, torch.ones(E)), "integer"),
        (lambda: EdgeNetConv(3, 4, phi="edge_typed")(torch.ones(N, 3), GRAPH, torch.full((E,), 7)), "edge type 7"),
        (lambda: EdgeNetConv(3, 4, phi=EdgeNetwork(1, 3, 4, 2, network=nn.Linear(2, 3)))(
            torch.ones(N, 3), GRAPH, torch.ones(E, 2)), r"gives \(47, 3\) numbers.* want \(47, 2\)"),
        (lambda: EdgeNetConv(3, 4, phi=EdgeAdded(edge_dim=None, channels=-1))(
            torch.ones(N, 3), GRAPH, torch.ones(E, 3)), "set edge_dim to lift them"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(make, says):
    with pytest.raises((ShapeError, SupportError, ConfigError, PlanError), match=says):
        make()


PROBE = """
    import sys, torch
    import torch_geometric.nn as pyg
    from edgenet import to_edgenet
    from edgenet.bench.harness.peak import high_water, settled
    torch.manual_seed(0)
    layer = pyg.NNConv(64, 64, torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4096)))
    layer = to_edgenet(layer) if sys.argv[1] == "ours" else layer
    edges, x, attr = torch.randint(500, (2, 8000)), torch.randn(500, 64), torch.randn(8000, 4)
    layer(x[:9], edges[:, :9] % 9, attr[:9]).sum().backward()  # what is loaded at the first step does not count
    before = settled()
    layer(x, edges, attr).sum().backward()
    print(high_water() - before)
"""


@pytest.mark.slow
def test_matrices_on_edges_are_never_made():
    """A step of NNConv, 64 to 64 channels, on 8,000 edges: PyG's makes 8,000 x 64 x 64 numbers of 4 bytes, 125 MiB."""
    used = {}
    for who in ("ours", "theirs"):
        command = [sys.executable, "-c", textwrap.dedent(PROBE), who]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        used[who] = int(done.stdout) / 2**20
    assert used["theirs"] > 125 and used["ours"] < 40, f"MiB: {used}"


def test_no_tensor_of_a_step_has_a_matrix_for_every_edge():
    shapes = []

    def seen(tensor):
        shapes.append(tensor.numel())
        return tensor

    edges, width = 2000, 16
    layer = to_edgenet(torch_nnconv(width))
    x, attr = torch.randn(50, width), torch.randn(edges, 3)
    with torch.autograd.graph.saved_tensors_hooks(seen, lambda tensor: tensor):
        layer(x, torch.randint(50, (2, edges)), attr).sum().backward()
    assert shapes and max(shapes) < edges * width  # PyG's keeps edges * width * width


def torch_nnconv(width):
    return pyg.NNConv(width, width, nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, width * width)))
