"""Explanations: PyG's hooks on messages, its explainers, captum, and its table of a model."""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.explain import (
    AttentionExplainer,
    CaptumExplainer,
    Explainer,
    ExplainerAlgorithm,
    GNNExplainer,
    GraphMaskExplainer,
)
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import MessagePassing, summary

from edgenet.testing.contract import require, same
from edgenet.testing.ecosystem.tools import job
from edgenet.testing.layer.case import LayerCase

_NO_MESSAGES = "it has no layer that PyG's explainers know"
_PAIR = "explainers look at one signal"
_STEPS = 20  # of an integral along a line
_INTEGRAL = 0.05  # that it may be off by: leaky ReLUs have kinks on the line


def messengers(layer: nn.Module) -> list[MessagePassing]:
    return [module for module in layer.modules() if isinstance(module, MessagePassing)]


# --- hooks ------------------------------------------------------------------------------------------------------------
@job("message hooks", "torch_geometric", step=["propagate", "message", "aggregate"])
def message_hooks(case: LayerCase, step: str) -> str | None:
    """Hooks of ``MessagePassing`` on each of its layers are called, and what they give counts: doubled messages are
    doubled sums."""
    layer, x, more = case.ready()
    if not messengers(layer):
        return _NO_MESSAGES
    plain = layer(x, **more)
    for place in range(len(messengers(layer))):
        before, after = _hooked(case, place, step), _hooked(case, place, "propagate", watched=False)
        same(before[0], plain, f"with a hook before {step} that changes nothing it gives something else")
        same(before[1], after[1], f"doubled after {step}, messages count for something else than doubled sums")
        require(not torch.equal(before[1], plain), f"doubled after {step}, messages count for nothing")
    return None


def _hooked(case: LayerCase, place: int, step: str, watched: bool = True) -> tuple[Tensor, Tensor]:
    """The outputs with a hook before a step of one layer that looks on, and with one after it that doubles."""
    (layer, x, more), calls = case.ready(), []
    conv: Any = messengers(layer)[place]
    if watched:
        handle = getattr(conv, f"register_{step}_forward_pre_hook")(lambda *_: calls.append("before"))
        looked = layer(x, **more)
        handle.remove()

    def double(_conv: Any, _given: Any, y: Tensor) -> Tensor:
        calls.append("after")
        return 2 * y

    getattr(conv, f"register_{step}_forward_hook")(double)
    doubled = layer(x, **more)
    require(not watched or "before" in calls, f"a hook before {step} is never called")
    require("after" in calls, f"a hook after {step} is never called")
    return looked if watched else doubled, doubled


