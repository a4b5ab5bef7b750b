"""Stack: maps of features and layers one after the other, which all models share, whatever they make of the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgenet.errors import ConfigError
from edgenet.hub import Pretrained
from edgenet.models.foreign_layer import as_tensors, is_foreign, taken_by
from edgenet.models.inference import layer_by_layer, reach_of, walks_of
from edgenet.models.layers import LOCAL_ACTIVATIONS, layer_options, make_layer, out_width
from edgenet.models.layers import activation as named_activation
from edgenet.nn.batches import folded
from edgenet.nn.dropout import Dropout
from edgenet.nn.taps.base import walker
from edgenet.structured import SparseSignal, StructuredLinear, drop_rows

#: arguments that every model hands on to ``Stack`` as it got them
SHARED = (
    "layer", "hidden_channels", "num_layers", "dropout", "attention_dropout", "heads", "skip", "activation",
    "activation_hops",
)  # fmt: skip


class Stack(nn.Module, Pretrained, ABC):
    """The layers of a model, with what stands around each: dropout, a skip connection, an activation.

    Every layer is as wide as the one before says that its output is. A model adds what comes after the last one, and
    its ``forward`` calls ``walked``. A layer without parameters is a bare walk: what comes to it is not dropped, and no
    activation follows. Layers that take an ``initial`` signal get that of the maps before them, if there are some.

    Args:
        in_channels, layer, hidden_channels, num_layers, dropout, attention_dropout, heads, skip, activation: as of
            ``NodeClassifier``, and activation_hops too.
        last: (channels, heads) of the last layer, where it gives the scores: its heads are averaged. None: it is a
            hidden layer like the others.
        options: of the layer.
        before: linear maps of the features before the first layer, to ``hidden_channels``, an activation after each.
        after: widths of linear maps after the last layer, an activation between them.
        input_dropout: as ``dropout``, of what comes first to a map or layer.
        node_dropout: as of ``NodeClassifier``.

    Raises:
        ConfigError: if the layer or one of its options is unknown, or a number is out of range.

    Example:
        >>> issubclass(edgenet.NodeClassifier, edgenet.models.Stack)
        True
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        *,
        layer: str,
        hidden_channels: int,
        num_layers: int,
        dropout: float,
        attention_dropout: float | None,
        heads: int | None,
        skip: bool,
        activation: str,
        activation_hops: int,
        last: tuple[int, int | None] | None,
        options: dict[str, Any],
        before: int = 0,
        after: Sequence[int] = (),
        input_dropout: float | None = None,
        node_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self._config: dict[str, Any] = {}  # what ``config`` gives; each model says it
        check_ranges(num_layers=num_layers, hidden_channels=hidden_channels, heads=heads)
        if last is not None:
            check_ranges(out_channels=last[0], out_heads=last[1])
        shares = {"dropout": dropout, "attention_dropout": attention_dropout, "input_dropout": input_dropout}
        for name, share in {**shares, "node_dropout": node_dropout}.items():
            if share is not None and not 0 <= share < 1:
                raise ConfigError(f"{name} is a probability in [0, 1), got {share}.")
        self.dropout, self.num_layers = Dropout(dropout), num_layers
        self.node_dropout = NodeDropout(node_dropout) if node_dropout else None
        self.input_dropout = None if input_dropout is None else Dropout(input_dropout)
        self.convs, self.skips = nn.ModuleList(), nn.ModuleList()
        self.before, self.after = nn.ModuleList(), nn.ModuleList()
        if attention_dropout is not None:
            options = {**options, "dropout": attention_dropout}
        width: Any = tuple(in_channels) if isinstance(in_channels, Sequence) else in_channels
        if (before or after) and activation in LOCAL_ACTIVATIONS:
            raise ConfigError(
                f"activation {activation!r} looks at neighbours, and maps before and after layers do not."
            )
        if before and isinstance(width, tuple):
            raise ConfigError(f"a map before the layers reads nodes of one size, and in_channels are {width}.")
        for _ in range(before):
            self.before.append(StructuredLinear.dense(width, hidden_channels, bias=True))
            width = hidden_channels
        for depth in range(num_layers):
            scores = last is not None and depth == num_layers - 1
            channels, count = last if scores and last else (hidden_channels, heads)
            channels = width if options.get("lift") is False and not scores else channels  # a walk of what comes
            own = _at_depth(layer, options, depth)
            conv = make_layer(layer, width, channels, _with_heads(layer, own, count, average=scores))
            wide = out_width(conv, channels)
            if scores and wide != channels:
                raise ConfigError(f"layer {layer!r} cannot average its heads; out_heads must be 1, got {count}.")
            if before and takes_initial(conv) and wide != hidden_channels:
                raise ConfigError(
                    f"layer {layer!r} adds what the maps before it gave, {hidden_channels} wide, to its own {wide}: "
                    f"let a map give the scores, after=1."
                )
            self.convs.append(conv)
            if skip:
                self.skips.append(linear(width[1] if isinstance(width, tuple) else width, wide))
            width = wide
        for wide in after:
            self.after.append(StructuredLinear.dense(width, wide, bias=True))
            width = wide
        #: features of what comes last; -1 if its first input decides
        self.width = width
        #: one module for all layers, or a list of one for each; what ``takes_graph`` is called with the edges, too
        self.activation = named_activation(activation, activation_hops, num_layers - (last is not None))

    def config(self) -> dict[str, Any]:
        """JSON-able arguments that rebuild the model."""
        return dict(self._config)

    def arguments(self) -> dict[str, Any]:
        """All of the constructor's; saved models are made by them."""
        return self.config()

    @property
    def needs_edge_attr(self) -> bool:
        """Whether a layer was made for edge features, or, of layers of others, takes some."""
        return any(_needs_edge_attr(conv) for conv in self.convs)

    @property
    def reach(self) -> int:
        """How many hops away edges may be that a node's output depends on: in a piece with all of them it is exact.

        Raises:
            ConfigError: if a layer wants the whole graph.
        """
        return reach_of(self)

    @property
    def hops(self) -> int:
        """How many hops the layers take, one after the other.

        Raises:
            ConfigError: if a layer wants the whole graph.
        """
        return sum(walks_of(conv)[0] for conv in self.convs)

    def bind(self, edges: Any, num_nodes: int | None = None) -> Self:
        """Give tables of edge weights and node taps their graph; see ``EdgeNetConv.bind``."""
        for conv in self.convs:
            bind = getattr(conv, "bind", None)  # layers of others have no tables
            if bind is not None:
                bind(edges, num_nodes)
        return self

    def reset_parameters(self) -> None:
        """Draw all parameters anew. Tables keep the graph they are bound to."""
        reset_(*self.before, *self.convs, *self.skips, *self.after, *self.activation.modules())

    def readers(self, depth: int) -> list[str] | None:
        """Paths of the modules that read the output of a layer through functions of single channels, in a model without
        skip connections; None if something reads it otherwise."""
        if depth + 1 < self.num_layers:
            return [f"convs.{depth + 1}"]
        return ["after.0"] if len(self.after) else []

    @abstractmethod
    def forward(self, x: Tensor, edge_index: Any) -> Tensor:
        """The scores; models take more than these two."""

    def walked(
        self,
        x: Any,
        edge_index: Any,
        *values: Tensor,
        drop: bool,
        **given: Tensor | None,
    ) -> Tensor:
        """The signal after the last layer or map, before any activation.

        Args:
            x: signal of the nodes; may be sparse. (B, T, N, F) are B T signals for the layers.
            edge_index: the edges.
            values: what layers take third, by position.
            drop: whether features of every layer's input are dropped, in training.
            given: what layers take by name; None where it did not come.
        """
        given = {name: value for name, value in given.items() if value is not None}
        lead = x.shape[:-2] if isinstance(x, Tensor) and x.dim() == 4 else None
        x = x if lead is None else folded(x)
        if isinstance(x, Tensor) and x.layout != torch.strided:
            x = SparseSignal.of(x)
        if self.node_dropout is not None:
            x = self.node_dropout(x)
        drops = chain([self.input_dropout or self.dropout], repeat(self.dropout)) if drop else repeat(nn.Identity())
        for linear_map in self.before:
            x = self.activation(linear_map(dropped(x, next(drops))))
        first = x
        for depth in range(self.num_layers):
            conv, last = self.convs[depth], depth == self.num_layers - 1
            learns = next(conv.parameters(), None) is not None
            x = dropped(x, next(drops)) if learns else x
            y = self.layered(depth, x, first, edge_index, *values, **given)
            x = self.activated(depth, y, edge_index) if learns and not (last and not len(self.after)) else y
        for number, linear_map in enumerate(self.after, 1):
            x = linear_map(dropped(x, next(drops)))
            x = x if number == len(self.after) else self.activation(x)
        return x if lead is None else x.unflatten(0, lead)

    def layered(self, depth: int, x: Any, first: Any, edge_index: Any, *values: Tensor, **given: Tensor) -> Tensor:
        """The signal after one layer, and its skip connection, before the activation; ``first`` is that of the maps
        before the layers."""
        conv, signal = self.convs[depth], x
        if is_foreign(conv):
            signal, edges, values, given = as_tensors(conv, x, edge_index, values, given)
            y = conv(signal, edges, *values, **given)
        else:
            initial = {"initial": first} if len(self.before) and takes_initial(conv) else {}
            y = conv(x, edge_index, *values, **given, **initial)
        return y + self._skipped(depth, signal) if len(self.skips) else y

    def inference(self, loader: Any) -> Tensor:
        """The signal of all nodes after the last layer, as ``walked`` gives it in evaluation mode, layer by layer: no
        piece is larger than the reach of one layer.

        Args:
            loader: batches of all nodes and all their neighbours, ``NeighborLoader(data, [-1] * hops)`` of
                ``edgenet.sampling``; ``hops`` at least the ``reach`` of every layer.

        Raises:
            ConfigError: if it has fewer hops, or leaves neighbours or nodes out; or if a layer wants the whole graph.
        """
        return layer_by_layer(self, loader)

    def activated(self, depth: int, y: Tensor, edge_index: Any) -> Tensor:
        """The activation after a layer. Local ones look at the neighbours of each node."""
        own = self.activation
        activation = own[depth] if isinstance(own, nn.ModuleList) else own
        return activation(y, edge_index) if getattr(activation, "takes_graph", False) else activation(y)

    def _skipped(self, depth: int, x: Tensor | SparseSignal) -> Tensor:
        skip: Any = self.skips[depth]
        if not isinstance(x, SparseSignal):
            return skip(x)
        return skip(x.to_dense()) if is_lazy(skip.weight) else x.times(skip.weight) + skip.bias


