"""Describing: the tree of a model, and its tensors."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from edgenet.compress.finding import reads_weights
from edgenet.compress.sharing import identity
from edgenet.errors import CheckpointError
from edgenet.pretrained.additions import addition
from edgenet.pretrained.allowed import NAMES
from edgenet.pretrained.making import class_of, full_name
from edgenet.pretrained.recipe import NoRecipeError, recipe
from edgenet.pretrained.stand_in import StandIn
from edgenet.pretrained.tree import behind_path, join, nodes
from edgenet.structured import STRUCTURES, HashPool, StructuredMatrix, name_of
from edgenet.structured.bridge import bridged


@dataclass
class Description:
    """A model in plain values, and its tensors.

    Attributes:
        tree: the node of the model.
        tensors: by the name they have in ``state_dict``, what is shared once, under its first name.
        tied: other names of tensors -> first name.
        frozen: names of parameters that are not trained.
        pools: hash pools that stand in several matrices: path -> first path.
    """

    tree: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    frozen: list[str] = field(default_factory=list)
    pools: dict[str, str] = field(default_factory=dict)

    def unknown(self) -> dict[str, str]:
        """Path -> reason, of the modules that only their owner can make."""
        return {path: node["unknown"] for path, node in nodes(self.tree) if "unknown" in node}


def describe(model: nn.Module, pack: bool = True) -> Description:
    """What a model is.

    Args:
        pack: describe structured matrices in the form of their ``pack()``.

    Raises:
        CheckpointError: if a layer has no size yet, or holds state that is no plain tensor.
    """
    description = Description({})
    description.tree = _Describer(description, pack).node(model, "") or {}
    return description


class _Describer:
    def __init__(self, into: Description, pack: bool) -> None:
        self.into, self.pack = into, pack
        self.modules: dict[int, str] = {}
        self.storages: dict[tuple, str] = {}
        self.packed: dict[Hashable, StructuredMatrix] = {}  # by what they are packed forms of
        self.held: list[Tensor] = []  # whose addresses must stay theirs

    def node(self, module: nn.Module | None, path: str, owned: bool = False) -> dict[str, Any] | None:
        """The node of a module.

        Args:
            owned: whether it is inside a module of a class that edgenet does not know, whose owner makes it with all
                that is on it.
        """
        if module is None:
            return None
        if id(module) in self.modules:
            self._same(module, self.modules[id(module)], path)
            return {"same": self.modules[id(module)]}
        self.modules[id(module)] = path
        added = self._added(module, path, owned)
        if added is None and isinstance(module, StructuredMatrix) and type(module) in STRUCTURES.values():
            return self._matrix(module, path)
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise CheckpointError(f"{path or 'the model'} keeps state beside its tensors, which no file here holds.")
        behind = bridged(module)
        try:
            node = _unknown(module, added) if added or isinstance(module, StandIn) else recipe(module)
        except NoRecipeError as error:
            node = _unknown(module, str(error))
        if "unknown" in node:
            behind, owned = {}, owned or class_of(module) not in NAMES
        self._tensors_of(module, path)
        if behind:
            node["behind"] = {name: self.node(matrix, behind_path(path, name)) for name, matrix in behind.items()}
        children = {
            name: self.node(child, join(path, name), owned)
            for name, child in module._modules.items()
            if not (behind and name == "parametrizations")
        }
        return {**node, "children": children} if children else node

    def _added(self, module: nn.Module, path: str, owned: bool) -> str | None:
        """What a file cannot hold of a module.

        Raises:
            CheckpointError: if it is for edgenet to make the module again.
        """
        reason = addition(module)
        kind = type(module).__mro__[1] if parametrize.is_parametrized(module) else type(module)
        owned = owned or not (kind in NAMES or issubclass(kind, StructuredMatrix))
        if reason is not None and not owned:
            name = type(module).__name__
            raise CheckpointError(f"{path or 'the model'}, a {name}, cannot be saved as it is: {reason}.")
        return reason

    def _tensors_of(self, module: nn.Module, path: str) -> None:
        written: dict[str, Any] = {}  # as ``state_dict`` has them: some write whole numbers in fewer bytes
        module._save_to_state_dict(written, "", keep_vars=True)
        for name, parameter in module._parameters.items():
            if parameter is not None:
                self._tensor(join(path, name), parameter)
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                self._tensor(join(path, name), written.get(name, buffer))

    def _matrix(self, matrix: StructuredMatrix, path: str) -> dict[str, Any]:
        for name, parameter in matrix.named_parameters():
            if is_lazy(parameter):  # whose state_dict has a mark in its place
                self._tensor(join(path, name), parameter)
        packed = self._packed(matrix) if self.pack else matrix
        for name, tensor in packed.state_dict(keep_vars=True).items():
            self._tensor(join(path, name), tensor)
        if not any(p.requires_grad for p in matrix.parameters()):  # a packed form has parameters of its own
            self.into.frozen += [join(path, name) for name, _ in packed.named_parameters()]
        for name, part in packed.named_modules():
            if isinstance(part, HashPool):
                first = self.modules.setdefault(id(part), join(path, name))
                if first != join(path, name):
                    self.into.pools[join(path, name)] = first
        return {"structure": name_of(packed), "config": packed.config()}

    def _packed(self, matrix: StructuredMatrix) -> StructuredMatrix:
        """One packed form for all matrices of the same tensors, so that what is tied stays tied."""
        key = identity(matrix)
        if key not in self.packed:
            self.packed[key] = matrix.pack()
        return self.packed[key]

    def _tensor(self, name: str, tensor: Tensor) -> None:
        if is_lazy(tensor) or tensor.is_meta:
            raise CheckpointError(
                f"{name} has no size yet, and nothing to save. Run the model once on its data first; tables of edge "
                f"weights and node taps can also be made by bind(edge_index, num_nodes)."
            )
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise CheckpointError(f"{name} is of layout {tensor.layout}; a file holds dense tensors only.")
        if isinstance(tensor, nn.Parameter) and not tensor.requires_grad:
            self.into.frozen.append(name)
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        key = place if tensor.numel() else (id(tensor),)
        first = self.storages.setdefault(key, name)
        if first == name:
            self.held.append(tensor)
            self.into.tensors[name] = tensor.detach()
        else:
            self.into.tied[name] = first

    def _same(self, module: nn.Module, first: str, path: str) -> None:
        """The names that the tensors of a module have a second time."""
        start = f"{first}." if first else ""
        known = [name for name in (*self.into.tensors, *self.into.tied) if name.startswith(start)]
        for name in known:
            other = join(path, name.removeprefix(start))
            self.into.tied[other] = self.into.tied.get(name, name)


def _unknown(module: nn.Module, reason: str | None) -> dict[str, Any]:
    """The node of a module that only its owner can make, with what must be known of it where its class is not there."""
    if isinstance(module, StandIn):
        return dict(module.told)
    node: dict[str, Any] = {"class": full_name(class_of(module)), "unknown": reason}
    buffers = [name for name, value in module._buffers.items() if value is not None]
    buffers = [name for name in buffers if name not in module._non_persistent_buffers_set]
    if buffers:
        node["buffers"] = buffers
    if reads_weights(module):
        node["reads_weights"] = True
    return node
