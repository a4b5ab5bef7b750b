"""Places: the ways in which a model holds a weight, and how a structured matrix is put there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from edgenet.structured import StructuredLinear, StructuredMatrix, structured_conv
from edgenet.structured.bridge import attach_, detach_
from edgenet.structured.embedding import StructuredEmbedding

Undo = Callable[[], None]

#: How a place uses its matrix: in products, by its rows, or as a tensor that is built.
Use = Literal["product", "rows", "tensor"]


class Place(ABC):
    """One of the places of a slot."""

    @property
    @abstractmethod
    def use(self) -> Use:
        """What is done with the weight here."""

    @property
    @abstractmethod
    def reader(self) -> nn.Module:
        """The module whose forward uses it."""

    @property
    def multiplies(self) -> bool:
        """Whether the weight is a factor of a product here; an embedding only reads rows."""
        return not isinstance(self.reader, nn.Embedding | nn.EmbeddingBag | StructuredEmbedding)

    @abstractmethod
    def put(self, matrix: StructuredMatrix) -> Undo:
        """Put a matrix here; what it returns takes it out again.

        Raises:
            PlanError: if something would be lost. Nothing is changed then.
        """


@dataclass(frozen=True)
class Held(Place):
    """A structured matrix that a module holds as its child."""

    owner: nn.Module
    attribute: str

    @property
    def use(self) -> Use:
        return "product" if self.multiplies else "rows"

    @property
    def reader(self) -> nn.Module:
        return self.owner

    def put(self, matrix: StructuredMatrix) -> Undo:
        old = self.owner._modules[self.attribute]
        self.owner._modules[self.attribute] = matrix.train(old.training)
        return lambda: self.owner._modules.__setitem__(self.attribute, old)


@dataclass(frozen=True)
class Behind(Held):
    """A structured matrix behind a tensor; ``owner`` is its bridge."""

    module: nn.Module
    name: str

    @property
    def use(self) -> Use:
        return "tensor"

    @property
    def reader(self) -> nn.Module:
        return self.module


@dataclass(frozen=True)
class Whole(Place):
    """A module that a structured one takes the place of, with every parent that holds it."""

    module: nn.Module
    parents: tuple[tuple[nn.Module, str], ...]

    @property
    def use(self) -> Use:
        return "product" if self.multiplies else "rows"

    @property
    def reader(self) -> nn.Module:
        return self.module

    def put(self, matrix: StructuredMatrix) -> Undo:
        old = self.module
        if isinstance(old, nn.Embedding):
            new: nn.Module = StructuredEmbedding(matrix, old.padding_idx)
        elif isinstance(old, nn.Conv1d | nn.Conv2d):
            new = structured_conv(old, matrix)
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

    @property
    def use(self) -> Use:
        return "tensor"

    @property
    def reader(self) -> nn.Module:
        return self.module

    def put(self, matrix: StructuredMatrix) -> Undo:
        order = list(self.module._parameters.items())
        old = self.module._parameters[self.name]
        attach_(self.module, self.name, matrix)

        def undo() -> None:
            detach_(self.module, self.name, old)
            self.module._parameters.clear()
            self.module._parameters.update(order)

        return undo
