"""Slots: every place of a model that a structured matrix can stand in, under one name each.

===================================  =============================  ================================================
where                                name                           what replacing it does
===================================  =============================  ================================================
a ``StructuredMatrix`` of a module   its path,                      puts the new matrix there
                                     ``convs.0.lift.linear.weight``
``nn.Linear``, PyG's ``Linear``      ``fc.weight``                  swaps the module for a ``StructuredLinear``
``nn.Embedding``                     ``table.weight``               swaps the module for a ``StructuredEmbedding``
any other parameter of two axes or   its path,                      puts the matrix behind the tensor: see
more: ``nn.LSTM``, attention, ...    ``lstm.weight_hh_l0``          ``edgenet.structured.bridge``
===================================  =============================  ================================================

Names stay what they are when a slot is filled. A tensor of more than two axes counts as its first by all others, and
one that is then a single row or column is a vector, and no slot. A linear layer or embedding is not swapped but put
behind a bridge where something would be lost by a swap: where it has hooks, is a subclass with a forward of its own, is
the model itself, or where its parent is known to read ``.weight`` as a tensor (``nn.TransformerEncoderLayer``, say).

One tensor in several places (tied weights) is one slot with several names, and stays tied: every place gets the same
matrix.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from edgenet.errors import PlanError
from edgenet.structured import Dense, StructuredLinear, StructuredMatrix
from edgenet.structured.bridge import Bridge, attach_, detach_
from edgenet.structured.embedding import StructuredEmbedding

#: Classes that read ``.weight`` of a child themselves: torch's fast paths, and models of PyG.
READERS = {
    "MultiheadAttention",
    "TransformerEncoderLayer",
    "HeteroDictLinear",
    "LightGCN",
    "MetaPath2Vec",
    "Node2Vec",
    "SuperGATConv",
}

_LISTENERS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"

Undo = Callable[[], None]


class Place(ABC):
    """One of the places of a slot."""

    @abstractmethod
    def put(self, matrix: StructuredMatrix) -> Undo:
        """Put a matrix here; what it returns takes it out again.

        Raises:
            PlanError: if something would be lost. Nothing is changed then.
        """


@dataclass(frozen=True)
class Child(Place):
    """A module's child that is a structured matrix already."""

    owner: nn.Module
    attribute: str

    def put(self, matrix: StructuredMatrix) -> Undo:
        old = self.owner._modules[self.attribute]
        if parametrize.is_parametrized(old) or any(getattr(old, kind) for kind in _LISTENERS):
            raise PlanError(
                f"{type(old).__name__} has hooks or parametrizations of its own (pruning, say), which a new matrix "
                f"would lose. Remove them first."
            )
        self.owner._modules[self.attribute] = matrix.train(old.training)
        return lambda: self.owner._modules.__setitem__(self.attribute, old)


@dataclass(frozen=True)
class Behind(Child):
    """A structured matrix behind a tensor; ``owner`` is its bridge."""

    module: nn.Module
    name: str


@dataclass(frozen=True)
class Whole(Place):
    """A module that a structured one takes the place of, with every parent that holds it."""

    module: nn.Module
    parents: tuple[tuple[nn.Module, str], ...]

    def put(self, matrix: StructuredMatrix) -> Undo:
        old = self.module
        if isinstance(old, nn.Embedding):
            new: nn.Module = StructuredEmbedding(matrix, old.padding_idx)
        else:
            new = StructuredLinear(matrix)
            new.bias = old.bias  # the same parameter: an optimizer and a tie keep it
        new.train(old.training)
        for parent, name in self.parents:
            parent._modules[name] = new

        def undo() -> None:
            for parent, name in self.parents:
                parent._modules[name] = old

        return undo


@dataclass(frozen=True)
class Attribute(Place):
    """A parameter of a module that insists on a tensor."""

    module: nn.Module
    name: str

    def put(self, matrix: StructuredMatrix) -> Undo:
        order = list(self.module._parameters.items())
        old = self.module._parameters[self.name]
        attach_(self.module, self.name, matrix)

        def undo() -> None:
            detach_(self.module, self.name, old)
            self.module._parameters.clear()
            self.module._parameters.update(order)

        return undo


