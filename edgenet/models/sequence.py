"""Sequence: a recurrent network that says something of every step of a sequence, or of the sequence whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from edgenet import shortcuts
from edgenet.errors import ConfigError, ShapeError
from edgenet.hub import Pretrained
from edgenet.models.stack import check_ranges
from edgenet.nn import UnitaryRNN, recurrent
from edgenet.nn.dropout import Dropout
from edgenet.nn.options import checked
from edgenet.structured.embedding import StructuredEmbedding
from edgenet.structured.families import named
from edgenet.structured.families import structure as structure_of
from edgenet.text import did_you_mean

#: The recurrent layers, by the name that ``cell`` takes.
CELLS: dict[str, type[nn.Module]] = {
    "lstm": recurrent.LSTM, "gru": recurrent.GRU, "rnn": recurrent.RNN, "unitary": UnitaryRNN,
}  # fmt: skip
#: the options that only some cells have: which ones, and the default
_OWN: dict[str, tuple[tuple[str, ...], Any]] = {
    "proj_size": (("lstm",), 0), "peepholes": (("lstm",), False), "nonlinearity": (("rnn",), "tanh"),
    **{name: (("lstm", "gru", "rnn"), default) for name, default in (
        ("num_layers", 1), ("dropout", 0.0), ("bidirectional", False), ("bias", True), ("structure", None),
        ("stacked", False),
    )},
}  # fmt: skip


class Sequence(nn.Module, Pretrained):
    """Features or embedded symbols, recurrent layers, and a linear map to scores.

    Trained by ``edgenet.fit`` on sequences, shuffled, or on ``edgenet.train.Streams`` of a long one: then it begins
    every chunk with the state that it ended the chunk before in.

    Args:
        in_channels: features of a step; the number of symbols, where ``embedding`` is given.
        out_channels: scores: classes, or 1 for a value.
        cell: "lstm", "gru", "rnn", or "unitary": a ``UnitaryRNN``, of one layer in one direction, whose read-out gives
            the scores.
        hidden_channels: numbers of a state, in every layer and direction; complex ones of "unitary".
        num_layers: of recurrent layers.
        embedding: length of the vector that stands for a symbol; None: steps have features.
        dropout: probability in [0, 1) of dropping a number of a layer's output, in training.
        bidirectional: whether every layer also reads from the end.
        per: "step": scores of every step; "sequence": scores of the whole, from what every direction of the last layer
            has come to in the end.
        bias: whether the recurrent maps have one.
        structure: {"structure": name, **options} of all recurrent maps; None: dense. See ``compress_`` for others.
        stacked: one matrix for input and state; see ``edgenet.nn.recurrent``.
        proj_size, peepholes: of "lstm"; nonlinearity: "tanh" or "relu", of "rnn".

    Raises:
        ConfigError: if there is no such cell, it has no such option, or a number is out of range.
        PlanError: if ``structure`` names none.

    Example:
        >>> model = edgenet.models.Sequence(3, 2, cell="gru", hidden_channels=8)
        >>> model(torch.randn(5, 12, 3)).shape  # scores of every step
        torch.Size([5, 12, 2])
    """

    @checked
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        cell: str = "lstm",
        hidden_channels: int = 128,
        num_layers: int = 1,
        embedding: int | None = None,
        dropout: float = 0.0,
        bidirectional: bool = False,
        per: str = "step",
        bias: bool = True,
        structure: Mapping[str, Any] | None = None,
        stacked: bool = False,
        proj_size: int = 0,
        peepholes: bool = False,
        nonlinearity: str = "tanh",
    ) -> None:
        super().__init__()
        check_ranges(
            in_channels=in_channels, out_channels=out_channels, hidden_channels=hidden_channels, num_layers=num_layers,
            embedding=embedding,
        )  # fmt: skip
        if cell not in CELLS:
            raise ConfigError(f"no cell is called {cell!r}; there are {', '.join(CELLS)}.{did_you_mean(cell, CELLS)}")
        if per not in ("step", "sequence"):
            raise ConfigError(f"per is 'step' or 'sequence', got {per!r}.")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout is a probability in [0, 1), got {dropout}.")
        options: dict[str, Any] = {
            "num_layers": num_layers, "dropout": dropout, "bidirectional": bidirectional, "bias": bias,
            "structure": None if structure is None else dict(structure), "stacked": stacked, "proj_size": proj_size,
            "peepholes": peepholes, "nonlinearity": nonlinearity,
        }  # fmt: skip
        for name, (owners, default) in _OWN.items():
            if cell not in owners and options[name] != default:
                raise ConfigError(
                    f"{name} is of {' and '.join(map(repr, owners))}, and {cell!r} has none; got {options[name]!r}."
                )
        self.in_channels, self.per, self.bidirectional = in_channels, per, bidirectional
        self.embedding = None if embedding is None else nn.Embedding(in_channels, embedding)
        width = in_channels if embedding is None else embedding
        self.dropout, self.head = Dropout(dropout), nn.Identity()
        self.rnn: Any
        if cell == "unitary":
            self.rnn = UnitaryRNN(width, hidden_channels, out_channels, batch_first=True)
        else:
            own = {name: value for name, value in options.items() if cell in _OWN[name][0] and value != _OWN[name][1]}
            own["dropout"] = dropout if num_layers > 1 else 0.0
            if structure is not None:
                kind, how = named(structure, "the recurrent maps")
                own["structure"] = structure_of(kind, **how)
            self.rnn = CELLS[cell](width, hidden_channels, batch_first=True, **own)
            self.head = nn.Linear(self.rnn.out_size * (2 if bidirectional else 1), out_channels)
        self._config = {
            "in_channels": in_channels, "out_channels": out_channels, "cell": cell, "hidden_channels": hidden_channels,
            "embedding": embedding, "per": per, **options,
        }  # fmt: skip

    def config(self) -> dict[str, Any]:
        """JSON-able arguments that rebuild the model."""
        return dict(self._config)

    def arguments(self) -> dict[str, Any]:
        """All of the constructor's; saved models are made by them."""
        return self.config()

    def reset_parameters(self) -> None:
        """Draw all parameters anew; what ``compress_`` put into the recurrent maps stays there."""
        if isinstance(self.embedding, StructuredEmbedding):
            self.embedding.weight.draw_(1.0)  # as torch draws tables
        elif self.embedding is not None:
            self.embedding.reset_parameters()
        self.rnn.reset_parameters()
        if not isinstance(self.head, nn.Identity):
            self.head.reset_parameters()

    def forward(
        self,
        x: Tensor | PackedSequence,
        lengths: Tensor | None = None,
        state: Any = None,
        return_state: bool = False,
    ) -> Any:
        """The scores of sequences, batch first.

        Args:
            x: (B, T, F) features, or (B, T) symbols from 0 to ``in_channels`` - 1; packed ones of torch too.
            lengths: (B,) steps of every sequence, where they differ; what comes after is padding.
            state: that the sequences go on from, as returned; None: zeros.
            return_state: whether to return the last state, too.

        Returns:
            (B, T, C) scores, or (B, C) of ``per="sequence"``, packed where x is and steps have scores; with
            ``return_state`` also the state. Scores of padding mean nothing.

        Raises:
            ShapeError: if x has another shape, no steps, or a symbol that there is not.
            ConfigError: if a state is handed to, or asked of, a network that also reads from the end.
        """
        if self.bidirectional and (state is not None or return_state):
            raise ConfigError(
                "a bidirectional network reads sequences to their end, and has no state to go on from: hand in whole "
                "sequences."
            )
        packed = isinstance(x, PackedSequence)
        signal = self._signal(x)
        output, last = self.rnn(signal, state) if lengths is None else self.rnn(signal, state, lengths)
        if self.per == "sequence":
            scores = self._of_state(last)
        elif packed:
            scores = output._replace(data=self.head(self.dropout(output.data)))
        else:
            scores = self.head(self.dropout(output))
        return (scores, last) if return_state else scores

    def _of_state(self, last: Any) -> Tensor:
        """(B, C) scores of what every direction of the last layer has come to."""
        if isinstance(self.rnn, UnitaryRNN):
            return self.head(self.rnn.read_out(torch.cat([last.real, last.imag], -1)))
        hidden = last[0] if isinstance(last, tuple) else last  # (layers * directions, B, n)
        whole = hidden[-2:] if self.bidirectional else hidden[-1:]
        return self.head(self.dropout(whole.transpose(0, 1).flatten(1)))

    def _signal(self, x: Tensor | PackedSequence) -> Tensor | PackedSequence:
        """What the recurrent layers read."""
        values = x.data if isinstance(x, PackedSequence) else x
        axes = (1 if isinstance(x, PackedSequence) else 2) + (self.embedding is None)
        if values.dim() != axes or (self.embedding is None and values.shape[-1] != self.in_channels):
            wanted = f"(B, T, {self.in_channels}) features" if self.embedding is None else "(B, T) symbols"
            raise ShapeError(f"wanted are {wanted}, batch first, got {tuple(values.shape)} of {values.dtype}.")
        if not values.numel():
            raise ShapeError(f"sequences have a step at least, and there is one at least; got {tuple(values.shape)}.")
        if self.embedding is None:
            if not values.is_floating_point():
                raise ShapeError(
                    f"features are floating point, got {values.dtype}. Of symbols make embedding=, the length of the "
                    f"vector that stands for one."
                )
            return x
        self._check_symbols(values)
        vectors = self.embedding(values.long())
        return x._replace(data=vectors) if isinstance(x, PackedSequence) else vectors

    def _check_symbols(self, values: Tensor) -> None:
        if values.is_floating_point() or values.dtype == torch.bool:
            raise ShapeError(f"symbols are whole numbers, got {values.dtype}. Features go without embedding=.")
        if torch.compiler.is_compiling() or not shortcuts.unwatched():
            return
        low, high = (int(end) for end in values.aminmax())
        if low < 0 or high >= self.in_channels:
            raise ShapeError(
                f"there is a symbol {low if low < 0 else high}, and this model knows {self.in_channels}, 0 to "
                f"{self.in_channels - 1}."
            )
