"""The Triton kernels give the numbers of the definitions, forward and backward, whole rows and split ones.

With a GPU the tests run on it. They also run in Triton's interpreter on the CPU: it has to be chosen before Python
starts, so one test starts the others in a process of their own. Interpreted programs are slow: graphs are small.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import oracles
import pytest
import torch
from torch import Tensor

from edgenet.errors import BackendError
from edgenet.graph import Graph
from edgenet.ops import mask, triton_launch, triton_rows
from edgenet.ops.kernels.attention import triton as attention
from edgenet.ops.kernels.attention_v2 import triton as attention_v2
from edgenet.ops.kernels.codes_linear import triton as codes_linear
from edgenet.ops.kernels.codes_linear.packing import to_bytes
from edgenet.ops.kernels.dropout import triton as dropped
from edgenet.ops.kernels.sddmm import triton as sddmm
from edgenet.ops.kernels.segment_softmax import triton as segment_softmax
from edgenet.ops.kernels.spmm import triton as spmm
from edgenet.ops.kernels.unified_linear import triton as unified_linear
from edgenet.ops.kernels.unified_linear.reference import unified_linear as definition_of_unified
from edgenet.ops.kernels.xnor import reference as xnor_reference
from edgenet.ops.kernels.xnor import triton as xnor
from edgenet.ops.triton_dropout import dropout_factor
from edgenet.ops.triton_launch import tl
from edgenet.testing import GRAPHS, random_graph

DEVICE = "cuda" if torch.cuda.is_available() and not triton_launch.interpreted() else "cpu"
runs = pytest.mark.skipif(not triton_launch.available(), reason="no GPU, and TRITON_INTERPRET=1 is not set")

_random = torch.Generator().manual_seed(0)
_long = torch.cat([torch.randint(0, 9, (2, 30), generator=_random), torch.tensor([[3], [0]]).expand(2, 41)], 1)
#: node 3 sends to node 0 along 41 edges: more than one step of a program, and many pieces of 4 edges
LONG = Graph(_long[:, torch.randperm(71, generator=_random)], 9)
BIPARTITE = Graph(torch.tensor([[0, 4, 4, 2, 4], [1, 0, 1, 2, 1]]), num_nodes=3, num_sources=6)
ALL = {**GRAPHS, "long": LONG, "bipartite": BIPARTITE}

#: RMS of the difference over that of the values; bfloat16 has 8 bits
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 5e-3}


@pytest.fixture
def short_pieces(monkeypatch):
    """Rows of more than 4 edges are split."""
    monkeypatch.setattr(triton_rows, "EDGES_PER_PIECE", 4)


# ---------------------------------------------------------------- the definitions, and how kernels are called
def factors(graph: Graph, heads: int, dropout: float, seed: int) -> Tensor:
    """(E, H) what dropout multiplies every weight by."""
    return mask.factors((graph.num_edges, heads), dropout, seed, torch.empty(0, dtype=torch.float64))


def weighted_sum(graph: Graph, weight: Tensor, x: Tensor) -> Tensor:
    zeros = x.new_zeros(graph.num_nodes, *x.shape[1:])
    return zeros.index_add(0, graph.target, weight.unsqueeze(-1) * x[graph.source])


def softmax(graph: Graph, score: Tensor) -> Tensor:
    return oracles.segment_softmax(score, graph.target, graph.num_nodes)


class Op:
    """A definition in float64, the arguments it takes on a graph, and the kernels behind it."""

    def __init__(self, shapes: Callable, definition: Callable, kernels: Callable):
        self.shapes, self.definition, self.kernels = shapes, definition, kernels


def _spmm_kernels(graph, tensors, grad):
    return spmm.forward(graph, *tensors), spmm.backward(graph, *tensors, grad, True, True)


def _sddmm_kernels(graph, tensors, grad):
    a, b = tensors
    from_a = spmm.forward(graph, grad, b)
    return sddmm.forward(graph, a, b), (from_a, spmm.backward(graph, grad, b, a, False, True)[1])


def _softmax_kernels(graph, tensors, grad):
    p = segment_softmax.forward(graph, *tensors)
    return p, (segment_softmax.backward(graph, p, grad),)


def _attention_op(dropout: float, seed: int, targets: bool = True) -> Op:
    def definition(graph, score_source, score_target, x):
        score = score_source[graph.source] + (score_target[graph.target] if targets else 0)
        alpha = softmax(graph, torch.nn.functional.leaky_relu(score, 0.2))
        return weighted_sum(graph, alpha * factors(graph, x.shape[1], dropout, seed), x)

    def kernels(graph, tensors, grad):
        score_source, score_target, x = tensors
        arguments = graph, score_source, score_target if targets else None, x
        y, *kept = attention.forward(*arguments, 0.2, dropout, seed)
        grads = attention.backward(*arguments, y, *kept, grad, 0.2, dropout, seed)
        return y, (grads[0], torch.zeros_like(score_target) if grads[1] is None else grads[1], grads[2])

    def shapes(graph, heads, channels):
        return (graph.num_sources, heads), (graph.num_nodes, heads), (graph.num_sources, heads, channels)

    return Op(shapes, definition, kernels)


def _attention_v2_op(dropout: float, seed: int) -> Op:
    def definition(graph, x, target, att, factor):
        hidden = torch.nn.functional.leaky_relu(x[graph.source] + target[graph.target], 0.2)
        alpha = softmax(graph, (hidden * att).sum(-1)) * factor
        return weighted_sum(graph, alpha * factors(graph, x.shape[1], dropout, seed), x)

    def kernels(graph, tensors, grad):
        inputs, edges = tensors[:3], (None, tensors[3])
        y, *kept = attention_v2.forward(graph, *inputs, 0.2, dropout, seed, edges)
        *grads, none, of_factor = attention_v2.backward(graph, *inputs, y, *kept, grad, 0.2, dropout, seed, edges)
        assert none is None
        return y, (*grads, of_factor)

    def shapes(graph, heads, channels):
        signal = (graph.num_sources, heads, channels), (graph.num_nodes, heads, channels)
        return *signal, (heads, channels), (graph.num_edges, heads)

    return Op(shapes, definition, kernels)


def _attention_of_edges(dropout: float, seed: int) -> Op:
    """What edges add to scores, and what they multiply weights by."""

    def definition(graph, score_source, score_target, x, added, factor):
        score = score_source[graph.source] + score_target[graph.target] + added
        alpha = softmax(graph, torch.nn.functional.leaky_relu(score, 0.2)) * factor
        return weighted_sum(graph, alpha * factors(graph, x.shape[1], dropout, seed), x)

    def kernels(graph, tensors, grad):
        inputs, edges = tensors[:3], tuple(tensors[3:])
        y, *kept = attention.forward(graph, *inputs, 0.2, dropout, seed, edges)
        return y, attention.backward(graph, *inputs, y, *kept, grad, 0.2, dropout, seed, edges)

    def shapes(graph, heads, channels):
        ends = (graph.num_sources, heads), (graph.num_nodes, heads), (graph.num_sources, heads, channels)
        return *ends, *[(graph.num_edges, heads)] * 2

    return Op(shapes, definition, kernels)


OPS = {
    "spmm": Op(lambda g, h, c: ((g.num_edges, h), (g.num_sources, h, c)), weighted_sum, _spmm_kernels),
    "sddmm": Op(
        lambda g, h, c: ((g.num_nodes, h, c), (g.num_sources, h, c)),
        lambda g, a, b: (a[g.target] * b[g.source]).sum(-1),
        _sddmm_kernels,
    ),
    "segment_softmax": Op(lambda g, h, c: ((g.num_edges, h),), softmax, _softmax_kernels),
    "attention": _attention_op(0.0, 0),
    "attention with dropout": _attention_op(0.4, 3_000_000_001),
    "attention of edges": _attention_of_edges(0.4, 5),
    "attention_v2": _attention_v2_op(0.0, 0),
    "attention_v2 with dropout": _attention_v2_op(0.4, 1),
}


def on_device(graph: Graph) -> Graph:
    return graph if DEVICE == "cpu" else graph.to(DEVICE)


def check(op: Op, graph: Graph, heads: int, channels: int, dtype: torch.dtype) -> None:
    """The kernels' output and gradients are those of the definition in float64, of the same rounded numbers."""
    tensors = [torch.randn(shape, dtype=torch.float64).to(dtype) for shape in op.shapes(graph, heads, channels)]
    leaves = [t.double().requires_grad_() for t in tensors]
    y = op.definition(graph, *leaves)
    grad = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).reshape(y.shape).to(dtype)
    projected = (y * grad.double()).sum() + sum(0 * leaf.sum() for leaf in leaves)  # which now depends on all
    wanted = [y, *torch.autograd.grad(projected, leaves)]
    got, grads = op.kernels(on_device(graph), [t.to(DEVICE) for t in tensors], grad.to(DEVICE))
    for number, (ours, want) in enumerate(zip([got, *grads], wanted, strict=True)):
        assert ours.dtype == dtype
        what = f"gradient {number - 1}" if number else "output"
        # backward begins with an output that was rounded to half precision, and score gradients cancel
        loose = 2 if number and dtype in (torch.bfloat16, torch.float16) else 1
        oracles.assert_near(ours.cpu().double(), want.detach(), what, loose * TOLERANCE[dtype])


