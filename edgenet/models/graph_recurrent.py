"""GraphRecurrent: recurrent cells over EdgeNet layers, for signals on a graph that change in time."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any, Self

import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError, ShapeError
from edgenet.graph import Graph
from edgenet.hub import Pretrained
from edgenet.models.foreign_layer import is_foreign
from edgenet.models.layers import layer_options, make_layer, out_width
from edgenet.models.stack import check_ranges
from edgenet.nn.dropout import Dropout
from edgenet.nn.graph_recurrent import (
    EdgeRead,
    Edges,
    Gate,
    GraphMap,
    GraphRecurrentLayer,
    NodeRead,
    TimeRead,
    gate_edges_,
)
from edgenet.nn.options import checked
from edgenet.nn.recurrent import Cell, ElmanCell, GRUCell, LSTMCell, State
from edgenet.phi import Phi
from edgenet.phi.edge_gated import EdgeGated
from edgenet.shortcuts import unwatched
from edgenet.text import did_you_mean

#: The cells, by the name that configurations use.
CELLS: dict[str, type[Cell]] = {"elman": ElmanCell, "gru": GRUCell, "lstm": LSTMCell}
GATES = ("time", "node", "edge")


class GraphRecurrent(nn.Module, Pretrained):
    """Recurrent layers over graph signals, then a linear map to scores of every node, at every step or at the last.

    With ``cell="elman"``: z_t = tanh(A(S) x_t + B(S) z_{t-1}), a graph recurrent network. With a gate:
    z_t = tanh(q_t * A(S) x_t + p_t * B(S) z_{t-1}), q and p from two more networks like it (Ruiz, Gama, Ribeiro 2020).
    A and B are EdgeNet layers of one kind. GRU and LSTM cells have all their gates' filters in one layer.

    Args:
        in_channels: features of a node at a time; -1 reads it off the first input.
        out_channels: scores of a node.
        layer: a name in ``edgenet.nn.SPECIALIZATIONS``.
        hidden_channels: H, numbers of a node in a state.
        num_layers: recurrent layers, one above the other.
        cell: "elman", "gru" or "lstm".
        gate: None; "time", one number for all nodes; "node", one a node; "edge", one an edge.
        nonlinearity: "tanh" or "relu", of Elman cells; gates' own cells have tanh.
        num_nodes: N, which the time gate needs: it reads the states of all nodes.
        heads: of every layer, where it has heads. Those that stand side by side must divide the H numbers of one gate
            times the cell's number of gates (1, 3, 4).
        dropout: probability in [0, 1) of dropping a number between layers and before the scores, in training.
        last: give the scores after the last step alone.
        **layer_options: options of the layer (order, normalize, bank, ...).

    Raises:
        ConfigError: if the layer, one of its options, the cell or the gate is unknown or out of range; if a time gate
            comes without ``num_nodes``, or an edge gate with a layer whose edges have no weights to scale.

    Example:
        >>> model = edgenet.models.GraphRecurrent(3, 1, layer="gcnn", hidden_channels=8, cell="gru")
        >>> model(torch.randn(5, 12, 4, 3), edges).shape  # 5 sequences of 12 steps
        torch.Size([5, 12, 4, 1])
    """

    @checked
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        layer: str = "gcnn",
        hidden_channels: int = 32,
        num_layers: int = 1,
        cell: str = "gru",
        gate: str | None = None,
        nonlinearity: str = "tanh",
        num_nodes: int | None = None,
        heads: int | None = None,
        dropout: float = 0.0,
        last: bool = False,
        **layer_options: Any,
    ) -> None:
        super().__init__()
        check_ranges(
            out_channels=out_channels, hidden_channels=hidden_channels, num_layers=num_layers, heads=heads,
            num_nodes=num_nodes,
        )  # fmt: skip
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout is a probability in [0, 1), got {dropout}.")
        _check_names(cell, gate, nonlinearity, num_nodes)
        self._config = {
            "in_channels": in_channels, "out_channels": out_channels, "layer": layer,
            "hidden_channels": hidden_channels, "num_layers": num_layers, "cell": cell, "gate": gate,
            "nonlinearity": nonlinearity, "num_nodes": num_nodes, "heads": heads, "dropout": dropout, "last": last,
            **layer_options,
        }  # fmt: skip
        self.num_layers, self.last = num_layers, last
        self.dropout = Dropout(dropout)
        make = _Maker(layer, layer_options, heads, hidden_channels)
        options = {"nonlinearity": nonlinearity} if cell == "elman" else {}
        self.layers = nn.ModuleList()
        for width in chain([in_channels], repeat(hidden_channels, num_layers - 1)):
            gates = [] if gate is None else [make.gate(gate, width, num_nodes) for _ in range(2)]
            own = make.cell(CELLS[cell], width, gate == "edge", **options)
            self.layers.append(GraphRecurrentLayer(own, *gates))
        self.head = nn.Linear(hidden_channels, out_channels)

    def config(self) -> dict[str, Any]:
        """JSON-able arguments that rebuild the model."""
        return dict(self._config)

    def arguments(self) -> dict[str, Any]:
        """All of the constructor's; saved models are made by them."""
        return self.config()

    @property
    def maps(self) -> list[GraphMap]:
        """All maps of all cells, those of gates too."""
        return [part for part in self.modules() if isinstance(part, GraphMap)]

    @property
    def needs_edge_attr(self) -> bool:
        """Whether a layer was made for edge features."""
        return any(getattr(one.conv, "needs_edge_attr", False) for one in self.maps)

    @property
    def follows_signal(self) -> bool:
        """Whether its layers draw the weights of edges from the signal, as attention does; gates of edges aside."""
        phis = [part for one in self.maps for part in one.modules() if isinstance(part, Phi)]
        return any(phi.follows_signal for phi in phis if not isinstance(phi, EdgeGated))

    def bind(self, edges: Any, num_nodes: int | None = None) -> Self:
        """Give tables of edge weights and node taps their graph; see ``EdgeNetConv.bind``."""
        for one in self.maps:
            one.bind(edges, num_nodes)
        return self

    def reset_parameters(self) -> None:
        """Draw all parameters anew. Tables keep the graph they are bound to."""
        parts: list[Any] = [*self.layers, self.head]
        for part in parts:
            part.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Any,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        n_id: Tensor | None = None,
        e_id: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        state: list[State] | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, list[State]]:
        """Scores of every node along sequences.

        Args:
            x: (B, T, N, F) sequences of signals on one graph, or one sequence (T, N, F). T >= 1.
            edge_index, edge_weight, edge_attr, n_id, e_id: as of ``EdgeNetConv.forward``; the same at all times.
            lengths: (B,) whole numbers from 0 to T, steps that every sequence has. States stay where they are
                afterwards, and scores are 0. What stands in ``x`` there is not read.
            state: a list with an entry a layer, as ``return_state`` gave it: sequences go on from there. None: zeros.
            return_state: also give the state after each sequence's last step.

        Returns:
            (B, T, N, F_out), or (B, N, F_out) if ``last``; without B for one sequence. With ``return_state``, a pair of
            this and the state: a list with a tuple of tensors (B, N, H) for every layer.

        Raises:
            ShapeError: if something does not fit, or there is no step; if numbers that are not finite come up, with the
                step at which they do.
            SupportError: if a layer's table was made for another graph.
        """
        signal = self._checked(x).transpose(0, 1)  # (T, B, N, F)
        single = x.dim() == 3
        edges = self._edges(signal, edge_index, edge_weight, edge_attr, n_id, e_id)
        active = None if lengths is None else _active(lengths, signal)
        if active is not None:
            signal = torch.where(active, signal, 0)
        states = self._states(state)
        found: list[State] = []
        for depth, layer in enumerate(self.layers):
            signal, after = layer(signal if depth == 0 else self.dropout(signal), edges, states[depth], active)
            found.append(after)
        _check_finite(signal)
        signal = signal[-1:] if self.last else signal  # of shorter sequences it is their last step's, too
        y = self.head(self.dropout(signal))
        if active is not None and not self.last:
            y = torch.where(active, y, 0)
        y = y.transpose(0, 1)
        y = y.squeeze(1) if self.last else y
        y = y.squeeze(0) if single else y
        return (y, found) if return_state else y

    def _checked(self, x: Tensor) -> Tensor:
        """(B, T, N, F) of what came."""
        wanted = self._config["in_channels"]
        fits = isinstance(x, Tensor) and x.layout == torch.strided and x.dim() in (3, 4) and x.is_floating_point()
        if not fits or wanted not in (-1, x.shape[-1]):
            width = "F" if wanted == -1 else wanted
            found = f"{tuple(x.shape)} {x.dtype} {x.layout}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ShapeError(
                f"wanted are sequences of signals (B, T, N, {width}), or one (T, N, {width}), of floats, dense; got "
                f"{found}."
            )
        x = x.unsqueeze(0) if x.dim() == 3 else x
        if not x.shape[1]:
            raise ShapeError(f"a sequence has one step at least, and these have T = 0: x is {tuple(x.shape)}.")
        return x

    def _edges(self, signal: Tensor, edges: Any, weight: Any, attr: Any, n_id: Any, e_id: Any) -> Edges:
        graph, values = Graph.of(edges, signal.shape[2])
        if values is not None:  # of a sparse adjacency, as layers take them; see ``EdgeNetConv.forward``
            if self.needs_edge_attr:
                attr = values if attr is None else attr
            elif not self.follows_signal:
                weight = values if weight is None else weight
        return Edges(graph.with_ids(n_id, e_id), weight, attr)

    def _states(self, state: list[State] | None) -> list[State] | list[None]:
        if state is None:
            return [None] * self.num_layers
        if not isinstance(state, list | tuple) or len(state) != self.num_layers:
            raise ShapeError(
                f"the state is a list with an entry for each of {self.num_layers} layers, got {state!r:.80}."
            )
        return list(state)