@dataclass(frozen=True, eq=False)
class Slot:
    """A place, or several that share one tensor, for a structured matrix.

    Attributes:
        name: the dotted path of the first place.
        names: of all places, more than one where weights are tied.
        shape: (m, n); -1 where it is not known yet.
        matrix: the structured matrix that is there, or None where there is a tensor.
        places: in the order of ``names``.
    """

    name: str
    names: tuple[str, ...]
    shape: tuple[int, int]
    matrix: StructuredMatrix | None
    places: tuple[Place, ...]
    parameter: nn.Parameter | None = field(default=None, repr=False)

    @property
    def is_lazy(self) -> bool:
        """Whether its size is not known before the model has run once."""
        return -1 in self.shape

    @property
    def is_dense(self) -> bool:
        """Whether nothing is compressed here yet."""
        return self.matrix is None or isinstance(self.matrix, Dense)

    @property
    def is_bridged(self) -> bool:
        """Whether all places build the dense tensor at every call."""
        return all(isinstance(place, Attribute | Behind) for place in self.places)

    @property
    def reads_rows(self) -> bool:
        """Whether all places are embeddings, which multiply nothing."""
        modules = (place.owner if isinstance(place, Child) else place.module for place in self.places)
        return all(isinstance(module, nn.Embedding | StructuredEmbedding) for module in modules)

    def weight(self) -> Tensor:
        """(m, n), differentiable in what is stored.

        Raises:
            PlanError: if the size is not known yet.
        """
        if self.is_lazy:
            raise PlanError(f"the size of {self.name} is not known yet: run the model once first.")
        return self.parameter.flatten(1) if self.matrix is None else self.matrix.to_dense()

    @property
    def trains(self) -> bool:
        """Whether any of its numbers wants a gradient."""
        numbers = [self.parameter] if self.matrix is None else list(self.matrix.parameters())
        return any(p.requires_grad for p in numbers)

    def refusal(self) -> str | None:
        """Why no matrix can be put here, or None."""
        if self.is_lazy:
            return f"the size of {self.name} is not known yet: run the model once first."
        for module in (place.module for place in self.places if isinstance(place, Whole | Attribute)):
            if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                if module.sparse or module.max_norm is not None:
                    return f"{self.name} has max_norm or sparse gradients, which need every entry stored; keep it."
                if module.padding_idx is not None and bool(module.weight[module.padding_idx].any()):
                    return (
                        f"the padding row {module.padding_idx} of {self.name} is not zero, and that of a "
                        f"StructuredEmbedding always is. Set it to zero, or keep this slot."
                    )
        return None


def slots(model: nn.Module) -> dict[str, Slot]:
    """Every slot of a model, by name, in the order of its modules. What is inside a structured matrix is none.

    Raises:
        PlanError: if the model is a structured matrix itself.
    """
    if isinstance(model, StructuredMatrix):
        raise PlanError("a structured matrix alone is no model; use its family's from_dense on the dense weight.")
    parents: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, child in module._modules.items():
            parents.setdefault(id(child), []).append((module, name))
    found: dict[int, list[tuple[str, Place, StructuredMatrix | nn.Parameter]]] = {}
    for name, place, content in _places(model, "", parents):
        found.setdefault(id(content), []).append((name, place, content))
    result = {}
    for entries in found.values():
        names, places, contents = zip(*entries, strict=True)
        content = contents[0]
        matrix = content if isinstance(content, StructuredMatrix) else None
        distinct = tuple(dict.fromkeys(places))
        result[names[0]] = Slot(names[0], names, _shape(content), matrix, distinct, None if matrix else content)
    return result


def matching(found: Mapping[str, Slot], pattern: str) -> list[Slot]:
    """The slots of which a name matches a pattern, by ``re.match``: from the start of the name on.

    Raises:
        PlanError: if there is none, or the pattern is no regular expression.
    """
    try:
        matched = [slot for slot in found.values() if any(re.match(pattern, name) for name in slot.names)]
    except (re.error, TypeError) as error:
        raise PlanError(f"the pattern {pattern!r} is no regular expression: {error}.") from error
    if not matched:
        raise PlanError(f"the pattern {pattern!r} matches no slot. {_near(str(pattern), found)}")
    return matched


