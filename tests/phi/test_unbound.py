"""Tables without rows: made where they can be trained, or refused with the call to make."""

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.swa_utils import AveragedModel

from edgenet.errors import SupportError
from edgenet.nn import EdgeNetConv
from edgenet.nn import specializations as nets
from edgenet.testing import GRAPHS

GRAPH = GRAPHS["directed"]
X = torch.zeros(13, 5, dtype=torch.float64)
LAYERS = {
    "edge_varying": lambda: nets.edge_varying(5, 3, order=2),
    "edge_varying, by node": lambda: EdgeNetConv(5, 3, 2, share="node"),
    "edge_varying, by edge id": lambda: EdgeNetConv(5, 3, 2, share="edge_id"),
    "edge_matrix": lambda: EdgeNetConv(5, 3, 2, phi="edge_matrix"),
    "node_varying": lambda: nets.node_varying(5, 3, order=2),
    "factored": lambda: EdgeNetConv(5, 3, phi="edge_factored"),
    "factored, by node": lambda: EdgeNetConv(5, 3, phi="edge_factored", form="node_bilinear"),
    "factored, corrected": lambda: EdgeNetConv(5, 3, phi="edge_factored", form="doped", density=0.1),
}
layers = pytest.mark.parametrize("layer", LAYERS)
BIND = r"bind\(edge_index, num_nodes\)"


def is_bound(layer):
    return not any(torch.nn.parameter.is_lazy(p) for p in layer.parameters())


def passes(layer):
    layer(X, GRAPH.edge_index)


def inference(layer):
    with torch.inference_mode():
        passes(layer)


def inference_bind(layer):
    with torch.inference_mode():
        layer.bind(GRAPH)


def fake(layer):
    with FakeTensorMode(allow_non_fake_inputs=True):
        layer(torch.zeros(13, 5, dtype=torch.float64), GRAPH.edge_index)


def fake_edges(layer):
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        layer(mode.from_tensor(X), mode.from_tensor(GRAPH.edge_index))


def meta(layer):
    layer.to("meta")(X.to("meta"), GRAPH.edge_index.to("meta"))


def frozen(layer):
    for parameter in layer.parameters():
        parameter.requires_grad = False
    passes(layer)


WAYS = {
    "inference mode": inference,
    "bound in inference mode": inference_bind,
    "fake signal": fake,
    "fake edges": fake_edges,
    "meta": meta,
    "frozen": frozen,
    "to_empty": lambda layer: layer.to_empty(device="cpu"),
    "frozen whole": lambda layer: layer.requires_grad_(False),
    "averaged": lambda layer: AveragedModel(layer).update_parameters(layer),
    "torch.func": lambda layer: torch.func.grad(lambda x: layer(x, GRAPH.edge_index).sum())(X),
    "vmap": lambda layer: torch.func.vmap(lambda x: layer(x, GRAPH.edge_index))(X.expand(2, -1, -1)),
}


@layers
@pytest.mark.parametrize("way", WAYS)
def test_a_table_is_not_made_where_it_could_not_be_trained(layer, way):
    layer = LAYERS[layer]()
    with pytest.raises(SupportError, match=BIND):
        WAYS[way](layer)
    assert not is_bound(layer)


@layers
@pytest.mark.parametrize("how", ["compile", "export"])
def test_a_compiler_says_that_a_table_is_to_be_bound_first(layer, how):
    torch._dynamo.reset()
    layer = LAYERS[layer]()
    with pytest.raises(Exception) as error:  # the compiler's own kind, around ours
        if how == "compile":
            torch.compile(layer, fullgraph=True, backend="eager")(X, GRAPH.edge_index)
        else:
            torch.export.export(layer, (X, GRAPH.edge_index))
    assert "bind(edge_index, num_nodes)" in str(error.value) and not is_bound(layer)


@layers
def test_a_table_that_is_bound_works_in_all_of_them(layer):
    layer = LAYERS[layer]().bind(GRAPH)
    passes(layer)
    inference(layer)
    AveragedModel(layer).update_parameters(layer)
    layer.bind(GRAPH)
    inference_bind(layer)
    copy.deepcopy(layer).requires_grad_(False)(X, GRAPH.edge_index)
    copy.deepcopy(layer).to_empty(device="cpu").load_state_dict(layer.state_dict())


@layers
def test_a_first_pass_without_gradients_makes_tables_that_train(layer):
    layer = LAYERS[layer]()
    with torch.no_grad():
        passes(layer)
    layer(torch.randn(13, 5), GRAPH.edge_index).square().sum().backward()
    assert all(p.grad is not None and not p.is_inference() for p in layer.parameters())


@layers
def test_unbound_layers_are_copied_moved_and_given_to_optimizers(layer):
    layer = LAYERS[layer]()
    for moved in (copy.deepcopy(layer), copy.deepcopy(layer).to("cpu").float(), copy.deepcopy(layer).double()):
        torch.optim.Adam(moved.parameters())
        moved.zero_grad()
        moved.load_state_dict(layer.state_dict())
        assert not is_bound(moved)
        moved.bind(GRAPH)
