"""Layers under torch.func and batched gradients: the numbers of ordinary gradients, and of PyG's layers."""

import oracles
import pytest
import torch
import torch_geometric.nn as pyg
from torch.autograd.functional import jacobian
from torch.func import functional_call, grad, jacfwd, jacrev, vmap

from edgenet.convert import to_edgenet
from edgenet.nn.specializations import SPECIALIZATIONS
from edgenet.testing import random_graph

EDGES = torch.cat([random_graph(6, 8).edge_index, random_graph(6, 8).edge_index.flip(0)], 1)  # for spectral layers
layers = pytest.mark.parametrize("name", SPECIALIZATIONS)


def ready(name):
    """A layer 3 -> 2 that has seen the graph."""
    layer = SPECIALIZATIONS[name](3, 2)
    layer(torch.randn(6, 3), EDGES)
    return layer


def loop(layer, x):
    """The Jacobian (N, F', N, F), a row at a time."""
    x = x.detach().requires_grad_()
    y = layer(x, EDGES)
    rows = [torch.autograd.grad(y, x, v.view_as(y), retain_graph=True)[0] for v in torch.eye(y.numel())]
    return torch.stack(rows).view(*y.shape, *x.shape)


@layers
def test_every_kind_of_jacobian_is_the_loop_over_its_rows(name):
    layer, x = ready(name), torch.randn(6, 3)
    wanted = loop(layer, x)
    for got in (
        jacrev(lambda x: layer(x, EDGES))(x),
        jacfwd(lambda x: layer(x, EDGES))(x),
        jacobian(lambda x: layer(x, EDGES), x, vectorize=True),
    ):
        oracles.assert_near(got, wanted)


@layers
def test_gradients_in_the_parameters_for_every_member_of_a_batch(name):
    layer, x = ready(name), torch.randn(4, 6, 3)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(parameters, x):
        return functional_call(layer, parameters, (x, EDGES)).pow(2).sum()

    found = vmap(grad(loss), (None, 0))(parameters, x)
    for i in range(4):
        grads = torch.autograd.grad(layer(x[i], EDGES).pow(2).sum(), list(layer.parameters()), allow_unused=True)
        for (key, got), want in zip(found.items(), grads, strict=True):
            oracles.assert_near(got[i], torch.zeros_like(got[i]) if want is None else want, key)


@layers
def test_batched_gradients_are_the_loop_over_them(name):
    layer, x = ready(name), torch.randn(6, 3)
    leaves = [x.requires_grad_(), *layer.parameters()]
    y = layer(x, EDGES)
    directions = torch.randn(3, *y.shape)
    found = torch.autograd.grad(y, leaves, directions, is_grads_batched=True, retain_graph=True, allow_unused=True)
    for i, v in enumerate(directions):
        wanted = torch.autograd.grad(y, leaves, v, retain_graph=True, allow_unused=True)
        for got, want in zip(found, wanted, strict=True):
            assert (got is None) == (want is None)
            if got is not None:
                oracles.assert_near(got[i], want)


PYG = {
    "GAT": lambda: pyg.GATConv(3, 2, heads=2),
    "GATv2": lambda: pyg.GATv2Conv(3, 2, heads=2),
    "GCN": lambda: pyg.GCNConv(3, 2),
    "TAG": lambda: pyg.TAGConv(3, 2, K=2),
}


@pytest.mark.parametrize("name", PYG)
def test_a_converted_layer_has_the_jacobians_of_pygs(name):
    theirs, x = PYG[name](), torch.randn(6, 3)
    ours = to_edgenet(theirs)
    wanted = loop(theirs, x)
    for transform in (jacrev, jacfwd):
        oracles.assert_near(transform(lambda x: ours(x, EDGES))(x), wanted)
    oracles.assert_near(jacobian(lambda x: ours(x, EDGES), x, vectorize=True), wanted)
