"""Source: a PyG layer on its way to an EdgeNet layer; every parameter of it is taken over, or it is refused."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import MeanAggregation, SumAggregation
from torch_geometric.nn.dense.linear import Linear

from edgenet.convert.converted import Converted
from edgenet.convert.lazy import Start
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
# what torch keeps of hooks on calls of a module, which see the same arguments and results as before
_CARRIED = (
    *_HOOKS, "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs",
    "_is_full_backward_hook",
)  # fmt: skip


class Source:
    """A PyG layer, where it stands in the model, and which of its parameters have been taken.

    Parameters of the same shape are taken as they are, so that what is tied stays tied; others are copied.

    Args:
        layer: the layer.
        path: its dotted name in the model; "" for the model itself.
        tied: ids of the parameters that stand in several places of the model.

    Example:
        >>> from torch_geometric.nn import GCNConv
        >>> source = edgenet.convert.Source(GCNConv(3, 8), "convs.0")  # what a converter gets
        >>> source.path
        'convs.0'
    """

    def __init__(self, layer: MessagePassing, path: str = "", tied: frozenset[int] = frozenset()) -> None:
        self.layer, self.path, self.tied = layer, path, tied
        self._taken: set[int] = set()
        self._whole: set[nn.Module] = set()
        self._starts: list[tuple[nn.Module, Start]] = []

    # ---------------------------------------------------------------- refusing
    def refusal(self, option: str, value: Any, remedy: str) -> ConversionError:
        """The error for an option that cannot be carried over."""
        kind = type(self.layer).__name__
        return ConversionError(
            f"{self.path or 'the layer'} ({kind}): {option}={value!r} cannot be carried over exactly. {remedy}"
        )

    def check(self, base: type) -> None:
        """Refuse a layer that is not, or not only, what its class ``base`` in PyG says.

        Raises:
            ConversionError: if it is being explained, or changes a method of ``base``.
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
        if getattr(layer, "explain", None):
            raise self.refusal("explain", True, "Clear the masks of the explainer first.")

    def check_all_taken(self) -> None:
        """Refuse parameters that nothing was made of: a subclass may mean something by them."""
        for name, parameter in self.layer.named_parameters():
            if id(parameter) not in self._taken:
                shape = "uninitialised" if is_lazy(parameter) else tuple(parameter.shape)
                raise self.refusal(name, shape, "Nothing is known of this parameter; take it out.")

    # ---------------------------------------------------------------- hooks
    def carry_hooks(self, new: nn.Module) -> None:
        """Let hooks on calls of the layer see those of ``new``; what removes them goes on doing so.

        Raises:
            ConversionError: if it has others: on its parts, messages or state, or methods of the layer itself.
        """
        layer = self.layer
        for name, hooks in vars(layer).items():
            if not name.endswith("_hooks") or not isinstance(hooks, dict):
                continue
            foreign = {key: hook for key, hook in hooks.items() if not self._is_lazy_hook(hook)}
            bound = [hook for hook in foreign.values() if getattr(hook, "__self__", None) in set(layer.modules())]
            if (foreign and name not in _CARRIED) or bound:
                values = bound or list(foreign.values())
                raise self.refusal(name, values, "These hooks see the old layer; remove them first.")
        for place, module in layer.named_modules():
            if module is layer or any(module in set(whole.modules()) for whole in self._whole):
                continue
            if any(not self._is_lazy_hook(h) for hooks in _HOOKS for h in getattr(module, hooks).values()):
                raise self.refusal(f"hooks of {place}", "some", "Hooks see the old layer; remove them first.")
        for name in _CARRIED:
            carried = vars(layer)[name]
            if isinstance(carried, dict):
                kept = {key: hook for key, hook in carried.items() if not self._is_lazy_hook(hook)}
                carried = carried if len(kept) == len(carried) else OrderedDict(kept)
            vars(new)[name] = carried  # the same dict where it can be: the handles of the hooks know it

    def _is_lazy_hook(self, hook: Any) -> bool:
        """Whether PyG registered it, to initialise a part that is lazy."""
        return getattr(hook, "__name__", "") == "initialize_parameters" and isinstance(
            getattr(hook, "__self__", None), Linear | MessagePassing
        )

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

    # ---------------------------------------------------------------- taking
    def same(self, parameter: nn.Parameter | None) -> nn.Parameter | None:
        """The parameter itself."""
        self._taken.add(id(parameter))
        return parameter

    def unused(self, *parameters: nn.Parameter | None) -> None:
        """Parameters that the layer has and does not use; they are left behind."""
        self._taken.update(id(p) for p in parameters if p is not None)

    def whole(self, module: nn.Module) -> nn.Module:
        """A part that is taken as it is, hooks and all."""
        self.unused(*module.parameters())
        self._whole.add(module)
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
        if any(map(is_lazy, parameters)):
            return UninitializedParameter(trained == {True}, parameters[0].device, parameters[0].dtype)
        with torch.no_grad():
            return nn.Parameter(make(*(p.detach() for p in parameters)).clone().contiguous(), trained == {True})

    def matrix(self, parameter: nn.Parameter, rows: int = -1) -> Dense:
        """A matrix that holds this parameter; with so many rows, where it is lazy."""
        matrix = Dense.lazy(rows, -1)
        matrix.weight = parameter
        return matrix

    def linear(self, name: str, reads: str = "source", bias: bool = True) -> StructuredLinear:
        """The child of that name, with its own parameters.

        Args:
            reads: what it is a map of, "source", "target" or "edges", whose width it may be waiting for.
            bias: whether it keeps its bias. If not, that is to become the new layer's.
        """
        child = getattr(self.layer, name)
        if isinstance(child, StructuredLinear):
            return self.whole(child)
        if type(child) not in (Linear, nn.Linear):
            raise self.refusal(name, type(child).__name__, "A plain Linear is wanted there.")
        self._check_not_computed(name, child)
        linear = StructuredLinear(self.matrix(self.same(child.weight), _rows(child)))
        if child.bias is not None and bias:
            linear.bias = self.same(child.bias)
        self._wait(linear, [child], reads, bias)
        return linear

    def joined(self, name: str) -> StructuredLinear:
        """A list of linear maps, side by side as one."""
        children = list(getattr(self.layer, name))
        for child in children:
            if type(child) not in (Linear, nn.Linear) or child.bias is not None:
                raise self.refusal(name, type(child).__name__, "Plain Linears without bias are wanted there.")
            self._check_not_computed(name, child)
        weight = self.made(name, [child.weight for child in children], lambda *w: torch.cat(w, dim=1))
        linear = StructuredLinear(self.matrix(weight, _rows(children[0])))
        self._wait(linear, children, "source", True)
        return linear

    def _check_not_computed(self, name: str, linear: nn.Module) -> None:
        """Refuse a linear map of which pruning or an old weight norm computes a tensor before each call."""
        for tensor in ("weight", "bias"):
            if not isinstance(getattr(linear, tensor), nn.Parameter | None):
                raise self.refusal(
                    f"{name}.{tensor}", "computed", "Make it final first: torch.nn.utils.prune.remove, "
                    "remove_weight_norm or remove_spectral_norm.",
                )  # fmt: skip

    # ---------------------------------------------------------------- the new layer
    def converted(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        bias: nn.Parameter | None,
        *,
        calling: str,
        options: dict[str, str] | None = None,
        lift_target: nn.Module | None = None,
        fixed: tuple[str, ...] = (),
        **parts: Any,
    ) -> Converted:
        """The EdgeNet layer of these parts, which is called as the layer is.

        Args:
            bias: the layer's own, taken as it is.
            calling, options: as of ``Converted``.
            lift_target: the lift of the targets of a bipartite graph, where it is another.
            fixed: attributes of the new layer that would mean something else on the old one.
            **parts: of ``Converted`` and ``EdgeNetConv``.
        """
        layer, options = self.layer, options or {}
        new = Converted(
            in_channels, out_channels, origin=type(layer).__name__, calling=calling, options=options, bias=False,
            flow=getattr(layer, "flow", "source_to_target"), **parts,
        )  # fmt: skip
        new.bias = self.same(bias)
        new.lift_target = lift_target
        new.starts = self._starts_in(new)
        told = _told_of(type(layer)).intersection(vars(layer))
        new.fixed = tuple(sorted({"aggr", *fixed, *(name for name in told if not hasattr(new, name))}))
        return new

    # ---------------------------------------------------------------- lazy parts
    def _wait(self, part: nn.Module, children: list[nn.Module], reads: str, bias: bool) -> None:
        if is_lazy(children[0].weight):
            initial = {"weight": children[0].weight_initializer, "bias": children[0].bias_initializer}
            self.wait(part, "linear", reads, blocks=len(children), has_bias=bias, **initial)

    def wait(self, part: nn.Module, how: str, reads: str = "source", **options: Any) -> None:
        """Let a part be drawn at the first call; see ``lazy``."""
        self._starts.append((part, {"how": how, "reads": reads, "options": options}))

    def _starts_in(self, new: nn.Module) -> list[Start]:
        """What the new layer has to draw at its first call, by place in it."""
        places = {module: place for place, module in new.named_modules()}
        return [{"place": places[part], **start} for part, start in self._starts]


def _rows(linear: nn.Module) -> int:
    return linear.out_channels if isinstance(linear, Linear) else linear.out_features


def _told_of(kind: type) -> set[str]:
    """Names of the arguments of its constructor, and of its bases'."""
    return {name for cls in kind.__mro__ if issubclass(cls, MessagePassing) for name in signature(cls).parameters}
