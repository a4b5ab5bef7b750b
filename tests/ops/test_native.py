"""The compiled kernels: every object that this processor runs, every shape of tile, any number of threads."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import ops
from edgenet.errors import EdgeIndexError
from edgenet.graph import Graph
from edgenet.ops import backend, native
from edgenet.ops.native import orders
from edgenet.testing import GRAPHS, random_graph

pytestmark = pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")

#: what a row of signals is cut into depends on these: odd ones, one channel, many heads, tails, several tiles
SHAPES = (
    (1, 1), (3, 1), (8, 1), (40, 1), (3, 2), (3, 7), (1, 5), (8, 8), (7, 8), (3, 8), (9, 4), (2, 4), (5, 16), (1, 16),
    (3, 32), (1, 64), (4, 64), (1, 128), (2, 300), (1, 19), (13, 3),
)  # fmt: skip
#: RMS of the difference over that of the values; bfloat16 has 8 bits
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2}
#: node 2 has more in-edges than a block holds, node 3 more out-edges
LONG = Graph(torch.cat([random_graph(6000, 200).edge_index, torch.stack([torch.arange(6000), torch.full((6000,), 2)]),
                        torch.stack([torch.full((6000,), 3), torch.arange(6000)])], 1), 6000)  # fmt: skip


def _objects() -> dict[str, Path]:
    names = native.OBJECTS.get(torch.backends.cpu.get_cpu_capability(), ("_base",))
    return {name: file for name in names for file in native.path().parent.glob(f"{name}.*")}


#: the objects that this processor can run
OBJECTS = _objects() if native.library() else {}


@pytest.fixture(params=OBJECTS)
def each_object(request, monkeypatch):
    monkeypatch.setattr(native, "path", lambda: OBJECTS[request.param])
    fresh = native.library.__wrapped__()
    assert fresh is not None
    monkeypatch.setattr(native, "library", lambda: fresh)


def calls(graph, heads, channels, dtype=torch.float64, dropout=0.0):
    """op -> (function of tensors, tensors), for all ops."""

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64).to(dtype)

    n, e = graph.num_nodes, graph.num_edges
    x, own, weight = draw(n, heads, channels), draw(n, heads, channels), draw(e, heads)

    def attention(*t):
        torch.manual_seed(5)
        return ops.attention(graph, *t, dropout=dropout)

    def attention_v2(*t):
        torch.manual_seed(5)
        return ops.attention_v2(graph, *t, dropout=dropout)

    return {
        "spmm": (lambda *t: ops.spmm(graph, *t), [weight, x]),
        "spmm of one signal": (lambda *t: ops.spmm(graph, *t), [weight, x[:, :1]]),
        "unweighted spmm": (lambda *t: ops.spmm(graph, None, *t), [x]),
        "sddmm": (lambda *t: ops.sddmm(graph, *t), [own, x]),
        "segment_softmax": (lambda *t: ops.segment_softmax(*t, graph), [weight]),
        "attention": (attention, [draw(n, heads), draw(n, heads), x]),
        "attention to one signal": (attention, [draw(n, heads), draw(n, heads), x[:, :1]]),
        "attention_v2": (attention_v2, [x, own, draw(heads, channels) / channels**0.5]),
    }


def run(function, tensors):
    """The value, and the gradients of a fixed projection of it."""
    leaves = [t.detach().requires_grad_() for t in tensors]
    y = function(*leaves)
    direction = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).reshape(y.shape).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, leaves, direction)]


def check(graph, heads, channels, dtype, dropout=0.0):
    """All ops against the reference in float64, on the same (rounded) inputs."""
    for op, (function, tensors) in calls(graph, heads, channels, dtype, dropout).items():
        got = run(function, tensors)
        with ops.use("reference"):
            wanted = run(function, [t.double() for t in tensors])
        for number, (ours, theirs) in enumerate(zip(got, wanted, strict=True)):
            assert ours.dtype == dtype, op
            error, size = ((t.square().mean() if t.numel() else t.sum()).sqrt() for t in (ours - theirs, theirs))
            # gradients of a softmax cancel: what is left of numbers around 1 are their rounding errors
            assert error <= TOLERANCE[dtype] * max(size, 0.1), f"{op} {heads}x{channels}, {number}: {error:.1e}"


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("heads, channels", SHAPES)
def test_every_object_gives_the_numbers_of_the_reference(each_object, heads, channels, dtype):
    check(random_graph(23, 150), heads, channels, dtype)


def test_derivatives_of_second_order_are_those_of_finite_differences():
    for op, (function, tensors) in calls(random_graph(5, 9), 2, 2).items():
        leaves = [t.requires_grad_() for t in tensors]
        assert torch.autograd.gradgradcheck(function, leaves), op


@pytest.mark.parametrize("graph", [*GRAPHS.values(), LONG], ids=[*GRAPHS, "long"])
def test_awkward_graphs_and_rows_longer_than_a_block_are_the_reference(graph):
    for heads, channels in ((8, 8), (3, 7), (1, 1)):
        check(graph, heads, channels, torch.float32, dropout=0.3)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_indices_of_64_bits_give_the_numbers_of_those_of_32(monkeypatch, dtype):
    monkeypatch.setattr(orders, "_WIDE_FROM", 0)
    graph = random_graph(23, 150)
    for heads, channels in ((8, 8), (2, 300), (5, 1)):
        check(graph, heads, channels, dtype, dropout=0.4)
    assert orders.by_target(graph).ptr.dtype == torch.int64


@settings(max_examples=60)
@given(
    nodes=st.integers(1, 40), edges=st.integers(0, 200), heads=st.integers(1, 20), channels=st.integers(1, 70),
    dtype=st.sampled_from(list(TOLERANCE)), dropout=st.sampled_from([0.0, 0.5]),
)  # fmt: skip
def test_on_any_graph_and_shape_all_ops_are_the_reference(nodes, edges, heads, channels, dtype, dropout):
    check(Graph(torch.randint(0, nodes, (2, edges)), nodes), heads, channels, dtype, dropout)


@pytest.mark.parametrize("heads, channels", [(8, 8), (3, 7), (4, 64)])
def test_results_are_the_same_to_the_bit_on_any_number_of_threads(heads, channels):
    graph = random_graph(2000, 30_000)
    threads, results = torch.get_num_threads(), {}
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            torch.manual_seed(0)
            functions = calls(graph, heads, channels, torch.float32, dropout=0.2)
            results[count] = {op: run(*call) for op, call in functions.items()}
    finally:
        torch.set_num_threads(threads)
    for count in (2, 4):
        for op, values in results[1].items():
            assert all(torch.equal(*pair) for pair in zip(values, results[count][op], strict=True)), (op, count)


@pytest.mark.skipif(native.threads() is None, reason="this torch exports no parallel loop")
def test_rows_are_spread_over_torchs_own_threads():
    torch.set_num_threads(2)
    try:
        assert native.pool() == native.threads()
    finally:
        torch.set_num_threads(1)
    assert native.pool() is None


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("wide_from", [0, 2**31])
def test_the_sort_orders_are_the_stable_ones(monkeypatch, graph, wide_from):
    monkeypatch.setattr(orders, "_WIDE_FROM", wide_from)
    graph = Graph(graph.edge_index, graph.num_nodes)
    for order, ends, ptr in (
        (orders.by_target(graph), graph.edge_index, graph.rowptr),
        (orders.by_source(graph), graph.edge_index.flip(0), graph.colptr),
    ):
        edge = torch.argsort(ends[1], stable=True)
        assert torch.equal(order.ptr.long(), ptr)
        assert torch.equal(order.other.long(), ends[0][edge])
        assert torch.equal(torch.arange(graph.num_edges) if order.edge is None else order.edge.long(), edge)
    place = torch.empty(graph.num_edges, dtype=torch.long)
    place[torch.argsort(graph.source, stable=True)] = torch.arange(graph.num_edges)
    assert torch.equal(orders.places(graph).long(), place[torch.argsort(graph.target, stable=True)])


def test_edges_are_sorted_once_and_not_again_for_the_transpose():
    graph = random_graph(9, 30)
    order = orders.by_target(graph)
    assert orders.by_target(graph) is order and orders.by_source(graph.transpose()) is order


def test_indices_out_of_range_are_refused_before_a_kernel_runs():
    edges = torch.tensor([[0, 1], [1, 2]])
    graph, x = Graph(edges, 3), torch.ones(3, 1, 4)
    ops.spmm(graph, None, x)
    edges[0, 0] = 7
    with pytest.raises(EdgeIndexError, match="source 7"):
        ops.spmm(graph, None, x)


def test_nan_in_the_signal_reaches_the_targets_that_read_it(each_object):
    graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 2]]), 4)
    x = torch.ones(4, 8, 8, dtype=torch.float32)
    x[0, 3, 5] = torch.nan
    for y in (ops.spmm(graph, torch.ones(3, 8, dtype=torch.float32), x), ops.spmm(graph, None, x)):
        assert y[1, 3, 5].isnan() and y.isnan().sum() == 1


def test_scores_far_from_0_do_not_overflow():
    graph = GRAPHS["directed"]
    for shift in (1000.0, -1000.0):
        score = torch.randn(graph.num_edges, 2, dtype=torch.float32) + shift
        p = ops.segment_softmax(score, graph)
        oracles.assert_near(p, oracles.segment_softmax(score, graph.target, graph.num_nodes))


def test_subnormal_numbers_stay_as_they_are():
    # an object linked with -ffast-math would make the whole process flush them to 0
    tiny = torch.tensor([1e-40], dtype=torch.float32)
    assert native.library() and (tiny / 2).item() != 0


def test_without_objects_the_library_runs_on_its_portable_path(tmp_path):
    code = """
import warnings, torch, edgenet
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    conv = edgenet.EdgeNetConv(3, 2, heads=2, phi="attention")
    for _ in range(2):
        conv(torch.randn(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).sum().backward()
assert "native" not in edgenet.ops.available("spmm")
assert sum("no compiled kernels" in str(w.message) for w in caught) == 1, caught
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "EDGENET_NATIVE_DIR": str(tmp_path)}
    environment.pop("EDGENET_NO_NATIVE", None)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_an_object_of_another_version_counts_as_absent(tmp_path, monkeypatch):
    (tmp_path / "_v4.so").write_bytes(b"not an object")
    monkeypatch.setattr(native, "path", lambda: tmp_path / "_v4.so")
    assert native.library.__wrapped__() is None


def test_kernels_let_other_python_threads_run():
    # a function of a PyDLL would hold the interpreter's lock
    assert type(native.library()) is ctypes.CDLL


def test_the_switch_turns_the_kernels_off(monkeypatch):
    monkeypatch.setenv("EDGENET_NO_NATIVE", "1")
    assert native.library.__wrapped__() is None
    assert "EDGENET_NO_NATIVE" in backend._REMEDY["native"]
