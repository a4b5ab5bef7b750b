"""quantise_: few bits for the numbers of a model as they stand, of structures, dense weights and vectors alike."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from edgenet.compress.compress import fill
from edgenet.compress.finding import slots
from edgenet.compress.reports import Report
from edgenet.compress.sizes import report
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError
from edgenet.reading.patterns import compiled, matches
from edgenet.structured import STRUCTURES, Dense, StructuredMatrix, family
from edgenet.structured.bridge import attach_, detach_
from edgenet.structured.codes import Coded
from edgenet.structured.quantised import Quantised
from edgenet.text import near_names

#: Options of a quantiser, or the bits alone.
Rounding = Mapping[str, Any] | int
_SMALL = 8  # times fewer numbers than the largest factor has: a small factor


def quantise_(model: nn.Module, rounding: Rounding | Mapping[str, Rounding]) -> Report:
    """Put a quantiser around what a model holds, in place: around structured matrices with the numbers that they have,
    around dense weights, and behind vectors (biases, scales). Nothing is fitted anew.

    ``save_pretrained`` then stores codes, and training goes on in few bits, straight through.

    Args:
        model: any module. What rounds already stays.
        rounding: bits, or the options of a quantiser: ``bits``, ``per``, ...; ``quantiser``, its name, "uniform" by
            default; ``small_bits``, for the factors of a structure that have at most an eighth of the numbers of its
            largest one: a few numbers that all others are multiplied by. For everything; or by patterns of names, as
            in a plan, of which the first that matches counts: ``{"convs.0.lift": {"bits": 2, "small_bits": 8, "per":
            "row"}, ".*": 4}``. Names are those of slots, and of vectors (``convs.0.bias``).

    A vector stays where codes and their scale would take as many bytes as it does.

    Returns:
        What it takes now.

    Raises:
        PlanError: if a pattern matches nothing that could be rounded, a quantiser or an option is unknown, or something
            would be lost (hooks, say); the model is then as it was.
        RankError: if the quantiser has no such bits.

    Example:
        >>> model = torch.nn.Linear(64, 32)
        >>> made = edgenet.compress.quantise_(model, 4)
        >>> made.total.bytes < 32 * 64  # half a byte a number, and scales
        True
    """
    rules = _rules(rounding)
    matrices = {name: slot for name, slot in slots(model).items() if not _rounds(slot)}
    vectors = dict(_vectors(model))
    taken: dict[str, Mapping[str, Any]] = {}
    for pattern, options in rules.items():
        named = [*(name for slot in matrices.values() for name in slot.names), *vectors]
        found = [name for name in named if matches(pattern, name)]
        if not found:
            near = near_names(re.sub(r"\\(.)", r"\1", pattern), named, cutoff=0.5) or named[:8]
            raise PlanError(
                f"quantise_: the pattern {pattern!r} matches nothing that is not rounded yet; there are "
                f"{', '.join(near) or 'none'}."
            )
        taken |= {name: options for name in found if name not in taken}
    with torch.no_grad():
        made = {
            name: _rounded(slot.matrix or Dense.from_dense(slot.learned()), taken[own])
            for name, slot in matrices.items()
            if (own := next((own for own in slot.names if own in taken), None)) is not None
        }
        behind = {
            name: _rounded(Dense.from_dense(module._parameters[last].detach().unsqueeze(0)), taken[name])
            for name, (module, last) in vectors.items()
            if name in taken
        }
    undo = fill(matrices, made)
    attached: list[tuple[nn.Module, str, nn.Parameter]] = []
    try:
        vectors = dict(_vectors(model))  # a layer that was swapped has handed its bias on
        for name, matrix in behind.items():
            module, last = vectors[name]
            old = module._parameters[last]
            if matrix.bits() < 8 * old.numel() * old.element_size():
                attach_(module, last, matrix).requires_grad_(old.requires_grad)
                attached.append((module, last, old))
    except BaseException:
        for module, last, old in reversed(attached):
            detach_(module, last, old)
        undo()
        raise
    return report(model)


def _rules(rounding: Rounding | Mapping[str, Rounding]) -> dict[str, Mapping[str, Any]]:
    """Options by patterns."""
    if not isinstance(rounding, Mapping) or "bits" in rounding or "quantiser" in rounding:
        rounding = {".*": rounding}
    rules: dict[str, Mapping[str, Any]] = {}
    for pattern, value in rounding.items():
        options = dict(value) if isinstance(value, Mapping) else {"bits": value}
        name = options.setdefault("quantiser", "uniform")
        kind = family(name)
        if not issubclass(kind, Quantised):
            known = [key for key, each in STRUCTURES.items() if issubclass(each, Quantised)]
            raise PlanError(f"quantise_: {name!r} is no quantiser; there are {', '.join(known)}.")
        known = [key for key in inspect.signature(kind).parameters if key != "base"]
        for key in options:
            if key not in (*known, "quantiser", *(["small_bits"] if "bits" in known else [])):
                raise PlanError(f"quantise_: {name} has no option {key!r}; it has {', '.join(known)}.")
        try:
            compiled(pattern)
        except (re.error, TypeError) as error:
            raise PlanError(f"quantise_: the pattern {pattern!r} is no regular expression: {error}.") from error
        rules[pattern] = options
    return rules


def _rounded(base: StructuredMatrix, options: Mapping[str, Any]) -> Quantised:
    """A quantiser around a matrix, with the numbers that it has."""
    own = {key: value for key, value in options.items() if key not in ("quantiser", "small_bits")}
    if "small_bits" in options:
        numbers = [p.numel() for p in base.pack().parameters()]
        small, bits = options["small_bits"], own.get("bits", 8)
        own["bits"] = [small if _SMALL * number <= max(numbers) else bits for number in numbers]
    matrix: Any = family(options["quantiser"])(base, **own)
    matrix.settle_()
    return matrix.train(base.training)


def _rounds(slot: Slot) -> bool:
    return slot.matrix is not None and any(isinstance(part, Quantised | Coded) for part in slot.matrix.modules())


def _vectors(model: nn.Module) -> Iterator[tuple[str, tuple[nn.Module, str]]]:
    """Parameters of one axis outside of structured matrices, each that stands in one place alone, by their paths."""
    found: dict[int, list[tuple[str, tuple[nn.Module, str]]]] = {}
    inside = {id(part) for one in model.modules() if isinstance(one, StructuredMatrix) for part in one.modules()}
    for path, module in model.named_modules():
        if id(module) in inside or isinstance(module, nn.RNNBase):
            continue
        for name, p in module._parameters.items():
            if p is not None and p.dim() == 1 and p.is_floating_point():
                found.setdefault(id(p), []).append((f"{path}.{name}".lstrip("."), (module, name)))
    yield from (places[0] for places in found.values() if len(places) == 1)