class _Maker:
    """Makes the parts of a model's layers.

    Args:
        layer, options, heads, hidden: of the model.
    """

    def __init__(self, layer: str, options: dict[str, Any], heads: int | None, hidden: int) -> None:
        self.layer, self.options, self.heads, self.hidden = layer, options, heads, hidden
        if heads is not None and "heads" not in layer_options(layer):
            raise ConfigError(f"layer {layer!r} has no heads; leave out heads.")

    def cell(self, kind: type[Cell], width: int, gates_edges: bool, **options: Any) -> Cell:
        """A cell over two maps, each with the filters of all of its gates."""
        numbers = kind.gates * self.hidden
        convs = [self.conv(wide, numbers) for wide in (width, self.hidden)]
        for conv in convs if gates_edges else ():
            gate_edges_(conv)
        return kind(*(GraphMap(conv, gates_edges) for conv in convs), self.hidden, **options)

    def gate(self, gate: str, width: int, num_nodes: int | None) -> Gate:
        """A network of its own, and what reads a gate off its state."""
        own = self.cell(ElmanCell, width, False)
        if gate == "time":
            assert num_nodes is not None
            return Gate(own, TimeRead(num_nodes, self.hidden))
        if gate == "node":
            return Gate(own, NodeRead(GraphMap(make_layer(self.layer, self.hidden, 1, self.options))))
        return Gate(own, EdgeRead(self.hidden))

    def conv(self, width: int, channels: int) -> nn.Module:
        """A layer that gives so many numbers a node."""
        options = self.options if self.heads is None else {**self.options, "heads": self.heads}
        made = make_layer(self.layer, width, channels, options)
        if is_foreign(made):
            raise ConfigError(f"layer {self.layer!r} is none of edgenet's, and a recurrent cell is over such alone.")
        wide = out_width(made, channels)
        if wide != channels:  # heads side by side
            share, rest = divmod(channels * channels, wide)
            if rest:
                raise ConfigError(
                    f"{wide // channels} heads side by side must divide the {channels} numbers that a step of a node "
                    f"takes; change hidden_channels, or average them: concat=False."
                )
            made = make_layer(self.layer, width, share, options)
        return made


