"""The tree: every module of a model by what it is made of, and every tensor once.

A node is one of

- ``{"class": ..., "arguments": ..., "attributes": ..., "tensors": ..., "behind": ..., "children": {name: node}}``, a
  module that ``recipe.make`` makes; ``behind`` has the structured matrices behind its tensors;
- ``{"structure": ..., "config": ...}``, a structured matrix;
- ``{"same": path}``, the module that stands at an earlier path;
- ``{"class": ..., "unknown": reason, "children": ...}``, a module that only its owner can make;
- None, where a child is None.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.nn.parameter import is_lazy

from edgenet.compress.sharing import identity
from edgenet.errors import CheckpointError
from edgenet.pretrained.allowed import CLASSES
from edgenet.pretrained.recipe import CONTAINERS, NoRecipeError, class_of, full_name, make, recipe
from edgenet.structured import STRUCTURES, Hashed, HashPool, StructuredMatrix, family, name_of
from edgenet.structured.bridge import attach_, bridged

_KEYS = {"class", "arguments", "attributes", "tensors", "behind", "children", "structure", "config", "same", "unknown"}
_LARGEST = 1 << 48  # entries of a matrix that a file may tell of


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


def nodes(tree: Mapping[str, Any] | None, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every node with its path."""
    if isinstance(tree, dict):  # what else a file may have is refused when it is built
        yield path, tree
        for name, child in tree.get("children", {}).items():
            yield from nodes(child, join(path, name))


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def behind_path(path: str, name: str) -> str:
    """Where the structured matrix behind a tensor of a module stands."""
    return join(path, f"parametrizations.{name}.0.matrix")


# ---------------------------------------------------------------- describing
def describe(model: nn.Module, pack: bool = True) -> Description:
    """What a model is.

    Args:
        pack: describe structured matrices in the form of their ``pack()``.

    Raises:
        CheckpointError: if a layer has no size yet, or holds state that is no plain tensor.
    """
    description = Description({})
    description.tree = _Describer(description, pack).node(model, "")
    return description


class _Describer:
    def __init__(self, into: Description, pack: bool) -> None:
        self.into, self.pack = into, pack
        self.modules: dict[int, str] = {}
        self.storages: dict[tuple, str] = {}
        self.packed: dict[Hashable, StructuredMatrix] = {}  # by what they are packed forms of
        self.held: list[Tensor] = []  # whose addresses must stay theirs

    def node(self, module: nn.Module | None, path: str) -> dict[str, Any] | None:
        if module is None:
            return None
        if id(module) in self.modules:
            self._same(module, self.modules[id(module)], path)
            return {"same": self.modules[id(module)]}
        self.modules[id(module)] = path
        if isinstance(module, StructuredMatrix) and type(module) in STRUCTURES.values():
            return self._matrix(module, path)
        behind = bridged(module)
        try:
            node = recipe(module)
        except NoRecipeError as error:
            node = {"class": full_name(class_of(module)), "unknown": str(error)}
            behind = {}
        for name, parameter in module._parameters.items():
            if parameter is not None:
                self._tensor(join(path, name), parameter)
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                self._tensor(join(path, name), buffer)
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise CheckpointError(f"{path or 'the model'} keeps state beside its tensors, which no file here holds.")
        if behind:
            node["behind"] = {name: self.node(matrix, behind_path(path, name)) for name, matrix in behind.items()}
        children = {
            name: self.node(child, join(path, name))
            for name, child in module._modules.items()
            if not (behind and name == "parametrizations")
        }
        return {**node, "children": children} if children else node

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