# ---------------------------------------------------------------- the interpreter
@pytest.mark.skipif(triton_launch.triton is None, reason="triton does not import")
@pytest.mark.skipif(triton_launch.interpreted(), reason="this is the interpreter")
def test_all_of_this_file_passes_in_the_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, cwd=os.path.dirname(__file__), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.skipif(triton_launch.interpreted(), reason="this is the interpreter")
def test_on_the_cpu_without_the_interpreter_it_is_refused_with_the_remedy():
    with pytest.raises(BackendError, match="TRITON_INTERPRET=1"):
        spmm.forward(GRAPHS["path"], None, torch.ones(5, 1, 1))


def test_without_triton_the_modules_import_and_say_that_it_is_missing():
    code = """
import sys
sys.modules["triton"] = None
import torch
from edgenet.errors import BackendError
from edgenet.graph import Graph
from edgenet.ops import triton_launch
from edgenet.ops.kernels.attention_v2 import triton
assert not triton_launch.available()
x = torch.ones(1, 1, 1)
try:
    triton.forward(Graph(torch.zeros(2, 1, dtype=torch.long), 1), x, x, x[0], 0.2, 0.0, 0)
except BackendError as error:
    assert "pip install triton" in str(error)
else:
    raise AssertionError("not refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- every op
@runs
@pytest.mark.parametrize("graph", ALL.values(), ids=ALL)
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_an_op_and_its_gradients_are_the_definition(op, graph):
    check(op, graph, 3, 7, torch.float64)


@runs
@pytest.mark.parametrize("heads, channels", [(1, 1), (8, 8), (2, 300)])
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_an_op_and_its_gradients_are_the_definition_in_other_shapes(op, heads, channels):
    check(op, LONG, heads, channels, torch.float64)


@runs
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_an_op_and_its_gradients_are_the_definition_in_other_dtypes(op, dtype):
    check(op, GRAPHS["directed"], 3, 7, dtype)


@runs
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_rows_split_into_pieces_give_the_same_numbers(op, dtype, short_pieces):
    rows = triton_rows.rows_by_target(on_device(LONG))
    assert rows.parts > 10 and len(rows.split_row) > 1
    check(op, LONG, 3, 7, dtype)


@runs
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_blocks_of_heads_and_pieces_of_rows_go_together(op, short_pieces):
    check(op, random_graph(4, 25), 5, 300, torch.float64)  # 512 channels with the padding: two heads a program


@runs
def test_pieces_cover_every_edge_once_and_every_row(short_pieces):
    graph = on_device(LONG)
    rows = triton_rows.rows_by_source(graph)
    covered = [k for row, begin, end, _ in rows.pieces.tolist() for k in range(begin, end)]
    assert sorted(covered) == list(range(graph.num_edges))
    for row, begin, end, slot in rows.pieces.tolist():
        assert end - begin <= 4 and (graph.source[rows.edge[begin:end].long()] == row).all()
        assert (slot >= 0) == (row in rows.split_row.tolist())
    assert set(rows.pieces[:, 0].tolist()) == set(range(graph.num_nodes))
    assert sorted(slot for slot in rows.pieces[:, 3].tolist() if slot >= 0) == list(range(rows.parts))


@runs
def test_pieces_are_made_once_for_a_graph():
    graph = on_device(random_graph(5, 9))
    assert triton_rows.rows_by_target(graph) is triton_rows.rows_by_target(graph)


# ---------------------------------------------------------------- spmm
@runs
def test_spmm_without_weights_sums():
    graph, x = on_device(LONG), torch.randn(9, 2, 3).to(DEVICE)
    ones = torch.ones(LONG.num_edges, 2).to(DEVICE)
    oracles.assert_near(spmm.forward(graph, None, x), spmm.forward(graph, ones, x))
    nothing, grad_x = spmm.backward(graph, None, x, x, True, True)
    assert nothing is None
    oracles.assert_near(grad_x, spmm.backward(graph, ones, x, x, False, True)[1])


@runs
def test_spmm_computes_only_the_gradients_that_are_asked_for():
    graph, x = on_device(LONG), torch.randn(9, 2, 3).to(DEVICE)
    weight = torch.randn(LONG.num_edges, 2).to(DEVICE)
    both = spmm.backward(graph, weight, x, x, True, True)
    grad_weight, nothing = spmm.backward(graph, weight, x, x, True, False)
    assert nothing is None and torch.equal(grad_weight, both[0])
    nothing, grad_x = spmm.backward(graph, weight, x, x, False, True)
    assert nothing is None and torch.equal(grad_x, both[1])


@runs
def test_spmm_nan_reaches_only_the_targets_and_heads_that_read_it():
    graph = on_device(Graph(torch.tensor([[0, 1, 2], [1, 2, 2]]), 4))
    weight, x = torch.ones(3, 2), torch.ones(4, 2, 3)
    x[0, 1, 2] = torch.nan
    weight[1, 0] = torch.nan
    x[3] = torch.nan  # sends nothing
    wanted = torch.zeros(4, 2, 3, dtype=torch.bool)
    wanted[1, 1, 2] = True
    wanted[2, 0] = True
    assert torch.equal(spmm.forward(graph, weight.to(DEVICE), x.to(DEVICE)).isnan().cpu(), wanted)


@runs
def test_strided_and_unaligned_inputs_give_the_numbers_of_contiguous_ones():
    graph = on_device(LONG)
    weight, x = torch.randn(2, LONG.num_edges).to(DEVICE).t(), torch.randn(4, 2, 9).to(DEVICE).permute(2, 1, 0)
    wanted = spmm.forward(graph, weight.contiguous(), x.contiguous())
    assert not weight.is_contiguous() and torch.equal(spmm.forward(graph, weight, x), wanted)
    unaligned = torch.cat([x.new_zeros(1), x.flatten()])[1:].reshape(x.shape)
    assert unaligned.data_ptr() % 16 and torch.equal(spmm.forward(graph, weight, unaligned), wanted)


# ---------------------------------------------------------------- softmax
@runs
@pytest.mark.parametrize("shift", [1000.0, -1000.0, 1e300])
@pytest.mark.parametrize("length", [4, 512])
def test_a_softmax_does_not_see_what_all_scores_share(shift, length, monkeypatch):
    monkeypatch.setattr(triton_rows, "EDGES_PER_PIECE", length)
    score = torch.randn(LONG.num_edges, 2) + shift
    got = segment_softmax.forward(on_device(LONG), score.to(DEVICE)).cpu()
    oracles.assert_near(got, oracles.segment_softmax(score, LONG.target, 9))


@runs
@pytest.mark.parametrize("length", [4, 512])
def test_scores_of_minus_infinity_get_nothing_and_nan_fills_its_node_and_head(length, monkeypatch):
    monkeypatch.setattr(triton_rows, "EDGES_PER_PIECE", length)
    score = torch.randn(LONG.num_edges, 3)
    into, first = LONG.target == 0, int((LONG.target == 0).nonzero()[0])
    score[first, 0] = -torch.inf
    score[into, 1] = -torch.inf
    score[first, 2] = torch.nan
    p = segment_softmax.forward(on_device(LONG), score.to(DEVICE)).cpu()
    assert p[first, 0] == 0 and (p[into, 1] == 0).all() and p[into, 2].isnan().all()
    rest = p.clone()
    rest[into, 2] = 0
    score[into, 2] = -torch.inf
    oracles.assert_near(rest, oracles.segment_softmax(score, LONG.target, 9))


# ---------------------------------------------------------------- attention
def scores_with_infinities() -> tuple[Tensor, Tensor]:
    score_source, score_target = torch.randn(9, 2), torch.randn(9, 2)
    score_source[3, 0] = -torch.inf  # node 3 gets no weight from anyone in head 0
    score_target[0, 1] = -torch.inf  # node 0 gives none in head 1
    return score_source, score_target


@runs
@pytest.mark.parametrize("length", [4, 512])
def test_attention_to_minus_infinity_is_nothing_and_so_are_its_gradients(length, monkeypatch):
    monkeypatch.setattr(triton_rows, "EDGES_PER_PIECE", length)
    graph, x = on_device(LONG), torch.randn(9, 2, 3)
    score_source, score_target = scores_with_infinities()
    score = torch.nn.functional.leaky_relu(score_source[LONG.source] + score_target[LONG.target], 0.2)
    inputs = [t.to(DEVICE) for t in (score_source, score_target, x)]
    y, top, total = attention.forward(graph, *inputs, 0.2, 0.0, 0)
    oracles.assert_near(y.cpu(), weighted_sum(LONG, softmax(LONG, score), x))
    assert (y[0, 1] == 0).all() and top[0, 1] == total[0, 1] == 0
    grads = attention.backward(graph, *inputs, y, top, total, torch.ones_like(y), 0.2, 0.0, 0)
    assert all(grad.isfinite().all() for grad in grads[:3])
    assert grads[0][3, 0] == 0 and grads[1][0, 1] == 0 and (grads[2][3, 0] == 0).all()


@runs
@pytest.mark.parametrize("length", [4, 512])
def test_attention_keeps_the_largest_score_and_the_sum_beyond_it_and_0_without_edges(length, monkeypatch):
    monkeypatch.setattr(triton_rows, "EDGES_PER_PIECE", length)
    edges = Graph(LONG.edge_index, 11)  # 9 and 10 have none
    score_source, score_target, x = torch.randn(11, 2), torch.randn(11, 2), torch.randn(11, 2, 3)
    score = torch.nn.functional.leaky_relu(score_source[edges.source] + score_target[edges.target], 0.2)
    largest = torch.stack([score[edges.target == i].amax(0) for i in range(9)])
    beyond = torch.stack([(score[edges.target == i] - largest[i]).exp().sum(0) for i in range(9)])
    inputs = [t.to(DEVICE) for t in (score_source, score_target, x)]
    y, top, total = attention.forward(on_device(edges), *inputs, 0.2, 0.0, 0)
    assert torch.equal(top[:9].cpu(), largest)
    oracles.assert_near(total[:9].cpu(), beyond)
    assert not any(t[9:].any() for t in (y, top, total))


@runs
@pytest.mark.filterwarnings("ignore:All-NaN slice")  # the interpreter's maximum
@pytest.mark.parametrize("length", [4, 512])
def test_attention_nan_reaches_its_node_and_head_only(length, monkeypatch):
    monkeypatch.setattr(triton_rows, "EDGES_PER_PIECE", length)
    score_source, score_target, x = torch.randn(9, 2), torch.randn(9, 2), torch.randn(9, 2, 3)
    score_target[0, 1] = torch.nan
    inputs = [t.to(DEVICE) for t in (score_source, score_target, x)]
    nan = attention.forward(on_device(LONG), *inputs, 0.2, 0.0, 0)[0].isnan().cpu()
    assert nan[0, 1].all() and nan.sum() == 3
    score_target = x.clone()
    score_target[0, 1, 2] = torch.nan
    inputs = [t.to(DEVICE) for t in (x, score_target, x[0])]
    nan = attention_v2.forward(on_device(LONG), *inputs, 0.2, 0.0, 0)[0].isnan().cpu()
    assert nan[0, 1].all() and nan.sum() == 3


@runs
def test_attention_without_target_scores_is_attention_with_zeros():
    check(_attention_op(0.3, 7, targets=False), LONG, 3, 4, torch.float64)


@runs
@pytest.mark.parametrize("seed", [0, 1, -1, 2**31, 2**32 - 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("dropout", [0.25, 1.0])
def test_dropout_keeps_what_the_hash_keeps(dropout, seed):
    # with one edge a node, the weight before dropout is 1
    graph = Graph(torch.arange(12).expand(2, -1), 12)
    scores, x = torch.zeros(12, 2), torch.ones(12, 2, 1)
    inputs = [t.to(DEVICE) for t in (scores, scores, x)]
    y, *_ = attention.forward(on_device(graph), *inputs, 0.2, dropout, seed)
    oracles.assert_near(y[..., 0].cpu(), factors(graph, 2, dropout, seed))
    inputs = [t.to(DEVICE) for t in (x, x, x[0])]
    y, *_ = attention_v2.forward(on_device(graph), *inputs, 0.2, dropout, seed)
    oracles.assert_near(y[..., 0].cpu(), factors(graph, 2, dropout, seed))


@runs
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(0,), (), (3, 5), (2100,)], ids=str)
def test_dropout_of_a_tensor_is_the_definition(shape, dtype):
    x = torch.randn(shape).to(dtype)
    for p, seed in ((0.3, 5), (0.6, -(2**63)), (1.0, 2**63 - 1)):
        got = dropped.forward(x.to(DEVICE), p, seed).cpu()
        wanted = mask.applied(x, p, seed)
        assert torch.equal(got == 0, wanted == 0)
        oracles.assert_near(got, wanted, tolerance=TOLERANCE[dtype])  # the interpreter cuts bits of bfloat16 off


@runs
def test_dropout_of_positions_beyond_32_bits_has_keys_of_their_own():
    position = torch.tensor([0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**40 + 3, 2**33, 7] * 4)
    out = torch.empty(32, device=DEVICE)
    constants = {"THRESHOLD": 2**31, "SCALE": 2.0, "ACC": tl.float64}
    triton_launch.launch(_factors, (1, 1), position.to(DEVICE), out, 9, WIDE=True, **constants)
    assert torch.equal(out.cpu(), 2.0 * (mask.hashed(position, 9) >= 2**31))


@triton_launch.jit
def _factors(
    position, out, seed: tl.int64, WIDE: tl.constexpr, THRESHOLD: tl.constexpr, SCALE: tl.constexpr, ACC: tl.constexpr
):
    at = tl.arange(0, 32)
    number = tl.load(position + at)
    tl.store(out + at, dropout_factor(number, seed, WIDE, THRESHOLD, SCALE, ACC))


@runs
@pytest.mark.parametrize("heads, channels", [(0, 3), (2, 0)])
def test_signals_without_numbers_are_served(heads, channels):
    graph, x = on_device(GRAPHS["path"]), torch.ones(5, heads, channels).to(DEVICE)
    weight, score = torch.ones(8, heads).to(DEVICE), torch.ones(5, heads).to(DEVICE)
    shape: Any = (5, heads, channels)
    assert spmm.forward(graph, weight, x).shape == shape
    assert (spmm.backward(graph, weight, x, x, True, True)[0] == 0).all()
    assert (sddmm.forward(graph, x, x) == 0).all()
    assert segment_softmax.forward(graph, weight).shape == (8, heads)
    for op, arguments in ((attention, (score, score, x)), (attention_v2, (x, x, x[0]))):
        y, top, total = op.forward(graph, *arguments, 0.2, 0.0, 0)
        assert y.shape == shape and top.shape == total.shape == (5, heads)
        grads = op.backward(graph, *arguments, y, top, total, y, 0.2, 0.0, 0)
        assert grads[3:] == (None, None)
        assert all((grad == 0).all() and grad.shape == t.shape for grad, t in zip(grads, arguments, strict=False))


# ---------------------------------------------------------------- xnor
@runs
@pytest.mark.parametrize(
    "m, n, words, k", [(1, 1, 1, 1), (17, 5, 1, 63), (16, 33, 3, 130), (3, 16, 9, 576), (0, 3, 2, 70)]
)
def test_products_of_packed_signs_are_the_definition(m, n, words, k):
    a, w = (torch.randint(-(2**63), 2**63 - 1, (rows, words)) for rows in (m, n))
    if k < 64 * words:  # bits that are no signs are 0
        for rows in (a, w):
            rows[:, -1] &= (1 << (k - 64 * (words - 1))) - 1
    dots = xnor.xnor(a.to(DEVICE), w.to(DEVICE), k)
    assert torch.equal(dots.cpu(), xnor_reference.xnor(a, w, k))


# ---------------------------------------------------------------- matrices of few bits
@runs
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_codes_multiply_as_the_decoded_matrix(bits, dtype):
    for rows, columns, by_row in ((11, 37, True), (8, 128, False), (3, 260, True)):
        code, levels = torch.randint(0, 1 << bits, (rows, columns)), torch.randn(1 << bits)
        scale, x = torch.randn(rows if by_row else 1).to(dtype), torch.randn(2, columns).to(dtype)
        tensors = (t.to(DEVICE) for t in (x, to_bytes(code, bits), levels, scale))
        x, codes, levels, scale = tensors
        y = codes_linear.forward(x, codes, bits, levels, scale, rows)
        weight = levels.to(dtype).double().cpu()[code] * scale.double().cpu().view(-1, 1)
        assert y.dtype == dtype
        oracles.assert_near(y.double().cpu(), x.double().cpu() @ weight.mT, tolerance=TOLERANCE[dtype])


@runs
@pytest.mark.parametrize("block", [(1, 16), (4, 4), (16, 1), (3, 5)])
def test_blocks_of_one_magnitude_multiply_as_the_matrix(block):
    across, down = -(-37 // block[1]), -(-11 // block[0])
    size, positive = torch.randn(down * across), torch.rand(down * across, block[0] * block[1]) < 0.5
    x, signs = torch.randn(2, 37), to_bytes(positive, 1)
    y = unified_linear.forward(*(t.to(DEVICE) for t in (x, size, signs)), block, (11, 37))
    oracles.assert_near(y.cpu(), definition_of_unified(x, size, signs, block, (11, 37)))
