"""Slot: a weight of a model, in all the places where it stands, and how a structured matrix takes its place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from edgenet.compress.places import Attribute, Behind, Held, Place, Undo, Whole
from edgenet.compress.positions import convolves
from edgenet.compress.sharing import is_hooked
from edgenet.errors import PlanError
from edgenet.structured import Dense, Structure, StructuredConv, StructuredMatrix, in_parts, of_kernel
from edgenet.structured.bridge import detach_, writes_itself
from edgenet.structured.read import read, read_settled


@dataclass(frozen=True, eq=False)
class Slot:
    """A place, or several that share one weight, for a structured matrix.

    Attributes:
        name: the dotted path of the first place.
        names: of all places, more than one where weights are tied.
        shape: (m, n); -1 where it is not known yet.
        matrix: the structured matrix that is there, or None where there is a tensor.
        holders: the place of every name; one that is reached by two paths comes twice.
        parameter: the tensor that is there, or None.
        elsewhere: paths under which what is stored also stands, and no matrix can be put.

    Example:
        >>> slot = edgenet.compress.slots(torch.nn.Linear(3, 8))["weight"]
        >>> slot.name, slot.shape
        ('weight', (8, 3))
    """

    name: str
    names: tuple[str, ...]
    shape: tuple[int, int]
    matrix: StructuredMatrix | None
    holders: tuple[Place, ...]
    parameter: nn.Parameter | None = field(default=None, repr=False)
    elsewhere: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """Every place once."""
        return tuple(dict.fromkeys(self.holders))

    @property
    def is_lazy(self) -> bool:
        """Whether its size is not known before the model has run once."""
        return -1 in self.shape

    @property
    def is_dense(self) -> bool:
        """Whether nothing is compressed here yet."""
        return self.matrix is None or self.matrix.is_dense

    @property
    def groups(self) -> int:
        """Of how many matrices, one below the other, its weight consists: of one for each group of a grouped
        convolution. A depthwise kernel, of one channel a group, is one matrix."""
        groups = {_groups(place.reader) for place in self.places}
        return 1 if self.is_depthwise or len(groups) > 1 else groups.pop()

    @property
    def is_depthwise(self) -> bool:
        """Whether it is the kernel of a convolution that keeps channels apart. There is little to save in one."""
        readers = [place.reader for place in self.places]
        kinds = _ConvNd | StructuredConv
        return any(isinstance(one, kinds) and 1 < one.groups == one.in_channels for one in readers)

    @property
    def kernel(self) -> int:
        """Of how many places the kernel is that its weight is for, whose columns are channels by places; 1 where it is
        none, or several of different sizes, or keeps channels apart."""
        kernels = {_kernel(place.reader) for place in self.places}
        return 1 if self.is_depthwise or len(kernels) > 1 else kernels.pop()

    def fitting(self, structure: Structure) -> Structure:
        """What makes the matrix for this slot: of a convolution one that knows the places of the kernel, and of a
        grouped one one of every group, ``Stacked``."""
        return in_parts(of_kernel(structure, self.kernel), self.groups)

    def weight(self) -> Tensor:
        """(m, n), as the model uses it, differentiable in what is stored.

        Raises:
            PlanError: if the size is not known yet.
        """
        if self.is_lazy:
            raise PlanError(f"the size of {self.name} is not known yet: run the model once first.")
        if self.matrix is None:
            return self.parameter.flatten(1)
        return read(self.matrix) if is_hooked(self.matrix) else self.matrix.to_dense()

    def learned(self) -> Tensor:
        """(m, n), detached: what stays of it when something else is put in its place. Nothing drops out there.

        Raises:
            PlanError: if the size is not known yet.
        """
        return (self.weight() if self.matrix is None or self.is_lazy else read_settled(self.matrix)).detach()

    @property
    def trains(self) -> bool:
        """Whether any of its numbers wants a gradient."""
        return any(p.requires_grad for p in self.numbers())

    def numbers(self) -> list[nn.Parameter]:
        """The parameters that are stored here."""
        return [self.parameter] if self.matrix is None else list(self.matrix.parameters())

    def refusal(self, sized: bool = False) -> str | None:
        """Why no matrix can be put here, or None.

        Args:
            sized: whether the matrix does not come of what is in the slot, so that the slot may have no size yet.
        """
        if self.is_lazy and not (sized and all(isinstance(place, Held | Whole) for place in self.places)):
            return f"the size of {self.name} is not known yet: run the model once first."
        if self.is_dense and self.elsewhere:
            return (
                f"{self.name} shares its weight with {', '.join(self.elsewhere)}, where no matrix can be put, so that "
                f"the two would come apart. Give one of them a weight of its own, or keep this slot."
            )
        return next((reason for place in self.places if (reason := self._refusal_of(place))), None)

    def _refusal_of(self, place: Place) -> str | None:
        if isinstance(place, Held):
            matrix = place.owner._modules[place.attribute]
            if is_hooked(matrix):
                return (
                    f"{self.name}, a {type(matrix).__name__}, has hooks or parametrizations of its own (pruning, "
                    f"weight norm), which a new matrix would lose. Remove them first (handle.remove(), prune.remove, "
                    f"remove_parametrizations, remove_weight_norm), or keep this slot."
                )
        elif isinstance(place, Attribute) and (reason := writes_itself(place.module, place.name)):
            return f"{self.name}: {reason}"
        elif isinstance(place.reader, nn.Embedding | nn.EmbeddingBag):
            table = place.reader
            if table.sparse or table.max_norm is not None:
                return f"{self.name} has max_norm or sparse gradients, which need every entry stored; keep it."
            if table.padding_idx is not None and bool(table.weight[table.padding_idx].any()):
                return (
                    f"the padding row {table.padding_idx} of {self.name} is not zero, and that of a "
                    f"StructuredEmbedding always is. Set it to zero, or keep this slot."
                )
        return None


def replace(slot: Slot, matrix: StructuredMatrix, sized: bool = False) -> Undo:
    """Put a matrix into all places of a slot, and return what undoes that.

    The matrix gets the training mode of what it replaces, and wants gradients only if that did.

    Args:
        sized: as of ``Slot.refusal``.

    Raises:
        PlanError: if the shape or device differs, or something would be lost (hooks, say). Nothing is changed then.

    Example:
        >>> layer = torch.nn.Linear(3, 8)
        >>> slot = edgenet.compress.slots(layer)["weight"]
        >>> undo = edgenet.compress.replace(slot, edgenet.structured.LowRank.random((8, 3), rank=1))
    """
    reason = slot.refusal(sized)
    if reason is not None:
        raise PlanError(reason)
    if not isinstance(matrix, StructuredMatrix):
        raise PlanError(f"{slot.name} takes a StructuredMatrix, got {type(matrix).__name__}.")
    if not all(known in (-1, size) for known, size in zip(slot.shape, matrix.shape, strict=True)):
        raise PlanError(f"{slot.name} is {slot.shape}, and the matrix for it {tuple(matrix.shape)}.")
    old, new = next(iter(slot.numbers()), None), next(matrix.parameters(), None)
    old = slot.weight() if old is None else old
    if new is not None and new.device != old.device:
        raise PlanError(f"{slot.name} is on {old.device}, and the matrix for it on {new.device}.")
    if not slot.trains:
        matrix.requires_grad_(False)
    undos: list[Undo] = []
    try:
        for place in slot.places:
            undos.append(place.put(matrix))
    except Exception:
        _undo_all(undos)
        raise
    return lambda: _undo_all(undos)


def clear(slot: Slot) -> None:
    """Leave the dense form in a slot: a ``Dense`` matrix, or a plain parameter where a bridge was.

    Raises:
        PlanError: if something would be lost (hooks, say). Nothing is changed then.
    """
    reason = slot.refusal()
    if reason is not None:
        raise PlanError(reason)
    dense = Dense.from_dense(slot.learned()).requires_grad_(slot.trains)
    tensor: nn.Parameter = dense.weight
    for place in slot.places:
        if isinstance(place, Behind):
            if tensor.shape != place.owner.shape:
                tensor = nn.Parameter(tensor.detach().reshape(place.owner.shape), requires_grad=slot.trains)
            detach_(place.module, place.name, tensor)
        else:
            place.put(dense)


def _groups(reader: nn.Module) -> int:
    """Of a convolution whose kernel has a row for every output."""
    return reader.groups if convolves(reader) else 1


def _kernel(reader: nn.Module) -> int:
    return math.prod(reader.kernel_size) if convolves(reader) else 1


def _undo_all(undos: list[Undo]) -> None:
    while undos:
        undos.pop()()
