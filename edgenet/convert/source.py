"""Source: a PyG layer on its way to an EdgeNet layer; every parameter of it is taken over, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import MeanAggregation, SumAggregation
from torch_geometric.nn.dense.linear import Linear

from edgenet.errors import ConversionError
from edgenet.structured import Dense, StructuredLinear

# what a subclass may define without changing the function: its making, its look, and what PyG writes on every class
_HARMLESS = {
    "__init__", "__module__", "__doc__", "__annotations__", "__repr__", "extra_repr", "reset_parameters",
    "_orig_propagate", "_jinja_propagate", "_orig_edge_updater", "_jinja_edge_updater", "collect", "edge_collect",
    "__firstlineno__", "__static_attributes__", "__qualname__", "__annotate_func__", "__annotations_cache__",
}  # fmt: skip
_TEMPLATED = ("propagate", "edge_updater")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Source:
    """A PyG layer, where it stands in the model, and which of its parameters have been taken.

    Parameters of the same shape are taken as they are, so that what is tied stays tied; others are copied.

    Args:
        layer: the layer.
        path: its dotted name in the model; "" for the model itself.
        tied: ids of the parameters that stand in several places of the model.
    """

    def __init__(self, layer: MessagePassing, path: str = "", tied: frozenset[int] = frozenset()) -> None:
        self.layer, self.path, self.tied = layer, path, tied
        self._taken: set[int] = set()

    # ---------------------------------------------------------------- refusing
    def refusal(self, option: str, value: Any, remedy: str) -> ConversionError:
        """The error for an option that cannot be carried over."""
        kind = type(self.layer).__name__
        return ConversionError(
            f"{self.path or 'the layer'} ({kind}): {option}={value!r} cannot be carried over exactly. {remedy}"
        )

    def check(self, base: type, kept: tuple[str, ...] = ()) -> None:
        """Refuse a layer that is not, or not only, what its class ``base`` in PyG says.

        Args:
            kept: names of children that are taken over whole, hooks and all.

        Raises:
            ConversionError: if it is lazy still, is hooked, or changes a method of ``base``.
        """
        layer = self.layer
        for cls in type(layer).__mro__[: type(layer).__mro__.index(base)]:
            for name, value in vars(cls).items():
                template = name in _TEMPLATED and value.__module__.endswith(f"_{cls.__name__}_{name}")  # PyG's own
                if name not in _HARMLESS and not template and hasattr(base, name):
                    raise self.refusal(
                        f"{cls.__name__}.{name}", value, f"It changes what {base.__name__} computes; convert by hand."
                    )
        for name in ("forward", "message", "aggregate", "update", "edge_update", "message_and_aggregate"):
            if name in vars(layer):
                raise self.refusal(name, vars(layer)[name], f"It was replaced on this {base.__name__}; put it back.")
        for name, parameter in layer.named_parameters():
            if isinstance(parameter, UninitializedParameter) and name.split(".")[0] not in kept:
                raise self.refusal(name, "uninitialised", "The layer is lazy (-1 channels): run the model once first.")
        if layer.explain:
            raise self.refusal("explain", True, "Clear the masks of the explainer first.")
        for name, hooks in vars(layer).items():
            if name.endswith("_hooks") and isinstance(hooks, dict) and hooks:
                raise self.refusal(name, list(hooks.values()), "Hooks see the old layer; remove them first.")
        for child_name, child in layer.named_children():
            for name, module in child.named_modules() if child_name not in kept else ():
                if any(getattr(module, hooks) for hooks in _HOOKS):
                    where = ".".join(filter(None, (child_name, name)))
                    raise self.refusal(f"hooks of {where}", "some", "Hooks see the old layer; remove them first.")

    def aggregation(self, *allowed: str) -> str:
        """ "sum" or "mean"."""
        names = {SumAggregation: "sum", MeanAggregation: "mean"}
        name = names.get(type(self.layer.aggr_module))
        if name not in allowed:
            aggr = self.layer.aggr
            raise self.refusal("aggr", aggr, f"EdgeNets add messages; aggr must be {' or '.join(map(repr, allowed))}.")
        return name

    def check_node_dim(self, *allowed: int) -> None:
        if self.layer.node_dim not in allowed:
            raise self.refusal("node_dim", self.layer.node_dim, f"Nodes must lie along axis {allowed[0]}.")

    def check_not_cached(self) -> None:
        if self.layer.cached:
            raise self.refusal(
                "cached", True, "It answers for the first graph for ever. Set cached=False: EdgeNet layers normalise "
                "an edge list once, and still see when another one comes.",
            )  # fmt: skip

    def check_all_taken(self) -> None:
        """Refuse parameters that nothing was made of: a subclass may mean something by them."""
        for name, parameter in self.layer.named_parameters():
            if id(parameter) not in self._taken:
                raise self.refusal(name, tuple(parameter.shape), "Nothing is known of this parameter; take it out.")

    # ---------------------------------------------------------------- taking
    def same(self, parameter: nn.Parameter | None) -> nn.Parameter | None:
        """The parameter itself."""
        self._taken.add(id(parameter))
        return parameter

    def unused(self, *parameters: nn.Parameter | None) -> None:
        """Parameters that the layer has and does not use; they are left behind."""
        self._taken.update(id(p) for p in parameters if p is not None)

    def whole(self, module: nn.Module) -> nn.Module:
        """A part that is taken as it is."""
        self.unused(*module.parameters())
        return module

    def made(self, name: str, parameters: list[nn.Parameter], make: Callable[..., Tensor]) -> nn.Parameter:
        """A new parameter, made of others by reshaping or joining them.

        Raises:
            ConversionError: if one is tied to another place of the model, or only some are trained.
        """
        for parameter in parameters:
            if id(parameter) in self.tied:
                raise self.refusal(name, "tied", "It is shared with another layer, and changes shape here; untie it.")
        trained = {parameter.requires_grad for parameter in parameters}
        if len(trained) > 1:
            raise self.refusal(f"requires_grad of {name}", trained, "They become one matrix; set all alike.")
        self.unused(*parameters)
        with torch.no_grad():
            return nn.Parameter(make(*(p.detach() for p in parameters)).clone().contiguous(), trained == {True})

    def matrix(self, parameter: nn.Parameter) -> Dense:
        """A matrix that holds this parameter."""
        matrix = Dense(parameter.new_empty(0, 0))
        matrix.weight = parameter
        return matrix

    def linear(self, name: str) -> StructuredLinear:
        """The child of that name, with its own parameters."""
        child = getattr(self.layer, name)
        if isinstance(child, StructuredLinear):
            return self.whole(child)
        if type(child) not in (Linear, nn.Linear):
            raise self.refusal(name, type(child).__name__, "A plain Linear is wanted there.")
        linear = StructuredLinear(self.matrix(self.same(child.weight)))
        if child.bias is not None:
            linear.bias = self.same(child.bias)
        return linear

    def joined(self, name: str) -> StructuredLinear:
        """A list of linear maps, side by side as one."""
        children = list(getattr(self.layer, name))
        for child in children:
            if type(child) not in (Linear, nn.Linear) or child.bias is not None:
                raise self.refusal(name, type(child).__name__, "Plain Linears without bias are wanted there.")
        weight = self.made(name, [child.weight for child in children], lambda *w: torch.cat(w, dim=1))
        return StructuredLinear(self.matrix(weight))
