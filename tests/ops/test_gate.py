"""No call of compiled code follows an address to where its numbers are not, whatever was done to the tensors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edgenet import ops
from edgenet.errors import BackendError, EdgeIndexError, ShapeError
from edgenet.graph import Graph
from edgenet.ops import native
from edgenet.ops.native import gate, orders
from edgenet.testing import random_graph

pytestmark = pytest.mark.skipif(native.library() is None, reason="no compiled kernels here")

#: case -> how it ends
ENDS = {
    "edges_made_longer_before_backward": "EdgeIndexError: between forward and backward",
    "edges_made_shorter_before_backward": "EdgeIndexError: between forward and backward",
    "edges_freed_before_backward": "EdgeIndexError: between forward and backward",
    "edges_freed_before_a_layer_that_knows_them": "EdgeIndexError: the storage of edges (2, 2000000) has 16 bytes",
    "graph_whose_edges_were_freed": "EdgeIndexError: the storage of edge_index (2, 2000000) has 16 bytes",
    "ids_freed": "EdgeIndexError: the storage of node_id (10,) has 0 bytes",
    "signal_made_shorter_before_backward": "ShapeError: spmm had a tensor (10, 2, 300000)",
    "weight_made_shorter_before_backward": "ShapeError: spmm had a tensor (30, 2)",
    "score_made_shorter_before_backward": "ShapeError: attention had a tensor (10, 2)",
    "storage_freed_before_backward": "BackendError: edgenet_walk wants 60 numbers",
    "registered_spmm_of_one_weight": "ShapeError: spmm wants signals",
    "registered_spmm_of_ends_of_two_lengths": "EdgeIndexError: spmm wants the two ends",
    "registered_attention_of_few_scores": "ShapeError: attention wants tensors",
    "registered_attention_gradient_of_few_rows": "ShapeError: the backward pass of attention",
    "registered_sddmm_of_two_widths": "ShapeError: sddmm wants two signals",
    "registered_softmax_of_few_scores": "ShapeError: segment_softmax wants scores",
    "trace_called_with_other_sizes": "ShapeError: spmm wants signals",
    "trace_called_with_fewer_nodes": "EdgeIndexError: edge ",
    "fake_tensor_outside_its_mode": "BackendError: spmm got edges with numbers and a FakeTensor",
    "weights_that_are_stored_nowhere": "right",
    "negatives_of_what_is_stored": "right",
    "tensor_that_left_its_transform": "right",
    "pointers_of_a_sparse_matrix_overwritten": "ShapeError: pointers ascend",
    "edges_overwritten_before_a_walk": "EdgeIndexError: edge 0 has source",
    "edges_written_by_another_thread": "right",
    "star_under_a_memory_limit": "MemoryError: edgenet_segment_softmax",
    "star_on_two_threads_under_a_memory_limit": "MemoryError: edgenet_segment_softmax",
    "sort_under_a_memory_limit": "MemoryError: edgenet_sort",
}
# the limit is Linux's, and AddressSanitizer's own memory is over any
if sys.platform != "linux" or "asan" in os.environ.get("LD_PRELOAD", ""):
    ENDS = {name: end for name, end in ENDS.items() if "memory_limit" not in name}


@pytest.fixture(scope="module")
def ended():
    """How every case ended, each in a process of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    script = Path(__file__).with_name("gate_cases.py")
    done = subprocess.run([sys.executable, script, *ENDS], capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", ENDS)
def test_what_once_ended_the_process_raises_or_is_right(case, ended):
    assert ended[case].startswith(ENDS[case]), ended[case]


# ---------------------------------------------------------------- the gate itself
def refused(tensor, count=6, dtype=torch.float64):
    gate.address("a function", tensor, count, dtype)


def test_the_gate_lets_plain_memory_pass():
    x = torch.randn(3, 4)
    assert gate.address("f", x, 12, torch.float64) == x.data_ptr()
    assert gate.address("f", x[1:], 8, torch.float64) == x[1:].data_ptr()
    assert gate.address("f", None, 12, torch.float64) is None
    gate.address("f", torch.empty(0, 3), 0, torch.float64)


@pytest.mark.parametrize("make", [
    lambda x: x.to("meta"), torch._neg_view, lambda x: x.to_sparse(), lambda x: torch._efficientzerotensor((2, 3)),
    lambda x: torch._to_functional_tensor(x),
], ids=["meta", "negative", "sparse", "zeros", "functional"])  # fmt: skip
def test_the_gate_refuses_what_has_no_plain_storage(make):
    with pytest.raises(BackendError, match=r"none of its own there|freed"):
        refused(make(torch.randn(2, 3)))


def test_the_gate_refuses_tensors_behind_a_transform():
    def look(x):
        with pytest.raises(BackendError, match=r"behind a transform of torch\.func"):
            refused(x)
        return x.sum()

    torch.vmap(look)(torch.randn(4, 2, 3))
    torch.func.grad(look)(torch.randn(2, 3))


@pytest.mark.parametrize("make", [
    lambda x: x[:1], lambda x: x.float(), lambda x: x.t(), lambda x: x.expand(2, 2, 3),
], ids=["short", "dtype", "strided", "long"])  # fmt: skip
def test_the_gate_refuses_another_count_or_dtype_or_order(make):
    with pytest.raises(ShapeError, match=r"wants 6 numbers of torch.float64 in one piece"):
        refused(make(torch.randn(2, 3)))


def test_the_gate_refuses_storage_that_was_made_smaller():
    for numbers in (0, 5):
        x = torch.randn(2, 3)
        x.untyped_storage().resize_(numbers * 8)
        with pytest.raises(BackendError, match=f"has {numbers * 8} bytes"):
            refused(x)


@pytest.mark.parametrize("status, error", [(-1, EdgeIndexError), (-2, MemoryError), (-3, BackendError)])
def test_what_a_function_says_becomes_an_error(status, error):
    assert isinstance(gate._error("a function", status), error)


def test_a_dtype_that_no_kernel_has_is_said_and_not_guessed():
    with pytest.raises(BackendError, match="edgenet_dropout failed"):
        gate.call("edgenet_dropout", None, 7, None, None, 0, 0.5, 1)


def test_every_call_of_a_compiled_function_goes_through_the_gate():
    root = Path(native.__file__).parents[1]
    calls = {file.name for file in root.rglob("*.py") if ".edgenet_" in file.read_text(encoding="utf-8")}
    addresses = {file.name for file in root.rglob("*.py") if "data_ptr()" in file.read_text(encoding="utf-8")}
    assert calls == {"__init__.py"} and addresses == {"gate.py"}  # edgenet_abi alone, before anything else is called


# ---------------------------------------------------------------- what forward pinned
def test_edges_changed_through_numpy_before_backward_give_no_gradient_of_others():
    edges = random_graph(9, 30).edge_index.clone()
    graph, x = Graph(edges, 9), torch.randn(9, 2, 3, requires_grad=True)
    edges.numpy()[0, 0] = (edges[0, 0] + 1) % 9
    y = ops.spmm(graph, None, x)
    edges.numpy()[0, 0] = (edges[0, 0] + 1) % 9
    with pytest.raises(EdgeIndexError, match="between forward and backward"):
        y.sum().backward()


def test_numpy_may_look_at_edges_before_backward():
    edges = random_graph(9, 30).edge_index.clone()
    graph, x = Graph.of(edges, 9)[0], torch.randn(9, 2, 3, requires_grad=True)
    y = ops.spmm(graph, None, x)
    assert graph.edge_index.numpy().shape == (2, 30)
    y.sum().backward()


@pytest.mark.parametrize("sources", [5, 99])
def test_both_orders_of_a_bipartite_graph_have_one_width(monkeypatch, sources):
    monkeypatch.setattr(orders, "_WIDE_FROM", 100)
    graph = Graph(torch.stack([torch.arange(5), torch.arange(5)]), 104 - sources, sources)
    assert orders.by_target(graph).wide == orders.by_source(graph).wide == 1
    x, score = torch.randn(sources, 2, 3, requires_grad=True), torch.zeros(sources, 2)
    ops.attention(graph, score, None, x).sum().backward()
    torch.testing.assert_close(x.grad[:5], torch.ones(5, 2, 3))
