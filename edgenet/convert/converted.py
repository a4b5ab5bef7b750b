"""Converted: an EdgeNet layer that is called as the PyG layer it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn.inits import reset

from edgenet.convert.calling import CALLINGS, Call, Calling
from edgenet.convert.laplacian import ScaledLaplacian
from edgenet.convert.lazy import Start, begin
from edgenet.errors import PlanError, ShapeError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.shortcuts import plain
from edgenet.structured import StructuredLinear


def _option(name: str) -> property:
    """An option of the PyG layer that can be read and set, where this layer has it."""

    def read(self: Converted) -> Any:
        part, attribute = self._place_of(name)
        return getattr(part, attribute)

    def write(self: Converted, value: Any) -> None:
        part, attribute = self._place_of(name)
        setattr(part, attribute, value)

    return property(read, write)


class Converted(EdgeNetConv):
    """What ``to_edgenet`` puts in the place of a PyG layer: an EdgeNet layer, called with that layer's arguments.

    y = after(gate(walk(before(x), ...), root(x_target)))

    Options that the PyG layer reads at each call are obeyed when they are set later (flow, dropout), or refused.

    Args:
        in_channels, out_channels: as of ``EdgeNetConv``.
        origin: name of the PyG layer.
        calling: how it is called, a name in ``calling.CALLINGS``.
        options: where this layer has options of the PyG layer that can be set later: {"dropout": "phi.dropout"}.
        fixed: names of options of the PyG layer that cannot be set any more.
        starts: parts that a lazy layer has not drawn yet; see ``lazy``.
        before: a map of the sources' signal, followed by a ReLU, that goes first (GraphSAGE's ``project``).
        root: a map of the targets' signal, which is added (residual, skip, root weight).
        gate: 3 F_out -> 1, mixes the two instead: beta root + (1 - beta) walk, beta = sigmoid(gate) (transformer).
        unit_length: whether to scale every output to length 1 (GraphSAGE's ``normalize``).
        after: what the output goes through at last (the network of GIN).
        operator: makes edge weights that are walked instead of the given ones (Chebyshev).
        **parts: phi, lift, taps and options of ``EdgeNetConv``.

    Raises:
        ShapeError: in ``forward``, where the PyG layer would do with the input what an edge list and its weights
            cannot say.

    Example:
        >>> from torch_geometric.nn import GCNConv
        >>> layer = edgenet.to_edgenet(GCNConv(3, 8))
        >>> isinstance(layer, edgenet.convert.Converted), layer(x, edges).shape
        (True, torch.Size([4, 8]))
    """

    dropout, negative_slope, normalization = _option("dropout"), _option("negative_slope"), _option("normalization")
    act, eps, nn, normalize = _option("act"), _option("eps"), _option("nn"), _option("normalize")

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        *,
        origin: str,
        calling: str,
        options: dict[str, str] | None = None,
        fixed: Sequence[str] = (),
        starts: Sequence[Start] = (),
        before: StructuredLinear | None = None,
        root: StructuredLinear | None = None,
        gate: StructuredLinear | None = None,
        unit_length: bool = False,
        after: Callable[[Tensor], Tensor] | None = None,
        operator: ScaledLaplacian | None = None,
        **parts: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, **parts)
        self.origin, self.calling, self.options = origin, calling, options or {}
        self.starts = list(starts)
        self.before, self.root, self.gate, self.unit_length = before, root, gate, unit_length
        self.after, self.operator = after, operator
        self.fixed = tuple(fixed)

    def arguments(self) -> dict[str, Any]:
        told = super().arguments()
        del told["residual"]  # root is an argument of its own
        return told

    def with_residual(self, y: Tensor, target: Any) -> Tensor:
        """The root is added in the end, for it may go through a gate."""
        return y

    @property
    def drops_head_axis(self) -> bool:
        """As the messages of the PyG layer."""
        return not self._calling.has_heads

    def reads_input_besides(self) -> tuple[str, ...]:
        """The map of the targets, if there is one."""
        if self.before is not None:
            raise PlanError(f"no input channels can be taken from {self.origin}: it mixes them before its walk.")
        return super().reads_input_besides()

    def with_self_loops(self, graph: Graph) -> tuple[Graph, Tensor]:
        """Between two sets of nodes, PyG takes node i of the one and node i of the other for the same."""
        if not graph.is_bipartite:
            return graph.with_self_loops()

        def build() -> tuple[Graph, Tensor]:
            bare, kept = graph.without_self_loops()
            loops = torch.arange(min(graph.num_nodes, graph.num_sources), device=graph.edge_index.device).expand(2, -1)
            return Graph(torch.cat([bare.edge_index, loops], dim=1), graph.num_nodes, graph.num_sources), kept

        return graph.memo("loops between two sides", build)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as an EdgeNet layer does."""
        super().reset_parameters()
        for part in (self.before, self.gate, self.after):
            reset(part)

    def forward(
        self, x: Tensor | tuple[Tensor, Tensor | None], edge_index: Any, *args: Any, **kwargs: Any
    ) -> Tensor | tuple[Tensor, tuple[Tensor, Tensor]]:
        """Arguments and result as of the PyG layer; ``n_id`` and ``e_id`` as of ``EdgeNetConv.forward`` besides."""
        call = self._calling.read(self, x, edge_index, args, kwargs)
        self._check_axis(call.source)
        if self.starts:
            self.starts = begin(self, self.starts, _widths(call))
        source, target = call.source, call.target
        if self.before is not None:
            source = self.before(source).relu()
        reads_target = self.self_tap or self.phi.follows_signal
        signal = (source, target if reads_target else None) if call.pair else source
        y = super().forward(signal, call.edges, **call.given)
        y, weights = y if call.wants_weights else (y, None)
        if call.wants_weights and self._has_faster_way(call):  # whose last bits differ; PyG's do not for being asked
            y = super().forward(signal, call.edges, **{**call.given, "return_attention_weights": None})
        y = self._finished(y, target)
        return y if weights is None else (y, self._calling.returned(call, *weights))

    def _has_faster_way(self, call: Call) -> bool:
        """Whether, if it is not asked for weights, it may walk without them in memory, to the same numbers."""
        draws = self.training and getattr(self.phi, "dropout", 0) > 0
        seen = self.is_looked_at() or not plain(self.phi, self.lift, self.lift_target, self.taps)
        return not (draws or seen or call.given.get("edge_attr") is not None)

    def _finished(self, y: Tensor, target: Tensor | None) -> Tensor:
        """What comes after the walk."""
        if self.root is not None and target is not None:
            own = self.root(target)
            if self.gate is None:
                y = y + own
            else:
                beta = self.gate(torch.cat([y, own, y - own], dim=-1)).sigmoid()
                y = beta * own + (1 - beta) * y
        if self.unit_length:
            y = F.normalize(y, p=2.0, dim=-1)
        return y if self.after is None else self.after(y)

    @property
    def _calling(self) -> Calling:
        return CALLINGS[self.calling]

    # ---------------------------------------------------------------- options of the PyG layer
    def _place_of(self, option: str) -> tuple[Any, str]:
        place, _, attribute = self.options.get(option, "").rpartition(".")
        if not attribute:
            raise AttributeError(f"{self.origin} has no option {option!r}.")
        return self.get_submodule(place), attribute

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("fixed", ()):
            raise AttributeError(
                f"{self.origin} was converted, and {name} cannot be set any more; set it before to_edgenet."
            )
        if name in self.__dict__.get("options", ()):
            object.__setattr__(self, name, value)  # past torch, which would make modules and parameters its children
        else:
            super().__setattr__(name, value)

    @property
    def node_dim(self) -> int:
        """Axis of the nodes inside, for ``propagate``. It can be set as on a PyG layer, to the one of ``x``."""
        return 0

    @node_dim.setter
    def node_dim(self, axis: int) -> None:
        self._axis = axis if "origin" in self.__dict__ else -2

    def _check_axis(self, x: Tensor) -> None:
        if self._axis not in (-2, x.dim() - 2):
            raise ShapeError(
                f"node_dim={self._axis}, but a converted {self.origin} walks axis -2 of a signal {tuple(x.shape)}."
            )

    def __repr__(self) -> str:
        return torch.nn.Module.__repr__(self)

    def extra_repr(self) -> str:
        return f"as {self.origin}(x, edge_index, {', '.join(self._calling.arguments)})"


def _widths(call: Call) -> dict[str, int | None]:
    features = call.given.get("edge_attr")
    return {
        "source": call.source.shape[-1],
        "target": None if call.target is None else call.target.shape[-1],
        "edges": None if features is None else 1 if features.dim() == 1 else features.shape[-1],
    }
