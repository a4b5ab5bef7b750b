"""Slots: every place of a model that a structured matrix can stand in, under one name each.

===================================  =============================  ================================================
where                                name                           what replacing it does
===================================  =============================  ================================================
a ``StructuredMatrix`` of a module   its path,                      puts the new matrix there
                                     ``convs.0.lift.linear.weight``
``nn.Linear``, PyG's ``Linear``      ``fc.weight``                  swaps the module for a ``StructuredLinear``
``nn.Embedding``                     ``table.weight``               swaps the module for a ``StructuredEmbedding``
``nn.Conv1d``, ``nn.Conv2d``         ``features.0.weight``          swaps the module for a ``StructuredConv1d``, ...
any other parameter of two axes or   its path,                      puts the matrix behind the tensor: see
more: ``nn.LSTM``, attention, ...    ``lstm.weight_hh_l0``          ``edgenet.structured.bridge``
===================================  =============================  ================================================

Names stay what they are when a slot is filled. A tensor of more than two axes counts as its first by all others, and
one that is then a single row or column is a vector, and no slot; so are tensors that a module calls
``stacked_vectors``, whose rows are diagonals, say. A layer is not swapped but put behind a bridge where
something would be lost by a swap: where it has hooks, is a subclass with a forward of its own, is
the model itself, or where its parent is known to read ``.weight`` as a tensor (``nn.TransformerEncoderLayer``, say).
The layers inside of an adapter (a wrapper that hands ``.weight`` on) are layers like any other.

A weight is a parameter, not a module: one that stands in several places, as the weight of layers or in matrices of
several modules, is one slot with several names, and stays tied: every place gets the same matrix. Where it also stands
in a place that can hold no matrix, the slot refuses.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from edgenet.compress.places import Attribute, Behind, Held, Place, Whole
from edgenet.compress.sharing import identity
from edgenet.compress.slot import Slot
from edgenet.errors import PlanError
from edgenet.reading.patterns import matches
from edgenet.shortcuts import HOOKS, STATE_HOOKS, hooked
from edgenet.structured import StructuredMatrix
from edgenet.structured.bridge import Bridge
from edgenet.text import near_names

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

Content = StructuredMatrix | nn.Parameter
Parents = Mapping[int, list[tuple[nn.Module, str]]]


def slots(model: nn.Module) -> dict[str, Slot]:
    """Every slot of a model, by name, in the order of its modules. What is inside a structured matrix is none.

    Raises:
        PlanError: if the model is a structured matrix itself.

    Example:
        >>> list(edgenet.compress.slots(torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Linear(8, 2))))
        ['0.weight', '1.weight']
    """
    if isinstance(model, StructuredMatrix):
        raise PlanError("a structured matrix alone is no model; use its family's from_dense on the dense weight.")
    parents: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, child in module._modules.items():
            parents.setdefault(id(child), []).append((module, name))
    found: dict[Hashable, list[tuple[str, Place, Content]]] = {}
    for name, place, content in _places(model, "", parents):
        found.setdefault(identity(content), []).append((name, place, content))
    owners = _owners(model)
    result = {}
    for entries in found.values():
        names, holders, contents = zip(*entries, strict=True)
        content = contents[0]
        matrix = content if isinstance(content, StructuredMatrix) else None
        elsewhere = _elsewhere(entries, owners)
        parameter = None if matrix is not None else content
        result[names[0]] = Slot(names[0], names, _shape(content), matrix, holders, parameter, elsewhere)
    return result


def _owners(model: nn.Module) -> dict[int, list[tuple[str, nn.Module]]]:
    """Every path of every parameter, with the module that it stands in."""
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append((f"{path}.{name}" if path else name, module))
    return owners


def _elsewhere(
    entries: list[tuple[str, Place, Content]], owners: Mapping[int, list[tuple[str, nn.Module]]]
) -> tuple[str, ...]:
    """Paths of the parameters of a slot that belong to none of its places."""
    own: set[int] = set()
    paths: dict[str, None] = {}
    for _, place, content in entries:
        inside = content.modules() if isinstance(content, StructuredMatrix) else (place.reader,)
        own.update(map(id, inside))
    for _, _, content in entries:
        for parameter in content.parameters() if isinstance(content, StructuredMatrix) else (content,):
            paths |= {path: None for path, module in owners[id(parameter)] if id(module) not in own}
    return tuple(paths)


def matching(found: Mapping[str, Slot], pattern: str) -> list[Slot]:
    """The slots of which a name matches a pattern, by ``re.match``: from the start of the name on.

    Raises:
        PlanError: if there is none, or the pattern is no regular expression.
    """
    try:
        matched = [slot for slot in found.values() if any(matches(pattern, name) for name in slot.names)]
    except (re.error, TypeError) as error:
        raise PlanError(f"the pattern {pattern!r} is no regular expression: {error}.") from error
    if not matched:
        raise PlanError(f"the pattern {pattern!r} matches no slot. {_near(str(pattern), found)}")
    return matched


def _near(pattern: str, found: Mapping[str, Slot]) -> str:
    names = [name for slot in found.values() for name in slot.names]
    if not names:
        return "This model has none: no weight of two axes outside its structured matrices."
    plain = re.sub(r"\\(.)", r"\1", pattern).strip("^$").removesuffix(".*")
    near = near_names(plain, names, cutoff=0.5)
    near += [name for name in names if plain and plain in name and name not in near][:3]
    if near:
        return f"Did you mean {' or '.join(near)}? A pattern counts from the start of the name."
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"The slots are {', '.join(names[:8])}{more}."


def _places(module: nn.Module, prefix: str, parents: Parents) -> Iterator[tuple[str, Place, Content]]:
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
            yield prefix + name, Held(module, name), child
        elif name == "parametrizations" and parametrize.is_parametrized(module):
            for tensor, group in child.items():
                if isinstance(group[0], Bridge):  # else somebody else's, whose parts are no slots
                    yield prefix + tensor, Behind(group[0], "matrix", module, tensor), group[0].matrix
        else:
            yield from _places(child, f"{prefix}{name}.", parents)


def _is_matrix(parameter: nn.Parameter, name: str, module: nn.Module) -> bool:
    if parameter.dim() < 2 or not (parameter.is_floating_point() or parameter.is_complex()):
        return False
    if name in getattr(module, "stacked_vectors", ()):
        return False
    return (_is_linear(module) and name == "weight") or min(parameter.flatten(1).shape) > 1


def _shape(content: Content) -> tuple[int, int]:
    if isinstance(content, StructuredMatrix):
        return tuple(content.shape)
    return (-1, -1) if is_lazy(content) else tuple(content.flatten(1).shape)


def _is_linear(module: nn.Module) -> bool:
    """torch's or PyG's linear layer, not a subclass, which may compute anything. PyG's is known by its name."""
    kind = type(module)
    return kind is nn.Linear or (kind.__name__ == "Linear" and kind.__module__ == "torch_geometric.nn.dense.linear")


def _can_be_swapped(module: nn.Module, parents: Parents) -> bool:
    if not _is_linear(module) and type(module) not in (nn.Conv1d, nn.Conv2d):
        plain = type(module) is nn.Embedding and module.max_norm is None and not module.sparse
        if not plain or module.scale_grad_by_freq:
            return False
    holders = parents.get(id(module), [])
    if not holders or (hooked(module, HOOKS + STATE_HOOKS) and not is_lazy(module.weight)):
        return False
    return not any(reads_weights(parent) for parent, _ in holders)


def reads_weights(parent: nn.Module) -> bool:
    """Whether a module is known to read ``.weight`` of a child as a tensor: by its class, or for it says so itself."""
    return getattr(parent, "reads_weights", False) is True or any(
        kind.__name__ in READERS for kind in type(parent).__mro__
    )