# ---------------------------------------------------------------- building
class Builder:
    """Makes the modules of a tree.

    Args:
        tree: what ``describe`` gave.
        shapes: of the tensors in the file, by all names that they have.
    """

    def __init__(self, tree: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.tree, self.shapes = tree, shapes
        self.made: dict[str, nn.Module] = {}

    def build(self) -> nn.Module:
        """The whole model.

        Raises:
            CheckpointError: if a module of it cannot be made, with its class, or the tree is none.
        """
        with _few_modules(sum(1 for _ in nodes(self.tree))):
            return self._node(self.tree, "")

    def fill(self, model: nn.Module) -> None:
        """Put all that can be made into a model of which the rest is there.

        Raises:
            CheckpointError: if the model is not the one that the tree tells of.
        """
        with _few_modules(sum(1 for _ in nodes(self.tree))):
            self._fill(model, self.tree, "")

    def _node(self, node: Mapping[str, Any] | None, path: str) -> nn.Module | None:
        if node is None:
            return None
        where = path or "the model"
        if not isinstance(node, dict) or not set(node) <= _KEYS:
            raise CheckpointError(f"{where} is described by {str(node)[:60]!r}, which says nothing.")
        if "same" in node:
            if node["same"] not in self.made:
                raise CheckpointError(f"{path} is said to be the same as {node['same']!r}, which is not there.")
            return self.made[node["same"]]
        if "structure" in node:
            module: nn.Module = self._matrix(node, path)
        elif "unknown" in node or node.get("class") not in CLASSES:
            reason = node.get("unknown", "that is no class that edgenet makes")
            raise CheckpointError(
                f"{where}: a {str(node.get('class'))[:80]}, and {reason.rstrip('.')}. "
                f"Build the model yourself and hand it over: from_pretrained(folder, model=model)."
            )
        else:
            children = {name: self._node(child, join(path, name)) for name, child in _children(node, path).items()}
            try:
                module = make(node, children, lambda name: self._shape(join(path, name)))
            except CheckpointError as error:
                raise CheckpointError(f"{where}: {error}") from error
            except Exception as error:  # a crafted file may give any arguments to any constructor
                raise CheckpointError(
                    f"{where}, a {node['class']}, is not made by its arguments: {type(error).__name__}: {_line(error)}"
                ) from error
            self._put_behind(module, node, path)
        self.made[path] = module
        return module

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise CheckpointError(f"the file holds no tensor {name}.")
        return self.shapes[name]

    def _matrix(self, node: Mapping[str, Any], path: str) -> StructuredMatrix:
        try:
            config = dict(node["config"])
            m, n = config["shape"]
            if not (type(m) is int and type(n) is int and m >= 0 and n >= 0 and m * n <= _LARGEST):
                raise CheckpointError(f"a matrix of {m} x {n} is not made here.")
            matrix = family(node["structure"]).from_config(config)
            if not set(config) <= set(matrix.config()):
                raise CheckpointError(f"its options are {', '.join(matrix.config())}, got {', '.join(config)[:80]}.")
            return matrix
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        except Exception as error:  # likewise
            raise CheckpointError(
                f"{path}: no structured matrix is made of {str(dict(node))[:120]}: {type(error).__name__}: "
                f"{_line(error)}"
            ) from error

    def _put_behind(self, module: nn.Module, node: Mapping[str, Any], path: str) -> None:
        for name, matrix in node.get("behind", {}).items():
            place = behind_path(path, name)
            made = self._node(matrix, place)
            if not isinstance(made, StructuredMatrix):
                raise CheckpointError(f"{place} is no structured matrix.")
            try:
                attach_(module, name, made)
            except ValueError as error:
                raise CheckpointError(f"{place}: {error}") from error

    def _fill(self, module: nn.Module, node: Mapping[str, Any], path: str) -> None:
        where, kind = path or "the model", full_name(class_of(module))
        if node.get("class") != kind:
            raise CheckpointError(
                f"{where} is a {node.get('class', node.get('structure'))} in the file, and a {kind} in the model that "
                f"was handed over."
            )
        children = _children(node, path)
        if class_of(module) in CONTAINERS and set(children) != set(module._modules):
            raise CheckpointError(f"{where} holds {len(children)} modules in the file and {len(module._modules)} here.")
        for name in module._modules:
            if name not in children and name != "parametrizations":
                raise CheckpointError(f"{join(path, name)} is in the model that was handed over, and not in the file.")
        self.made[path] = module
        for name, child in children.items():
            place = join(path, name)
            there = module._modules.get(name)
            if name not in module._modules and child is not None and not hasattr(module, name):
                raise CheckpointError(f"{place} is in the file, and not in the model that was handed over.")
            if child is not None and "same" not in child and any("unknown" in below for _, below in nodes(child)):
                if there is None:
                    raise CheckpointError(f"{place} is in the file, and not in the model that was handed over.")
                self._fill(there, child, place)
            else:
                setattr(module, name, self._node(child, place))
        self._put_behind(module, node, path)


def share_pools(model: nn.Module, pools: Mapping[str, str]) -> None:
    """Let hashed matrices read from one pool again.

    Raises:
        CheckpointError: if there is no such pool, or it is of another make.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    for path, first in pools.items():
        owner, pool = modules.get(path.rpartition(".")[0]), modules.get(first)
        if not isinstance(owner, Hashed) or not isinstance(pool, HashPool) or not path.endswith("pool"):
            raise CheckpointError(f"{path} is said to be the hash pool {first}, and there is none.")
        try:
            owner.attach_(pool)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error


def _children(node: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    children = node.get("children", {})
    for name in children:
        if not name or "." in name or "/" in name or "\\" in name:
            raise CheckpointError(f"{path or 'the model'} has a child {name[:40]!r}, which is no name of a module.")
    return children


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _few_modules(count: int) -> Iterator[None]:
    """Stop a constructor that would make modules without end."""
    most, made, thread = 1000 + 100 * count, 0, threading.get_ident()

    def watch(module: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal made
        if threading.get_ident() == thread:
            made += 1
            if made > most:
                raise CheckpointError(f"it asks for more than {most} modules, where the file tells of {count}.")

    hook = register_module_module_registration_hook(watch)
    try:
        yield
    finally:
        hook.remove()
