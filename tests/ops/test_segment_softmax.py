"""segment_softmax: every backend gives the numbers of the definition, and the op works wherever a torch op does."""

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.ops.kernels.segment_softmax import _segment_softmax
from edgenet.testing import GRAPHS, random_graph

backends = pytest.mark.parametrize("backend", ops.available("segment_softmax"))
graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
INDEX = torch.tensor([3, 0, 3, 1, 0, 3])  # of 5 segments; 2 and 4 are empty


def check(backend, score, index, num_segments):
    with ops.use(backend):
        oracles.assert_same_function(
            lambda s: ops.segment_softmax(s, index, num_segments),
            lambda s: oracles.segment_softmax(s, index, num_segments),
            [score],
        )


@graphs
@backends
@pytest.mark.parametrize("heads", [1, 3, 20])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_it_and_its_gradient_are_torch_softmax_segment_by_segment(backend, graph, heads, dtype):
    check(backend, torch.randn(graph.num_edges, heads, dtype=dtype), graph.target, graph.num_nodes)


@backends
def test_the_weights_of_every_segment_sum_to_one(backend):
    with ops.use(backend):
        p = ops.segment_softmax(torch.randn(6, 2), INDEX, 5)
    total = torch.zeros(5, 2).index_add(0, INDEX, p)
    oracles.assert_near(total, torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])[:, None].expand(5, 2))


@backends
@pytest.mark.parametrize("shift", [1000.0, -1000.0, 1e300])
def test_a_shift_of_all_scores_changes_nothing_and_nothing_overflows(backend, shift):
    score = torch.randn(6, 2)
    with ops.use(backend):
        shifted = ops.segment_softmax(score + shift, INDEX, 5)
        wanted = ops.segment_softmax((score + shift) - shift, INDEX, 5)  # with the digits that the shift leaves
    oracles.assert_near(shifted, wanted)


@backends
def test_scores_at_the_end_of_the_range_are_numbers_like_others(backend):
    # finfo.min is a common mask: a segment of nothing else is a segment of equals
    low = torch.finfo(torch.float64).min
    with ops.use(backend):
        p = ops.segment_softmax(torch.tensor([[low], [low], [low], [2.0]]), torch.tensor([0, 0, 1, 1]), 2)
    assert p.flatten().tolist() == [0.5, 0.5, 0.0, 1.0]


@backends
def test_a_score_of_minus_infinity_has_weight_and_gradient_zero(backend):
    score = torch.randn(6, 2)
    score[0, 0] = score[3] = -torch.inf  # one of segment 3; all of segment 1
    check(backend, score, INDEX, 5)
    with ops.use(backend):
        p = ops.segment_softmax(score, INDEX, 5)
    assert p[0, 0] == 0 and p[3].tolist() == [0, 0]


@backends
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nan_and_infinity_spoil_their_segment_and_head_alone(backend, value):
    score = torch.randn(6, 2)
    score[2, 1] = value
    with ops.use(backend):
        nan = ops.segment_softmax(score, INDEX, 5).isnan()
    wanted = torch.zeros(6, 2, dtype=torch.bool)
    wanted[INDEX == 3, 1] = True
    assert torch.equal(nan, wanted)


@backends
def test_a_segment_of_nothing_but_nan_is_nan(backend):
    with ops.use(backend):
        p = ops.segment_softmax(torch.tensor([[torch.nan], [torch.nan], [1.0]]), torch.tensor([0, 0, 1]), 2)
    assert p.isnan().flatten().tolist() == [True, True, False]


@backends
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(backend, dtype):
    with ops.use(backend):
        p = ops.segment_softmax(torch.zeros(5000, 1, dtype=dtype), torch.zeros(5000, dtype=torch.long), 1)
    assert p.dtype == dtype
    torch.testing.assert_close(p.float(), torch.full((5000, 1), 1 / 5000).float(), rtol=1e-2, atol=0)  # 8 bits


@backends
def test_the_gradient_in_half_precision_is_summed_in_float32(backend):
    score = torch.zeros(5000, 1, dtype=torch.bfloat16, requires_grad=True)
    direction = torch.cat([torch.full((4999, 1), 1.0), torch.full((1, 1), 2.0)]).bfloat16()
    with ops.use(backend):
        (ops.segment_softmax(score, torch.zeros(5000, dtype=torch.long), 1) * direction).sum().backward()
    # p (g - mean g): 1/5000 of -1/5000 and of 1; the mean is 1.0002, of which bfloat16 keeps two or three digits of g
    assert abs(score.grad[-1, 0].item() * 5000 - 1) < 0.02
    assert score.grad[:-1].abs().max() * 5000 < 0.02


