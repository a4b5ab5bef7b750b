"""attention_v2: every backend gives the numbers of its definition, with the same dropout mask."""

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops.kernels.attention_v2 import ATTENTION_V2, composed
from edgenet.testing import GRAPHS, random_graph

backends = pytest.mark.parametrize("backend", ops.available("attention_v2"))
graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
BIPARTITE = Graph(torch.tensor([[0, 4, 4, 2, 4], [1, 0, 1, 2, 1]]), num_nodes=3, num_sources=6)


def inputs(graph, heads=2, channels=3, dtype=torch.float64):
    shapes = (graph.num_sources, heads, channels), (graph.num_nodes, heads, channels), (heads, channels)
    return [torch.randn(*shape, dtype=dtype) for shape in shapes]


def definition(graph, *tensors):
    """A loop over nodes and heads."""
    x, target, att, *factor = tensors
    rows = []
    for i in range(graph.num_nodes):
        into = graph.target == i
        j = graph.source[into]
        score = (torch.nn.functional.leaky_relu(x[j] + target[i], 0.2) * att).sum(-1)
        times = factor[0][into].unsqueeze(-1) if factor else 1
        rows.append((score.softmax(0).unsqueeze(-1) * times * x[j]).sum(0))
    if not rows:  # empty, and still a function of all
        return x * sum(t.sum() for t in tensors)
    return torch.stack(rows)


def check(backend, graph, tensors):
    with ops.use(backend):
        oracles.assert_same_function(lambda *t: ops.attention_v2(graph, *t), lambda *t: definition(graph, *t), tensors)


@graphs
@backends
@pytest.mark.parametrize("heads, channels", [(3, 7), (1, 1), (2, 300), (8, 8)])
def test_forward_and_gradients_are_the_loop_over_nodes(backend, graph, heads, channels):
    check(backend, graph, inputs(graph, heads, channels))


@backends
def test_it_goes_from_sources_to_targets_of_a_bipartite_graph(backend):
    check(backend, BIPARTITE, inputs(BIPARTITE))


@graphs
@backends
@pytest.mark.parametrize("heads, channels", [(3, 7), (1, 1), (8, 8)])
def test_edges_multiply_weights(backend, graph, heads, channels):
    factor = torch.randn(graph.num_edges, heads).double()
    with ops.use(backend):
        oracles.assert_same_function(
            lambda *t: ops.attention_v2(graph, *t[:3], edge_weight=t[3]),
            lambda *t: definition(graph, *t),
            [*inputs(graph, heads, channels), factor],
        )


@backends
@pytest.mark.parametrize("dropout", [0.4, 1.0])
def test_factors_of_edges_meet_the_mask_of_the_definition(backend, dropout):
    graph = GRAPHS["directed"]
    tensors = [*inputs(graph), torch.randn(graph.num_edges, 2).double()]
    with ops.use(backend):
        oracles.assert_same_function(
            lambda *t: ATTENTION_V2.op.registered(*arguments(graph, t[:3], dropout), None, t[3])[0],
            lambda *t: composed(graph, *t[:3], 0.2, dropout, 77, None, t[3]),
            tensors,
        )


@backends
def test_strided_inputs_give_the_numbers_of_contiguous_ones(backend):
    graph = GRAPHS["directed"]
    check(backend, graph, [torch.stack([t, t], -1)[..., 0] for t in inputs(graph)])


@backends
def test_bfloat16_is_near_float32(backend):
    graph = GRAPHS["directed"]
    tensors = [t.bfloat16() for t in inputs(graph, dtype=torch.float32)]
    with ops.use(backend):
        y = ops.attention_v2(graph, *tensors)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(  # 8 bits of mantissa
        y.float(), definition(graph, *[t.float() for t in tensors]), rtol=5e-2, atol=5e-2
    )


@backends
def test_nan_in_a_sender_reaches_its_receivers(backend):
    graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 2]]), 4)
    tensors = inputs(graph)
    tensors[0][0, 0] = torch.nan
    with ops.use(backend):
        nan = ops.attention_v2(graph, *tensors).isnan()
    assert nan[1, 0].all() and not nan[:, 1].any() and not nan[[0, 2, 3]].any()


@backends
def test_gradients_of_first_and_second_order_are_those_of_finite_differences(backend):
    graph = random_graph(5, 9)
    tensors = [t.requires_grad_() for t in inputs(graph, 2, 2)]
    with ops.use(backend):
        assert torch.autograd.gradcheck(lambda *t: ops.attention_v2(graph, *t), tensors)
        assert torch.autograd.gradgradcheck(lambda *t: ops.attention_v2(graph, *t), tensors)


def arguments(graph, tensors, dropout):
    return graph.source, graph.target, *tensors, graph.num_nodes, 0.2, dropout, torch.tensor(77)


@backends
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_op_keeps_the_rules_of_torch_library(backend, dropout):
    graph = GRAPHS["directed"]
    tensors = [t.requires_grad_() for t in inputs(graph)]
    with ops.use(backend):
        torch.library.opcheck(ATTENTION_V2.op.registered, arguments(graph, tensors, dropout))


@backends
@graphs
@pytest.mark.parametrize("dropout", [0.0, 0.4, 1.0])
def test_every_backend_draws_the_mask_of_the_definition(backend, graph, dropout):
    tensors = inputs(graph)
    with ops.use(backend):
        oracles.assert_same_function(
            lambda *t: ATTENTION_V2.op.registered(*arguments(graph, t, dropout))[0],
            lambda *t: composed(graph, *t, 0.2, dropout, 77),
            tensors,
        )


def test_dropout_keeps_the_expectation_and_follows_the_generator():
    graph = GRAPHS["directed"]
    tensors = inputs(graph)
    torch.manual_seed(3)
    draws = torch.stack([ops.attention_v2(graph, *tensors, dropout=0.3) for _ in range(2000)])
    torch.manual_seed(3)
    assert torch.equal(draws[0], ops.attention_v2(graph, *tensors, dropout=0.3))
    spread = draws.std(0) / 2000**0.5
    assert (
        (draws.mean(0) - ops.attention_v2(graph, *tensors)).abs() <= 5 * spread + 1e-9
    ).all()  # five standard errors
    assert not ops.attention_v2(graph, *tensors, dropout=1.0).any()


def test_a_wrong_dropout_or_shape_is_refused():
    graph = GRAPHS["path"]
    tensors = inputs(graph)
    with pytest.raises(ValueError, match=r"1\.5"):
        ops.attention_v2(graph, *tensors, dropout=1.5)
    with pytest.raises(ShapeError, match="signals"):
        ops.attention_v2(graph, tensors[0][1:], *tensors[1:])


def test_compiled_whole_its_gradients_are_the_same():
    graph = GRAPHS["directed"]
    torch._dynamo.reset()
    compiled = torch.compile(lambda *t: ops.attention_v2(graph, *t), fullgraph=True, backend="aot_eager")
    oracles.assert_same_function(compiled, lambda *t: definition(graph, *t), inputs(graph))


@settings(max_examples=25)
@given(nodes=st.integers(1, 9), edges=st.integers(0, 30), heads=st.integers(1, 4), channels=st.integers(1, 5))
def test_on_any_graph_and_shape_every_backend_is_the_definition(nodes, edges, heads, channels):
    graph = Graph(torch.randint(0, nodes, (2, edges)), nodes)
    for backend in ops.available("attention_v2"):
        check(backend, graph, inputs(graph, heads, channels))
