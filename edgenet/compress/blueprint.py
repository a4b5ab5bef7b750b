"""Blueprints: which structures stand in a model, as plain values, and the same structures again, empty.

A rule that puts structures in while a model trains keeps their blueprint in the checkpoint. When the training is
resumed with a fresh model, the empty structures go in first, and the tensors of the checkpoint then fit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.compress.compress import fill
from edgenet.compress.finding import slots
from edgenet.compress.places import Attribute, Undo, Whole
from edgenet.compress.slot import Slot
from edgenet.errors import CheckpointError
from edgenet.structured import HashPool, StructuredMatrix, family, name_of

#: A matrix may have so many times the numbers of all slots of the model, and some more: padding, indices and masks.
_TIMES, _SPARE = 16, 65536


def blueprint(model: nn.Module, names: Iterable[str]) -> dict[str, Any]:
    """The structured matrices in some slots of a model; slots that hold a tensor are left out.

    Returns:
        ``matrices``: the family, options and dtypes of each, by the name of its slot. ``shared``: what stands in two of
        them, a hash pool say, as ``[slot, path in its matrix, slot, path]``, where it stands first and again.
    """
    found = slots(model)
    matrices = {name: matrix for name in names if (matrix := found[name].matrix) is not None}
    first: dict[int, list[str]] = {}
    shared = []
    for name, matrix in matrices.items():
        for path, part in _parts(matrix, "", first):
            place = [name, path]
            if first.setdefault(id(part), place) != place:
                shared.append([*first[id(part)], *place])
    return {"matrices": {name: _told(matrix) for name, matrix in matrices.items()}, "shared": shared}


def rebuild_(model: nn.Module, told: Mapping[str, Any]) -> Undo:
    """Put the matrices of a blueprint into the slots of a model, with any numbers in them; what undoes that.

    Raises:
        CheckpointError: if a slot is missing or of another shape, or a matrix is told to have so many numbers that it
            compresses nothing: they are counted before any memory is taken.
        PlanError: if a family is not known here, or a slot takes no new matrix. The model is then as it was.
    """
    if not told["matrices"]:
        return _nothing
    found, made = _behind(slots(model), told.get("behind", ())), {}
    numbers = sum(math.prod(slot.shape) for slot in found.values() if not slot.is_lazy)
    for name, matrix in told["matrices"].items():
        check_shape(name, matrix, found.get(name))
        if found[name].is_lazy:
            numbers += math.prod(matrix["config"]["shape"])
        made[name] = _empty(matrix, found[name], _TIMES * numbers + _SPARE)  # a pool is for all slots
    for slot, path, other, place in told["shared"]:
        _share(made, (slot, path), (other, place))
    return fill(found, made, sized=True)


def _behind(found: dict[str, Slot], names: Collection[str]) -> dict[str, Slot]:
    """The slots, where layers of these names stay what they are, and a matrix is put behind their weights."""
    for slot in [slot for slot in found.values() if not set(names).isdisjoint(slot.names)]:
        pairs = zip(slot.names, slot.holders, strict=True)
        places = [Attribute(p.module, "weight") if n in names and isinstance(p, Whole) else p for n, p in pairs]
        found[slot.name] = dataclasses.replace(slot, holders=tuple(places))
    return found


def check_shape(name: str, told: Mapping[str, Any], slot: Slot | None) -> None:
    """
    Raises:
        CheckpointError: if there is no such slot, or what is told of is of another shape.
    """
    sizes = told["config"].get("shape")
    known = (-1, -1) if slot is None else slot.shape
    are_two = isinstance(sizes, list | tuple) and len(sizes) == 2 and all(type(size) is int for size in sizes)
    if slot is None or not are_two or not all(own in (-1, size) for own, size in zip(known, sizes, strict=True)):
        raise CheckpointError(
            f"the state has a {told['structure'][:80]} matrix of {str(sizes)[:80]} in {name}, which is "
            f"{'not there' if slot is None else known} in this model."
        )


def _share(made: Mapping[str, StructuredMatrix], first: tuple[str, str], again: tuple[str, str]) -> None:
    """Let what stands first in one matrix, at a path, be what stands again in another."""
    part, other = (_part(made.get(slot), path) for slot, path in (first, again))
    if other is None or type(part) is not type(other) or _make(part) != _make(other):
        raise CheckpointError(f"the state says that {'.'.join(again)} is {'.'.join(first)}, and they differ in make.")
    _set(made[again[0]], again[1], part)


def _part(module: Any, path: str) -> Any:
    """The module or tensor at a path; None if there is none."""
    for name in path.split("."):
        tables = (module._modules, module._parameters, module._buffers) if isinstance(module, nn.Module) else ()
        module = next((table[name] for table in tables if name in table), None)
    return module


def _make(part: nn.Module | Tensor) -> Any:
    """What two parts have in common of which one can stand for the other."""
    if isinstance(part, Tensor):
        return part.shape, part.dtype
    shapes = {name: tensor.shape for name, tensor in _tensors(part)}
    return shapes, part.config() if isinstance(part, HashPool) else None


def _told(matrix: StructuredMatrix) -> dict[str, Any]:
    dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in _tensors(matrix)}
    return {"structure": name_of(matrix), "config": matrix.config(), "dtypes": dtypes}


def on_meta(told: Mapping[str, Any]) -> StructuredMatrix:
    """The matrix that is told of, without numbers.

    Raises:
        CheckpointError: if its options are none.
        PlanError: if its family is not known here.
    """
    kind = family(told["structure"])
    try:
        with torch.device("meta"):
            return kind.from_config(told["config"])
    except Exception as error:  # whatever a family says to options that are not its own
        raise CheckpointError(
            f"the state tells of a {told['structure']} matrix that cannot be made: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0][:120]}"
        ) from error


def _empty(told: Mapping[str, Any], slot: Slot, most: int) -> StructuredMatrix:
    numbers = sum(tensor.numel() for _, tensor in _tensors(on_meta(told)))
    if numbers > most:
        raise CheckpointError(
            f"the state has a {told['structure']} matrix of {numbers} numbers in {slot.name}, where {slot.shape} are "
            f"compressed."
        )
    with torch.random.fork_rng(devices=[]):
        matrix = family(told["structure"]).from_config(told["config"])
    like = next(iter(slot.numbers()), None)
    device = slot.weight().device if like is None else like.device
    for name, tensor in list(_tensors(matrix)):
        dtype = told["dtypes"].get(name)
        _set(matrix, name, _moved(tensor, device, getattr(torch, dtype) if dtype else tensor.dtype))
    return matrix


def _moved(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    moved = tensor.detach().to(device, dtype)
    return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved


def _tensors(matrix: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, each by every path."""
    yield from matrix.named_parameters(remove_duplicate=False)
    yield from matrix.named_buffers(remove_duplicate=False)


def _parts(module: nn.Module, path: str, known: Mapping[int, Any]) -> Iterator[tuple[str, nn.Module | Tensor]]:
    """A module, its tensors and what is inside, by path; of a module that is known the inside is left out."""
    seen = id(module) in known
    yield path, module
    if seen:
        return
    below = f"{path}." if path else ""
    for name, part in (*module._parameters.items(), *module._buffers.items()):
        if part is not None:
            yield below + name, part
    for name, child in module._modules.items():
        if child is not None:
            yield from _parts(child, below + name, known)


def _nothing() -> None:
    pass


def _set(module: nn.Module, path: str, part: nn.Module | Tensor) -> None:
    """Put a module or tensor in the place of another."""
    *way, last = path.split(".")
    owner = _part(module, ".".join(way)) if way else module
    tables: tuple[dict[str, Any], ...] = (owner._modules, owner._parameters, owner._buffers)
    next(table for table in tables if last in table)[last] = part
