"""Restructuring: the structures that a state tells of, put into a model that does not have them yet."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from edgenet.compress.blueprint import check_shape, on_meta, rebuild_
from edgenet.compress.finding import slots
from edgenet.compress.places import Attribute, Undo
from edgenet.compress.slot import Slot
from edgenet.errors import CheckpointError, PlanError
from edgenet.structured import StructuredMatrix, name_of
from edgenet.structured.plan_in_state import KEY, is_plan, told

_BEHIND = re.compile(r"(^|\.)parametrizations\.([^.]+)\.0\.matrix$")


def restructure_(model: nn.Module, state: Mapping[str, Any]) -> list[str]:
    """Put the structures into a model that a state of a compressed one tells of, with any numbers in them.

    ``load_state_dict`` does so by itself. This is for what copies tensors into a model on its own, and wants them to be
    there with their sizes: sharded checkpoints, for one. Make the optimizer afterwards: parameters are new.

    Args:
        model: one that was built as the compressed one was, before it was compressed. A slot that holds the structure
            already stays as it is.
        state: the ``state_dict``, or those of its entries whose names end in ``_extra_state``.

    Returns:
        The names of the slots that were filled.

    Raises:
        CheckpointError: if a structure does not fit its slot.
        PlanError: if a family is not known here, or something would be lost (hooks, say). The model is as it was.

    Example:
        >>> small, fresh = torch.nn.Linear(16, 8), torch.nn.Linear(16, 8)
        >>> _ = edgenet.compress.compress_(small, {"weight": {"structure": "low_rank", "rank": 2}})
        >>> edgenet.compress.restructure_(fresh, small.state_dict())
        ['weight']
    """
    plan = _plan(model, state)
    rebuild_(model, plan)
    return list(plan["matrices"])


def restructured(model: nn.Module, state: Mapping[str, Any]) -> Undo:
    """``restructure_``; what undoes it."""
    return rebuild_(model, _plan(model, state))


def _plan(model: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """What a state tells of the slots of a model in which something else stands, as a blueprint."""
    texts = dict(_texts(state))
    if not texts or isinstance(model, StructuredMatrix):
        return {"matrices": {}, "shared": [], "behind": ()}
    found = {name: slot for slot in slots(model).values() for name in slot.names}
    matrices: dict[str, dict[str, Any]] = {}
    pools: dict[str, list[list[str]]] = {}
    slot_of: dict[str, str] = {}
    behind: set[str] = set()  # names where the matrix stands behind a tensor: where a layer had hooks, say
    tensors = _tensors(state, texts)
    for path, content in texts.items():
        name = _BEHIND.sub(r"\1\2", path)
        slot = found.get(name)
        if slot is None:  # that it is not there is for load_state_dict to say, if it is strict
            continue
        check_shape(slot.name, content, slot)  # before anything is made: of huge sizes options are long to find
        slot_of[path] = slot.name
        if name != path:
            behind.add(name)
        else:
            _check_swaps(slot, name)
        if slot.name in matrices or _stands(slot, content, tensors[path]):
            continue
        _check_sizes(content, path, tensors[path], slot)
        matrices[slot.name] = {**content, "dtypes": _dtypes(tensors[path], slot)}
        for inside, places in content["shared"].items():
            pools.setdefault(_there(f"{path}.{inside}", places), []).append([slot.name, inside])
    shared = []
    for place, readers in pools.items():
        owner = next((path for path in slot_of if place.startswith(f"{path}.")), None)
        if owner is None or slot_of[owner] not in matrices:
            owner, place = None, ""
        first = readers[0] if owner is None else [slot_of[owner], place.removeprefix(f"{owner}.")]
        shared += [[*first, *reader] for reader in readers if reader != first]
    return {"matrices": matrices, "shared": shared, "behind": behind}


def _check_swaps(slot: Slot, name: str) -> None:
    """
    Raises:
        CheckpointError: if a layer that was swapped for a structured one cannot be swapped here, so that the tensors
            would have other names.
    """
    place = slot.holders[slot.names.index(name)]
    if isinstance(place, Attribute):
        kind = type(place.module).__name__
        raise CheckpointError(
            f"{name} is that of a structured layer in the state, and the {kind} here stays what it is: it has hooks, "
            f"stands alone or is of a class of its own. Take hooks off (handle.remove()); put them on after loading."
        )


def _texts(state: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path of a matrix, what the state says of it)."""
    for name, value in state.items():
        if isinstance(name, str) and name.endswith(f".{KEY}"):
            content = told(value)
            if content is not None:
                yield name.removesuffix(f".{KEY}"), content