@backends
def test_strided_scores_give_the_numbers_of_contiguous_ones(backend):
    check(backend, torch.randn(2, 6).t(), INDEX, 5)
    check(backend, torch.randn(6, 1).expand(-1, 2), INDEX, 5)
    check(backend, torch.randn(12, 2)[::2], INDEX, 5)


@backends
@pytest.mark.parametrize("rows", [6, 0])
def test_gradients_of_first_and_second_order_are_those_of_finite_differences(backend, rows):
    score = torch.randn(rows, 2, requires_grad=True)
    with ops.use(backend):
        assert torch.autograd.gradcheck(lambda s: ops.segment_softmax(s, INDEX[:rows], 5), [score])
        assert torch.autograd.gradgradcheck(lambda s: ops.segment_softmax(s, INDEX[:rows], 5), [score])


@backends
def test_the_op_keeps_the_rules_of_torch_library(backend):
    scores = torch.randn(6, 2), torch.randn(2, 6).t(), torch.randn(6, 1).expand(-1, 2), torch.randn(0, 2)
    with ops.use(backend):
        for score in scores:
            score = score.detach().requires_grad_()
            torch.library.opcheck(_segment_softmax, (score, INDEX[: len(score)], 5))


def test_compiled_whole_with_dynamic_sizes_it_gives_the_same_numbers_and_gradients():
    torch._dynamo.reset()

    def softmax(score, index, x):
        return ops.segment_softmax(score, index, x.shape[0]).square()

    compiled = torch.compile(softmax, fullgraph=True, dynamic=True, backend="aot_eager")
    for graph in (random_graph(9, 30), random_graph(14, 41)):
        x = torch.zeros(graph.num_nodes)
        oracles.assert_same_function(
            lambda s, graph=graph, x=x: compiled(s, graph.target, x),
            lambda s, graph=graph: oracles.segment_softmax(s, graph.target, graph.num_nodes).square(),
            [torch.randn(graph.num_edges, 2)],
        )


def test_exported_with_dynamic_segments_and_rows_it_runs_on_another_graph():
    class Softmax(torch.nn.Module):
        def forward(self, score, index, x):
            return ops.segment_softmax(score, index, x.shape[0])

    nodes, edges = torch.export.Dim("nodes", min=2), torch.export.Dim("edges", min=2)
    graph, other = GRAPHS["directed"], random_graph(29, 8)
    program = torch.export.export(
        Softmax(),
        (torch.randn(graph.num_edges, 2), graph.target, torch.zeros(graph.num_nodes)),
        dynamic_shapes=({0: edges}, {0: edges}, {0: nodes}),
    )
    score = torch.randn(other.num_edges, 2)
    got = program.module()(score, other.target, torch.zeros(other.num_nodes))
    oracles.assert_near(got, oracles.segment_softmax(score, other.target, other.num_nodes))


@pytest.mark.parametrize(
    "score_shape, index_shape, numbers",
    [((6,), (6,), ["(6,)"]), ((6, 2), (5,), ["(6, 2)", "(5,)"]), ((6, 2), (6, 1), ["(6, 1)"])],
)
def test_a_wrong_shape_is_refused_with_its_numbers(score_shape, index_shape, numbers):
    with pytest.raises(ShapeError) as error:
        ops.segment_softmax(torch.zeros(score_shape), torch.zeros(index_shape, dtype=torch.long), 3)
    assert all(number in str(error.value) for number in numbers), error.value


@settings(max_examples=40)
@given(rows=st.integers(0, 40), segments=st.integers(1, 12), heads=st.integers(1, 4), seed=st.integers(0, 999))
def test_on_any_segments_every_backend_is_the_definition(rows, segments, heads, seed):
    index = torch.randint(0, segments, (rows,), generator=torch.Generator().manual_seed(seed))
    score = 10 * torch.randn(rows, heads)
    score[torch.rand(rows, heads) < 0.2] = -torch.inf
    for backend in ops.available("segment_softmax"):
        check(backend, score, index, segments)