def replace(slot: Slot, matrix: StructuredMatrix) -> Undo:
    """Put a matrix into all places of a slot, and return what undoes that.

    The matrix gets the training mode of what it replaces, and wants gradients only if that did.

    Raises:
        PlanError: if the shape or device differs, or something would be lost (hooks, say). Nothing is changed then.
    """
    reason = slot.refusal()
    if reason is not None:
        raise PlanError(reason)
    if not isinstance(matrix, StructuredMatrix):
        raise PlanError(f"{slot.name} takes a StructuredMatrix, got {type(matrix).__name__}.")
    old, new = slot.weight(), next(matrix.parameters(), None)
    if tuple(matrix.shape) != slot.shape:
        raise PlanError(f"{slot.name} is {slot.shape}, and the matrix for it {tuple(matrix.shape)}.")
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
    """Leave the dense form in a slot: a ``Dense`` matrix, or a plain parameter where a bridge was."""
    dense = Dense.from_dense(slot.weight().detach()).requires_grad_(slot.trains)
    tensor: nn.Parameter = dense.weight
    for place in slot.places:
        if isinstance(place, Behind):
            if tensor.shape != place.owner.shape:
                tensor = nn.Parameter(tensor.detach().reshape(place.owner.shape), requires_grad=slot.trains)
            detach_(place.module, place.name, tensor)
        else:
            place.put(dense)


def _near(pattern: str, found: Mapping[str, Slot]) -> str:
    names = [name for slot in found.values() for name in slot.names]
    if not names:
        return "This model has none: no weight of two axes outside its structured matrices."
    plain = re.sub(r"\\(.)", r"\1", pattern).strip("^$").removesuffix(".*")
    near = difflib.get_close_matches(plain, names, n=3, cutoff=0.5)
    near += [name for name in names if plain and plain in name and name not in near][:3]
    if near:
        return f"Did you mean {' or '.join(near)}? A pattern counts from the start of the name."
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"The slots are {', '.join(names[:8])}{more}."


def _undo_all(undos: list[Undo]) -> None:
    while undos:
        undos.pop()()


def _places(
    module: nn.Module, prefix: str, parents: dict[int, list[tuple[nn.Module, str]]]
) -> Iterator[tuple[str, Place, StructuredMatrix | nn.Parameter]]:
    """(name, place, what is there) below a module that is no structured matrix."""
    whole = _can_be_swapped(module, parents)
    for name, parameter in module._parameters.items():
        if parameter is None or not (is_lazy(parameter) or _is_matrix(parameter, name, module)):
            continue
        place = Whole(module, tuple(parents[id(module)])) if whole and name == "weight" else Attribute(module, name)
        if name == "weight" or not is_lazy(parameter):
            yield prefix + name, place, parameter
    for name, child in module._modules.items():
        if child is None:
            continue
        if isinstance(child, StructuredMatrix):
            yield prefix + name, Child(module, name), child
        elif name == "parametrizations" and parametrize.is_parametrized(module):
            for tensor, group in child.items():
                if isinstance(group[0], Bridge):  # else somebody else's, whose parts are no slots
                    yield prefix + tensor, Behind(group[0], "matrix", module, tensor), group[0].matrix
        else:
            yield from _places(child, f"{prefix}{name}.", parents)


def _is_matrix(parameter: nn.Parameter, name: str, module: nn.Module) -> bool:
    if parameter.dim() < 2 or not (parameter.is_floating_point() or parameter.is_complex()):
        return False
    return (_is_linear(module) and name == "weight") or min(parameter.flatten(1).shape) > 1


def _shape(content: StructuredMatrix | nn.Parameter) -> tuple[int, int]:
    if isinstance(content, StructuredMatrix):
        return tuple(content.shape)
    return (-1, -1) if is_lazy(content) else tuple(content.flatten(1).shape)


def _is_linear(module: nn.Module) -> bool:
    """torch's or PyG's linear layer, not a subclass, which may compute anything. PyG's is known by its name."""
    kind = type(module)
    return kind is nn.Linear or (kind.__name__ == "Linear" and kind.__module__ == "torch_geometric.nn.dense.linear")


def _can_be_swapped(module: nn.Module, parents: dict[int, list[tuple[nn.Module, str]]]) -> bool:
    if not _is_linear(module):
        plain = type(module) is nn.Embedding and module.max_norm is None and not module.sparse
        if not plain or module.scale_grad_by_freq:
            return False
    holders = parents.get(id(module), [])
    if not holders or (_hooked(module) and not is_lazy(module.weight)):
        return False
    return not any(kind.__name__ in READERS for parent, _ in holders for kind in type(parent).__mro__)


def _hooked(module: nn.Module) -> bool:
    """Whether anybody listens to this module; a swap would leave them without a word."""
    more = "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"
    return any(getattr(module, kind) for kind in (*_LISTENERS, *more))