def _tensors(state: Mapping[str, Any], paths: Collection[str]) -> dict[str, dict[str, Tensor]]:
    """The tensors of every matrix that is told of, by path, and by name inside the matrix."""
    found: dict[str, dict[str, Tensor]] = {path: {} for path in paths}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or is_plan(name):
            continue
        path = name.rpartition(".")[0]
        while path and path not in found:
            path = path.rpartition(".")[0]
        if path:
            found[path][name.removeprefix(f"{path}.")] = value
    return found


def _check_sizes(content: Mapping[str, Any], path: str, tensors: Mapping[str, Tensor], slot: Slot) -> None:
    """
    Raises:
        CheckpointError: if the tensors in the state are not those of the matrix that it tells of; for a slot without a
            size, which says nothing of how much memory is reasonable, also if they are not there.
    """
    for name, tensor in on_meta(content).state_dict().items():
        stored = tensors.get(name)
        if stored is not None and stored.shape != tensor.shape:
            raise CheckpointError(
                f"{path}.{name} is {tuple(stored.shape)} in the state, and that of the {content['structure']} matrix "
                f"it tells of is {tuple(tensor.shape)}."
            )
        if stored is None and slot.is_lazy:
            raise CheckpointError(
                f"{slot.name} has no size yet, and the state has no {path}.{name}. Run the model once first."
            )


def _there(here: str, places: list[str]) -> str:
    """Where the pool stands that was read from two places, though both may have lost or won a prefix since."""
    own, first = places
    if own.endswith(here):
        return first.removeprefix(own.removesuffix(here))
    return here.removesuffix(own) + first if here.endswith(own) else first


def _dtypes(tensors: Mapping[str, Tensor], slot: Slot) -> dict[str, str]:
    """Of a matrix's tensors: those in the state, where numbers that all have one dtype get that of the slot."""
    stored = {name: tensor.dtype for name, tensor in tensors.items()}
    numbers = {dtype for dtype in stored.values() if dtype.is_floating_point or dtype.is_complex}
    like = next(iter(slot.numbers()), None)
    if len(numbers) == 1 and like is not None and next(iter(numbers)).is_complex == like.dtype.is_complex:
        stored = {name: like.dtype if dtype in numbers else dtype for name, dtype in stored.items()}
    return {name: str(dtype).removeprefix("torch.") for name, dtype in stored.items()}


def _stands(slot: Slot, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bool:
    """Whether the slot holds what the state tells of, so that its tensors, and an optimizer that has them, can stay.

    Options that follow from the numbers (how many a mask lets through) may differ.
    """
    matrix = slot.matrix
    try:
        if matrix is None or name_of(matrix) != content["structure"]:
            return False
    except PlanError:  # somebody's own class, which no state tells of
        return False
    if _plainly(matrix) == content["config"]:
        return True
    own = matrix.state_dict(keep_vars=True)
    if own.keys() != tensors.keys() or any(own[name].shape != value.shape for name, value in tensors.items()):
        return False
    twin = copy.deepcopy(matrix)
    try:
        twin.load_state_dict(tensors)
    except RuntimeError:  # which a family raises for tensors that are not of its make
        return False
    return _plainly(twin) == content["config"]


def _plainly(matrix: StructuredMatrix) -> Any:
    """Its options as they come out of JSON."""
    return json.loads(json.dumps(matrix.config()))
