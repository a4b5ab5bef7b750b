"""What would reach compiled code as a wrong pointer, or slip through a transform, is refused or computed right."""

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from edgenet import EdgeNetConv, ops, phi
from edgenet.errors import BackendError, EdgeIndexError
from edgenet.graph import Graph
from edgenet.nn import specializations as nets
from edgenet.ops import native
from edgenet.testing import random_graph

GRAPH = random_graph(9, 30)


def fresh():
    return Graph(GRAPH.edge_index.clone(), 9)


def test_tensors_on_several_devices_are_refused():
    x, weight, score = torch.ones(9, 2, 3), torch.ones(30, 2), torch.ones(9, 2)
    for call in (
        lambda: ops.spmm(GRAPH, weight.to("meta"), x),
        lambda: ops.spmm(GRAPH, None, x.to("meta")),
        lambda: ops.sddmm(GRAPH, x, x.to("meta")),
        lambda: ops.segment_softmax(weight.to("meta"), GRAPH),
        lambda: ops.attention(GRAPH, score, score.to("meta"), x),
        lambda: ops.attention_v2(GRAPH, x, x, x[0].to("meta")),
    ):
        with pytest.raises(BackendError, match=r"on cpu and .* on meta"):
            call()


def test_another_default_device_changes_nothing():
    x = torch.randn(9, 5)
    layer = nets.gat(5, 3, heads=2)
    wanted = layer(x, fresh())
    with torch.device("meta"):
        assert torch.equal(layer(x, fresh()), wanted)


@pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")
def test_edges_changed_behind_torchs_back_are_refused_before_they_are_followed():
    ends = np.array([[0, 1, 2], [1, 2, 0]])
    graph, x = Graph(torch.from_numpy(ends), 3), torch.ones(3, 1, 2, requires_grad=True)
    y = ops.spmm(graph, None, x)
    ends[:] = 10**9
    with pytest.raises(EdgeIndexError, match=r"source 1000000000|behind torch's back"):
        y.sum().backward()
    with torch.inference_mode():
        edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
        graph = Graph(edges, 3)
        edges[1, 0] = -5
        with pytest.raises(EdgeIndexError):
            ops.spmm(graph, None, torch.ones(3, 1, 2))


@pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")
def test_an_object_that_says_another_version_is_not_loaded(monkeypatch):
    monkeypatch.setattr(native, "_ABI", native._ABI + 1)
    assert native.library.__wrapped__() is None


@pytest.mark.parametrize("name", ["gat", "gatv2", "gcnn", "edge_varying"])
def test_forward_mode_gives_the_derivative_of_reverse_mode(name):
    layer, x = getattr(nets, name)(5, 3), torch.randn(9, 5)
    layer(x, GRAPH)

    def energy(x):
        return layer(x, GRAPH).pow(2).sum()

    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(energy(leaf), leaf)
    _, tangent = torch.func.jvp(energy, (x,), (x,))
    torch.testing.assert_close(tangent, (grad * x).sum())


def test_what_a_transform_computed_is_not_kept():
    layer, x, edges = nets.gat(6, 3), torch.randn(9, 6), GRAPH.edge_index.clone()
    functional = torch.func.functionalize(lambda x: layer(x, edges))(x)
    torch.testing.assert_close(layer(x, edges), functional)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_a_layer_can_be_traced():
    layer, x = nets.gat(5, 3, add_self_loops=False), torch.randn(9, 5)
    traced = torch.jit.trace(layer, (x, GRAPH.edge_index), check_trace=False)
    torch.testing.assert_close(traced(x, GRAPH.edge_index), layer(x, GRAPH.edge_index))


def test_an_activation_may_work_in_place_on_what_attention_gave():
    for make in (nets.gat, nets.gatv2):
        layer, x = make(6, 3, heads=2, bias=False), torch.randn(9, 6)
        grads = []
        for activation in (torch.relu, torch.relu_):
            grads.append(torch.autograd.grad(activation(layer(x, GRAPH)).sum(), list(layer.parameters())))
        assert all(torch.equal(*pair) for pair in zip(*grads, strict=True))


def test_subclasses_and_hooks_of_attention_are_heard():
    class Masked(phi.Attention):
        def weights(self, *arguments):
            return super().weights(*arguments) * 0

    x = torch.randn(9, 5)
    assert not EdgeNetConv(5, 3, phi=Masked(channels=3), bias=False)(x, GRAPH).any()
    layer, heard = nets.gat(5, 3), []
    layer.phi.register_forward_hook(lambda *arguments: heard.append(1))
    layer(x, GRAPH)
    assert heard


@pytest.mark.parametrize("sparse", [False, True])
def test_a_pruned_lift_can_be_trained(sparse):
    layer, x = nets.gat(2, 7, heads=3), torch.randn(9, 2)
    prune.l1_unstructured(layer.lift.linear.weight, "weight", 0.5)
    for _ in range(2):
        layer(x.to_sparse_csr() if sparse else x, GRAPH).sum().backward()
    torch.testing.assert_close(layer(x.to_sparse_csr(), GRAPH), layer(x, GRAPH))


def test_int32_edges_are_sorted_once():
    edges, x = GRAPH.edge_index.int(), torch.randn(9, 5)
    layer = nets.gat(5, 3, add_self_loops=False)
    layer(x, edges)
    first, second = Graph.of(edges, 9)[0], Graph.of(edges, 9)[0]
    assert first.by_target is second.by_target


def test_sparse_features_seen_first_in_inference_mode_can_be_trained_on():
    x, layer = torch.eye(9).to_sparse_csr(), nets.gat(9, 3)
    with torch.inference_mode():
        layer(x, GRAPH)
    layer(x, GRAPH).sum().backward()


def test_a_product_that_does_not_fit_says_what_torch_says():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ops.linear(torch.ones(100_000, 64).float(), torch.ones(64, 65).float())
    row = torch.ones(3000).float().requires_grad_()
    ops.linear(row, torch.ones(3000, 3000).float()).sum().backward()


def test_a_graph_with_ids_is_sorted_with_the_graph_it_is_made_of():
    graph = fresh()
    named = graph.with_ids(node_id=torch.arange(9))
    assert named.by_target is graph.with_ids(edge_id=torch.arange(30)).by_target is graph.by_target
    assert named.transpose().by_source is graph.by_target
