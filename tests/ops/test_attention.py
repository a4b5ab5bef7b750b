"""attention: every backend gives the numbers of its definition, with the same dropout mask."""

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops import mask
from edgenet.ops.kernels.attention import ATTENTION, composed, reference
from edgenet.testing import GRAPHS, random_graph

backends = pytest.mark.parametrize("backend", ops.available("attention"))
graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
BIPARTITE = Graph(torch.tensor([[0, 4, 4, 2, 4], [1, 0, 1, 2, 1]]), num_nodes=3, num_sources=6)


def inputs(graph, heads=2, channels=3, dtype=torch.float64):
    rows, nodes = graph.num_sources, graph.num_nodes
    shapes = (rows, heads), (nodes, heads), (rows, heads, channels)
    return [torch.randn(*shape, dtype=dtype) for shape in shapes]


def brought(graph, heads=2, dtype=torch.float64):
    """What edges bring: scores, and factors of their weights, of which some are 0."""
    factor = torch.randn(graph.num_edges, heads, dtype=dtype)
    return torch.randn(graph.num_edges, heads, dtype=dtype), factor * (torch.rand_like(factor) > 0.2)


def with_edges(graph, *tensors, **options):
    return ops.attention(graph, *tensors[:3], score_edge=tensors[3], edge_weight=tensors[4], **options)


def definition(graph, *tensors):
    """A loop over nodes and heads."""
    x, *edges = tensors[2:]
    rows = []
    for i in range(graph.num_nodes):
        into = graph.target == i
        j = graph.source[into]
        own, times = (edges[0][into], edges[1][into].unsqueeze(-1)) if edges else (0, 1)
        score = torch.nn.functional.leaky_relu(tensors[0][j] + tensors[1][i] + own, 0.2)
        rows.append((score.softmax(0).unsqueeze(-1) * times * x[j]).sum(0))
    if not rows:  # empty, and still a function of all
        return x * sum(t.sum() for t in tensors)
    return torch.stack(rows)


def check(backend, graph, tensors):
    with ops.use(backend):
        oracles.assert_same_function(lambda *t: ops.attention(graph, *t), lambda *t: definition(graph, *t), tensors)


@graphs
@backends
@pytest.mark.parametrize("heads, channels", [(3, 7), (1, 1), (2, 300), (8, 8)])
def test_forward_and_gradients_are_the_loop_over_nodes(backend, graph, heads, channels):
    check(backend, graph, inputs(graph, heads, channels))


@backends
def test_it_goes_from_sources_to_targets_of_a_bipartite_graph(backend):
    check(backend, BIPARTITE, inputs(BIPARTITE))


@backends
def test_strided_inputs_give_the_numbers_of_contiguous_ones(backend):
    graph = GRAPHS["directed"]
    check(backend, graph, [torch.stack([t, t], -1)[..., 0] for t in inputs(graph)])


@graphs
@backends
@pytest.mark.parametrize("heads, channels", [(3, 7), (1, 1), (8, 8), (13, 2)])
def test_edges_add_to_scores_and_multiply_weights(backend, graph, heads, channels):
    tensors = [*inputs(graph, heads, channels), *brought(graph, heads)]
    with ops.use(backend):
        oracles.assert_same_function(
            lambda *t: with_edges(graph, *t), lambda *t: definition(graph, *t), tensors
        )  # fmt: skip


@backends
@pytest.mark.parametrize("given", [0, 1])
@pytest.mark.parametrize("graph", [GRAPHS["directed"], BIPARTITE], ids=["directed", "bipartite"])
def test_edges_may_bring_one_thing_alone_and_targets_no_score(backend, graph, given):
    source, _, x = inputs(graph)
    zeros, ones = torch.zeros(graph.num_edges, 2).double(), torch.ones(graph.num_edges, 2).double()
    own = brought(graph)[given]
    name = ("score_edge", "edge_weight")[given]
    with ops.use(backend):
        oracles.assert_same_function(
            lambda s, x, e: ops.attention(graph, s, None, x, **{name: e}),
            lambda s, x, e: definition(
                graph, s, torch.zeros(graph.num_nodes, 2).double(), x, *((e, ones) if given == 0 else (zeros, e))
            ),
            [source, x, own],
        )


@backends
@graphs
@pytest.mark.parametrize("dropout", [0.4, 1.0])
def test_what_edges_bring_meets_the_mask_of_the_definition(backend, graph, dropout):
    tensors = [*inputs(graph), *brought(graph)]
    with ops.use(backend):
        oracles.assert_same_function(
            lambda *t: ATTENTION.op.registered(*arguments(graph, t[:3], dropout), *t[3:])[0],
            lambda *t: composed(graph, *t[:3], 0.2, dropout, 77, *t[3:]),
            tensors,
        )
        torch.manual_seed(5)
        y = with_edges(graph, *tensors, dropout=dropout)
        torch.manual_seed(5)
        seed = mask.draw(dropout)
        torch.testing.assert_close(y, composed(graph, *tensors[:3], 0.2, dropout, seed, *tensors[3:]))


@backends
def test_bfloat16_is_near_float32(backend):
    graph = GRAPHS["directed"]
    tensors = [t.bfloat16() for t in inputs(graph, dtype=torch.float32)]
    with ops.use(backend):
        y = ops.attention(graph, *tensors)
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
        nan = ops.attention(graph, *tensors).isnan()
    assert nan[1, 0].all() and not nan[:, 1].any() and not nan[[0, 2, 3]].any()


