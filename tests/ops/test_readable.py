"""Kernels follow no pointer of a tensor whose numbers are elsewhere, or others than those in its memory."""

import pytest
import torch
from torch.utils._pytree import tree_map

from edgenet import ops
from edgenet.ops import backend
from edgenet.structured import Unified, Uniform
from edgenet.testing import GRAPHS


def near(got, want):
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-4)  # float32 sums of 512 numbers in another order


class Wrapped(torch.Tensor):
    """Numbers in a tensor inside; its own memory is nowhere."""

    @staticmethod
    def __new__(cls, inner):
        options = {"dtype": inner.dtype, "device": inner.device, "strides": inner.stride()}
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, **options)

    def __init__(self, inner):
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        args, kwargs = tree_map(lambda t: t.inner if isinstance(t, cls) else t, (args, kwargs or {}))
        return tree_map(lambda t: cls(t) if isinstance(t, torch.Tensor) else t, function(*args, **kwargs))


def calls():
    """op -> (function of a float32 signal, its shape)."""
    graph = GRAPHS["path"]
    nodes, edges = graph.num_nodes, graph.num_edges
    codes = torch.randint(0, 256, (6,), dtype=torch.uint8)
    size, signs = torch.rand(3).float(), codes
    matrix = torch.randn(512, 512).float()
    uniform, unified = Uniform.from_dense(matrix, bits=4).pack().eval(), Unified.from_dense(matrix, (1, 16)).eval()
    return {
        "spmm": (lambda x: ops.spmm(graph, torch.ones(edges, 1).float(), x), (nodes, 1, 3)),
        "sddmm": (lambda x: ops.sddmm(graph, torch.ones(nodes, 1, 3).float(), x), (nodes, 1, 3)),
        "codes_linear": (
            lambda x: ops.codes_linear(x, codes, 1, torch.tensor([-1.0, 1]), torch.ones(1).float(), 3), (2, 16)
        ),
        "unified_linear": (lambda x: ops.unified_linear(x, size, signs, (1, 16), (3, 16)), (2, 16)),
        "dropout": (lambda x: ops.dropout(x, 0.5, seed=1), (3, 5)),
        "pack_signs": (ops.pack_signs, (2, 70)),
        "Coded": (uniform, (2, 512)),
        "Unified": (unified, (2, 512)),
    }  # fmt: skip


CALLS = tuple(calls())


@torch.no_grad()
@pytest.mark.parametrize("name", CALLS)
def test_tensors_of_classes_that_answer_themselves_are_asked(name):
    call, shape = calls()[name]
    x = torch.randn(shape).float()
    y = call(Wrapped(x))
    assert type(y) is Wrapped
    near(y.inner, call(x))


@torch.no_grad()
@pytest.mark.parametrize("name", CALLS)
def test_the_negative_of_what_is_stored_is_read_as_such(name):
    call, shape = calls()[name]
    x = torch.randn(shape).float()
    near(call(torch._neg_view(x)), call(-x))


@torch.no_grad()
@pytest.mark.parametrize("name", ["Coded", "Unified"])
def test_sparse_signals_are_multiplied(name):
    call, shape = calls()[name]
    x = torch.eye(*shape).float()
    near(call(x.to_sparse()), call(x))


@torch.no_grad()
@pytest.mark.parametrize("name", ["pack_signs", "Coded", "Unified"])
def test_devices_without_memory_give_shapes(name):
    call, shape = calls()[name]
    x = torch.randn(shape).float()
    assert call(x.to("meta")).shape == call(x).shape


def test_packed_products_give_shapes_there():
    x, codes = torch.randn(2, 16, device="meta"), torch.empty(6, dtype=torch.uint8, device="meta")
    scale = torch.ones(3, device="meta", dtype=x.dtype)
    assert ops.codes_linear(x, codes, 1, torch.ones(2), scale[:1], 3).shape == (2, 3)
    assert ops.unified_linear(x, scale, codes, (1, 16), (3, 16)).shape == (2, 3)


def test_readable_are_tensors_and_parameters_alone():
    x = torch.randn(3)
    assert backend.readable(x, None, torch.nn.Parameter(x), x.as_subclass(type("Named", (torch.Tensor,), {})))
    for other in (Wrapped(x), torch._neg_view(x), x.to_sparse()):
        assert not backend.readable(x, other)


class Twice(Unified):
    def to_dense(self):
        return 2 * super().to_dense()


@torch.no_grad()
def test_a_class_of_ones_own_has_its_own_entries():
    weight, x = torch.randn(512, 512).float(), torch.randn(1, 512).float()
    near(Twice.from_dense(weight, (1, 16)).eval()(x), 2 * Unified.from_dense(weight, (1, 16)).eval()(x))
