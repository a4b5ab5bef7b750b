"""Inputs of unusual sizes and kinds: empty batches, edge weights of another dtype than the signal's."""

from __future__ import annotations

import pytest
import torch
from layers import EDGES, NODES

from edgenet.nn import specializations as nets


@pytest.mark.parametrize("width", [2, 8])
def test_wider_edge_weights_give_the_same_at_every_width(width: int):
    layer = nets.gcn(4, width).float()
    x, weight = torch.randn(NODES, 4), torch.rand(EDGES.shape[1]) + 0.5
    y = layer(x.float(), EDGES, weight.double())
    assert y.dtype == torch.float64  # as in PyG
    torch.testing.assert_close(y, layer.double()(x, EDGES, weight), rtol=1e-5, atol=1e-5)  # the lift is float32


@pytest.mark.parametrize(
    ("form", "bank"), [("cp", "siso"), *((form, "mimo") for form in ("cp", "node_bilinear", "kronecker", "shared"))]
)
@pytest.mark.parametrize("channels", [(4, 8), (40, 4)])
def test_an_empty_batch_goes_through_factored_matrices(form: str, channels: tuple[int, int], bank: str):
    layer = nets.edge_varying(*channels, form=form, rank=2, bank=bank).bind(EDGES, NODES)
    x = torch.randn(0, NODES, channels[0], requires_grad=True)
    y = layer(x, EDGES)
    assert y.shape == (0, NODES, channels[1])
    y.sum().backward()
    assert x.grad.shape == x.shape
