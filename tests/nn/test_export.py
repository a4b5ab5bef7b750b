"""Every layer is one graph to torch.export and torch.compile, for graphs of all sizes."""

import pytest
import torch
from layers import LAYERS
from torch import Tensor

from edgenet import NodeClassifier, freeze_attention
from edgenet.export.example import free_sizes
from edgenet.nn import SPECIALIZATIONS

#: (nodes, edges) that a layer of no graph in particular is called on; the edges alone change where it is bound to one
SIZES = [(7, 13), (9, 12), (4, 0), (2, 1), (1, 1), (1, 0)]
#: that a filter is computed for one graph, whole
WHOLE = ("spectral",)
SLOW = [name for name in LAYERS if name not in SPECIALIZATIONS]


def marked(names):
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


def belongs_to_graph(layer) -> bool:
    of_nodes = ("NodeVarying", "SpectralConv")
    return any(
        type(part).__name__ in of_nodes or getattr(part, "belongs_to_graph", False) for part in layer.modules()
    )


def resized(x: Tensor, more: dict, nodes: int, edges: int, bound: bool) -> tuple[Tensor, dict]:
    """The arguments on another graph; on some of the same edges, where the layer is bound to them."""
    count = more["edge_index"].shape[1]
    some = torch.randint(count, (edges,))
    other = {name: value[some] for name, value in more.items() if name != "edge_index"}
    if bound:
        return x, {"edge_index": more["edge_index"][:, some], **other}
    return torch.randn(nodes, x.shape[1]), {"edge_index": torch.randint(nodes, (2, edges)), **other}


@pytest.mark.parametrize("name", marked(LAYERS))
def test_torch_export_takes_a_layer_for_graphs_of_all_sizes(name):
    case = LAYERS[name]
    layer, x, more = case.ready()
    more = {key: value.contiguous() for key, value in more.items()}
    bound, least = belongs_to_graph(layer), 3 if name == "edge_varying, hashed" else 0
    shapes = free_sizes({"x": x, **more}, nodes=not bound, edges=name not in WHOLE)
    if least:  # torch finds that fewer edges than its pool has columns would multiply in another way
        shapes["edge_index"] = {1: torch.export.Dim("edges", min=least)}
    with torch.no_grad():
        program = torch.export.export(layer, (x,), more, dynamic_shapes=shapes, strict=False).module()
        torch.testing.assert_close(program(x, **more), layer(x, **more))
        for nodes, edges in () if case.pair or name in WHOLE else SIZES:
            if edges >= least:
                other, rest = resized(x, more, nodes, edges, bound)
                torch.testing.assert_close(program(other, **rest), layer(other, **rest))


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_torch_compile_takes_a_layer_whole_for_sizes_that_differ(name):
    case = LAYERS[name]
    layer, x, more = case.ready()
    more = {key: value.contiguous() for key, value in more.items()}
    compiled_alike(layer, x, more, [] if case.pair or name in WHOLE else SIZES[:2], belongs_to_graph(layer))


def test_torch_compile_takes_a_frozen_network_whole():
    x, edges = torch.randn(9, 6), torch.randint(9, (2, 30))
    model = NodeClassifier(6, 3, layer="gat", hidden_channels=4, heads=2).eval()
    compiled_alike(freeze_attention(model, x, edges), x, {"edge_index": edges}, [], bound=True)


@pytest.mark.slow
def test_inductor_has_a_name_for_the_number_of_edges_with_loops():
    x, edges = torch.randn(9, 6), torch.randint(9, (2, 30))
    model = NodeClassifier(6, 3, layer="gat", hidden_channels=4, heads=2).eval()
    compiled_alike(freeze_attention(model, x, edges), x, {"edge_index": edges}, [], True, backend="inductor")


def compiled_alike(layer, x, more, sizes, bound, backend="aot_eager") -> None:
    """Compiled whole, the layer gives the same and has the same gradients, on this graph and on others."""
    torch._dynamo.reset()
    compiled, parameters = torch.compile(layer, fullgraph=True, backend=backend, dynamic=True), list(layer.parameters())
    for given, rest in [(x, more), *(resized(x, more, *size, bound) for size in sizes)]:
        wanted, found = layer(given, **rest), compiled(given, **rest)
        torch.testing.assert_close(found, wanted)
        gradients = [torch.autograd.grad(y.square().sum(), parameters, allow_unused=True) for y in (wanted, found)]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(other, one)