@backends
def test_gradients_of_first_and_second_order_are_those_of_finite_differences(backend):
    graph = random_graph(5, 9)
    tensors = [t.requires_grad_() for t in inputs(graph, 2, 2)]
    of_edges = [t.requires_grad_() for t in brought(graph, 2)]
    with ops.use(backend):
        assert torch.autograd.gradcheck(lambda *t: ops.attention(graph, *t), tensors)
        assert torch.autograd.gradgradcheck(lambda *t: ops.attention(graph, *t), tensors)
        assert torch.autograd.gradgradcheck(lambda *t: with_edges(graph, *t), [*tensors, *of_edges])


def arguments(graph, tensors, dropout):
    return graph.source, graph.target, *tensors, graph.num_nodes, 0.2, dropout, torch.tensor(77)


@backends
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_op_keeps_the_rules_of_torch_library(backend, dropout):
    graph = GRAPHS["directed"]
    tensors = [t.requires_grad_() for t in inputs(graph)]
    with ops.use(backend):
        torch.library.opcheck(ATTENTION.op.registered, arguments(graph, tensors, dropout))
        edges = [t.requires_grad_() for t in brought(graph)]
        torch.library.opcheck(ATTENTION.op.registered, (*arguments(graph, tensors, dropout), *edges))


@backends
@graphs
@pytest.mark.parametrize("dropout", [0.0, 0.4, 1.0])
def test_every_backend_draws_the_mask_of_the_definition(backend, graph, dropout):
    tensors = inputs(graph)
    with ops.use(backend):
        oracles.assert_same_function(
            lambda *t: ATTENTION.op.registered(*arguments(graph, t, dropout))[0],
            lambda *t: composed(graph, *t, 0.2, dropout, 77),
            tensors,
        )


def test_dropout_keeps_the_expectation_and_follows_the_generator():
    graph = GRAPHS["directed"]
    tensors = inputs(graph)
    torch.manual_seed(3)
    draws = torch.stack([ops.attention(graph, *tensors, dropout=0.3) for _ in range(2000)])
    torch.manual_seed(3)
    assert torch.equal(draws[0], ops.attention(graph, *tensors, dropout=0.3))
    spread = draws.std(0) / 2000**0.5
    assert ((draws.mean(0) - ops.attention(graph, *tensors)).abs() <= 5 * spread + 1e-9).all()  # five standard errors
    assert not ops.attention(graph, *tensors, dropout=1.0).any()


def test_a_wrong_dropout_or_shape_is_refused():
    graph = GRAPHS["path"]
    tensors = inputs(graph)
    with pytest.raises(ValueError, match=r"1\.5"):
        ops.attention(graph, *tensors, dropout=1.5)
    with pytest.raises(ShapeError, match="signals"):
        ops.attention(graph, tensors[0][1:], *tensors[1:])
    for name in ("score_edge", "edge_weight"):
        with pytest.raises(ShapeError, match=rf"attention wants {name} \({graph.num_edges}, 2\), got"):
            ops.attention(graph, *tensors, **{name: torch.ones(graph.num_edges, 1)})


def test_compiled_whole_its_gradients_are_the_same():
    graph = GRAPHS["directed"]
    torch._dynamo.reset()
    compiled = torch.compile(lambda *t: ops.attention(graph, *t), fullgraph=True, backend="aot_eager")
    oracles.assert_same_function(compiled, lambda *t: definition(graph, *t), inputs(graph))
    torch._dynamo.reset()
    compiled = torch.compile(lambda *t: with_edges(graph, *t), fullgraph=True, backend="aot_eager")
    oracles.assert_same_function(compiled, lambda *t: definition(graph, *t), [*inputs(graph), *brought(graph)])


@backends
def test_a_batch_of_what_edges_bring_is_a_loop_over_it(backend):
    graph = GRAPHS["directed"]
    batch = [torch.stack(both) for both in zip([*inputs(graph), *brought(graph)], [*inputs(graph), *brought(graph)],
                                                strict=True)]  # fmt: skip
    with ops.use(backend):
        found = torch.vmap(lambda *t: with_edges(graph, *t))(*batch)
        loop = torch.stack([with_edges(graph, *(t[i] for t in batch)) for i in range(2)])
        torch.testing.assert_close(found, loop)
        gradient = torch.func.grad(lambda *t: with_edges(graph, *t).sin().sum(), argnums=(3, 4))
        found = torch.vmap(gradient)(*batch)
        loop = [gradient(*(t[i] for t in batch)) for i in range(2)]
        torch.testing.assert_close(found, tuple(torch.stack(g) for g in zip(*loop, strict=True)))


@settings(max_examples=25)
@given(nodes=st.integers(1, 9), edges=st.integers(0, 30), heads=st.integers(1, 4), channels=st.integers(1, 5))
def test_on_any_graph_and_shape_every_backend_is_the_definition(nodes, edges, heads, channels):
    graph = Graph(torch.randint(0, nodes, (2, edges)), nodes)
    for backend in ops.available("attention"):
        check(backend, graph, inputs(graph, heads, channels))


def test_a_score_of_zero_has_the_slope_that_torch_gives_it():
    """Also in the definition of the backward pass, which traced graphs run where there are no kernels."""
    graph = Graph(torch.tensor([[0, 1, 2], [0, 0, 0]]), 3)
    tensors = [torch.zeros(3, 1), torch.zeros(3, 1), torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)]
    for backend in ops.available("attention"):
        check(backend, graph, tensors)
    y, *kept = reference.forward(graph.source, graph.target, *tensors, 3, 0.2, 0.0, 0)
    grad = torch.tensor([1.0, 0.5, -2.0]).view(3, 1, 1)
    found = reference.backward(graph.source, graph.target, *tensors, y, *kept, grad, 0.2, 0.0, 0)
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    wanted = torch.autograd.grad(definition(graph, *leaves), leaves, grad)
    torch.testing.assert_close(tuple(found[:3]), wanted, rtol=1e-12, atol=1e-12)
