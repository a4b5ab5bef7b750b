"""Tables that others look at, mask or wrap: what they do counts in every read."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from edgenet.errors import SupportError
from edgenet.nn import EdgeNetConv
from edgenet.nn import specializations as nets
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
N = 13
LAYERS = {
    "edge_varying": lambda: nets.edge_varying(5, 3, order=2),
    "by node": lambda: EdgeNetConv(5, 3, 2, share="node"),
    "by edge id": lambda: EdgeNetConv(5, 3, 2, share="edge_id"),
    "important nodes": lambda: EdgeNetConv(5, 3, 2, nodes=3),
    "edge_matrix": lambda: EdgeNetConv(5, 3, 2, phi="edge_matrix"),
    "cp": lambda: EdgeNetConv(5, 3, 2, phi="edge_factored", rank=2),
    "wide cp": lambda: EdgeNetConv(3, 5, 2, phi="edge_factored", rank=2),
    "node_bilinear": lambda: EdgeNetConv(5, 3, 2, phi="edge_factored", form="node_bilinear", rank=2),
    "kronecker": lambda: EdgeNetConv(5, 3, 2, phi="edge_factored", form="kronecker", rank=2),
    "siso": lambda: EdgeNetConv(5, 3, 2, phi="edge_factored", bank="siso", rank=2),
    "tensor_train": lambda: EdgeNetConv(5, 3, 2, phi="edge_factored", form="tensor_train", rank=2),
}
TABLES = ("edge_table", "node_table", "table", "receivers", "senders", "outer", "inner")


def tables_of(layer):
    """The owner and the name of every table of the phi."""
    return [(m, name) for m in layer.phi.modules() for name, child in m._modules.items()
            if name in TABLES and child is not None]  # fmt: skip


CASES = [(layer, k) for layer in LAYERS for k in range(len(tables_of(LAYERS[layer]())))]
cases = pytest.mark.parametrize("layer, which", CASES, ids=lambda value: str(value))


class Doubled(nn.Module):
    """An adapter as tuner layers are: it wraps a matrix, and hands on what it has not."""

    def __init__(self, base):
        super().__init__()
        self.base, self.scale = base, nn.Parameter(torch.tensor(2.0))

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

    def forward(self, x):
        return self.scale * self.base(x)


def drawn(layer):
    layer = LAYERS[layer]().bind(GRAPH)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer, torch.randn(N, layer.in_channels)


def scaled(layer, which, factor=2.0):
    """The layer with that table multiplied."""
    twin = copy.deepcopy(layer)
    owner, name = tables_of(twin)[which]
    table = getattr(owner, name)
    with torch.no_grad():
        if hasattr(table, "weight"):
            table.weight.mul_(factor)
        else:  # a tensor train: one core
            next(table.parameters()).mul_(factor)
    return twin


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@cases
def test_an_adapter_around_a_table_counts_and_is_trained(layer, which):
    layer, x = drawn(layer)
    wanted = scaled(layer, which)(x, GRAPH)
    owner, name = tables_of(layer)[which]
    setattr(owner, name, Doubled(getattr(owner, name)))
    y = layer(x, GRAPH)
    near(y, wanted)
    y.square().sum().backward()
    assert getattr(owner, name).scale.grad.abs() > 0


@cases
@pytest.mark.parametrize("kind", ["forward", "pre"])
def test_hooks_on_a_table_count(layer, which, kind):
    layer, x = drawn(layer)
    wanted = scaled(layer, which)(x, GRAPH)
    owner, name = tables_of(layer)[which]
    table = getattr(owner, name)
    if kind == "forward":
        table.register_forward_hook(lambda module, args, y: 2 * y)
    else:
        table.register_forward_pre_hook(lambda module, args: (2 * args[0],))
    near(layer(x, GRAPH), wanted)


@cases
def test_a_hook_that_looks_is_called(layer, which):
    layer, x = drawn(layer)
    calls, wanted = [], layer(x, GRAPH)
    owner, name = tables_of(layer)[which]
    getattr(owner, name).register_full_backward_hook(lambda *args: calls.append(args))
    y = layer(x.requires_grad_(), GRAPH)
    near(y, wanted)
    y.sum().backward()
    assert calls


@cases
def test_a_pruned_table_follows_its_mask_and_its_original(layer, which):
    layer, x = drawn(layer)
    owner, name = tables_of(layer)[which]
    table = getattr(owner, name)
    if not hasattr(table, "weight"):
        pytest.skip("a tensor train has cores to be pruned one by one")
    twin = copy.deepcopy(layer).eval()  # of which nothing is pruned
    plain = getattr(*tables_of(twin)[which])
    layer.eval()
    prune.l1_unstructured(table, "weight", amount=0.5)
    for _ in range(2):
        with torch.no_grad():
            table.weight_orig.normal_()
            plain.weight.copy_(table.weight_orig * table.weight_mask)
        near(layer(x, GRAPH), twin(x, GRAPH))
        layer(x, GRAPH).square().sum().backward()
    assert not table.weight_orig.grad[table.weight_mask == 0].any() and table.weight_orig.grad.any()


@cases
def test_weight_norm_on_a_table_counts(layer, which):
    layer, x = drawn(layer)
    owner, name = tables_of(layer)[which]
    table = getattr(owner, name)
    if not hasattr(table, "weight"):
        pytest.skip("a tensor train has no one weight")
    wanted = scaled(layer, which)(x, GRAPH)
    parametrizations.weight_norm(table, "weight")
    with torch.no_grad():
        table.parametrizations.weight.original0.mul_(2)
    y = layer(x, GRAPH)
    near(y, wanted)
    y.square().sum().backward()
    assert all(p.grad is not None for p in table.parameters())


PARTS = {
    "cp": ("maps.0",), "wide cp": ("maps.0",), "kronecker": ("maps.0", "maps.1"), "node_bilinear": ("maps.0",),
    "tensor_train": ("maps.1",),
}  # fmt: skip


@pytest.mark.parametrize("layer, path", [(layer, path) for layer, paths in PARTS.items() for path in paths])
def test_an_adapter_around_channel_maps_counts(layer, path):
    layer, x = drawn(layer)
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        next(twin.phi.get_submodule(path).parameters()).mul_(2)
    k = int(path[-1])
    layer.phi.maps[k] = Doubled(layer.phi.maps[k])
    near(layer(x, GRAPH), twin(x, GRAPH))


@pytest.mark.parametrize("form", ["cp", "kronecker", "node_bilinear", "tensor_train"])
@pytest.mark.parametrize("widths", [(5, 3), (3, 5)])
def test_hooks_on_channel_maps_of_scalar_recursions_count(form, widths):
    layer, x = nets.edge_varying(*widths, order=2, form=form, rank=2, bias=False).bind(GRAPH), torch.randn(N, widths[0])
    before = layer(x, GRAPH)
    hook = layer.phi.maps[1].register_forward_hook(lambda module, args, y: 0 * y)
    near(layer(x, GRAPH), _without(layer, x, 1))
    hook.remove()
    near(layer(x, GRAPH), before)
    layer.phi.maps[0] = Doubled(layer.phi.maps[0])
    near(layer(x, GRAPH), 2 * before)  # both hops stand on the first


def _without(layer, x, k):
    """What the layer gives if the matrices of one hop are 0."""
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in other.phi.maps[k].parameters():
            parameter.zero_()
    return other(x, GRAPH)


def test_adapters_hooks_and_masks_of_corrections_count():
    layer = EdgeNetConv(5, 3, 2, phi="edge_factored", form="doped", density=0.2).bind(GRAPH)
    part, x = layer.phi.corrections[1], torch.randn(N, 5)
    with torch.no_grad():
        part.values.normal_()
        before = layer(x, GRAPH)
        part.values.mul_(2)
        doubled = layer(x, GRAPH)
        part.values.mul_(0)
        without = layer(x, GRAPH)
    assert not torch.allclose(before, doubled)
    with torch.no_grad():
        part.values.normal_()
    once = layer(x, GRAPH)
    hook = part.register_forward_hook(lambda module, args, y: 2 * y)
    near(layer(x, GRAPH) - without, 2 * (once - without))
    hook.remove()
    prune.random_unstructured(part, "values", amount=part.values.numel())
    near(layer(x, GRAPH), without)


# --- before they have rows --------------------------------------------------------------------------------------------
def test_hooks_and_adapters_on_a_table_without_rows_stay_when_it_is_bound():
    layer, calls = EdgeNetConv(5, 3, 2), []
    layer.phi.edge_table.register_forward_hook(lambda *args: calls.append(args))
    layer.phi.node_table = Doubled(layer.phi.node_table)
    adapter = layer.phi.node_table
    x = torch.randn(N, 5)
    layer(x, GRAPH).sum().backward()
    assert calls and layer.phi.node_table is adapter and layer.phi.node_table.base.weight.shape == (N, 2)
    layer.reset_parameters()
    layer(x, GRAPH)
    assert layer.phi.node_table is adapter


def test_a_structured_table_does_not_take_the_place_of_one_that_is_watched():
    layer = EdgeNetConv(5, 3, 2, structure={"structure": "low_rank", "rank": 1})
    layer.phi.edge_table.register_forward_hook(lambda *args: None)
    with pytest.raises(SupportError, match=r"bind first"):
        layer.bind(GRAPH)
