"""Tap features: what the taps of a layer combine, as the columns of a regression."""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.nn import EdgeNetConv
from edgenet.nn.evaluating import evaluating
from edgenet.nn.keep import combined, input_copies
from edgenet.nn.taps import Taps, Walk
from edgenet.selection.blocks import block_names
from edgenet.selection.plan import Kept, RemovalPlan

#: The block of what a node keeps of its own signal: diagonals, and self-loops that the layer adds.
OWN = "own"


class Tap(NamedTuple):
    """What a column of features comes from: z^(hop)[:, head], or what the edges of a block add to it at the last hop.

    ``block`` is None where edges are not divided, and for the input itself, hop 0.

    Example:
        >>> edgenet.selection.Tap(hop=2, head=0)
        Tap(hop=2, head=0, block=None)
    """

    hop: int
    head: int
    block: str | None = None


@dataclass(frozen=True, eq=False)
class TapFeatures:
    """The signals that a layer's taps combine, with what they come from.

    Attributes:
        values: (M, p), float64: a row for every node; for every node of every signal, signal by signal, in a batch.
        taps: (p,) what each column comes from.
        scale: (p,) what columns were divided by.
        blocks: names of the blocks of edges; None where edges are not divided.
        layer: the name of the layer in its model; "" for the layer itself.

    Example:
        >>> features = edgenet.selection.tap_features(edgenet.nn.specializations.gcnn(3, 8, order=4), x, edges)
        >>> features.values.shape, features.taps[0]  # 5 hops of 3 channels
        ((4, 15), Tap(hop=0, head=0, block=None))
    """

    values: np.ndarray
    taps: tuple[Tap, ...]
    scale: np.ndarray
    blocks: tuple[str, ...] | None = None
    layer: str = ""

    def groups(self, by: Sequence[str] = ("hop", "head", "block")) -> list[str]:
        """(p,) the group of every column, for ``QuantilePath``: "hop 2, head 1, block near".

        Args:
            by: what tells groups apart, some of "hop", "head" and "block". All columns that agree in these are one
                group: ("block",) asks which edges matter, over all hops.

        Raises:
            ConfigError: if ``by`` has anything else, or nothing.
        """
        if not by or not set(by) <= set(Tap._fields):
            raise ConfigError(f"groups are told apart by some of {list(Tap._fields)}, got {list(by)}.")
        return [
            ", ".join(f"{name} {getattr(tap, name)}" for name in by if getattr(tap, name) is not None) or "input"
            for tap in self.taps
        ]

    def scaled(self) -> TapFeatures:
        """The same with every column divided by its standard deviation, which penalties treat alike; columns that are
        constant up to rounding stay. ``fill_`` undoes it."""
        in_float32 = np.array_equal(self.values, self.values.astype(np.float32))
        rounding = 8 * np.finfo(np.float32 if in_float32 else np.float64).eps
        size = self.values.std(0)
        size = np.where(size > rounding * np.abs(self.values).max(0, initial=0), size, 1.0)
        return dataclasses.replace(self, values=self.values / size, scale=self.scale * size)

    def plan(self, *estimators: Any) -> RemovalPlan:
        """What fitted estimators leave of the layer: the taps and blocks of edges that one of them uses.

        A tap (hop, head) goes if no column of it is used, a head if none of its taps is, a block of edges if none of
        its columns is, at any hop and head.

        Args:
            estimators: fitted on ``values``, or on some of their rows: ``QuantilePath``, ``SpAM``, or any with
                ``get_support``, ``support_`` (numbers of columns, or a mask) or ``coef_``. Or (p,) masks of columns.

        Raises:
            ConfigError: if an estimator has neither, or is of other columns, or none uses anything.
        """
        used = np.zeros(len(self.taps), dtype=bool)
        for estimator in estimators:
            used |= self._used(estimator)
        kept = [tap for tap, is_used in zip(self.taps, used, strict=True) if is_used]
        if not kept:
            raise ConfigError("no column is used, so that nothing would be left; choose a smaller penalty.")
        pairs = tuple(sorted({(tap.hop, tap.head) for tap in kept}))
        names = {tap.block for tap in kept}
        blocks = None if self.blocks is None else tuple(name for name in self.blocks if name in names)
        return RemovalPlan({self.layer: Kept(pairs, blocks)})

    def _used(self, estimator: Any) -> np.ndarray:
        p = len(self.taps)
        support = getattr(estimator, "support_", None)
        if isinstance(estimator, type):
            raise ConfigError(f"{estimator.__name__} is a class: make an estimator and fit it first.")
        if hasattr(estimator, "get_support"):  # of the selectors of scikit-learn
            used = np.asarray(estimator.get_support(), dtype=bool)
        elif support is not None and not hasattr(estimator, "support_vectors_"):  # those support_ are numbers of rows
            support = np.asarray(support)
            used = np.zeros(int(getattr(estimator, "n_features_in_", p)), dtype=bool)
            used[support if support.dtype == bool else support.astype(int)] = True
        elif hasattr(estimator, "coef_"):
            used = (np.asarray(estimator.coef_) != 0).reshape(-1, np.shape(estimator.coef_)[-1]).any(0)
        elif isinstance(estimator, np.ndarray | list | tuple | Tensor):
            used = np.asarray(estimator)
            if used.dtype != bool:
                raise ConfigError(f"a mask says True or False for each of {p} columns, got {used.dtype} {used.shape}.")
        else:
            raise ConfigError(
                f"{type(estimator).__name__} has no support_ and no coef_: fit it first; of a pipeline or a search "
                f"pass the estimator in it."
            )
        if used.shape != (p,):
            raise ConfigError(f"there are {p} columns of features, and the estimator is of {used.shape[-1]}.")
        return used


