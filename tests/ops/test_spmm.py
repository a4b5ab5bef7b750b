"""spmm: every backend gives the numbers of the definition, and the op works wherever a torch op does."""

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet import ops
from edgenet.errors import ShapeError
from edgenet.graph import Graph
from edgenet.ops.pair import SPMM
from edgenet.testing import GRAPHS, random_graph

backends = pytest.mark.parametrize("backend", ops.available("spmm"))
graphs = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
BIPARTITE = Graph(torch.tensor([[0, 4, 4, 2, 4], [1, 0, 1, 2, 1]]), num_nodes=3, num_sources=6)


def inputs(graph, heads=2, channels=3, dtype=torch.float64, weight_heads=None, x_heads=None):
    weight = torch.randn(graph.num_edges, weight_heads or heads, dtype=dtype)
    return [weight, torch.randn(graph.num_sources, x_heads or heads, channels, dtype=dtype)]


def check(backend, graph, tensors):
    with ops.use(backend):
        oracles.assert_same_function(
            lambda w, x: ops.spmm(graph, w, x), lambda w, x: oracles.spmm(graph, w, x), tensors
        )


@graphs
@backends
@pytest.mark.parametrize("heads, channels", [(3, 7), (1, 1), (2, 300)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_spmm_and_its_gradients_are_the_loop_over_edges(backend, graph, heads, channels, dtype):
    check(backend, graph, inputs(graph, heads, channels, dtype))


@backends
@pytest.mark.parametrize("weight_heads, x_heads", [(1, 3), (3, 1)])
def test_one_weighting_serves_all_heads_and_one_signal_all_weightings(backend, weight_heads, x_heads):
    graph = GRAPHS["directed"]
    check(backend, graph, inputs(graph, channels=4, weight_heads=weight_heads, x_heads=x_heads))


@backends
def test_spmm_goes_from_sources_to_targets_of_a_bipartite_graph(backend):
    check(backend, BIPARTITE, inputs(BIPARTITE))


@backends
def test_spmm_by_hand(backend):
    graph = Graph(torch.tensor([[0, 2], [1, 1]]), 3)
    with ops.use(backend):
        y = ops.spmm(graph, torch.tensor([[2.0], [3.0]]), torch.tensor([[[1.0]], [[10.0]], [[100.0]]]))
    assert y.flatten().tolist() == [0.0, 302.0, 0.0]


@backends
def test_strided_inputs_give_the_numbers_of_contiguous_ones(backend):
    graph = GRAPHS["directed"]
    weight = torch.randn(2, graph.num_edges * 2)[:, ::2].t()
    x = torch.randn(3, 2, graph.num_nodes).permute(2, 1, 0)
    assert not weight.is_contiguous() and not x.is_contiguous()
    check(backend, graph, [weight, x])
    check(backend, graph, [weight[:, :1].expand(-1, 2), x[:, :1].expand(-1, 2, -1)])
    turned = graph.edge_index.t().contiguous().t()
    check(backend, Graph(turned, graph.num_nodes), [weight, x])


@backends
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(backend, dtype):
    # 5000 times 0.01: a running sum in bfloat16 stalls at 4, in float16 at 32
    graph = Graph(torch.stack([torch.arange(1, 5001), torch.zeros(5000, dtype=torch.long)]), 5001)
    weight, x = torch.full((5000, 1), 0.01, dtype=dtype), torch.ones(5001, 1, 1, dtype=dtype)
    with ops.use(backend):
        y = ops.spmm(graph, weight, x)
        # d/dx of the leaves' common signal is a sum of as many
        back = ops.spmm(graph.transpose(), weight, x)
    assert y.dtype == dtype
    torch.testing.assert_close(y[0, 0, 0].float(), 5000 * weight[0, 0].float(), rtol=1e-2, atol=0)  # 8 bits of mantissa
    assert back[1, 0, 0] == weight[0, 0]


@backends
def test_different_dtypes_are_promoted(backend):
    graph = GRAPHS["path"]
    weight, x = inputs(graph)
    with ops.use(backend):
        assert ops.spmm(graph, weight.float(), x).dtype == torch.float64
        assert ops.spmm(graph, weight.bfloat16(), x.float()).dtype == torch.float32


@backends
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int64])
def test_integer_weights_and_signals_are_promoted_before_anything_is_summed(backend, dtype):
    graph = Graph(torch.stack([torch.arange(300), torch.zeros(300, dtype=torch.long)]), 300)
    weight, x = torch.ones(300, 1, dtype=dtype), torch.full((300, 1, 1), 3).to(torch.float32)
    with ops.use(backend):
        for y in (ops.spmm(graph, weight, x), ops.spmm(graph, x[:, 0], weight[:, None])):
            assert y[0].item() == 900 and y.dtype == torch.float32
        for y in (ops.spmm(graph, weight, weight[:, None]), ops.spmm(graph, None, weight[:, None])):
            assert y[0].item() == 300 and y.dtype == torch.int64


