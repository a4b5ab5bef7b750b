"""Limits: what the constructors of a described model may make, by what its file holds."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from edgenet.errors import CheckpointError
from edgenet.pretrained.tree import nodes
from edgenet.reading import Deadline


@dataclass
class Limits:
    """How many modules and tensors constructors may make, in which time, and how many numbers would be in them.

    On the meta device numbers cost nothing; ``check_numbers`` says before a model is made with them.

    Attributes:
        told: modules in the file.
        held: numbers in the file.
        modules, tensors: made so far.
        sizes: numbers in them, by identity.
    """

    told: int
    held: int
    modules: int = 0
    tensors: int = 0
    sizes: dict[int, int] = field(default_factory=dict)

    @property
    def numbers(self) -> int:
        """Made so far; what a constructor makes and throws away counts."""
        return sum(self.sizes.values())

    @classmethod
    def of(cls, tree: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Self:
        return cls(sum(1 for _ in nodes(tree)), sum(map(math.prod, shapes.values())))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While this lasts, a constructor that would make things without end is stopped.

        Raises:
            CheckpointError: inside, with what is asked for.
        """
        thread = threading.get_ident()
        clock = Deadline(5 + 0.02 * self.told, "the model that the file describes", CheckpointError)
        self.modules = self.tensors = 0
        self.sizes.clear()

        def see_module(module: nn.Module, name: str, child: nn.Module | None) -> None:
            if threading.get_ident() == thread:
                self.modules += 1
                for tensor in () if child is None else child.parameters():  # which were given sizes since
                    self._weigh(tensor)
                self._check("modules", self.modules, 1000 + 100 * self.told, clock)

        def see_tensor(module: nn.Module, name: str, tensor: Tensor | None) -> None:
            if threading.get_ident() == thread and tensor is not None:
                self.tensors += 1
                self._weigh(tensor)
                self._check("tensors", self.tensors, 2000 + 200 * self.told, clock)

        handles = [
            torch_module.register_module_module_registration_hook(see_module),
            torch_module.register_module_parameter_registration_hook(see_tensor),
            torch_module.register_module_buffer_registration_hook(see_tensor),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _weigh(self, tensor: Tensor) -> None:
        self.sizes[id(tensor)] = 0 if nn.parameter.is_lazy(tensor) else tensor.numel()

    def _check(self, what: str, made: int, most: int, clock: Deadline) -> None:
        clock.check()
        if made > most:
            raise CheckpointError(f"it asks for more than {most} {what}, where the file tells of {self.told} modules.")

    def check_numbers(self) -> None:
        """
        Raises:
            CheckpointError: if the constructors would fill far more memory than the file has numbers.
        """
        most = 10 * self.held + (1 << 24)
        if self.numbers > most:
            raise CheckpointError(
                f"its constructors make {self.numbers} numbers on the way; a file of {self.held} may ask for {most}. "
                f"Build the model yourself and hand it over: from_pretrained(folder, model=model)."
            )