def _check_names(cell: str, gate: str | None, nonlinearity: str, num_nodes: int | None) -> None:
    if cell not in CELLS:
        raise ConfigError(f"no cell is called {cell!r}; there are {', '.join(CELLS)}.{did_you_mean(cell, CELLS)}")
    if gate is not None and gate not in GATES:
        raise ConfigError(f"no gate is called {gate!r}; there are {', '.join(GATES)}.{did_you_mean(gate, GATES)}")
    if gate == "time" and num_nodes is None:
        raise ConfigError("gate='time' reads the states of all nodes, and needs num_nodes, the size of the graph.")
    if nonlinearity != "tanh" and cell != "elman":
        raise ConfigError(f"a nonlinearity is of cell='elman'; {cell!r} has its own: leave out {nonlinearity!r}.")


def _active(lengths: Tensor, signal: Tensor) -> Tensor:
    """(T, B, 1, 1) whether a sequence has a step."""
    steps, batch = signal.shape[:2]
    lengths = torch.as_tensor(lengths, device=signal.device)
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ShapeError(
            f"lengths are ({batch},) whole numbers, one a sequence; got {tuple(lengths.shape)} {lengths.dtype}."
        )
    if not torch.compiler.is_compiling() and batch and not 0 <= int(lengths.min()) <= int(lengths.max()) <= steps:
        raise ShapeError(f"lengths are from 0 to T = {steps}, got {int(lengths.min())} to {int(lengths.max())}.")
    return (torch.arange(steps, device=signal.device).unsqueeze(1) < lengths)[:, :, None, None]


def _check_finite(outputs: Tensor) -> None:
    """Refuse states that are not finite, with the first step that has one. Compiled code does not look."""
    if torch.compiler.is_compiling() or not unwatched() or bool(outputs.isfinite().all()):
        return
    step, sequence, node = ((~outputs.isfinite()).any(-1).nonzero()[0]).tolist()
    raise ShapeError(
        f"the state is not finite from step {step} on (sequence {sequence}, node {node}): see whether the input is, "
        f"and whether the training has diverged (a smaller learning rate, clip_norm)."
    )