def dropped(x: Any, dropout: nn.Module) -> Any:
    """Dropout of a signal, which may be sparse."""
    if isinstance(x, SparseSignal):
        return x.dropout(dropout.p, dropout.training) if isinstance(dropout, nn.Dropout) else x
    return dropout(x)


class NodeDropout(nn.Module):
    """The signal without the rows of some nodes in training, at its mean size in evaluation: GRAND's DropNode, as the
    authors' code scales it. A module, so that tracers find out in which mode it is."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor | SparseSignal) -> Tensor | SparseSignal:
        x = drop_rows(x, self.probability, self.training)
        if isinstance(x, SparseSignal):
            return SparseSignal(x.graph, x.values * (1 - self.probability))
        return x * (1 - self.probability)

    def extra_repr(self) -> str:
        return f"p={self.probability:g}"


def takes_initial(conv: Any) -> bool:
    """Whether a layer reads the signal that the network began with."""
    taps = getattr(conv, "taps", None)
    return taps is not None and getattr(walker(taps), "takes_initial", False)


def linear(in_features: int, out_features: int) -> nn.Linear:
    """A linear map, whose first input decides a size of -1."""
    return nn.LazyLinear(out_features) if in_features == -1 else nn.Linear(in_features, out_features)


def reset_(*parts: nn.Module) -> None:
    """Draw the parameters of modules anew, of those that have any of their own."""
    for part in parts:
        reset = getattr(part, "reset_parameters", None)
        if reset is not None:
            reset()


def _needs_edge_attr(conv: nn.Module) -> bool:
    own: bool | None = getattr(conv, "needs_edge_attr", None)
    return "edge_attr" in (taken_by(type(conv)) or ("edge_attr",)) if own is None else own


def check_ranges(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ConfigError(f"{name} is 1 or more, got {number}.")


def _at_depth(layer: str, options: dict[str, Any], depth: int) -> dict[str, Any]:
    """The options of the layer in its place, for layers that know their ``depth`` from 1."""
    return {"depth": depth + 1, **options} if "depth" in layer_options(layer) else options


def _with_heads(layer: str, options: dict[str, Any], heads: int | None, average: bool) -> dict[str, Any]:
    """The options of a layer with so many heads, side by side or averaged."""
    if heads is None:
        return options
    known = layer_options(layer)
    if "heads" not in known:
        raise ConfigError(f"layer {layer!r} has no heads; leave out heads and out_heads.")
    return {**options, "heads": heads, **({"concat": False} if average and "concat" in known else {})}