# --- PyG's explainers -------------------------------------------------------------------------------------------------
def explained(
    layer: nn.Module, algorithm: ExplainerAlgorithm, x: Tensor, more: dict[str, Any], nodes: bool, **given: Any
) -> Any:
    """What an explainer of PyG says of the scores of nodes."""
    explainer = Explainer(
        layer, algorithm, "model",
        {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
        node_mask_type="attributes" if nodes else None, edge_mask_type="object",
    )  # fmt: skip
    rest = {name: value for name, value in more.items() if name != "edge_index"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # theirs
        return explainer(x, more["edge_index"], **rest, **given)


def masked(layer: nn.Module, x: Tensor, more: dict[str, Any], mask: Tensor) -> Tensor:
    """The output with a factor on every message of an edge."""
    set_masks(layer, mask, more["edge_index"], apply_sigmoid=False)
    y = layer(x, **more)
    clear_masks(layer)
    return y


def looked_at(case: LayerCase) -> tuple[nn.Module, Any, dict[str, Any], int, Tensor] | str:
    """A layer, its arguments, a node that messages reach, and the edges that count there, (E,) bool; or why not."""
    layer, x, more = case.ready()
    if case.pair:
        return _PAIR
    if not messengers(layer):
        return _NO_MESSAGES
    # as it is, and half masked, as explainers begin: a ReLU may be shut at one of the two
    masks = [torch.full(more["edge_index"].shape[1:], part, requires_grad=True) for part in (1.0, 0.5)]
    sums = [masked(layer, part * x, more, mask).square().sum(-1) for part, mask in zip((1.0, 0.5), masks, strict=True)]
    for node in range(len(sums[0])):
        slopes = torch.autograd.grad([y[node] for y in sums], masks, retain_graph=True, materialize_grads=True)
        if slopes[0].any():
            return layer, x, more, node, (slopes[0] != 0) | (slopes[1] != 0)
    return "no message reaches any node"


def _check_mask(mask: Any, edges: int) -> None:
    require(isinstance(mask, Tensor) and tuple(mask.shape) == (edges,), f"the edges' mask is {mask}, not ({edges},)")
    require(bool(mask.isfinite().all()), "the edges' mask is not finite")


@job("AttentionExplainer", "torch_geometric")
def attention(case: LayerCase) -> str | None:
    """PyG's AttentionExplainer gives every edge the largest weight that it has in any hop and head."""
    found = looked_at(case)
    if isinstance(found, str):
        return found
    layer, x, more, *_ = found
    wanted = layer(x, **more)
    try:
        mask = explained(layer, AttentionExplainer(), x, more, nodes=False).edge_mask
    except ValueError as error:
        if "attention coefficients" not in str(error):
            raise
        return "it hands no attention to its messages"
    _check_mask(mask, more["edge_index"].shape[1])
    same(layer(x, **more), wanted, "after an explanation it gives something else")
    asked = "return_attention_weights" in inspect.signature(layer.forward).parameters
    if asked and len(messengers(layer)) == 1:  # a sum of layers has several sets of weights
        loopless = int((more["edge_index"][0] != more["edge_index"][1]).sum())  # the case's loops stand last
        _, (_, alpha) = layer(x, **more, return_attention_weights=True)
        largest = (alpha.amax(0) if alpha.dim() == 3 else alpha).amax(-1)
        same(mask[:loopless], largest[:loopless], "the mask is not the largest of its weights")
    return None


@job("GNNExplainer", "torch_geometric")
def gnn_explainer(case: LayerCase) -> str | None:
    """PyG's GNNExplainer finds edges that count for a node, and no others, and leaves the layer as it was."""
    found = looked_at(case)
    if isinstance(found, str):
        return found
    layer, x, more, node, counts = found
    wanted = layer(x, **more)
    explanation = explained(layer, GNNExplainer(epochs=3), x, more, nodes=True, index=node)
    _check_mask(explanation.edge_mask, len(counts))
    require(tuple(explanation.node_mask.shape) == tuple(x.shape), "the mask of features has another shape than they")
    marked, wrong = explanation.edge_mask > 0, (explanation.edge_mask > 0) & ~counts
    require(bool(marked.any()), f"of {int(counts.sum())} edges that count for node {node} it finds none")
    require(not wrong.any(), f"it finds {int(wrong.sum())} edges that count for nothing at node {node}")
    same(layer(x, **more), wanted, "after an explanation it gives something else")
    return None


@job("GraphMaskExplainer", "torch_geometric")
def graph_mask(case: LayerCase) -> str | None:
    """PyG's GraphMaskExplainer, whose gates are as wide as the layer's input or output, gives every edge a share."""
    found = looked_at(case)
    if isinstance(found, str):
        return found
    layer, x, more, node, counts = found
    algorithm = GraphMaskExplainer(len(messengers(layer)), epochs=2, log=False)
    mask = explained(layer, algorithm, x, more, nodes=True, index=node).edge_mask
    _check_mask(mask, len(counts))
    require(bool(((mask >= 0) & (mask <= 1)).all()), "the edges' mask has numbers that are no shares")
    return None


@job("CaptumExplainer", "torch_geometric", "captum", method=["Saliency", "IntegratedGradients"])
def captum_explainer(case: LayerCase, method: str) -> str | None:
    """PyG's CaptumExplainer gives the gradients of a score in features and messages, or their integrals, which add up
    to what the score grows by."""
    found = looked_at(case)
    if isinstance(found, str):
        return found
    layer, x, more, node, _ = found
    label = int(layer(x, **more)[node].argmax())
    options = {"n_steps": _STEPS} if method == "IntegratedGradients" else {}
    explanation = explained(layer, CaptumExplainer(method, **options), x, more, nodes=True, index=node)
    mask, signal = torch.ones(more["edge_index"].shape[1], requires_grad=True), x.clone().requires_grad_()
    y = masked(layer, signal, more, mask)[node, label]
    _check_mask(explanation.edge_mask, len(mask))
    if method == "Saliency":
        by_x, by_mask = torch.autograd.grad(y, [signal, mask], materialize_grads=True)
        same(explanation.node_mask, by_x.abs(), "its saliency is not the size of the gradient in the features")
        same(explanation.edge_mask, by_mask.abs(), "its saliency is not the size of the gradient in the messages")
    else:
        nothing = masked(layer, torch.zeros_like(x), more, torch.zeros_like(mask))[node, label]
        _adds_up(explanation.edge_mask.sum() + explanation.node_mask.sum(), y, nothing)
    return None


def _adds_up(total: Tensor, y: Tensor, nothing: Tensor) -> None:
    total, y, nothing = total.detach(), y.detach(), nothing.detach()
    grown, scale = float(y - nothing), 1 + float(y.abs() + nothing.abs())
    near = abs(float(total) - grown) <= _INTEGRAL * scale
    require(near, f"the attributions add up to {float(total):.4g}, and the score grows by {grown:.4g}")


# --- captum's own calls -----------------------------------------------------------------------------------------------
@job("captum", "captum", method=["Saliency", "IntegratedGradients"])
def captum(case: LayerCase, method: str) -> str | None:
    """Captum itself attributes a score to features. It stacks inputs, which a layer takes as a batch of signals; one
    that takes none gets them one by one."""
    if case.pair:
        return _PAIR
    layer, x, more = case.ready()
    label = int(layer(x, **more).sum(0).argmax())
    steps = {"n_steps": _STEPS} | ({} if case.batches else {"internal_batch_size": 1})

    def score(signals: Tensor) -> Tensor:
        return layer(signals if case.batches else signals.squeeze(0), **more).sum(-2).view(len(signals), -1)  # (B, F)

    signal = x.unsqueeze(0).requires_grad_()
    y = score(signal)[0, label]
    (slope,) = torch.autograd.grad(y, signal)
    attribute: Callable[..., Tensor] = getattr(import_module("captum.attr"), method)(score).attribute
    if method == "Saliency":
        same(attribute(signal, target=label), slope.abs(), "its saliency is not the size of the gradient")
    else:
        total = attribute(signal, target=label, **steps).sum()
        _adds_up(total, y, score(torch.zeros_like(signal))[0, label])
    return None


# --- PyG's table ------------------------------------------------------------------------------------------------------
@job("summary", "torch_geometric", "tabulate")
def table(case: LayerCase) -> str | None:
    """PyG's ``summary`` lists it with its class, the shape that it gives, and its number of parameters; it leaves no
    hook behind."""
    layer, x, more = case.ready()
    hooks = sum(len(module._forward_hooks) for module in layer.modules())
    with redirect_stderr(io.StringIO()):
        text = summary(layer, x, **more)
    count, shape = sum(p.numel() for p in layer.parameters()), list(layer(x, **more).shape)
    for word in (type(layer).__name__, str(shape), f"{count:,}" if count else "--"):
        require(word in text, f"the table lacks {word!r}")
    left = sum(len(module._forward_hooks) for module in layer.modules()) - hooks
    require(not left, f"{left} hooks are left behind")
    return None
