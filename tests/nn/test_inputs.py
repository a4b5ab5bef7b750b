"""Inputs of unusual sizes and kinds, first passes in unusual modes, and what is handed out."""

from __future__ import annotations

import pytest
import torch

from edgenet.errors import ShapeError, SupportError
from edgenet.nn import specializations as nets
from edgenet.testing.layer.case import EDGES, NODES


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


UNDIRECTED = torch.cat([EDGES, EDGES.flip(0)], 1)


@pytest.mark.parametrize("name", ["gcn", "gcnn", "gat", "gatv2", "edge_varying_gat", "arma", "additive", "spectral"])
def test_a_lazy_layer_that_begins_in_inference_mode_can_be_trained(name: str):
    layer = nets.SPECIALIZATIONS[name](-1, 3)
    x = torch.randn(NODES, 4)
    with torch.inference_mode():
        layer(x, UNDIRECTED)
    layer(x, UNDIRECTED).pow(2).sum().backward()
    frozen = [key for key, p in layer.named_parameters() if p.grad is None or p.is_inference()]
    assert not frozen
    assert not any(buffer.is_inference() for buffer in layer.buffers())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_bound_spectral_filter_is_converted(dtype: torch.dtype):
    layer = nets.spectral(4, 3)
    x = torch.randn(NODES, 4)
    y = layer(x, EDGES)
    layer.to(dtype)
    torch.testing.assert_close(layer(x.to(dtype), EDGES), y.to(dtype), rtol=0.1, atol=0.1)  # of two bytes
    other = torch.cat([EDGES, torch.tensor([[6, 5], [5, 6]])], 1)
    with pytest.raises(SupportError, match="another graph"):
        layer(x.to(dtype), other)
    with pytest.raises(SupportError, match="other edge weights"):
        layer(x.to(dtype), EDGES, torch.linspace(1, 2, EDGES.shape[1]))


def test_a_graph_that_is_refused_leaves_a_spectral_filter_unbound():
    layer = nets.spectral(4, 3)
    with pytest.raises(ShapeError, match="symmetric"):
        layer(torch.randn(NODES, 4), EDGES[:, 1:])
    assert layer.key.numel() == layer.shift.numel() == 0


@pytest.mark.parametrize("loops", [True, False])
def test_edges_that_were_handed_out_may_be_written_into(loops: bool):
    layer, edges, x = nets.gat(4, 3, add_self_loops=loops), EDGES.clone(), torch.randn(NODES, 4)
    y, (handed, _) = layer(x, edges, return_attention_weights=True)
    handed[0] = 0
    torch.testing.assert_close(layer(x, edges), y)
    assert torch.equal(edges, EDGES)
