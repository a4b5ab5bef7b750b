"""The plan in a state: what a ``state_dict`` says of each structured matrix, beside its tensors.

Under ``<path>._extra_state`` stands a uint8 tensor, the bytes of a JSON text: the family and the options of the matrix
at that path, and which hash pool it reads from, where an earlier matrix reads from it too. It is a tensor like the
others, so every format of files holds it, and reading it runs nothing. A dense matrix says nothing.

``torch.nn.Module.load_state_dict`` is taught to read it: the structures that the text tells of are put into the model
first (``edgenet.compress.restructure_``), so that a fresh, uncompressed model takes the state of a compressed one. A
state without such a text is loaded as if nothing had been taught.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgenet.errors import CheckpointError, PlanError
from edgenet.reading import parse_json
from edgenet.structured.hash_pool import HashPool
from edgenet.structured.names import name_of

KEY = "_extra_state"  # torch's name for what a module keeps beside its tensors, which its sharded checkpoints know too
_MARK = "edgenet"
_MOST = 1 << 20  # bytes of a text

_torchs_load_state_dict = getattr(nn.Module.load_state_dict, "taught", nn.Module.load_state_dict)  # where reloaded


def tell(matrix: nn.Module, state: dict[str, Any], prefix: str) -> None:
    """Add the text of a matrix to a state that has its tensors already, under their names behind ``prefix``.

    A class that is registered under no name has none.
    """
    try:
        told = {_MARK: 1, "structure": name_of(matrix), "config": cast(Any, matrix).config()}
    except PlanError:
        return
    shared = {}
    for path, part in matrix.named_modules():
        if isinstance(part, HashPool):
            own, first = f"{prefix}{path}.left", _first_place(f"{prefix}{path}.left", state)
            if first != own:
                shared[path] = [own.removesuffix(".left"), first.removesuffix(".left")]
    text = json.dumps({**told, "shared": shared} if shared else told, separators=(",", ":")).encode()
    state[prefix + KEY] = torch.frombuffer(bytearray(text), dtype=torch.uint8)


def told(value: Any) -> dict[str, Any] | None:
    """What a text says; None for what is no such text: another library's extra state, say.

    Averages of equal states are taken for what they are averages of.
    """
    if not isinstance(value, Tensor) or value.dim() != 1 or value.is_meta or value.is_complex():
        return None
    if not 0 < value.numel() <= _MOST:
        return None
    try:
        text = bytes(value.detach().cpu().double().round().to(torch.uint8).tolist())
        content = parse_json(text, "the state", ValueError)
    except (ValueError, RuntimeError):
        return None
    if not isinstance(content, dict) or content.get(_MARK) != 1:
        return None
    config, shared = content.get("config"), content.get("shared", {})
    whole = isinstance(content.get("structure"), str) and isinstance(config, dict) and isinstance(shared, dict)
    if not whole or not all(_are_two_names(places) for places in shared.values()):
        return None
    return {"structure": content["structure"], "config": config, "shared": shared}


def _are_two_names(places: Any) -> bool:
    return isinstance(places, list) and len(places) == 2 and all(isinstance(place, str) for place in places)


def check_family(matrix: nn.Module, value: Any) -> None:
    """
    Raises:
        CheckpointError: if a text tells of another family than that of the matrix.
    """
    content = told(value)
    if content is None:
        return
    try:
        own = name_of(matrix)
    except PlanError:
        return
    if own != content["structure"]:
        raise CheckpointError(
            f"the state tells of a {content['structure']} matrix where a {own} one stands. Call "
            f"edgenet.compress.restructure_(model, state) before its tensors are loaded."
        )


def is_plan(name: str) -> bool:
    """Whether a name in a ``state_dict`` is that of a text, and not of a tensor."""
    return name.rpartition(".")[2] == KEY


def _first_place(own: str, state: Mapping[str, Any]) -> str:
    """The first name under which the memory of a tensor stands in a state."""
    tensor, last = state[own], own.rpartition(".")[2]
    if tensor.is_meta or not tensor.numel():
        return own
    for name, other in state.items():
        like = name.endswith(last) and isinstance(other, Tensor) and other.shape == tensor.shape
        if like and other.data_ptr() == tensor.data_ptr():
            return name
    return own


@functools.wraps(_torchs_load_state_dict)
def _load_state_dict(self: nn.Module, state_dict: Mapping[str, Any], *args: Any, **options: Any) -> Any:
    if not isinstance(state_dict, Mapping) or not any(map(is_plan, filter(_is_text, state_dict))):
        return _torchs_load_state_dict(self, state_dict, *args, **options)
    # what knows all slots stands above the matrices, which are below everything; edgenet imports it on first use
    undo = sys.modules["edgenet"].compress.restructuring.restructured(self, state_dict)
    try:
        return _torchs_load_state_dict(self, state_dict, *args, **options)
    except BaseException:
        undo()
        raise


_load_state_dict.taught = _torchs_load_state_dict  # type: ignore[attr-defined]  # a mark


def _is_text(name: Any) -> bool:
    return isinstance(name, str)


nn.Module.load_state_dict = _load_state_dict
