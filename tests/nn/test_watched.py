"""Who watches a layer sees its modules and messages: PyG's hooks and explainers, torch's transforms and tracers."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
import torch_geometric.nn as pyg
from layers import LAYERS, fresh
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch_geometric.explain import AttentionExplainer, Explainer, GNNExplainer, GraphMaskExplainer
from torch_geometric.utils import get_embeddings

from edgenet import EdgeNetConv, to_edgenet
from edgenet.nn import specializations as nets
from edgenet.testing.layer.case import EDGES, NODES
from edgenet.testing.plainly import moved, plainly
from edgenet.testing.touches import Counted, doubled

#: a layer of every specialization and of every converter
NAMES = [name for name, case in LAYERS.items() if len(case.widths) == 2 or name.startswith("to_edgenet")]
#: those whose sums are of messages: not spectral filters, nor single entries
MESSAGES = [name for name in NAMES if name not in ("spectral", "edge_varying, doped")]
#: those of one signal
SINGLE = [name for name in NAMES if not LAYERS[name].pair]


def width(name: str) -> str:
    return LAYERS[name].widths[0]


# --- messages ---------------------------------------------------------------------------------------------------------
def twice(name: str) -> Any:
    """Doubles a named argument of a step, before it is taken."""

    def hook(_layer: nn.Module, args: tuple) -> tuple:
        given = args[-1] | {name: 2 * args[-1][name]}
        return (*args[:-1], given)

    return hook


#: what doubles the messages of a layer, by the hook's name
MESSAGE_HOOKS = {
    "propagate_forward_pre_hook": twice("x"),
    "propagate_forward_hook": lambda _layer, _args, y: 2 * y,
    "message_forward_pre_hook": twice("x_j"),
    "message_forward_hook": lambda _layer, _args, y: 2 * y,
    "aggregate_forward_pre_hook": None,  # its arguments are places, not numbers
    "aggregate_forward_hook": lambda _layer, _args, y: 2 * y,
}
#: what doubles the attention
EDGE_HOOKS = {
    "edge_update_forward_pre_hook": twice("alpha"),
    "edge_update_forward_hook": lambda _layer, _args, y: 2 * y,
}


def layers_of(layer: nn.Module) -> list[str]:
    return [path for path, module in layer.named_modules() if isinstance(module, pyg.MessagePassing)]


@pytest.mark.parametrize("hook", MESSAGE_HOOKS)
@pytest.mark.parametrize("name", MESSAGES)
def test_a_hook_on_messages_counts(name: str, hook: str):
    for path in layers_of(fresh(name, width(name))[0]):
        layer, x, more = fresh(name, width(name))
        layer(x, **more)
        count = hooked(layer.get_submodule(path), hook, MESSAGE_HOOKS[hook])
        found = layer(x, **more)
        assert count.calls, f"never called on {path or 'the layer'}"
        with plainly(partial(moved_twice, layer.get_submodule(path), MESSAGE_HOOKS[hook] is not None)):
            torch.testing.assert_close(found, layer(x, **more), rtol=1e-10, atol=1e-10)


def hooked(layer: nn.Module, hook: str, change: Any) -> Counted:
    count = Counted()
    getattr(layer, f"register_{hook}")(lambda *args: (count(), change and change(*args))[1])
    return count


def moved_twice(target: nn.Module, doubles: bool, conv: nn.Module, *args: Any) -> Tensor:
    return (1 + (doubles and conv is target)) * moved(conv, *args)


@pytest.mark.parametrize("hook", EDGE_HOOKS)
@pytest.mark.parametrize("name", [name for name in NAMES if "gat" in name.lower() or name == "gcat"])
def test_a_hook_on_attention_counts(name: str, hook: str):
    layer, x, more = fresh(name, width(name))
    wanted = copy.deepcopy(layer)
    assert layers_of(layer) == [""], "one layer is one MessagePassing"
    count = hooked(layer, hook, EDGE_HOOKS[hook])
    found = layer(x, **more)
    assert count.calls
    phi = next(module for path, module in wanted.named_modules() if path.endswith("phi"))
    phi.register_forward_hook(lambda _phi, _args, weights: doubled(weights))
    with plainly():
        torch.testing.assert_close(found, wanted(x, **more), rtol=1e-10, atol=1e-10)


# --- transforms of torch ----------------------------------------------------------------------------------------------
def pieces(name: str) -> tuple[nn.Module, Any, dict[str, Any], dict[str, Tensor]]:
    layer, x, more = fresh(name, width(name))
    return layer.eval(), x, more, {key: p.detach() for key, p in layer.named_parameters()}


def called(layer: nn.Module, more: dict[str, Any], parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    return torch.func.functional_call(layer, parameters, (x,), more)


@pytest.mark.parametrize("name", SINGLE)
def test_a_functional_call_uses_the_given_parameters(name: str):
    layer, x, more, parameters = pieces(name)
    given = {key: 1.1 * p for key, p in parameters.items()}
    layer(x, **more)
    with torch.no_grad():
        found = called(layer, more, given, x)
        layer.load_state_dict(given, strict=False)
        torch.testing.assert_close(found, layer(x, **more), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SINGLE)
def test_gradients_by_torch_func_are_those_of_autograd(name: str):
    layer, x, more, parameters = pieces(name)
    found = torch.func.grad(lambda p: called(layer, more, p, x).square().sum())(parameters)
    own = dict(layer.named_parameters())
    wanted = torch.autograd.grad(layer(x, **more).square().sum(), list(own.values()), materialize_grads=True)
    torch.testing.assert_close(tuple(found[key] for key in own), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SINGLE)
def test_a_vmap_is_a_loop(name: str):
    layer, x, more, _ = pieces(name)
    signals = torch.stack([x, -x, 2 * x])
    with torch.no_grad():
        found = torch.func.vmap(lambda signal: layer(signal, **more))(signals)
        wanted = torch.stack([layer(signal, **more) for signal in signals])
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "way",
    [
        torch.func.jacrev,
        torch.func.jacfwd,
        lambda f: partial(torch.autograd.functional.jacobian, f, vectorize=True),
        lambda f: partial(torch.autograd.functional.jacobian, f, vectorize=True, strategy="forward-mode"),
    ],
    ids=["jacrev", "jacfwd", "vectorized", "vectorized forward"],
)
@pytest.mark.parametrize("name", SINGLE)
def test_jacobians_agree(name: str, way: Any):
    layer, x, more, _ = pieces(name)

    def function(signal: Tensor) -> Tensor:
        return layer(signal, **more)[:3, :2]

    wanted = torch.autograd.functional.jacobian(function, x)
    torch.testing.assert_close(way(function)(x), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SINGLE)
def test_a_trace_by_make_fx_gives_the_same(name: str):
    layer, x, more, _ = pieces(name)
    with torch.no_grad():
        traced = make_fx(lambda signal: layer(signal, **more))(x)
        torch.testing.assert_close(traced(3 * x), layer(3 * x, **more), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SINGLE)
def test_fake_tensors_have_the_shape_of_real_ones(name: str):
    layer, x, more, _ = pieces(name)
    wanted = layer(x, **more)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        try:
            found = layer(mode.from_tensor(x), **more)
        except DynamicOutputShapeException:  # how many loops there are is not in shapes; of PyG's layers the same
            assert layer.add_self_loops or "Cheb" in name
        else:
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    torch.testing.assert_close(layer(x, **more), wanted, rtol=0, atol=0)  # nothing fake is kept


class Calling(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.layer(x, edge_index)


@pytest.mark.parametrize("name", ["gcn", "gcnn", "gat", "gatv2", "to_edgenet, GATConv"])
def test_an_exported_layer_gives_the_same(name: str):
    layer, x, more, _ = pieces(name)
    exported = torch.export.export(Calling(layer), (x, more["edge_index"]), strict=False)
    found = exported.module()(2 * x, more["edge_index"])
    torch.testing.assert_close(found, layer(2 * x, **more), rtol=1e-10, atol=1e-10)


# --- PyG's explainers -------------------------------------------------------------------------------------------------
class Net(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.second(self.first(x, edge_index).relu(), edge_index)


NETS = {
    "GATConv": lambda: Net(pyg.GATConv(4, 3, heads=2), pyg.GATConv(6, 2, heads=2, concat=False)),
    "GATv2Conv": lambda: Net(pyg.GATv2Conv(4, 3, heads=2), pyg.GATv2Conv(6, 2, heads=2, concat=False)),
    "GCNConv": lambda: Net(pyg.GCNConv(4, 6), pyg.GCNConv(6, 2)),
    "TAGConv": lambda: Net(pyg.TAGConv(4, 6, K=1), pyg.TAGConv(6, 2, K=1)),
}
OWN = {
    "gat": lambda: Net(nets.gat(4, 3, heads=2), nets.gat(6, 2, heads=2, concat=False)),
    "gatv2": lambda: Net(nets.gatv2(4, 3, heads=2), nets.gatv2(6, 2, heads=2, concat=False)),
    "gcn": lambda: Net(nets.gcn(4, 6), nets.gcn(6, 2)),
    "gcnn": lambda: Net(nets.gcnn(4, 6, 1), nets.gcnn(6, 2, 1)),
    "edge_varying": lambda: Net(nets.edge_varying(4, 6, 1), nets.edge_varying(6, 2, 1)),
}
EXPLAINERS = {
    "GNNExplainer": lambda: GNNExplainer(epochs=4),
    "GraphMaskExplainer": lambda: GraphMaskExplainer(2, epochs=2, log=False),
    "AttentionExplainer": lambda: AttentionExplainer(),
}


def explained(model: nn.Module, x: Tensor, kind: str) -> dict[str, Tensor]:
    torch.manual_seed(1)
    node_mask = "attributes" if kind != "AttentionExplainer" else None
    config = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}
    explainer = Explainer(
        model.eval(), EXPLAINERS[kind](), "model", config, node_mask_type=node_mask, edge_mask_type="object"
    )
    found = explainer(x, EDGES, index=3) if kind != "AttentionExplainer" else explainer(x, EDGES)
    return {key: found[key].detach() for key in ("edge_mask", "node_mask") if key in found}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", EXPLAINERS)
@pytest.mark.parametrize("name", NETS)
def test_a_converted_model_is_explained_as_the_original(name: str, kind: str):
    if kind == "AttentionExplainer" and not name.startswith("GAT"):
        pytest.skip("no attention in it, for PyG either")
    if kind == "GraphMaskExplainer" and name == "GATv2Conv":
        pytest.skip("it reads a second lift at the targets, which is no message of ours; test_layers_are_explained")
    model, x = NETS[name](), torch.randn(NODES, 4)
    found = explained(to_edgenet(model), x, kind)
    wanted = explained(model, x, kind)
    assert wanted.keys() == found.keys()
    for key in wanted:
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", EXPLAINERS)
@pytest.mark.parametrize("name", OWN)
def test_layers_are_explained(name: str, kind: str):
    if kind == "AttentionExplainer" and not name.startswith("gat"):
        pytest.skip("no attention in it")
    if kind == "GraphMaskExplainer" and name == "edge_varying":
        pytest.skip("its gates are as wide as the layer's input or output, and a message of this layer is one number")
    model, x = OWN[name](), torch.randn(NODES, 4)
    before = model.eval()(x, EDGES)
    found = explained(model, x, kind)
    assert found["edge_mask"].shape == (EDGES.shape[1],)
    assert (found["edge_mask"] > 0).any()
    if kind != "GraphMaskExplainer":  # which leaves its masks in the layers, also in PyG's
        torch.testing.assert_close(model.eval()(x, EDGES), before, rtol=0, atol=1e-12)


def test_captum_attributes_a_converted_model_as_the_original():
    pytest.importorskip("captum")
    from torch_geometric.explain import CaptumExplainer

    model, x = NETS["GATConv"](), torch.randn(NODES, 4)
    config = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}
    masks = []
    for each in (model.eval(), to_edgenet(model).eval()):
        explainer = Explainer(
            each, CaptumExplainer("IntegratedGradients"), "model", config, node_mask_type="attributes",
            edge_mask_type="object",
        )  # fmt: skip
        masks.append(explainer(x, EDGES, index=3))
    torch.testing.assert_close(masks[1].edge_mask, masks[0].edge_mask, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(masks[1].node_mask, masks[0].node_mask, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", NETS | OWN)
def test_a_model_of_two_layers_has_two_embeddings(name: str):
    model = to_edgenet(NETS[name]()) if name in NETS else OWN[name]()
    assert len(get_embeddings(model, torch.randn(NODES, 4), EDGES)) == 2
    assert len([module for module in model.modules() if isinstance(module, pyg.MessagePassing)]) == 2


def test_a_layer_inside_of_another_is_watched_too():
    layer = nets.arma(4, 3)
    assert [type(layer.get_submodule(path)) for path in layers_of(layer)] == [EdgeNetConv, EdgeNetConv]
