"""Put structured matrices into the slots of any model, and take them out again."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from tqdm import tqdm

from edgenet.compress.finding import matching, slots
from edgenet.compress.places import Undo
from edgenet.compress.plan import Plan, PlanLike
from edgenet.compress.reports import Report
from edgenet.compress.sizes import report
from edgenet.compress.slot import Slot, clear, replace
from edgenet.errors import PlanError, RankError, ShapeError
from edgenet.structured import Structure, StructuredMatrix, name_of

_ROWS = 4096  # of a weight that are compared at once


def compress_(model: nn.Module, plan: PlanLike, *, progress: bool = False) -> Report:
    """Replace what is in a model's slots by the structures of a plan, in place. All of it happens, or nothing.

    A slot that is compressed already is compressed anew from its dense form. dtype, device, training mode and whether
    gradients are wanted stay as they are; tied weights stay tied. Parameters are new: make the optimizer afterwards.

    Args:
        model: any module; see ``edgenet.compress.slots`` for what its slots are.
        plan: {pattern: structure} or a list of such pairs, in order; see ``Plan``. A structure is
            ``{"structure": "kronecker", "factor": (8, 8)}``, a function from an (m, n) weight to a structured matrix,
            or "keep".
        progress: show a bar on stderr.

    Returns:
        What it took before and takes now, with the model in ``report.model``.

    Raises:
        PlanError: if a pattern matches nothing, a structure or option is unknown, a slot's size is not known yet,
            something would be lost (hooks, say), or a function of the plan fails or makes no matrix for its slot of a
            family that is registered. The model is then as it was.
        ShapeError, RankError: if a weight is not finite, or an option does not fit its shape; with the slot's name.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
        >>> made = edgenet.compress.compress_(model, {"0": {"structure": "low_rank", "rank": 2}, ".*": "keep"})
        >>> made.rows[0].parameters_before, made.rows[0].parameters
        (2048, 192)
    """
    found = slots(model)
    matrices, errors = fit_all(found, Plan.of(plan), progress)
    fill(found, matrices)
    return report(model, errors)


def decompress_(model: nn.Module, pattern: str = ".*") -> list[str]:
    """Put the dense form back into compressed slots, in place: ``Dense`` matrices, and plain tensors behind bridges.

    Swapped layers stay ``StructuredLinear`` and ``StructuredEmbedding``. The outputs stay the same up to rounding.

    Args:
        model: any module.
        pattern: of the names of slots, for ``re.match``.

    Returns:
        The names of the slots that were compressed.

    Raises:
        PlanError: if the pattern matches no slot, or something would be lost (hooks on a matrix, say); nothing is
            changed then. Slots that are dense already are no error.

    Example:
        >>> layer = torch.nn.Linear(16, 8)
        >>> _ = edgenet.compress.compress_(layer, {"weight": {"structure": "low_rank", "rank": 2}})
        >>> edgenet.compress.decompress_(layer)
        ['weight']
    """
    compressed = [slot for slot in matching(slots(model), pattern) if not slot.is_dense]
    for slot in compressed:
        reason = slot.refusal()
        if reason is not None:
            raise PlanError(reason)
    for slot in compressed:
        clear(slot)
    return [slot.name for slot in compressed]


def fit_all(
    found: Mapping[str, Slot], plan: Plan, progress: bool = False
) -> tuple[dict[str, StructuredMatrix], dict[str, float]]:
    """The matrix that a plan wants in every slot, and its relative error, by the name of the slot.

    Raises:
        PlanError, ShapeError, RankError: as ``compress_``.
    """
    structures = plan.assign(found)
    matrices, errors = {}, {}
    for name in tqdm(structures, desc="compress", disable=not progress, leave=False):
        matrices[name], errors[name] = fit(found[name], structures[name])
    return matrices, errors


def fit(slot: Slot, structure: Structure, weight: Tensor | None = None) -> tuple[StructuredMatrix, float]:
    """The structured matrix for a slot, and its relative error ||W - W'|| / ||W||.

    Args:
        slot: where it is to stand.
        structure: what makes it.
        weight: (m, n), W. Default: what is in the slot.

    Raises:
        PlanError, ShapeError, RankError: as ``compress_``.
    """
    reason = slot.refusal()
    if reason is not None:
        raise PlanError(reason)
    where = f"{slot.name}, {slot.shape[0]} x {slot.shape[1]}"
    with torch.no_grad():
        weight = slot.learned() if weight is None else weight
        try:
            matrix = structure(weight.clone())  # what a function writes into its argument must not reach the model
        except (ShapeError, RankError, PlanError) as error:
            raise type(error)(f"{where}: {error}") from error
        except Exception as error:  # whatever a function of the plan raises
            raise PlanError(f"{where}: its structure raises {type(error).__name__}: {error}") from error
        if not isinstance(matrix, StructuredMatrix):
            raise PlanError(f"{slot.name}: its structure makes a {type(matrix).__name__}, no StructuredMatrix.")
        if tuple(matrix.shape) != slot.shape:
            raise PlanError(f"{slot.name} is {slot.shape}, and the matrix for it {tuple(matrix.shape)}.")
        _check_told(matrix, where)
        training = matrix.training
        dense = matrix.eval().to_dense()  # signs, say, are drawn in training
        matrix.train(training)
        if dense.dtype != weight.dtype:
            raise PlanError(f"{slot.name} is of {weight.dtype}, and the matrix for it of {dense.dtype}.")
        if dense.device != weight.device:
            raise PlanError(f"{slot.name} is on {weight.device}, and the matrix for it on {dense.device}.")
        return matrix, relative_error(weight, dense)


def _check_told(matrix: StructuredMatrix, where: str) -> None:
    """Reports and files tell of a matrix by the name of its family and its options.

    Raises:
        PlanError: if one of the two is missing, also of a matrix inside.
    """
    try:
        name_of(matrix), matrix.config()
    except PlanError as error:
        raise PlanError(f"{where}: {error}") from error


def fill(found: Mapping[str, Slot], matrices: Mapping[str, StructuredMatrix], sized: bool = False) -> Undo:
    """Put matrices into slots by name: all of them, or none where one is refused. Returns what undoes it.

    Args:
        sized: as of ``Slot.refusal``.
    """
    undos: list[Undo] = []

    def undo() -> None:
        while undos:
            undos.pop()()

    try:
        for name, matrix in matrices.items():
            undos.append(replace(found[name], matrix, sized))
    except BaseException:
        undo()
        raise
    return undo


def relative_error(weight: Tensor, other: Tensor) -> float:
    """||W - W'|| / ||W|| in the Frobenius norm; 0 where both are 0."""
    wide = torch.complex128 if weight.is_complex() or other.is_complex() else torch.float64
    norm = lost = 0.0
    for own, its in zip(weight.split(_ROWS), other.split(_ROWS), strict=True):  # a table of edges has millions of rows
        exact = own.to(wide)
        norm += float(torch.linalg.vector_norm(exact)) ** 2
        lost += float(torch.linalg.vector_norm(exact - its.to(wide))) ** 2
    return math.sqrt(lost / norm) if norm > 0 else float(lost > 0)
