"""Sizes: what a model takes, every number and every byte once, whichever places share it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgenet.compress.finding import slots
from edgenet.compress.places import Place
from edgenet.compress.positions import Positions, convolves, positions
from edgenet.compress.reports import Report, Row
from edgenet.compress.sharing import identity, is_hooked
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError
from edgenet.structured import StructuredConv, StructuredMatrix, name_of

Seen = dict[int, Tensor]  # by identity; held, so that no identity comes twice


def report(
    model: nn.Module,
    errors: Mapping[str, float] | None = None,
    started_from: Report | None = None,
    inputs: Any = None,
) -> Report:
    """The report of a model as it stands.

    Args:
        model: any, with structured matrices in it or without.
        errors: relative error of slots by name, where it is known.
        started_from: the report of the model to compare with. Default: this one with every slot dense.
        inputs: arguments of the model, a tuple or list, or its only one: the model runs once, and convolutions are
            counted at every position of an image. Default: at one.

    Example:
        >>> print(edgenet.compress.report(torch.nn.Linear(3, 8)).total.bytes)
        128
    """
    numbers: Seen = {}
    tensors: Seen = {}
    counts = None if inputs is None else positions(model, inputs)
    rows = [_row(slot, numbers, tensors, errors or {}, counts) for slot in slots(model).values() if not slot.is_lazy]
    parameters = sum(p.numel() for p in _fresh(model.parameters(), numbers) if not is_lazy(p))
    size = sum(map(_bytes, _fresh((tensor for _, tensor in _tensors_outside(model)), tensors)))
    rest = Row("(the rest)", None, "", {}, parameters, parameters, size, size)
    made = Report(tuple(rows), rest, model)
    return made if started_from is None else made.compared_with(started_from)


def stored(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model as they go to disk: those of ``state_dict()``, with every structured matrix in the form of
    its ``pack()``, and what stands in several places once, under its first name.

    Example:
        >>> sorted(edgenet.compress.stored(torch.nn.Linear(3, 8)))
        ['bias', 'weight']
    """
    result: dict[str, Tensor] = {}
    seen = set()
    for prefix, matrix in _matrices(model):
        if identity(matrix) not in seen:
            seen.add(identity(matrix))
            result.update({f"{prefix}.{key}": tensor for key, tensor in _packed(matrix).items()})
    result.update(_tensors_outside(model))
    once: dict[int, str] = {}
    for name, tensor in result.items():
        once.setdefault(id(tensor), name)
    return {name: tensor.detach() for name, tensor in result.items() if once[id(tensor)] == name}


def numbers_of(matrix: StructuredMatrix, seen: Seen | None = None) -> int:
    """Numbers that a matrix stores, but for those in ``seen``, to which they are added.

    Every entry of every parameter counts, but under a mask, a buffer of the matrix: there ``num_parameters()`` says how
    many the mask lets through.
    """
    seen = {} if seen is None else seen
    parts = [part for part in matrix.children() if isinstance(part, StructuredMatrix)]
    inside = sum(numbers_of(part, seen) for part in parts)
    own = list(matrix.parameters())
    fresh = list(_fresh(own, seen))
    may_be_masked = not parts and next(matrix.buffers(), None) is not None and not is_hooked(matrix)
    if may_be_masked and len(fresh) == len(own):
        return matrix.num_parameters()
    return inside + sum(p.numel() for p in fresh)


def _row(slot: Slot, numbers: Seen, tensors: Seen, errors: Mapping[str, float], counts: Positions | None) -> Row:
    (m, n), matrix = slot.shape, slot.matrix
    if matrix is None:
        parameters, stored_here = sum(p.numel() for p in _fresh(slot.numbers(), numbers)), slot.numbers()
    else:
        parameters, stored_here = numbers_of(matrix, numbers), list(_packed(matrix).values())
    size = sum(map(_bytes, _fresh(stored_here, tensors)))
    like = next((t for t in (*slot.numbers(), *stored_here) if t.is_floating_point() or t.is_complex()), None)
    width = torch.get_default_dtype().itemsize if like is None else like.element_size()
    name, options = ("dense", {}) if matrix is None else _told(matrix)
    places = [place for place in slot.holders if place.multiplies]
    if counts is not None:  # of every call of a layer, by whichever path
        once = dict.fromkeys(place for place in places if convolves(place.reader))
        places = [*once, *(place for place in places if not convolves(place.reader))]
    return Row(
        name=" = ".join(slot.names),
        shape=slot.shape,
        structure=name,
        options=options,
        parameters_before=parameters if slot.is_dense else m * n,
        parameters=parameters,
        bytes_before=size if slot.is_dense else m * n * width,
        bytes=size,
        error=errors.get(slot.name),
        multiply_adds_before=m * n * sum(_times(place, counts) for place in places),
        multiply_adds=sum(_multiply_adds(place, slot, _times(place, counts)) for place in places),
    )


def _times(place: Place, counts: Positions | None) -> int:
    """How often a place multiplies: once, or at the positions of an image that were counted."""
    return counts[place.reader] if counts is not None and convolves(place.reader) else 1


def _multiply_adds(place: Place, slot: Slot, times: int) -> int:
    """Of one row of input, or of so many positions of a convolution's output."""
    if slot.matrix is None or place.use == "tensor":
        return times * slot.shape[0] * slot.shape[1]
    reader = place.reader
    return reader.multiply_adds(times) if isinstance(reader, StructuredConv) else slot.matrix.multiply_adds(1)


def _told(matrix: StructuredMatrix) -> tuple[str, dict[str, Any]]:
    """The name of its family and its options; of a family that is not registered the name of the class."""
    try:
        return name_of(matrix), {key: value for key, value in matrix.config().items() if key != "shape"}
    except PlanError:
        return type(matrix).__name__, {}


def _packed(matrix: StructuredMatrix) -> dict[str, Tensor]:
    """Tensors of the packed form. Where that is the matrix itself they are its own, so that sharing is seen."""
    return {k: v for k, v in matrix.pack().state_dict(keep_vars=True).items() if isinstance(v, Tensor)}


def _matrices(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, StructuredMatrix]]:
    """Every structured matrix that is in no other, by its path in ``state_dict``."""
    for name, child in module._modules.items():
        if isinstance(child, StructuredMatrix):
            yield prefix + name, child
        elif child is not None:
            yield from _matrices(child, f"{prefix}{name}.")


def _tensors_outside(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors of ``state_dict`` that belong to no structured matrix."""
    inside = tuple(f"{prefix}." for prefix, _ in _matrices(model))
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and not name.startswith(inside) and not is_lazy(tensor):
            yield name, tensor


def _fresh(tensors: Iterable[Tensor], seen: Seen) -> Iterator[Tensor]:
    for tensor in tensors:
        if id(tensor) not in seen:
            seen[id(tensor)] = tensor
            yield tensor


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