@backends
def test_integers_are_promoted_in_the_other_ops_too(backend):
    graph = Graph(torch.tensor([[0, 1], [1, 1]]), 2)
    x = torch.full((2, 1, 9), 100, dtype=torch.uint8)
    with ops.use(backend):
        assert ops.sddmm(graph, x, x).tolist() == [[90_000], [90_000]]
        assert ops.sddmm(graph, x, x.float()).tolist() == [[90_000.0], [90_000.0]]
        assert ops.segment_softmax(torch.ones(2, 1, dtype=torch.int8), graph).tolist() == [[0.5], [0.5]]
        score = torch.zeros(2, 1, dtype=torch.int8)
        assert ops.attention(graph, score, score, x).flatten().tolist() == [0.0] * 9 + [100.0] * 9
        assert ops.attention(graph, score.float(), score.double(), x.float()).dtype == torch.float64
        assert ops.attention_v2(graph, x, x, x[0]).flatten().tolist() == [0.0] * 9 + [100.0] * 9


@backends
def test_nan_reaches_only_the_targets_and_heads_that_read_it(backend):
    graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 2]]), 4)
    weight, x = torch.ones(3, 2), torch.ones(4, 2, 3)
    x[0, 1, 2] = torch.nan
    weight[1, 0] = torch.nan
    x[3] = torch.nan  # sends nothing
    with ops.use(backend):
        nan = ops.spmm(graph, weight, x).isnan()
    wanted = torch.zeros(4, 2, 3, dtype=torch.bool)
    wanted[1, 1, 2] = True
    wanted[2, 0] = True
    assert torch.equal(nan, wanted)


@backends
@pytest.mark.parametrize("name", ["directed", "no_edges", "one_node"])
def test_gradients_of_first_and_second_order_are_those_of_finite_differences(backend, name):
    graph = GRAPHS[name] if name != "directed" else random_graph(5, 9)
    tensors = [t.requires_grad_() for t in inputs(graph, 2, 2)]
    with ops.use(backend):
        assert torch.autograd.gradcheck(lambda w, x: ops.spmm(graph, w, x), tensors)
        assert torch.autograd.gradgradcheck(lambda w, x: ops.spmm(graph, w, x), tensors)


@backends
@pytest.mark.parametrize("name", ["directed", "no_edges"])
def test_the_op_keeps_the_rules_of_torch_library(backend, name):
    graph = GRAPHS[name]
    weight, x = inputs(graph)
    strided = torch.randn(2, graph.num_edges).t(), torch.randn(3, 2, graph.num_nodes).permute(2, 1, 0)
    with ops.use(backend):
        for w, z in ((weight, x), strided):
            w, z = w.detach().requires_grad_(), z.detach().requires_grad_()
            torch.library.opcheck(SPMM.registered, (graph.source, graph.target, w, z, graph.num_nodes))


