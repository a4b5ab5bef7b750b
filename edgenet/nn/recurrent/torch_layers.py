"""torch's RNN, GRU and LSTM as ours, with the same numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from edgenet.errors import ConversionError
from edgenet.nn.recurrent.cells import LSTMCell
from edgenet.nn.recurrent.layers import GRU, LSTM, RNN, Recurrent
from edgenet.shortcuts import hooked
from edgenet.structured.families import Structure

_KINDS: dict[type[nn.Module], type[Recurrent]] = {nn.RNN: RNN, nn.GRU: GRU, nn.LSTM: LSTM}


def from_torch(module: nn.RNNBase, structure: Structure | None = None) -> Recurrent:
    """A copy of ``torch.nn.RNN``, ``GRU`` or ``LSTM``: every option, and numbers equal to rounding.

    Args:
        module: is not touched, and shares nothing with the copy.
        structure: makes the matrix of every slot of the weight that was there; None: dense.

    Raises:
        ConversionError: if it is of another class, or something is on it that would be lost (hooks, parametrisations,
            a structured matrix behind a bridge, a tensor that stands in two places).

    Example:
        >>> theirs = torch.nn.GRU(3, 8, bidirectional=True)
        >>> ours, steps = edgenet.nn.recurrent.from_torch(theirs), torch.randn(10, 2, 3)
        >>> torch.allclose(ours(steps)[0], theirs(steps)[0], atol=1e-6)
        True
    """
    kind = _KINDS.get(type(module))
    if kind is None:
        if isinstance(module, nn.RNNBase) and parametrize.is_parametrized(module):
            raise ConversionError(
                f"tensors of this {type(module).__name__} are computed of others. Make them final first: "
                f"parametrize.remove_parametrizations, or edgenet.compress.decompress_."
            )
        raise ConversionError(f"from_torch takes torch.nn.RNN, GRU or LSTM, got {type(module).__name__}.")
    if hooked(module):
        raise ConversionError(f"this {kind.__name__} has hooks, which would be lost; remove them first.")
    names = [name for names in module._all_weights for name in names]
    if len({id(getattr(module, name)) for name in names}) < len(names):
        raise ConversionError(
            f"a tensor stands in two places of this {kind.__name__}, which the copy would have apart; convert before "
            f"tying, or tie the copy's maps."
        )
    options: dict[str, Any] = {"bias": bool(module.bias), "batch_first": module.batch_first}
    options["dropout"] = module.dropout if module.num_layers > 1 else 0.0  # which has nothing to drop there
    options["bidirectional"] = module.bidirectional
    if isinstance(module, nn.RNN):
        options["nonlinearity"] = module.nonlinearity
    if isinstance(module, nn.LSTM):
        options["proj_size"] = module.proj_size
    made = kind(module.input_size, module.hidden_size, module.num_layers, **options)
    made.to(module.weight_ih_l0.device, module.weight_ih_l0.dtype)
    with torch.no_grad():
        for place, cell in enumerate(made.cells):
            layer, backwards = divmod(place, made.directions)
            end = f"l{layer}{'_reverse' if backwards else ''}"
            for part, name in ((cell.input_map, "ih"), (cell.state_map, "hh")):
                _copy(module, part, f"{name}_{end}", structure)
            if isinstance(cell, LSTMCell) and cell.projection is not None:
                _copy(module, cell.projection, f"hr_{end}", structure)
    return made.train(module.training)


def from_lstm(module: nn.LSTM, structure: Structure | None = None) -> LSTM:
    """``from_torch`` of an LSTM.

    Raises:
        ConversionError: as there; and if it is none.

    Example:
        >>> theirs = torch.nn.LSTM(3, 8)
        >>> ours, steps = edgenet.nn.recurrent.from_lstm(theirs), torch.randn(10, 2, 3)
        >>> torch.allclose(ours(steps)[0], theirs(steps)[0], atol=1e-6)
        True
    """
    made = from_torch(module, structure)
    if not isinstance(made, LSTM):
        raise ConversionError(f"from_lstm takes torch.nn.LSTM, got {type(module).__name__}; from_torch takes that.")
    return made


def _copy(module: nn.Module, part: Any, name: str, structure: Structure | None) -> None:
    weight = getattr(module, f"weight_{name}")
    if structure is not None:
        part.weight = structure(weight.detach())
    else:
        part.weight.weight.copy_(weight)
    part.weight.requires_grad_(weight.requires_grad)
    if part.bias is not None:
        bias = getattr(module, f"bias_{name}")
        part.bias.copy_(bias)
        part.bias.requires_grad_(bias.requires_grad)
