"""sddmm: every backend gives the numbers of the definition, and the op works wherever a torch op does."""

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops.pair import SDDMM
from edgenet.testing import GRAPHS, random_graph

backends = pytest.mark.parametrize("backend", ops.available("sddmm"))
graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def inputs(graph, heads=2, channels=3, dtype=torch.float64):
    return [torch.randn(n, heads, channels, dtype=dtype) for n in (graph.num_nodes, graph.num_sources)]


def check(backend, graph, tensors):
    with ops.use(backend):
        oracles.assert_same_function(
            lambda a, b: ops.sddmm(graph, a, b), lambda a, b: oracles.sddmm(graph, a, b), tensors
        )


@graphs
@backends
@pytest.mark.parametrize("heads, channels", [(3, 7), (1, 1), (2, 300)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sddmm_and_its_gradients_are_the_loop_over_edges(backend, graph, heads, channels, dtype):
    check(backend, graph, inputs(graph, heads, channels, dtype))


@backends
def test_the_first_signal_is_read_at_the_target_and_the_second_at_the_source(backend):
    graph = Graph(torch.tensor([[3, 0], [1, 0]]), num_nodes=2, num_sources=4)
    a, b = torch.tensor([[[1.0]], [[10.0]]]), torch.tensor([[[2.0]], [[3.0]], [[4.0]], [[5.0]]])
    with ops.use(backend):
        assert ops.sddmm(graph, a, b).flatten().tolist() == [50.0, 2.0]
    check(backend, graph, [a, b])


@backends
def test_strided_inputs_give_the_numbers_of_contiguous_ones(backend):
    graph = GRAPHS["directed"]
    a, b = torch.randn(3, 2, graph.num_nodes).permute(2, 1, 0), torch.randn(2 * graph.num_nodes, 2, 3)[::2]
    assert not a.is_contiguous() and not b.is_contiguous()
    check(backend, graph, [a, b])
    check(backend, graph, [a[:, :1].expand(-1, 2, -1), b])


@backends
def test_half_precision_is_summed_in_float32(backend):
    graph = Graph(torch.tensor([[0], [0]]), 1)
    a, b = torch.full((1, 1, 5000), 0.01).bfloat16(), torch.ones(1, 1, 5000).bfloat16()
    with ops.use(backend):
        w = ops.sddmm(graph, a, b)
    assert w.dtype == torch.bfloat16
    torch.testing.assert_close(w.float().item(), 5000 * a[0, 0, 0].item(), rtol=1e-2, atol=0)  # 8 bits of mantissa


@backends
def test_nan_reaches_only_the_edges_and_heads_that_touch_it(backend):
    graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3)
    a, b = torch.ones(3, 2, 3), torch.ones(3, 2, 3)
    a[1, 0, 2] = b[2, 1, 0] = torch.nan
    with ops.use(backend):
        assert ops.sddmm(graph, a, b).isnan().tolist() == [[True, False], [False, False], [False, True]]


@backends
@pytest.mark.parametrize("name", ["directed", "no_edges"])
def test_gradients_of_first_and_second_order_are_those_of_finite_differences(backend, name):
    graph = GRAPHS[name] if name != "directed" else random_graph(5, 9)
    tensors = [t.requires_grad_() for t in inputs(graph, 2, 2)]
    with ops.use(backend):
        assert torch.autograd.gradcheck(lambda a, b: ops.sddmm(graph, a, b), tensors)
        assert torch.autograd.gradgradcheck(lambda a, b: ops.sddmm(graph, a, b), tensors)


@backends
@pytest.mark.parametrize("name", ["directed", "no_edges"])
def test_the_op_keeps_the_rules_of_torch_library(backend, name):
    graph = GRAPHS[name]
    strided = [torch.randn(2, graph.num_nodes, 3).transpose(0, 1) for _ in range(2)]
    with ops.use(backend):
        for a, b in (inputs(graph), strided):
            a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
            torch.library.opcheck(SDDMM.registered, (graph.source, graph.target, a, b))


def test_compiled_whole_with_dynamic_sizes_it_gives_the_same_numbers_and_gradients():
    torch._dynamo.reset()

    def product(edge_index, a, b):
        return ops.sddmm(Graph(edge_index, a.shape[0]), a, b).tanh()

    compiled = torch.compile(product, fullgraph=True, dynamic=True, backend="aot_eager")
    for graph in (random_graph(9, 30), random_graph(14, 41)):
        oracles.assert_same_function(
            lambda a, b, graph=graph: compiled(graph.edge_index, a, b),
            lambda a, b, graph=graph: oracles.sddmm(graph, a, b).tanh(),
            inputs(graph),
        )


def test_exported_with_dynamic_nodes_and_edges_it_runs_on_another_graph():
    class Product(torch.nn.Module):
        def forward(self, edge_index, a, b):
            return ops.sddmm(Graph(edge_index, a.shape[0]), a, b)

    nodes, edges = torch.export.Dim("nodes", min=2), torch.export.Dim("edges", min=2)
    graph, other = GRAPHS["directed"], random_graph(29, 8)
    program = torch.export.export(
        Product(), (graph.edge_index, *inputs(graph)), dynamic_shapes=({1: edges}, {0: nodes}, {0: nodes})
    )
    a, b = inputs(other)
    oracles.assert_near(program.module()(other.edge_index, a, b), oracles.sddmm(other, a, b))


@pytest.mark.parametrize(
    "a_shape, b_shape, numbers",
    [
        ((4, 2, 3), (5, 2, 3), ["5 target", "5 source", "got 4", "and 5"]),
        ((5, 2, 3), (6, 2, 3), ["got 5", "and 6"]),
        ((5, 2, 3), (5, 2, 4), ["(5, 2, 3)", "(5, 2, 4)"]),
        ((5, 1, 3), (5, 2, 3), ["(5, 1, 3)", "(5, 2, 3)"]),
        ((5, 6), (5, 6), ["(5, 6)"]),
    ],
)
def test_a_wrong_shape_is_refused_with_its_numbers(a_shape, b_shape, numbers):
    with pytest.raises(ShapeError) as error:
        ops.sddmm(GRAPHS["path"], torch.ones(a_shape), torch.ones(b_shape))
    assert all(number in str(error.value) for number in numbers), error.value


@settings(max_examples=40)
@given(
    nodes=st.integers(1, 12),
    sources=st.integers(1, 12),
    edges=st.integers(0, 40),
    heads=st.integers(1, 4),
    channels=st.integers(1, 5),
    seed=st.integers(0, 999),
)
def test_on_any_graph_and_shape_every_backend_is_the_definition(nodes, sources, edges, heads, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    ends = [torch.randint(0, count, (edges,), generator=generator) for count in (sources, nodes)]
    graph = Graph(torch.stack(ends), nodes, sources)
    for backend in ops.available("sddmm"):
        check(backend, graph, inputs(graph, heads, channels))


@backends
def test_products_of_half_precision_are_not_rounded_before_they_are_summed(backend):
    graph = Graph(torch.arange(200).expand(2, -1).contiguous(), 200)
    a, b = (torch.randn(200, 1, 2000, dtype=torch.float32).bfloat16() for _ in range(2))
    wanted = (a.double() * b.double()).sum(-1)
    with ops.use(backend):
        off = (ops.sddmm(graph, a, b) - wanted).abs()
    assert (off <= wanted.abs() * 2**-8 + 1e-3).all()  # half a unit in the last place, and sums in float32