@backends
def test_the_op_keeps_the_rules_of_torch_library_on_a_bipartite_graph(backend):
    w, z = (t.requires_grad_() for t in inputs(BIPARTITE))
    with ops.use(backend):
        torch.library.opcheck(SPMM.registered, (BIPARTITE.source, BIPARTITE.target, w, z, BIPARTITE.num_nodes))


def test_compiled_whole_with_dynamic_sizes_it_gives_the_same_numbers_without_compiling_again():
    compiled_graphs = []

    def count(module, example):
        compiled_graphs.append(module)
        return module

    def hop(edge_index, weight, x):
        return ops.spmm(Graph(edge_index, x.shape[0]), weight, x).relu()

    torch._dynamo.reset()
    compiled = torch.compile(hop, fullgraph=True, dynamic=True, backend=count)
    for graph in (random_graph(9, 30), random_graph(14, 41), random_graph(6, 80)):
        weight, x = inputs(graph)
        oracles.assert_near(compiled(graph.edge_index, weight, x), hop(graph.edge_index, weight, x))
    assert len(compiled_graphs) == 1


def test_compiled_its_gradients_are_the_same():
    graph = GRAPHS["directed"]
    torch._dynamo.reset()
    compiled = torch.compile(lambda w, x: ops.spmm(graph, w, x), fullgraph=True, dynamic=True, backend="aot_eager")
    oracles.assert_same_function(compiled, lambda w, x: oracles.spmm(graph, w, x), inputs(graph))


def test_exported_with_dynamic_nodes_and_edges_it_runs_on_another_graph():
    class Hop(torch.nn.Module):
        def forward(self, edge_index, weight, x):
            return ops.spmm(Graph(edge_index, x.shape[0]), weight, x)

    nodes, edges = torch.export.Dim("nodes", min=2), torch.export.Dim("edges", min=2)
    graph, other = GRAPHS["directed"], random_graph(29, 8)
    program = torch.export.export(
        Hop(), (graph.edge_index, *inputs(graph)), dynamic_shapes=({1: edges}, {0: edges}, {0: nodes})
    )
    weight, x = inputs(other)
    oracles.assert_near(program.module()(other.edge_index, weight, x), oracles.spmm(other, weight, x))


@pytest.mark.parametrize(
    "weight_shape, x_shape, numbers",
    [
        ((7, 2), (5, 2, 3), ["8 edges", "(7, 2)"]),
        ((8,), (5, 2, 3), ["8 edges", "(8,)"]),
        ((8, 2), (4, 2, 3), ["(5, H, C)", "(4, 2, 3)"]),
        ((8, 2), (5, 6), ["(5, H, C)", "(5, 6)"]),
        ((8, 2), (5, 3, 4), ["2 heads", "with 3"]),
    ],
)
def test_a_wrong_shape_is_refused_with_its_numbers(weight_shape, x_shape, numbers):
    with pytest.raises(ShapeError) as error:
        ops.spmm(GRAPHS["path"], torch.ones(weight_shape), torch.ones(x_shape))
    assert all(number in str(error.value) for number in numbers), error.value


@settings(max_examples=40)
@given(data=st.data(), nodes=st.integers(1, 12), sources=st.integers(1, 12), edges=st.integers(0, 40))
def test_on_any_graph_and_shape_every_backend_is_the_definition(data, nodes, sources, edges):
    heads, channels = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    weight_heads, x_heads = data.draw(st.sampled_from([(heads, heads), (1, heads), (heads, 1)]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    ends = [torch.randint(0, count, (edges,), generator=generator) for count in (sources, nodes)]
    graph = Graph(torch.stack(ends), nodes, sources)
    tensors = inputs(graph, channels=channels, weight_heads=weight_heads, x_heads=x_heads)
    for backend in ops.available("spmm"):
        check(backend, graph, tensors)
