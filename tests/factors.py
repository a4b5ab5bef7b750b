"""Layers of matrices in factors, by form, and what they are by definition."""

import pytest
import torch
from oracles import assert_near

from edgenet.nn import EdgeNetConv
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]  # has repeated edges, self-loops and an isolated node
FORMS = {
    "cp": {"form": "cp", "rank": 3},
    "cp without loops": {"form": "cp", "rank": 2, "self_loops": False},
    "cp important nodes": {"form": "cp", "rank": 2, "nodes": 0.4},
    "cp by node": {"form": "cp", "rank": 2, "share": "node"},
    "cp by hash": {"form": "cp", "rank": 2, "share": "hash", "buckets": 7},
    "node_bilinear": {"form": "node_bilinear", "rank": 3},
    "node_bilinear of a given shift": {"form": "node_bilinear", "rank": 2, "weights": "rw"},
    "node_bilinear by hash": {"form": "node_bilinear", "rank": 2, "share": "hash", "buckets": 5},
    "kronecker": {"form": "kronecker", "rank": 3},
    "tensor_train": {"form": "tensor_train", "rank": 3, "edge_rank": 4, "channel_rank": 2},
    "hashed": {"form": "hashed", "rank": 3, "ratio": 1.3},
    "shared": {"form": "shared"},
    "shared without loops": {"form": "shared", "self_loops": False},
    "doped": {"form": "doped", "density": 0.1},
    "doped important nodes": {"form": "doped", "base": "cp", "rank": 2, "density": 0.2, "nodes": 3},
    "doped node_bilinear": {"form": "doped", "base": "node_bilinear", "rank": 2, "density": 0.3},
    "kronecker with corrections": {"form": "kronecker", "rank": 2, "density": 0.05},
    "doped without loops": {"form": "doped", "base": "cp", "rank": 1, "density": 0.7, "self_loops": False},
}
forms = pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)


def layer(options, widths=(5, 4), order=1, bank="mimo", graph=GRAPH):
    """A bound layer, its parameters at random."""
    conv = EdgeNetConv(*widths, order, phi="edge_factored", bank=bank, **options).bind(graph)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.normal_()
    return conv


def slow(conv, x, graph, theta):
    """The definition, edge by edge, with all matrices."""
    n, ends = graph.num_nodes, graph.edge_index.t().tolist()
    if conv.phi.self_loops:
        ends = ends + [[i, i] for i in range(n)]
    lanes = conv.phi.bank == "siso"
    z = x.unsqueeze(1).expand(-1, conv.out_channels, -1) if lanes else x
    y = conv.bias.expand(n, -1)
    for matrices in theta:
        assert len(matrices) == len(ends)
        rows = [torch.zeros(conv.out_channels, x.shape[1]) if lanes else torch.zeros(conv.out_channels)] * n
        for (j, i), matrix in zip(ends, matrices, strict=True):
            rows[i] = rows[i] + (matrix * z[j] if lanes else matrix @ z[j])
        z = torch.stack(rows)
        y = y + (z.sum(-1) if lanes else z)
    return y


def agrees(conv, x, graph, theta):
    """Output and gradients in the signal and all parameters are those of the definition."""
    x = x.clone().requires_grad_()
    got, want = conv(x, graph), slow(conv, x, graph, theta)
    assert_near(got, want)
    parameters = [x, *conv.parameters()]
    direction = torch.linspace(-1, 2, want.numel()).view_as(want)
    grads = [torch.autograd.grad((y * direction).sum(), parameters, allow_unused=True) for y in (got, want)]
    for a, b, name in zip(*grads, ["x", *dict(conv.named_parameters())], strict=True):
        if b is not None and b.any():
            assert_near(a, b, f"gradient of {name}")
        else:
            assert a is None or not a.any()
