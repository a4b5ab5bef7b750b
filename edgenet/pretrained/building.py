"""Building: the modules of a tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from edgenet.errors import CheckpointError
from edgenet.pretrained.allowed import CLASSES
from edgenet.pretrained.limits import Limits
from edgenet.pretrained.making import CONTAINERS, class_of, full_name, make
from edgenet.pretrained.stand_in import StandIn, own_tensors
from edgenet.pretrained.tree import behind_path, join, nodes
from edgenet.structured import Hashed, HashPool, StructuredConv, StructuredLinear, StructuredMatrix, family
from edgenet.structured.bridge import attach_
from edgenet.structured.parameters import parameter

_KEYS = {
    "class", "arguments", "attributes", "tensors", "behind", "children", "structure", "config", "same", "unknown",
    "buffers", "reads_weights",
}  # fmt: skip
_LARGEST = 1 << 48  # entries of a matrix that a file may tell of


class Builder:
    """Makes the modules of a tree.

    Args:
        tree: what ``describe`` gave.
        shapes: of the tensors in the file, by all names that they have.
        stand_ins: whether modules that edgenet does not make are stood for, see ``StandIn``.

    Attributes:
        limits: what it may make, and what it has made.
    """

    def __init__(
        self, tree: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], stand_ins: bool = False
    ) -> None:
        self.tree, self.shapes, self.stand_ins = tree, shapes, stand_ins
        self.limits = Limits.of(tree, shapes)
        self.made: dict[str, nn.Module] = {}
        self.other_classes: dict[str, tuple[str, str]] = {}  # path -> class in the file, class in the model

    def build(self) -> nn.Module:
        """The whole model.

        Raises:
            CheckpointError: if a module of it cannot be made, with its class, or the tree is none.
        """
        with self.limits.kept():
            model = self._node(self.tree, "")
        if model is None:
            raise CheckpointError("the model is described by nothing.")
        return model

    def fill(self, model: nn.Module) -> None:
        """Put all that can be made into a model of which the rest is there.

        Raises:
            CheckpointError: if the model is not the one that the tree tells of.
        """
        with self.limits.kept():
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
        elif self.stand_ins and self._is_unknown(node, path):
            module = self._stand_in(node, path)
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

    def _is_unknown(self, node: Mapping[str, Any], path: str) -> bool:
        """Torch's list of parametrizations is its owner's to make."""
        return "unknown" in node or node.get("class") not in CLASSES or path.rpartition(".")[2] == "parametrizations"

    def _stand_in(self, node: Mapping[str, Any], path: str) -> nn.Module:
        children = {name: self._node(child, join(path, name)) for name, child in _children(node, path).items()}
        own = own_tensors(path, self.shapes)
        return StandIn(node, children, {name: self._shape(join(path, name)) for name in own})

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
            if isinstance(module, StructuredLinear | StructuredConv) and name == "bias":
                module.bias = parameter(torch.zeros(module.weight.shape[0]))  # which the constructor knew nothing of
            try:
                attach_(module, name, made)
            except ValueError as error:
                raise CheckpointError(f"{place}: {error}") from error

    def _fill(self, module: nn.Module, node: Mapping[str, Any], path: str) -> None:
        where, kind, told = path or "the model", full_name(class_of(module)), str(node.get("class"))
        if told != kind:
            if "class" not in node or (told in CLASSES and kind in CLASSES):
                raise CheckpointError(
                    f"{where} is a {node.get('class', node.get('structure'))} in the file, and a {kind} in the model "
                    f"that was handed over."
                )
            self.other_classes[path] = told, kind  # the same by what is inside, which is looked at
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