@torch.no_grad()
def tap_features(
    layer: EdgeNetConv,
    x: Tensor,
    edge_index: Any,
    edge_weight: Tensor | None = None,
    edge_attr: Tensor | None = None,
    *,
    blocks: Any = None,
    name: str = "",
) -> TapFeatures:
    """The signals z^(k)[:, h] that the taps of a layer combine, for an estimator to choose among.

    With fixed edge weights (shift operators, tables, frozen attention) an estimator that is linear in them is the layer
    itself: a regression chooses taps of all possible ones at once. The input, z^(0), which every shift operator has a
    copy of, comes once. Lazy tables meet their graph, as in ``forward``; otherwise the layer stays as it is.

    Args:
        layer: of any phi, with one set of nodes.
        x, edge_index, edge_weight, edge_attr: as of ``layer.forward``; in eval mode. Of a sampled piece, a ``Graph``
            with its ids.
        blocks: (E,) label of every edge, text or whole numbers. Every signal then comes in parts, one for the edges of
            each block at its last hop, and one, "own", of what a node has from itself; they sum up to it.
        name: of the layer in its model, for plans.

    Raises:
        ShapeError: if this is no ``EdgeNetConv``, the graph is bipartite, the phi mixes channels at every hop, the taps
            are of other signals than z^(k) (Chebyshev, ARMA), or the labels do not fit.

    Example:
        >>> features = edgenet.selection.tap_features(edgenet.nn.specializations.gcnn(3, 8, order=2), x, edges)
        >>> features.values.shape  # 3 hops of 3 channels
        (4, 9)
    """
    if not isinstance(layer, EdgeNetConv):
        raise ShapeError(f"taps are those of an EdgeNetConv, got a {type(layer).__name__}; pass the one inside it.")
    if layer.taps.own_signals:
        raise ShapeError(f"{type(layer.taps).__name__} taps combine other signals than powers of one operator.")
    if isinstance(layer.in_channels, tuple) or isinstance(x, tuple):
        raise ShapeError("tap features are of layers with one set of nodes, not of bipartite graphs.")
    if layer.phi.mixes_channels:
        raise ShapeError(f"{type(layer.phi).__name__} mixes channels at every hop, and its hops are no features.")
    recorder = _Recorder()
    probe = copy.copy(layer)  # with dictionaries of its own, so that the layer never sees the recorder
    probe._modules, probe._parameters = dict(layer._modules), dict(layer._parameters)
    probe._modules["taps"], probe._parameters["bias"] = recorder, None
    probe._forward_hooks = OrderedDict()  # they would see the last hop in place of the output
    names = None
    if blocks is not None:
        names, code = block_names(blocks)
        graph, _ = Graph.of(edge_index, x.shape[-2])
        if len(code) != graph.num_edges:
            raise ShapeError(f"blocks wants a label for each of {graph.num_edges} edges, got {len(code)}.")
        if OWN in names:
            raise ShapeError(f"{OWN!r} is what nodes have from themselves; give that block of edges another name.")
        if layer.add_self_loops:
            _, stay = graph.with_self_loops()
            code = torch.cat([code.to(stay.device)[stay], torch.full((graph.num_nodes,), len(names))])
        recorder.code, recorder.blocks = code, len(names)
    probe.training = False
    with evaluating(layer):
        probe(x, edge_index, edge_weight, edge_attr)
    return _collected(layer, recorder, names, name)


def _collected(layer: EdgeNetConv, recorder: _Recorder, names: list[str] | None, name: str) -> TapFeatures:
    taps, columns, channels = [], [], recorder.signals[0].shape[-1]
    pairs = combined(layer)
    if input_copies(layer):
        pairs = [pair for place, pair in enumerate(pairs) if pair[0] > 0 or place == 0]
    for k, h in pairs:
        if names is None or k == 0:
            parts: list[tuple[str | None, Tensor]] = [(None, recorder.signals[k])]
        else:
            of_blocks = recorder.parts[k - 1]
            own = recorder.signals[k] - sum(of_blocks)
            parts = list(zip(names, of_blocks, strict=True))
            if layer.add_self_loops or layer.phi.diagonal(recorder.graph) is not None:
                parts.append((OWN, own))
        for block, signal in parts:
            columns.append(signal[..., h, :])
            taps += [Tap(k, h, block)] * channels
    values = torch.cat(columns, -1)  # (N, [B,] p)
    if values.dim() == 3:
        values = values.transpose(0, 1).flatten(0, 1)
    array = values.double().cpu().numpy()
    blocks = None if names is None else tuple(names)
    return TapFeatures(array, tuple(taps), np.ones(array.shape[1]), blocks, name)


class _Recorder(Taps):
    """Taps that keep the signals, and what every block of edges adds to them."""

    reads_weights = True

    def __init__(self) -> None:
        super().__init__()
        self.code: Tensor | None = None  # (E,) number of every edge's block; one more for loops that are added
        self.blocks = 0

    def walk(self, z: Tensor, walk: Walk) -> Tensor:
        self.graph, self.signals, self.parts = walk.graph, [z], []
        for k in range(walk.order):
            if self.code is not None:
                here = [(self.code == b).to(z) for b in range(self.blocks)]
                self.parts.append([walk.hop(k, self.signals[-1], edges) for edges in here])
            self.signals.append(walk.hop(k, self.signals[-1]))
        return self.signals[-1].flatten(-2)

    def forward(self, signals: list[Tensor], graph: Graph) -> Tensor:
        raise NotImplementedError("it walks by itself")
